//! Those who hear what servers say outside of requests: a session with its standing stream, or one
//! `subscriptions/listen` (2026-07-28). What is heard for one of them waits here until its stream takes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::protocol::{Method, Object, RequestId};
use crate::types::ServerName;
use crate::upstream::{Ask, Description, Era, Interests, List, Notice};

use super::asks::Asks;
use super::ears::Order;
use super::known::Knowledge;
use super::listener::{Asking, Ear, Listener};
use super::opening::{subscribes, tells};
use super::stages::Caller;
use super::waiting::Waiting;
use super::{Failure, Part, Scope};

/// Resources that one session or one stream is subscribed to.
pub(super) const MAX_SUBSCRIPTIONS: usize = 256;

/// Changes of subscriptions that wait for one ear; then those who want more wait.
const ORDERS: usize = 16;

/// Questions of servers that wait for one stream; more are refused.
const QUESTIONS: usize = 16;

/// Lists that may have changed.
type Suspects = BTreeSet<(ServerName, List)>;

/// Who hears.
#[derive(Debug)]
pub(super) struct Audience {
    pub(super) scope: Scope,
    /// The request whose stream it is (2026-07-28); none for a session.
    pub(super) tag: Option<RequestId>,
    /// The lists it wants to hear of.
    lists: Interests,
    pub(super) ended: CancellationToken,
    state: Mutex<State>,
    /// Rung when something waits.
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    stage: Option<Stage>,
    hearing: Option<Hearing>,
    /// What it is subscribed to, by server: the server's own URI, and the agent's form of it.
    uris: BTreeMap<ServerName, BTreeMap<String, String>>,
    knowledge: Knowledge,
    waiting: Waiting,
    suspects: Suspects,
    is_checking: bool,
    /// Whether it had a stream before, so that it may have missed something.
    was_away: bool,
}

/// Where messages go.
#[derive(Debug)]
struct Stage {
    token: CancellationToken,
    questions: mpsc::Sender<Part>,
}

/// All ears of an audience, from the first need of them until its stream is closed.
#[derive(Debug)]
struct Hearing {
    identity: Identity,
    token: CancellationToken,
    ears: HashMap<ServerName, mpsc::Sender<Order>>,
}

/// In whose name servers are listened to.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) caller: Arc<Caller>,
    /// What the agent can be asked.
    pub(super) capabilities: Object,
}

impl Audience {
    /// The audience of a session, which has no stream yet.
    pub(super) fn of_session(scope: Scope, ended: CancellationToken) -> Self {
        let all = Interests {
            tools: true,
            prompts: true,
            resources: true,
            uris: BTreeSet::new(),
        };
        Self::new(scope, None, all, ended)
    }

    /// The audience of one request.
    pub(super) fn new(
        scope: Scope,
        tag: Option<RequestId>,
        lists: Interests,
        ended: CancellationToken,
    ) -> Self {
        Self {
            scope,
            tag,
            lists,
            ended,
            state: Mutex::default(),
            bell: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the stream. One that was open before ends: its client lost it, or it would not open another.
    pub(super) fn stand(self: &Arc<Self>, identity: &Identity) -> NewsStream {
        let token = self.ended.child_token();
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let mut state = self.state();
        let stage = Stage {
            token: token.clone(),
            questions,
        };
        if let Some(old) = state.stage.replace(stage) {
            old.token.cancel();
            state.was_away = true;
        }
        self.hearing(&mut state, identity);
        NewsStream {
            audience: Arc::clone(self),
            token,
            asked,
        }
    }

    /// The way to the ear at a server. Where there is none, `open` makes one that takes orders and ends with the
    /// token.
    pub(super) fn ear(
        &self,
        identity: &Identity,
        server: &ServerName,
        open: impl FnOnce(mpsc::Receiver<Order>, CancellationToken),
    ) -> mpsc::Sender<Order> {
        let mut state = self.state();
        let hearing = self.hearing(&mut state, identity);
        match hearing.ears.get(server).filter(|ear| !ear.is_closed()) {
            Some(ear) => ear.clone(),
            None => {
                let (orders, taken) = mpsc::channel(ORDERS);
                hearing.ears.insert(server.clone(), orders.clone());
                open(taken, hearing.token.clone());
                orders
            }
        }
    }

    /// The ears that are open in this name.
    fn hearing<'s>(&self, state: &'s mut State, identity: &Identity) -> &'s mut Hearing {
        let hearing = state.hearing.get_or_insert_with(|| Hearing {
            identity: identity.clone(),
            token: self.ended.child_token(),
            ears: HashMap::new(),
        });
        hearing.identity = identity.clone();
        hearing
    }

