//! The ears of an audience: one at each server, which opens, hears, is retuned when other things are wanted, and
//! opens again when it was lost. Each time it opens is a call in the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::budget::Ending;
use crate::policy::{Question, Target, is_granted};
use crate::protocol::{Method, Object};
use crate::types::ServerName;
use crate::upstream::{Description, Interests, List, Listening, News};

use super::audience::{Audience, Identity};
use super::entries;
use super::opening::subscribes;
use super::recheck::plain;
use super::stages::{Reserved, Subject, Wish};
use super::{Failure, Gateway};

/// News of one server that wait to be looked at.
const NEWS: usize = 64;

/// The pause before an ear that was lost is opened again; doubles each time, up to the last.
const REOPEN_FIRST: Duration = Duration::from_secs(1);

/// The longest pause before an ear is opened again.
const REOPEN_LAST: Duration = Duration::from_secs(300);

/// Something to do for an ear.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) change: Change,
    /// Takes what the server agreed to.
    pub(super) done: oneshot::Sender<Result<Interests, Failure>>,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Change {
    /// Hear what the audience wants to hear now.
    Tune,
    /// Hear of a resource too, and when it changed, name it so.
    Subscribe { own: String, asked: String },
    /// Hear of it no more.
    Unsubscribe { own: String },
}

/// One ear.
#[derive(Debug)]
struct Ear {
    gateway: Arc<Gateway>,
    audience: Arc<Audience>,
    server: ServerName,
    open: Option<Open>,
    /// What a 2026-07-28 agent was told that it will hear of.
    promised: Option<Interests>,
    /// Whether it is to be opened again after the pause.
    is_lost: bool,
    pause: Duration,
}

/// What is heard.
#[derive(Debug)]
struct Open {
    asked: Interests,
    listening: Listening,
    news: mpsc::Receiver<News>,
}

impl Gateway {
    /// The way to the ear of an audience at a server.
    pub(super) fn ear(
        self: &Arc<Self>,
        audience: &Arc<Audience>,
        identity: &Identity,
        server: &ServerName,
    ) -> mpsc::Sender<Order> {
        audience.ear(identity, server, |orders, token| {
            let ear = Ear {
                gateway: Arc::clone(self),
                audience: Arc::clone(audience),
                server: server.clone(),
                open: None,
                promised: None,
                is_lost: false,
                pause: REOPEN_FIRST,
            };
            self.calls.spawn(attend(ear, orders, token));
        })
    }

    /// Opens an ear as an admitted call.
    async fn open_ear(
        &self,
        reserved: Reserved,
        interests: Interests,
        capabilities: Object,
    ) -> Result<Open, Failure> {
        let (news, heard) = mpsc::channel(NEWS);
        let (forwarded, listening) = self
            .forwarder
            .listen(reserved, interests.clone(), capabilities, news)
            .await;
        let entry = entries::closing(&forwarded);
        let ending = self.settlement(&forwarded);
        forwarded.open.close(entry, ending).await;
        match listening {
            Ok(listening) => Ok(Open {
                asked: interests,
                listening,
                news: heard,
            }),
            Err(error) => Err(Failure::Upstream {
                server: forwarded.request.wish.server,
                error,
                call: forwarded.request.call,
                figures: None,
            }),
        }
    }

    /// Ends an admitted call for which the server need not be asked.
    async fn spare(&self, reserved: Option<Reserved>) {
        let Some(reserved) = reserved else { return };
        let entry = entries::never_forwarded(reserved.request.call);
        reserved.open.close(entry, Ending::Unsent).await;
    }
}

async fn attend(mut ear: Ear, mut orders: mpsc::Receiver<Order>, ended: CancellationToken) {
    let attending = async {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => ear.obey(order).await,
                    None => return,
                },
                news = next(&mut ear.open) => match news {
                    Some(news) => ear.hear(news),
                    None => ear.lose(),
                },
                () = sleep(ear.pause), if ear.is_lost => ear.reopen().await,
            }
        }
    };
    ended.run_until_cancelled(attending).await;
}

