//! Sessions of agents that opened with `initialize`. Bound to the agent, bounded in number and time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::gateway::Scope;
use crate::protocol::{LogLevel, Object, Version};
use crate::types::AgentName;

/// Sessions of all agents together; the one that was silent longest makes room.
const MAX_SESSIONS: usize = 10_000;

/// Sessions of one agent.
const MAX_OF_AGENT: usize = 1_000;

/// How long a session may be silent. Many clients never say that they leave.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// What was agreed on with a client.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) agent: AgentName,
    pub(super) scope: Scope,
    pub(super) version: Version,
    pub(super) client: Option<String>,
    pub(super) log_level: Option<LogLevel>,
    /// What the client declared it can do.
    pub(super) capabilities: Object,
    /// Where everything for this client goes, in the old transport of two endpoints; none with streamable HTTP.
    pub(super) stream: Option<mpsc::Sender<String>>,
}

#[derive(Debug)]
struct Kept {
    session: Session,
    last_used: Duration,
}

/// All sessions, by id.
#[derive(Debug)]
pub(super) struct Sessions {
    clock: Arc<dyn Clock>,
    by_id: Mutex<HashMap<Arc<str>, Kept>>,
}

impl Sessions {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            by_id: Mutex::new(HashMap::new()),
        }
    }

    /// Opens a session. Returns its id and the ids of sessions that had to make room.
    pub(super) fn open(&self, id: Arc<str>, session: Session) -> Vec<(Arc<str>, Session)> {
        let now = self.clock.monotonic();
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = by_id
            .iter()
            .filter(|(_, kept)| now.saturating_sub(kept.last_used) > IDLE);
        let mut ended: Vec<Arc<str>> = idle.map(|(id, _)| Arc::clone(id)).collect();
        let of_agent = by_id
            .values()
            .filter(|kept| kept.session.agent == session.agent)
            .count();
        if ended.is_empty() && (of_agent >= MAX_OF_AGENT || by_id.len() >= MAX_SESSIONS) {
            let crowd = by_id
                .iter()
                .filter(|(_, kept)| of_agent < MAX_OF_AGENT || kept.session.agent == session.agent);
            ended.extend(
                crowd
                    .min_by_key(|(_, kept)| kept.last_used)
                    .map(|(id, _)| Arc::clone(id)),
            );
        }
        let ended = ended
            .into_iter()
            .filter_map(|id| by_id.remove(&id).map(|kept| (id, kept.session)))
            .collect();
        by_id.insert(
            id,
            Kept {
                session,
                last_used: now,
            },
        );
        ended
    }

    /// The session with this id, if it is this agent's, on this endpoint, and not over.
    pub(super) fn find(
        &self,
        id: &str,
        agent: &AgentName,
        scope: &Scope,
    ) -> Option<(Arc<str>, Session)> {
        let now = self.clock.monotonic();
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, _) = by_id.get_key_value(id)?;
        let key = Arc::clone(key);
        let kept = by_id.get_mut(id)?;
        let over = now.saturating_sub(kept.last_used) > IDLE;
        if over || kept.session.agent != *agent || kept.session.scope != *scope {
            return None;
        }
        kept.last_used = now;
        Some((key, kept.session.clone()))
    }

    /// Notes that the client of a session is there. Says whether the session is.
    pub(super) fn touch(&self, id: &str) -> bool {
        let now = self.clock.monotonic();
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = by_id.get_mut(id);
        kept.map(|kept| kept.last_used = now).is_some()
    }

    /// The session of this agent with a stream of its own, on whichever endpoint it was opened.
    pub(super) fn find_stream(&self, id: &str, agent: &AgentName) -> Option<(Arc<str>, Session)> {
        let scope = {
            let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
            let session = &by_id.get(id)?.session;
            session.stream.as_ref()?;
            session.scope.clone()
        };
        self.find(id, agent, &scope)
    }

    /// Notes what `initialize` agreed on, in a session that was there before it.
    pub(super) fn agree(
        &self,
        id: &str,
        version: Version,
        client: Option<String>,
        capabilities: Object,
    ) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = by_id.get_mut(id) {
            kept.session.version = version;
            kept.session.client = client;
            kept.session.capabilities = capabilities;
        }
    }

    /// Sets how severe a log line must be for this session.
    pub(super) fn set_level(&self, id: &str, level: LogLevel) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = by_id.get_mut(id) {
            kept.session.log_level = Some(level);
        }
    }

    /// Ends a session.
    pub(super) fn close(&self, id: &str) {
        self.by_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn session(agent: &str) -> Session {
        Session {
            agent: agent.parse().unwrap(),
            scope: Scope::All,
            version: Version::V2025_06_18,
            client: None,
            log_level: None,
            capabilities: Object::default(),
            stream: None,
        }
    }

    #[test]
    fn a_session_is_its_agents_alone_and_ends_when_silent() {
        let clock = Arc::new(ManualClock::at(Default::default()));
        let sessions = Sessions::new(clock.clone());
        sessions.open("s1".into(), session("a"));
        let a: AgentName = "a".parse().unwrap();
        assert!(sessions.find("s1", &a, &Scope::All).is_some());
        assert!(
            sessions
                .find("s1", &"b".parse().unwrap(), &Scope::All)
                .is_none()
        );
        assert!(
            sessions
                .find("s1", &a, &Scope::One("x".parse().unwrap()))
                .is_none()
        );
        clock.advance(IDLE);
        assert!(
            sessions.find("s1", &a, &Scope::All).is_some(),
            "used again just in time"
        );
        clock.advance(IDLE);
        assert!(sessions.touch("s1"), "its stream is open");
        clock.advance(IDLE);
        assert!(sessions.find("s1", &a, &Scope::All).is_some());
        clock.advance(IDLE + Duration::from_secs(1));
        assert!(sessions.find("s1", &a, &Scope::All).is_none());
    }

    #[test]
    fn the_longest_silent_session_of_an_agent_makes_room() {
        let clock = Arc::new(ManualClock::at(Default::default()));
        let sessions = Sessions::new(clock.clone());
        sessions.open("other".into(), session("b"));
        for number in 0..MAX_OF_AGENT {
            clock.advance(Duration::from_millis(1));
            sessions.open(number.to_string().into(), session("a"));
        }
        let ended = sessions.open("one more".into(), session("a"));
        assert_eq!(ended.len(), 1);
        assert_eq!(&*ended[0].0, "0");
        assert!(
            sessions
                .find("other", &"b".parse().unwrap(), &Scope::All)
                .is_some()
        );
    }
}
