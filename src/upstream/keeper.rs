//! Keeps what the ears of one lane listen to: a connection to a legacy server, the streams of its sessions, and the
//! subscriptions of resources, each asked for once however many ears want it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::protocol::{Method, Object, json_string, raw};

use super::audience::{Audience, Joining, Present};
use super::codec::Outcome;
use super::ears::Ear;
use super::{Interests, UpstreamError, limits};

/// Where the connections of a legacy server are found, and how one of them is asked.
pub(super) trait Sources: Send + Sync + 'static {
    /// Whose connections.
    type Whose: Clone + Send + Sync + 'static;
    /// A connection.
    type Source: Send + Sync + 'static;

    /// The connection of the calls of this lane; opens one when there is none.
    fn source(
        &self,
        whose: &Self::Whose,
    ) -> impl Future<Output = Result<Arc<Self::Source>, UpstreamError>> + Send;

    /// Asks something of our own.
    fn ask(
        &self,
        source: &Arc<Self::Source>,
        method: Method,
        params: Object,
    ) -> impl Future<Output = Result<Outcome, UpstreamError>> + Send;

    /// What the server said that it can do; `None` when nothing can ever be heard on this connection.
    fn offered(source: &Self::Source) -> Option<&Object>;

    /// Whether the connection is lost.
    fn is_over(source: &Self::Source) -> bool;
}

/// Lets an ear in; resolves with what it will hear.
pub(super) async fn listen<S: Sources>(
    sources: &Arc<S>,
    whose: &S::Whose,
    audience: Arc<Audience>,
    ear: Arc<Ear>,
) -> Result<Interests, UpstreamError> {
    let (granted, needs_keeper) = audience.join(ear);
    if needs_keeper {
        let keeper = Keeper {
            sources: sources.clone(),
            whose: whose.clone(),
            audience,
            subscribed: BTreeMap::new(),
            given_up: Vec::new(),
        };
        tokio::spawn(keeper.keep());
    }
    let gone = |_| Err(UpstreamError::Unreachable("the ear was closed".into()));
    granted.await.unwrap_or_else(gone)
}

struct Keeper<S: Sources> {
    sources: Arc<S>,
    whose: S::Whose,
    audience: Arc<Audience>,
    /// Resources that were asked for, and on which connection; `None` where the server refused.
    subscribed: BTreeMap<String, Option<Weak<S::Source>>>,
    /// Resources that were asked for on another connection before.
    given_up: Vec<(String, Arc<S::Source>)>,
}

impl<S: Sources> Keeper<S> {
    /// Goes on for as long as anybody listens.
    async fn keep(mut self) {
        let mut pause = limits::RESUME_FIRST;
        let mut has_missed = false;
        loop {
            let Present { ears, joining } = self.audience.present();
            if ears.is_empty() {
                self.unsubscribe(&BTreeSet::new()).await;
                self.audience.close_stands().await;
                if self.audience.retire() {
                    return;
                }
                continue;
            }
            has_missed |= self.audience.was_shaken();
            let served = self.serve(&ears, joining, has_missed).await;
            if served {
                (pause, has_missed) = (limits::RESUME_FIRST, false);
                self.audience.stir(&ears).await;
            } else {
                // What was lost is tried again, whoever comes meanwhile.
                has_missed = true;
                tokio::time::sleep(pause).await;
                pause = limits::REOPEN_LAST.min(pause * 2);
            }
        }
    }

    /// Gives everyone what they listen for; `false` when the server cannot be reached.
    async fn serve(&mut self, ears: &[Arc<Ear>], joining: Vec<Joining>, has_missed: bool) -> bool {
        let wanted: BTreeSet<&String> = ears.iter().flat_map(|ear| &ear.asked.uris).collect();
        // Who asks again for what was refused has it tried again.
        let asked_anew = |uri: &String| joining.iter().any(|new| new.ear.asked.uris.contains(uri));
        self.subscribed
            .retain(|uri, place| place.is_some() || !asked_anew(uri));
        let offered = match self.connect(&wanted).await {
            Ok(offered) => offered,
            Err(error) => {
                tracing::debug!(%error, "a server cannot be listened to");
                refuse(joining, &error);
                return false;
            }
        };
        let is_new = |ear: &Arc<Ear>| joining.iter().any(|new| Arc::ptr_eq(&new.ear, ear));
        if has_missed {
            let missed = ears.iter().filter(|ear| !is_new(ear));
            missed.for_each(|ear| ear.miss());
        }
        for Joining { ear, granted } in joining {
            let heard = self.granted(&ear, offered.as_ref());
            ear.grant(&heard);
            // Who does not wait for it any more closes the ear.
            let _ = granted.send(Ok(heard));
        }
        self.unsubscribe(&wanted).await;
        true
    }