async fn next(open: &mut Option<Open>) -> Option<News> {
    match open {
        Some(open) => open.news.recv().await,
        None => std::future::pending().await,
    }
}

impl Ear {
    async fn obey(&mut self, order: Order) {
        let result = match order.change {
            Change::Tune => self.tune().await,
            Change::Subscribe { own, asked } => self.subscribe(&own, asked).await,
            Change::Unsubscribe { own } => self.unsubscribe(&own).await,
        };
        let is_promised = order.done.send(result).is_ok();
        if self.audience.tag.is_some() && !is_promised {
            // The agent was told without waiting any longer that it will hear nothing of this server.
            (self.open, self.is_lost) = (None, false);
        }
    }

    /// Hears what the audience wants to hear now.
    async fn tune(&mut self) -> Result<Interests, Failure> {
        let was_lost = self.is_lost;
        self.retune_or_retry().await?;
        if was_lost || self.audience.was_away() {
            self.catch_up();
        }
        let granted = self.granted();
        if self.audience.tag.is_some() {
            self.promised.get_or_insert_with(|| granted.clone());
        }
        Ok(granted)
    }

    async fn subscribe(&mut self, own: &str, asked: String) -> Result<Interests, Failure> {
        let (identity, reserved) = self.reserve(Method::Subscribe, own).await?;
        if let Err(failure) = self.audience.subscribe(&self.server, own, &asked) {
            self.gateway.spare(Some(reserved)).await;
            return Err(failure);
        }
        let retuned = self.retune(&identity, Some(reserved)).await;
        let granted = self.granted();
        if retuned.is_ok() && granted.uris.contains(own) {
            return Ok(granted);
        }
        self.audience.unsubscribe(&self.server, own);
        Err(if subscribes(&*retuned?) {
            Failure::UnknownResource(asked)
        } else {
            Failure::UnknownMethod(Method::Subscribe.as_str().into())
        })
    }

    async fn unsubscribe(&mut self, own: &str) -> Result<Interests, Failure> {
        // Whatever becomes of the call, the agent hears no more of it.
        self.audience.unsubscribe(&self.server, own);
        let (identity, reserved) = self.reserve(Method::Unsubscribe, own).await?;
        if self.retune(&identity, Some(reserved)).await.is_err() {
            tracing::debug!(server = %self.server, "an ear stays open for more than is wanted");
        }
        Ok(self.granted())
    }

    async fn reopen(&mut self) {
        self.pause = REOPEN_LAST.min(self.pause * 2);
        if self.retune_or_retry().await.is_ok() {
            self.catch_up();
        }
    }

    async fn retune_or_retry(&mut self) -> Result<(), Failure> {
        let identity = self.identity()?;
        let retuned = self.retune(&identity, None).await;
        // Where the rules say no, asking again would only fill the log.
        self.is_lost = matches!(retuned, Err(Failure::Upstream { .. } | Failure::Unrecorded));
        retuned.map(drop)
    }

    /// Opens the ear anew when something else is wanted than it is open for, as part of the given call or as a
    /// call of its own. Returns what the server is.
    async fn retune(
        &mut self,
        identity: &Identity,
        reserved: Option<Reserved>,
    ) -> Result<Arc<Description>, Failure> {
        let lane = identity.caller.lane();
        let can = match self.gateway.forwarder.describe(&self.server, &lane).await {
            Ok(can) => can,
            Err(error) => {
                let call = match &reserved {
                    Some(reserved) => reserved.request.call,
                    None => self.gateway.new_call(),
                };
                self.gateway.spare(reserved).await;
                return Err(Failure::Upstream {
                    server: self.server.clone(),
                    error,
                    call,
                    figures: None,
                });
            }
        };
        let wanted = self
            .audience
            .interests(&self.server, &can, &identity.capabilities);
        if wanted.is_none() {
            self.open = None;
        }
        let heard = self.open.as_ref().map(|open| &open.asked);
        match wanted.filter(|wanted| heard != Some(wanted)) {
            Some(wanted) => self.open_for(identity, wanted, reserved).await?,
            None => self.gateway.spare(reserved).await,
        }
        Ok(can)
    }