    /// Goes on in this name, which may hear no other servers than these.
    pub(super) fn hear_only(&self, identity: &Identity, servers: &[ServerName]) {
        if let Some(hearing) = &mut self.state().hearing {
            hearing.identity = identity.clone();
            hearing.ears.retain(|server, _| servers.contains(server));
        }
    }

    /// Ends the stream and all ears: whoever opened it may hear no more.
    pub(super) fn hush(&self) {
        let mut state = self.state();
        if let Some(stage) = state.stage.take() {
            stage.token.cancel();
            state.was_away = true;
        }
        Self::stop_hearing(&mut state);
    }

    /// Whether it has a stream, and wants to hear there of changes of this kind of list.
    pub(super) fn hears_of(&self, list: List) -> bool {
        let wanted = match list {
            List::Tools => self.lists.tools,
            List::Prompts => self.lists.prompts,
            List::Resources => self.lists.resources,
        };
        wanted && self.state().stage.is_some()
    }

    /// In whose name servers are listened to now.
    pub(super) fn identity(&self) -> Option<Identity> {
        Some(self.state().hearing.as_ref()?.identity.clone())
    }

    /// Ends all ears.
    fn stop_hearing(state: &mut State) {
        if let Some(hearing) = state.hearing.take() {
            hearing.token.cancel();
        }
        state.suspects.clear();
        state.is_checking = false;
    }

    /// What it wants to hear of a server that can do so much; `None` when that is nothing.
    pub(super) fn interests(
        &self,
        server: &ServerName,
        can: &Description,
        capabilities: &Object,
    ) -> Option<Interests> {
        let state = self.state();
        let stands = state.stage.is_some();
        let tells = |list| stands && tells(can, list);
        let interests = Interests {
            tools: self.lists.tools && tells(List::Tools),
            prompts: self.lists.prompts && tells(List::Prompts),
            resources: self.lists.resources && tells(List::Resources),
            uris: match state.uris.get(server) {
                Some(uris) if subscribes(can) => uris.keys().cloned().collect(),
                Some(_) | None => BTreeSet::new(),
            },
        };
        let may_ask = stands && can.era == Era::Legacy && !capabilities.is_empty();
        (may_ask || interests != Interests::default()).then_some(interests)
    }

    /// Subscribes to a resource.
    ///
    /// # Errors
    /// When there are too many subscriptions already.
    pub(super) fn subscribe(
        &self,
        server: &ServerName,
        own: &str,
        asked: &str,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        let number: usize = state.uris.values().map(BTreeMap::len).sum();
        let uris = state.uris.entry(server.clone()).or_default();
        if number >= MAX_SUBSCRIPTIONS && !uris.contains_key(own) {
            return Err(Failure::TooMany {
                what: "subscriptions",
                limit: MAX_SUBSCRIPTIONS,
            });
        }
        uris.insert(own.into(), asked.into());
        Ok(())
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, server: &ServerName, own: &str) {
        let mut state = self.state();
        let Some(uris) = state.uris.get_mut(server) else {
            return;
        };
        let asked = uris.remove(own);
        if uris.is_empty() {
            state.uris.remove(server);
        }
        if let Some(asked) = asked {
            state.waiting.forget(&asked);
        }
    }

    /// The servers it is subscribed to something of, and the agent's forms of the URIs.
    pub(super) fn subscriptions(&self) -> BTreeMap<ServerName, BTreeMap<String, String>> {
        self.state().uris.clone()
    }

    /// A resource was updated. It reaches only those who subscribed to it, or to what it is a part of.
    pub(super) fn updated(&self, server: &ServerName, own: &str, params: Object) {
        let mut state = self.state();
        let asked = state.uris.get(server).and_then(|uris| {
            let (subscribed, asked) = uris.iter().find(|(uri, _)| is_part(own, uri))?;
            Some(format!("{asked}{}", own.strip_prefix(subscribed.as_str())?))
        });
        if let Some(asked) = asked {
            state.waiting.updated(&asked, params);
            self.bell.notify_one();
        }
    }