    /// Sees to a connection, its stream, and the subscriptions on it; with what the server said that it can do.
    async fn connect(
        &mut self,
        wanted: &BTreeSet<&String>,
    ) -> Result<Option<Object>, UpstreamError> {
        let source = self.sources.source(&self.whose).await?;
        let Some(offered) = S::offered(&source).cloned() else {
            return Ok(None);
        };
        self.audience.open_stands().await;
        if declares(&offered, "resources", "subscribe") {
            self.subscribe(&source, wanted).await;
        }
        // Sooner or later the next attempt finds another one.
        if S::is_over(&source) {
            return Err(UpstreamError::Unreachable("the session is over".into()));
        }
        Ok(Some(offered))
    }

    /// Subscribes what is wanted and is not subscribed on this connection. That is the one that the calls of the lane
    /// take: many servers remember for each connection what they work on and what is wanted of it.
    async fn subscribe(&mut self, source: &Arc<S::Source>, wanted: &BTreeSet<&String>) {
        let here = Arc::downgrade(source);
        let is_settled = |place: &Option<Weak<S::Source>>| match place {
            Some(place) => Weak::ptr_eq(place, &here),
            None => true,
        };
        let missing = wanted
            .iter()
            .filter(|uri| !self.subscribed.get(**uri).is_some_and(is_settled));
        let missing: Vec<String> = missing.map(|uri| (*uri).clone()).collect();
        let sources = &self.sources;
        let mut asking = stream::iter(missing)
            .map(async |uri| {
                let answer = sources.ask(source, Method::Subscribe, subject(&uri)).await;
                let is_agreed = matches!(answer, Ok(Ok(_)));
                (uri, is_agreed.then(|| Arc::downgrade(source)))
            })
            .buffer_unordered(limits::SUBSCRIBING);
        let (subscribed, moved) = (&mut self.subscribed, &mut self.given_up);
        let noting = async {
            while let Some((uri, place)) = asking.next().await {
                let before = subscribed.get(&uri).cloned().flatten().and_then(alive::<S>);
                match (before, &place) {
                    // Where it was is better than nowhere.
                    (Some(_), None) => continue,
                    (Some(before), Some(_)) => moved.push((uri.clone(), before)),
                    (None, _) => {}
                }
                subscribed.insert(uri, place);
            }
        };
        // Whatever is not answered by then is not granted.
        let _ = timeout(limits::ACKNOWLEDGE, noting).await;
    }

    /// Gives up what nobody wants any more.
    async fn unsubscribe(&mut self, wanted: &BTreeSet<&String>) {
        let mut given_up = std::mem::take(&mut self.given_up);
        self.subscribed.retain(|uri, place| {
            let is_wanted = wanted.contains(uri);
            let source = place.take_if(|_| !is_wanted).and_then(alive::<S>);
            given_up.extend(source.map(|source| (uri.clone(), source)));
            is_wanted
        });
        let sources = &self.sources;
        let telling = stream::iter(given_up)
            .map(async |(uri, source)| {
                let telling = sources.ask(&source, Method::Unsubscribe, subject(&uri));
                let _ = telling.await;
            })
            .buffer_unordered(limits::SUBSCRIBING)
            .collect::<()>();
        let _ = timeout(limits::ACKNOWLEDGE, telling).await;
    }

    /// What an ear will hear of what it asked for.
    fn granted(&self, ear: &Ear, offered: Option<&Object>) -> Interests {
        let Some(offered) = offered else {
            return Interests::default();
        };
        let is_subscribed = |uri: &&String| matches!(self.subscribed.get(*uri), Some(Some(_)));
        let asked = &ear.asked;
        Interests {
            tools: asked.tools && declares(offered, "tools", "listChanged"),
            prompts: asked.prompts && declares(offered, "prompts", "listChanged"),
            resources: asked.resources && declares(offered, "resources", "listChanged"),
            uris: asked.uris.iter().filter(is_subscribed).cloned().collect(),
        }
    }
}

/// Why there is no connection for those who only listen.
pub(super) fn full() -> UpstreamError {
    let why = "there is no room for another connection that is only listened to";
    UpstreamError::Unreachable(why.into())
}

fn alive<S: Sources>(place: Weak<S::Source>) -> Option<Arc<S::Source>> {
    place.upgrade().filter(|source| !S::is_over(source))
}

fn refuse(joining: Vec<Joining>, error: &UpstreamError) {
    for Joining { ear, granted } in joining {
        ear.over.cancel();
        let _ = granted.send(Err(error.clone()));
    }
}

/// The parameters of `resources/subscribe` and `resources/unsubscribe`.
fn subject(uri: &str) -> Object {
    let mut params = Object::default();
    params.set("uri", raw(json_string(uri)));
    params
}

fn declares(offered: &Object, capability: &str, what: &str) -> bool {
    let capability = offered.get_object(capability).unwrap_or_default();
    capability
        .get(what)
        .is_some_and(|value| value.get() == "true")
}
