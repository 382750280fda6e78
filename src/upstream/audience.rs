//! Who hears what the connections of one lane to a legacy server say outside of calls.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Notify, oneshot};

use crate::protocol::Object;

use super::asking::{Declared, Question};
use super::ears::Ear;
use super::opening::locked;
use super::standing::Stand;
use super::{Interests, UpstreamError};

/// The audiences of one server, one for each lane or owner of connections.
#[derive(Debug)]
pub(super) struct Audiences<W>(Mutex<HashMap<W, Weak<Audience>>>);

impl<W> Default for Audiences<W> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W: Eq + Hash + Clone> Audiences<W> {
    /// The audience of these connections, the same one for as long as anybody holds it.
    pub(super) fn of(&self, whose: &W) -> Arc<Audience> {
        let mut known = locked(&self.0);
        if let Some(audience) = known.get(whose).and_then(Weak::upgrade) {
            return audience;
        }
        known.retain(|_, audience| audience.strong_count() > 0);
        let audience = Arc::default();
        known.insert(whose.clone(), Arc::downgrade(&audience));
        audience
    }
}

/// The open ears of one lane.
#[derive(Debug, Default)]
pub(super) struct Audience {
    state: Mutex<State>,
    /// Told when an ear came, or a connection was opened or lost.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ears: Vec<Arc<Ear>>,
    joining: Vec<Joining>,
    /// The streams of the sessions of this lane, open or not.
    stands: Vec<Weak<Stand>>,
    /// Whether a connection was lost, so that something may have gone unheard.
    is_shaken: bool,
    has_keeper: bool,
}

/// An ear that waits to be told what it will hear.
#[derive(Debug)]
pub(super) struct Joining {
    pub(super) ear: Arc<Ear>,
    pub(super) granted: oneshot::Sender<Result<Interests, UpstreamError>>,
}

/// Who is there at one moment.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) ears: Vec<Arc<Ear>>,
    pub(super) joining: Vec<Joining>,
}

impl Audience {
    /// Whether anybody listens.
    pub(super) fn is_open(&self) -> bool {
        locked(&self.state).ears.iter().any(|ear| ear.is_open())
    }

    /// Hears a notification. Never waits.
    pub(super) fn hear(&self, method: &str, params: &Object) {
        for ear in &locked(&self.state).ears {
            ear.hear(method, params);
        }
    }

    /// Something may have gone unheard.
    pub(super) fn miss(&self) {
        for ear in &locked(&self.state).ears {
            ear.miss();
        }
    }

    /// Passes a question up that belongs to no call; `None` when it is to be refused. The server must have been told
    /// that it can ask this, and the agent that listens must have said so too.
    pub(super) fn ask(
        &self,
        declared: Option<&Arc<Declared>>,
        method: &str,
        params: &Object,
    ) -> Option<Question> {
        declared.filter(|declared| declared.allows(method))?;
        let state = locked(&self.state);
        state.ears.iter().find_map(|ear| ear.ask(method, params))
    }

    /// Lets an ear in; with what it will hear, whether a keeper must be started.
    pub(super) fn join(
        &self,
        ear: Arc<Ear>,
    ) -> (oneshot::Receiver<Result<Interests, UpstreamError>>, bool) {
        let (granted, receiver) = oneshot::channel();
        let mut state = locked(&self.state);
        state.ears.push(ear.clone());
        state.joining.push(Joining { ear, granted });
        self.changed.notify_one();
        (receiver, !std::mem::replace(&mut state.has_keeper, true))
    }

    /// A connection was opened.
    pub(super) fn meet(&self) {
        self.changed.notify_one();
    }

    /// A connection was lost.
    pub(super) fn shake(&self) {
        locked(&self.state).is_shaken = true;
        self.changed.notify_one();
    }

    /// Whether a connection was lost since this was asked last.
    pub(super) fn was_shaken(&self) -> bool {
        std::mem::take(&mut locked(&self.state).is_shaken)
    }

    /// Forgets who left, and says who is there.
    pub(super) fn present(&self) -> Present {
        let mut state = locked(&self.state);
        state.ears.retain(|ear| ear.is_open());
        state.joining.retain(|joining| joining.ear.is_open());
        Present {
            ears: state.ears.clone(),
            joining: std::mem::take(&mut state.joining),
        }
    }

    /// Waits until somebody comes or goes, or a connection is opened or lost.
    pub(super) async fn stir(&self, ears: &[Arc<Ear>]) {
        let leaving = ears.iter().map(|ear| Box::pin(ear.over.cancelled()));
        tokio::select! {
            () = self.changed.notified() => {}
            _ = futures_util::future::select_all(leaving) => {}
        }
    }

    /// Lets the keeper go; `false` when somebody came meanwhile.
    pub(super) fn retire(&self) -> bool {
        let mut state = locked(&self.state);
        state.has_keeper = state.ears.iter().any(|ear| ear.is_open());
        !state.has_keeper
    }

    /// Remembers the stream of a session; with whether it is to be opened now.
    pub(super) fn enroll(&self, stand: &Arc<Stand>) -> bool {
        let mut state = locked(&self.state);
        state.stands.retain(|stand| stand.strong_count() > 0);
        state.stands.push(Arc::downgrade(stand));
        state.ears.iter().any(|ear| ear.is_open())
    }

    /// Opens the streams of all sessions there are.
    pub(super) async fn open_stands(&self) {
        let stands = self.stands();
        let opening = stands.iter().map(|stand| stand.open());
        futures_util::future::join_all(opening).await;
    }

    /// Closes the streams that were open for nothing but ears.
    pub(super) async fn close_stands(&self) {
        for stand in self.stands() {
            stand.close().await;
        }
    }

    fn stands(&self) -> Vec<Arc<Stand>> {
        let state = locked(&self.state);
        state.stands.iter().filter_map(Weak::upgrade).collect()
    }
}

/// What a connection does with what belongs to no call.
#[derive(Debug, Clone)]
pub(super) struct Hearers {
    pub(super) audience: Arc<Audience>,
    /// What the server was told about the agent.
    pub(super) declared: Option<Arc<Declared>>,
}

impl Hearers {
    pub(super) fn hear(&self, method: &str, params: &Object) {
        self.audience.hear(method, params);
    }

    pub(super) fn ask(&self, method: &str, params: &Object) -> Option<Question> {
        self.audience.ask(self.declared.as_ref(), method, params)
    }
}