    /// A list that the agent sees is another one.
    pub(super) fn changed(&self, list: List) {
        self.state().waiting.changed(list);
        self.bell.notify_one();
    }

    /// Puts a server's question to the agent, if it listens now.
    pub(super) fn ask(&self, ask: Ask, asks: &Arc<Asks>) {
        let state = self.state();
        let (Some(stage), Some(hearing)) = (&state.stage, &state.hearing) else {
            return; // Dropped, it is refused.
        };
        let Some(session) = &hearing.identity.caller.session else {
            return;
        };
        let listener = Listener {
            ear: Ear::Request(stage.questions.clone()),
            hangup_cancels: false,
            // Whose stream has ended cannot answer what came on it.
            cancelled: stage.token.clone(),
            asking: Asking::Push {
                session: Arc::clone(session),
                declared: hearing.identity.capabilities.clone(),
            },
            asks: Arc::clone(asks),
            task: None,
            until: None,
            places: None,
        };
        listener.pass(Notice::Ask(ask));
    }

    /// What the agent knows of lists.
    pub(super) fn with_knowledge<T>(&self, look: impl FnOnce(&mut Knowledge) -> T) -> T {
        look(&mut self.state().knowledge)
    }

    /// Whether the agent has a list that could have become old.
    pub(super) fn knows(&self, server: &ServerName, list: List) -> bool {
        let state = self.state();
        let mut methods = methods(list).iter();
        methods.any(|method| state.knowledge.of(server, *method).is_some())
    }

    /// Notes that a list may have changed. Says whether somebody has to be sent to look.
    pub(super) fn suspect(&self, server: &ServerName, list: List) -> Option<CancellationToken> {
        let mut state = self.state();
        let token = state.hearing.as_ref()?.token.clone();
        state.suspects.insert((server.clone(), list));
        (!std::mem::replace(&mut state.is_checking, true)).then_some(token)
    }

    /// What has to be looked at; `None` when whoever looks can go.
    pub(super) fn take_suspects(&self) -> Option<(Arc<Caller>, Suspects)> {
        let mut state = self.state();
        let suspects = std::mem::take(&mut state.suspects);
        let hearing = state.hearing.as_ref().filter(|_| !suspects.is_empty());
        let caller = hearing.map(|hearing| Arc::clone(&hearing.identity.caller));
        if caller.is_none() {
            state.is_checking = false;
        }
        Some((caller?, suspects))
    }

    /// Whether it may have missed something while it had no stream.
    pub(super) fn was_away(&self) -> bool {
        self.state().was_away
    }
}

/// What a list is got with.
pub(super) fn methods(list: List) -> &'static [Method] {
    match list {
        List::Tools => &[Method::ToolsList],
        List::Prompts => &[Method::PromptsList],
        List::Resources => &[Method::ResourcesList, Method::TemplatesList],
    }
}

/// Whether a resource is what was subscribed to, or a part of it (MCP 2025-11-25, resources, subscriptions).
fn is_part(uri: &str, of: &str) -> bool {
    uri.strip_prefix(of).is_some_and(|rest| {
        rest.is_empty() || of.ends_with('/') || rest.starts_with(['/', '#', '?'])
    })
}

/// The stream of an audience. Dropped, everything that was open for it ends.
#[derive(Debug)]
pub struct NewsStream {
    audience: Arc<Audience>,
    token: CancellationToken,
    asked: mpsc::Receiver<Part>,
}

impl NewsStream {
    /// The next message, as JSON text; `None` when there will be no more. Nothing is lost when it is not awaited
    /// to its end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if self.token.is_cancelled() {
                return None;
            }
            let audience = &self.audience;
            let message = audience.state().waiting.next(audience.tag.as_ref());
            if message.is_some() {
                return message;
            }
            tokio::select! {
                biased;
                () = self.token.cancelled() => return None,
                Some(Part::Notice(question)) = self.asked.recv() => return Some(question),
                () = audience.bell.notified() => {}
            }
        }
    }
}

impl Drop for NewsStream {
    fn drop(&mut self) {
        let mut state = self.audience.state();
        // Where another stream took the place of this one, the ears are that one's.
        if !self.token.is_cancelled() {
            state.stage = None;
            state.was_away = true;
            Audience::stop_hearing(&mut state);
        }
        self.token.cancel();
    }
}
