//! All audiences: by session, and the streams of 2026-07-28 by agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::protocol::{Method, Object, RequestId};
use crate::types::{AgentName, ServerName};
use crate::upstream::Interests;

use super::audience::Audience;
use super::known::{GivenPage, Knowledge};
use super::recheck::LOOKS;
use super::stages::Caller;
use super::{AgentEra, Failure, Scope};

/// Streams of `subscriptions/listen` that one agent has open.
const MAX_LISTENS: usize = 64;

/// All audiences.
#[derive(Debug)]
pub(super) struct Audiences {
    sessions: Mutex<HashMap<Arc<str>, Arc<Audience>>>,
    listens: Mutex<HashMap<AgentName, OfAgent>>,
    looks: Semaphore,
    closing: CancellationToken,
}

/// The streams of one agent, and the lists its clients got. As many as the rules have agents.
#[derive(Debug)]
struct OfAgent {
    open: Vec<Arc<Audience>>,
    knowledge: Knowledge,
}

impl Default for Audiences {
    fn default() -> Self {
        Self {
            sessions: Mutex::default(),
            listens: Mutex::default(),
            looks: Semaphore::new(LOOKS),
            closing: CancellationToken::new(),
        }
    }
}

impl Default for OfAgent {
    fn default() -> Self {
        Self {
            open: Vec::new(),
            knowledge: Knowledge::shared(),
        }
    }
}

impl Audiences {
    /// A session began.
    pub(super) fn begin(&self, session: &Arc<str>, scope: &Scope) {
        let audience = Audience::of_session(scope.clone(), self.closing.child_token());
        locked(&self.sessions).insert(Arc::clone(session), Arc::new(audience));
    }

    /// A session ended.
    pub(super) fn end(&self, session: &str) {
        if let Some(audience) = locked(&self.sessions).remove(session) {
            audience.ended.cancel();
        }
    }

    /// The audience of a caller's session.
    pub(super) fn of_session(&self, caller: &Caller) -> Option<Arc<Audience>> {
        match caller.era {
            AgentEra::Session(_) => {
                let session = caller.session.as_deref()?;
                locked(&self.sessions).get(session).map(Arc::clone)
            }
            AgentEra::Bare | AgentEra::Modern => None,
        }
    }

    /// Opens an audience for one request.
    ///
    /// # Errors
    /// When the agent has too many already.
    pub(super) fn listen(
        self: &Arc<Self>,
        agent: &AgentName,
        scope: &Scope,
        id: &RequestId,
        lists: Interests,
    ) -> Result<OpenListen, Failure> {
        let mut listens = locked(&self.listens);
        let of_agent = listens.entry(agent.clone()).or_default();
        if of_agent.open.len() >= MAX_LISTENS {
            return Err(Failure::TooMany {
                what: "open streams",
                limit: MAX_LISTENS,
            });
        }
        let ended = self.closing.child_token();
        let audience = Audience::new(scope.clone(), Some(id.clone()), lists, ended);
        audience.with_knowledge(|known| known.clone_from(&of_agent.knowledge));
        let audience = Arc::new(audience);
        of_agent.open.push(Arc::clone(&audience));
        Ok(OpenListen {
            audiences: Arc::clone(self),
            agent: agent.clone(),
            audience,
        })
    }

    /// Notes a page of a list that an agent got.
    pub(super) fn got(
        &self,
        caller: &Caller,
        server: &ServerName,
        method: Method,
        page: &GivenPage<'_>,
    ) {
        self.teach(caller, |known| known.got(server, method, page));
    }

    /// Notes that an agent got the rest of a list of which this is the whole.
    pub(super) fn got_rest(
        &self,
        caller: &Caller,
        server: &ServerName,
        method: Method,
        whole: &[Object],
    ) {
        self.teach(caller, |known| known.got_rest(server, method, whole));
    }

    /// Notes that an agent asked for a list and did not get it.
    pub(super) fn missed(&self, caller: &Caller, server: &ServerName, method: Method) {
        self.teach(caller, |known| known.forget(server, method));
    }

    fn teach(&self, caller: &Caller, lesson: impl Fn(&mut Knowledge)) {
        match caller.era {
            AgentEra::Bare => {}
            AgentEra::Session(_) => {
                if let Some(audience) = self.of_session(caller) {
                    audience.with_knowledge(lesson);
                }
            }
            AgentEra::Modern => {
                let mut listens = locked(&self.listens);
                let of_agent = listens.entry(caller.agent.name.clone()).or_default();
                lesson(&mut of_agent.knowledge);
                for audience in &of_agent.open {
                    audience.with_knowledge(&lesson);
                }
            }
        }
    }

    /// All there are.
    pub(super) fn all(&self) -> Vec<Arc<Audience>> {
        let mut all: Vec<_> = locked(&self.sessions).values().cloned().collect();
        let listens = locked(&self.listens);
        let open = listens.values().flat_map(|of_agent| &of_agent.open);
        all.extend(open.cloned());
        all
    }

    /// Places for looks at lists.
    pub(super) fn looks(&self) -> &Semaphore {
        &self.looks
    }

    /// Ends all streams, those that are still to come too.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Resolves when they were ended.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }
}

/// An audience of one request; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct OpenListen {
    audiences: Arc<Audiences>,
    agent: AgentName,
    pub(super) audience: Arc<Audience>,
}

impl Drop for OpenListen {
    fn drop(&mut self) {
        self.audience.ended.cancel();
        if let Some(of_agent) = locked(&self.audiences.listens).get_mut(&self.agent) {
            of_agent
                .open
                .retain(|audience| !Arc::ptr_eq(audience, &self.audience));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
