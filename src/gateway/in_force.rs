//! The rules in force: one immutable snapshot, swapped whole. A request takes one when its token is recognized, and
//! keeps it to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::{Entry, Kind};
use crate::budget::RateLimits;
use crate::policy::{Permissions, ToolLock};
use crate::types::{Connection, Revision, RulesText, Secret, ServerName, Timestamp, TokenHash};
use crate::upstream::SetupError;

use super::shadow::Shadow;
use super::stages::{AgentEra, Caller};
use super::{Gateway, Unrecorded};

/// A policy file that was read, checked, and has its placeholders filled.
#[derive(Debug)]
pub struct Edition {
    /// Who may do what.
    pub permissions: Arc<Permissions>,
    /// How to reach each server.
    pub connections: BTreeMap<ServerName, Connection>,
    /// The git commit it is taken from, as far as that is known.
    pub commit: Option<Arc<str>>,
    /// The file, to be kept.
    pub text: RulesText,
}

/// Why new rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum NotInForce {
    /// A server cannot be reached so.
    #[error("server `{0}`: {1}")]
    Setup(ServerName, SetupError),
    /// Nobody would know later which rules decided.
    #[error("the change cannot be written to the log")]
    Unrecorded,
}

impl From<Unrecorded> for NotInForce {
    fn from(_: Unrecorded) -> Self {
        Self::Unrecorded
    }
}

/// One snapshot.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) permissions: Arc<Permissions>,
    pub(super) rates: RateLimits,
    /// Which configuration of the servers belongs to it.
    pub(super) servers: u64,
    pub(super) commit: Option<Arc<str>>,
    /// Since when.
    pub(super) since: Timestamp,
    /// Rules that decide nothing and are only compared with.
    pub(super) shadow: Option<Arc<Shadow>>,
}

impl InForce {
    /// The event that says so.
    pub(super) fn entry(&self) -> Entry {
        let permissions = &self.permissions;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut entry = Entry::new(Kind::Policy)
            .text("policy", &permissions.revision().to_string())
            .text("zone", permissions.zone().name())
            .number("agents", count(permissions.agents().len()))
            .number("servers", count(permissions.servers().len()));
        if let Some(commit) = &self.commit {
            entry = entry.text("commit", commit);
        }
        if let Some(lock) = permissions.tool_lock() {
            entry = entry.text("tools_lock", &lock.revision().to_string());
        }
        if let Some(shadow) = &self.shadow {
            entry = entry.text("shadow", &shadow.permissions.revision().to_string());
        }
        entry
    }
}

impl Gateway {
    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The rules in force.
    pub fn permissions(&self) -> Arc<Permissions> {
        Arc::clone(&self.in_force.borrow().permissions)
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.borrow())
    }

    /// Who sends this token, with the rules in force at this moment.
    pub fn authenticate(&self, token: &str, era: AgentEra) -> Option<Caller> {
        let hash = TokenHash::of(token);
        let in_force = self.in_force();
        let agent = in_force
            .permissions
            .agent_by_token(&hash, self.clock.now())?;
        self.redactor.learn_token(&hash, token);
        Some(Caller {
            agent: Arc::clone(agent),
            permissions: Arc::clone(&in_force.permissions),
            shadow: in_force.shadow.clone(),
            edition: in_force.servers,
            token: hash,
            era,
            client: None,
            session: None,
            bytes_in: 0,
            peer: None,
        })
    }

    /// The same caller under the rules in force now; `None` when its token is not its agent's any more.
    pub(super) fn recognized_again(&self, caller: &Caller) -> Option<Caller> {
        let in_force = self.in_force();
        let now = self.clock.now();
        let agent = in_force.permissions.agent_by_token(&caller.token, now)?;
        if agent.name != caller.agent.name {
            return None;
        }
        Some(Caller {
            agent: Arc::clone(agent),
            permissions: Arc::clone(&in_force.permissions),
            shadow: in_force.shadow.clone(),
            edition: in_force.servers,
            ..caller.clone()
        })
    }

    /// Resolves when new rules know a caller's token no more.
    pub async fn loses_token(&self, caller: &Caller) {
        let mut swaps = self.in_force.subscribe();
        while self.recognized_again(caller).is_some() {
            if swaps.changed().await.is_err() {
                return;
            }
        }
    }

    /// Puts other rules in force, whole: first their secrets are known to the redactor, then the event that names
    /// them is durable, then they decide. Of `environment`, child processes inherit a handful. What is in hand goes on
    /// under the rules it came with. Returns whether anything is different from before.
    ///
    /// # Errors
    /// When a server cannot be reached so, or the log cannot be written. Then nothing has changed.
    pub async fn put_in_force(
        self: &Arc<Self>,
        edition: Edition,
        environment: &BTreeMap<String, String>,
    ) -> Result<bool, NotInForce> {
        let _swapping = self.swapping.lock().await;
        let secrets = edition.connections.values().flat_map(Connection::secrets);
        let secrets: Vec<Secret> = secrets.collect();
        let upstreams = self
            .forwarder
            .reconfigured(edition.connections, environment)
            .map_err(|(server, error)| NotInForce::Setup(server, error))?;
        self.redactor.learn_all(secrets);
        let before = self.in_force();
        let lock = |rules: &Permissions| rules.tool_lock().map(ToolLock::revision);
        if before.permissions.revision() == edition.permissions.revision()
            && lock(&before.permissions) == lock(&edition.permissions)
            && before.commit == edition.commit
            && self.forwarder.upstreams().is_same(&upstreams)
        {
            return Ok(false);
        }
        let next = InForce {
            rates: before.rates.renewed(&edition.permissions),
            permissions: edition.permissions,
            servers: upstreams.edition(),
            commit: edition.commit,
            since: self.clock.now(),
            shadow: before.shadow.clone(),
        };
        let entry = next.entry().with_rules(edition.text);
        self.recorder.note(entry).await?;
        // Whoever comes with the new rules finds their servers.
        self.forwarder.replace(upstreams);
        self.in_force.send_replace(Arc::new(next));
        self.forget_lists();
        self.tell_audiences();
        Ok(true)
    }

    /// Writes down that a file with this content is not in order, and what is in force instead.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn note_refused(&self, revision: Revision) -> Result<(), Unrecorded> {
        let entry = self.in_force().entry();
        let entry = entry.text("refused", &revision.to_string());
        self.recorder.note(entry).await
    }

    /// Compares with other rules from now on, whose event is durable before that. Returns whether they are others.
    ///
    /// # Errors
    /// When the log cannot be written. Then nothing has changed.
    pub async fn put_in_shadow(&self, permissions: Arc<Permissions>) -> Result<bool, NotInForce> {
        let _swapping = self.swapping.lock().await;
        let before = self.in_force();
        let is_same =
            |shadow: &Arc<Shadow>| shadow.permissions.revision() == permissions.revision();
        if before.shadow.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
        let shadow = match &before.shadow {
            Some(shadow) => shadow.with(permissions, self.clock.now()),
            None => Shadow::new(permissions, self.clock.now()),
        };
        let next = InForce {
            permissions: Arc::clone(&before.permissions),
            rates: before.rates.clone(),
            servers: before.servers,
            commit: before.commit.clone(),
            since: before.since,
            shadow: Some(Arc::new(shadow)),
        };
        self.recorder.note(next.entry()).await?;
        self.in_force.send_replace(Arc::new(next));
        Ok(true)
    }
}