    async fn open_for(
        &mut self,
        identity: &Identity,
        wanted: Interests,
        reserved: Option<Reserved>,
    ) -> Result<(), Failure> {
        let reserved = match reserved {
            Some(reserved) => reserved,
            None => {
                let wish = wish(&self.server, Method::Listen, Subject::Listing);
                self.gateway.reserve(&identity.caller, wish).await?
            }
        };
        let capabilities = identity.capabilities.clone();
        // The old ear is open until the new one is, so that nothing is missed in between.
        let open = self.gateway.open_ear(reserved, wanted, capabilities).await;
        self.open = Some(open?);
        Ok(())
    }

    /// The call of a subscription, if the rules allow it.
    async fn reserve(&self, method: Method, uri: &str) -> Result<(Identity, Reserved), Failure> {
        let identity = self.identity()?;
        let wish = wish(&self.server, method, Subject::Resource(uri.into()));
        let reserved = self.gateway.reserve(&identity.caller, wish).await?;
        Ok((identity, reserved))
    }

    fn identity(&self) -> Result<Identity, Failure> {
        self.audience.identity().ok_or(Failure::Cancelled)
    }

    fn granted(&self) -> Interests {
        let open = self.open.as_ref();
        open.map(|open| open.listening.granted.clone())
            .unwrap_or_default()
    }

    fn hear(&mut self, news: News) {
        self.pause = REOPEN_FIRST;
        match news {
            News::Changed(list) => {
                if self.is_promised(list) {
                    self.gateway.suspect(&self.audience, &self.server, list);
                }
            }
            News::Updated(params) => {
                let uri = params.get_str("uri").map(|uri| uri.into_owned());
                if let Some(uri) = uri.filter(|uri| self.may_read(uri)) {
                    self.audience.updated(&self.server, &uri, params);
                }
            }
            News::Ask(ask) => self.audience.ask(ask, &self.gateway.asks),
        }
    }

    fn is_promised(&self, list: List) -> bool {
        let promised = self.promised.as_ref();
        promised.is_none_or(|promised| match list {
            List::Tools => promised.tools,
            List::Prompts => promised.prompts,
            List::Resources => promised.resources,
        })
    }

    fn may_read(&self, uri: &str) -> bool {
        self.audience.identity().is_some_and(|identity| {
            let question = Question {
                agent: &identity.caller.agent,
                server: &self.server,
                target: Target::Resource(uri),
                arguments: None,
                at: self.gateway.clock.now(),
                peer: identity.caller.peer,
            };
            is_granted(&identity.caller.permissions, &question)
        })
    }

    /// The server cannot be heard any more. One that has nothing to say is not asked again.
    fn lose(&mut self) {
        self.is_lost = self.granted() != Interests::default();
        self.open = None;
    }

    /// While nobody listened, anything may have changed.
    fn catch_up(&self) {
        for list in [List::Tools, List::Prompts, List::Resources] {
            if self.audience.knows(&self.server, list) && self.is_promised(list) {
                self.gateway.suspect(&self.audience, &self.server, list);
            }
        }
        for uri in self.granted().uris {
            if self.may_read(&uri) {
                self.audience.updated(&self.server, &uri, Object::default());
            }
        }
    }
}

fn wish(server: &ServerName, method: Method, subject: Subject) -> Wish {
    Wish {
        server: server.clone(),
        subject,
        request: plain(method),
        purpose: String::new(),
        key: None,
        continues: None,
    }
}
