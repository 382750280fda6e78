//! Keys of calls: what must not be done a second time, and what became of the first time. Pure.
//!
//! A key is one that an agent sent, or the arguments themselves where the rules of a server say so. In memory are the
//! keys of open calls, and for the length of a batch those that were looked up for it; all others stand in their table
//! alone. The writer alone has these: it looks them up, decides, and writes what changed in the transaction of the
//! events. When that fails they are thrown away and read back.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::types::{AgentName, CallId, ServerName, Timestamp};

/// How long a key of an agent is kept whatever comes.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys of one agent that are kept at once. Those older than `KEPT` make room for new ones; without any, calls with
/// new keys are refused.
pub const MAX_KEYS_OF_AGENT: u64 = 50_000;

/// An agent with so few keys left has its older ones taken away.
const ROOM: u64 = 1_000;

/// The word of a closing event for how a call ended.
pub type Outcome = Cow<'static, str>;

/// What a key is known by: a digest of the key and of everything that it is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

/// Among which calls a key means something: those of one agent to one tool of one server.
#[derive(Debug, Clone, Copy)]
pub struct KeyScope<'a> {
    /// Who calls.
    pub agent: &'a AgentName,
    /// Whom.
    pub server: &'a ServerName,
    /// What, by the server's own name.
    pub tool: &'a str,
}

impl KeyId {
    /// A key that the agent sent.
    pub fn given(scope: KeyScope<'_>, key: &str) -> Self {
        Self::of(scope, "key", key.as_bytes())
    }

    /// The arguments themselves.
    pub fn of_arguments(scope: KeyScope<'_>, arguments: &[u8; 32]) -> Self {
        Self::of(scope, "arguments", arguments)
    }

    /// Each part with its length before it, so that no two of them can be moved against each other.
    fn of(scope: KeyScope<'_>, kind: &str, value: &[u8]) -> Self {
        let (agent, server) = (scope.agent.as_str(), scope.server.as_str());
        let mut hash = Sha256::new();
        for part in [agent, server, scope.tool, kind].map(str::as_bytes) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            hash.update(length.to_be_bytes());
            hash.update(part);
        }
        hash.update(value);
        Self(hash.finalize().into())
    }

    /// The 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads an id back.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// How long a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// One that the agent sent: `KEPT`, or to the end of the longest window its call was charged in.
    Kept,
    /// The arguments themselves: so long.
    For(Duration),
}

/// A key that a call comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Which.
    pub id: KeyId,
    /// How long it holds from now on.
    pub lasts: Lasts,
}

/// All keys that a call comes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Whose call it is.
    pub agent: AgentName,
    /// SHA-256 of its arguments as canonical JSON.
    pub arguments: [u8; 32],
    /// The call that it goes on with, and of which it is no repeat therefore.
    pub continues: Option<CallId>,
    /// The keys.
    pub keys: Vec<Claim>,
}

/// Where the call of a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is open.
    Running,
    /// Its server wants to know something first, and the agent may go on with it.
    Asked,
    /// Its server answered.
    Done(Outcome),
    /// Nobody knows whether its server did it.
    Unknown(Outcome),
}

/// Where a result stands that a repeat is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredResult {
    /// The event that it is kept with.
    pub event: i64,
    /// Whether its server spoke 2026-07-28.
    pub is_modern: bool,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub agent: AgentName,
    /// Whether the agent sent it.
    pub is_given: bool,
    /// The arguments of its call.
    pub arguments: [u8; 32],
    /// Its call; of one in several rounds, the last.
    pub call: CallId,
    /// Where that stands.
    pub state: State,
    /// What it came to, when that is kept.
    pub result: Option<StoredResult>,
    /// Until when the key is kept whatever comes.
    pub kept: Timestamp,
    /// When it is free again.
    pub ends: Timestamp,
}

impl Record {
    /// Whether the key still holds. That of an open call does, however long it takes.
    fn holds(&self, at: Timestamp) -> bool {
        self.state == State::Running || at < self.ends
    }
}

/// How the call of a key ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyEnding {
    /// Not one byte was sent: the key is free again.
    Free,
    /// The server wants to know something first.
    Asked,
    /// The server answered.
    Done(Outcome),
    /// Nobody knows whether the server did it.
    Unknown(Outcome),
}

/// What a call is that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// The first one is still open.
    Running,
    /// The first one waits for answers of the agent.
    Asked,
    /// The first one was answered.
    Done(Outcome),
    /// Nobody knows whether the first one was done.
    Unknown(Outcome),
    /// The first one had other arguments: it is another call.
    OtherArguments,
    /// No repeat, but the agent has as many keys as it may have.
    TooMany,
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// What it is.
    pub repeat: Repeat,
    /// The call of the key; none where there are too many.
    pub first: Option<CallId>,
    /// What the first call came to, when that is kept.
    pub result: Option<StoredResult>,
    /// When the same call would be made again; `None` for a key that the agent sent, which it has to change.
    pub until: Option<Timestamp>,
}

/// Keys in memory.
#[derive(Debug, Default)]
pub struct Keys {
    slots: HashMap<KeyId, Slot>,
    /// The keys of open calls.
    open: HashMap<CallId, Vec<KeyId>>,
    /// How many keys each agent has, in the table and here.
    counts: HashMap<AgentName, u64>,
    touched: BTreeSet<KeyId>,
}

#[derive(Debug, Default)]
struct Slot {
    record: Option<Record>,
    /// Whether the table has a row of it.
    is_stored: bool,
}

/// What changed: rows to be written, and to be taken away.
pub(super) type KeyChanges = (Vec<(KeyId, Record)>, Vec<KeyId>);

impl Keys {
    /// Keys as they were read from the file: those of open calls, and how many each agent has in all.
    pub fn new(open: Vec<(KeyId, Record)>, counts: HashMap<AgentName, u64>) -> Self {
        let mut keys = Self {
            counts,
            ..Self::default()
        };
        for (id, record) in open {
            keys.open.entry(record.call).or_default().push(id);
            keys.learn(id, record);
        }
        keys
    }

    /// Whether no agent has any.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Which of these have to be looked up.
    pub fn unknown(&self, claims: &Claims) -> impl Iterator<Item = KeyId> {
        let ids = claims.keys.iter().map(|claim| claim.id);
        ids.filter(|id| !self.slots.contains_key(id))
    }

    /// Takes in a row that was looked up; what is known here already is newer.
    pub fn learn(&mut self, id: KeyId, record: Record) {
        self.slots.entry(id).or_insert(Slot {
            record: Some(record),
            is_stored: true,
        });
    }

    /// Whether a call was made before, or may not be made for another reason; all its keys must be known here.
    pub fn find_repeat(&self, claims: &Claims, at: Timestamp) -> Option<Repeated> {
        let standing = claims.keys.iter().find_map(|claim| {
            let record = self.record(&claim.id).filter(|record| record.holds(at))?;
            repeated(claims, record)
        });
        standing.or_else(|| self.too_many(claims))
    }

    /// Gives a call its keys, and those of the call that it goes on with. `ends` is the end of the longest window it
    /// is charged in.
    ///
    /// INVARIANT: [`Keys::find_repeat`] found none in this batch before.
    pub fn take(&mut self, claims: &Claims, call: CallId, ends: Timestamp, at: Timestamp) {
        for claim in &claims.keys {
            let standing = self.record(&claim.id).filter(|record| record.holds(at));
            if standing.is_some_and(|record| Some(record.call) != claims.continues) {
                // Only a call in its second round meets one: the same call was made anew meanwhile.
                continue;
            }
            let (kept, ends) = match claim.lasts {
                Lasts::Kept => (at.after(KEPT), at.after(KEPT).max(ends)),
                Lasts::For(span) => (at.after(span), at.after(span)),
            };
            let record = Record {
                agent: claims.agent.clone(),
                is_given: claim.lasts == Lasts::Kept,
                arguments: claims.arguments,
                call,
                state: State::Running,
                result: None,
                kept,
                ends,
            };
            self.put(claim.id, record);
        }
        if let Some(before) = claims.continues {
            self.take_over(before, call);
        }
    }

    /// Notes where the result of an open call is kept.
    pub fn note_result(&mut self, call: CallId, result: StoredResult) {
        let ids = self.open.get(&call).into_iter().flatten();
        for id in ids {
            let slot = self.slots.get_mut(id);
            if let Some(record) = slot.and_then(|slot| slot.record.as_mut()) {
                record.result = Some(result);
            }
        }
    }

    /// Ends a call: says of its keys how.
    pub fn close(&mut self, call: CallId, ending: &KeyEnding) {
        for id in self.open.remove(&call).unwrap_or_default() {
            let Some(record) = self.record(&id) else {
                continue;
            };
            let state = match ending {
                KeyEnding::Free => None,
                // A question is no work: the same arguments may be sent again.
                KeyEnding::Asked if !record.is_given => None,
                KeyEnding::Asked => Some(State::Asked),
                KeyEnding::Done(outcome) => Some(State::Done(outcome.clone())),
                KeyEnding::Unknown(outcome) => Some(State::Unknown(outcome.clone())),
            };
            match state {
                Some(state) => {
                    let record = record.clone();
                    self.put(id, Record { state, ..record });
                }
                None => self.free(id),
            }
        }
    }

    /// What changed since the last call of this function.
    pub fn take_changes(&mut self) -> KeyChanges {
        let mut changes = KeyChanges::default();
        for id in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            match &slot.record {
                Some(record) => changes.0.push((id, record.clone())),
                None if slot.is_stored => changes.1.push(id),
                None => {}
            }
            slot.is_stored = slot.record.is_some();
        }
        changes
    }

    /// Forgets all but the keys of open calls, after a commit; the table has them.
    pub fn forget_closed(&mut self) {
        let is_open = |slot: &Slot| {
            let state = slot.record.as_ref().map(|record| &record.state);
            state == Some(&State::Running)
        };
        self.slots.retain(|_, slot| is_open(slot));
    }

    /// Agents whose older keys are to make room.
    pub fn crowded(&self) -> Vec<AgentName> {
        let full = MAX_KEYS_OF_AGENT.saturating_sub(ROOM);
        let agents = self.counts.iter().filter(|(_, count)| **count > full);
        agents.map(|(agent, _)| agent.clone()).collect()
    }

    /// Notes that rows of agents were taken away, one for each time an agent is named.
    pub fn swept(&mut self, agents: Vec<AgentName>) {
        for agent in agents {
            self.uncount(&agent);
        }
    }

    fn record(&self, id: &KeyId) -> Option<&Record> {
        self.slots.get(id)?.record.as_ref()
    }

    fn too_many(&self, claims: &Claims) -> Option<Repeated> {
        let is_new = |claim: &&Claim| self.record(&claim.id).is_none();
        let more = u64::try_from(claims.keys.iter().filter(is_new).count()).unwrap_or(u64::MAX);
        let count = self.counts.get(&claims.agent).copied().unwrap_or(0);
        let is_full = more > 0 && count.saturating_add(more) > MAX_KEYS_OF_AGENT;
        is_full.then_some(Repeated {
            repeat: Repeat::TooMany,
            first: None,
            result: None,
            until: None,
        })
    }

    /// The keys of a call that asked its agent pass to the one that goes on with it.
    fn take_over(&mut self, before: CallId, call: CallId) {
        let asked = self.slots.iter().filter_map(|(id, slot)| {
            let record = slot.record.as_ref()?;
            (record.call == before && record.state == State::Asked).then(|| (*id, record.clone()))
        });
        let asked: Vec<(KeyId, Record)> = asked.collect();
        for (id, record) in asked {
            let state = State::Running;
            self.put(
                id,
                Record {
                    call,
                    state,
                    ..record
                },
            );
        }
    }

    fn put(&mut self, id: KeyId, record: Record) {
        if record.state == State::Running {
            self.open.entry(record.call).or_default().push(id);
        }
        let agent = record.agent.clone();
        let slot = self.slots.entry(id).or_default();
        if slot.record.replace(record).is_none() {
            let count = self.counts.entry(agent).or_default();
            *count = count.saturating_add(1);
        }
        self.touched.insert(id);
    }

    fn free(&mut self, id: KeyId) {
        let freed = self.slots.get_mut(&id).and_then(|slot| slot.record.take());
        if let Some(record) = freed {
            self.uncount(&record.agent);
            self.touched.insert(id);
        }
    }

    fn uncount(&mut self, agent: &AgentName) {
        let count = self.counts.get(agent).copied().unwrap_or(0);
        if count > 1 {
            self.counts.insert(agent.clone(), count.saturating_sub(1));
        } else {
            self.counts.remove(agent);
        }
    }
}

/// What a call is whose key stands for another one.
fn repeated(claims: &Claims, record: &Record) -> Option<Repeated> {
    let goes_on = claims.continues.is_some();
    // The second round of a call has the arguments of the first, whoever else has them.
    if goes_on && !record.is_given {
        return None;
    }
    let stands = match &record.state {
        State::Asked if claims.continues == Some(record.call) => return None,
        State::Running => Repeat::Running,
        State::Asked => Repeat::Asked,
        State::Done(outcome) => Repeat::Done(outcome.clone()),
        State::Unknown(outcome) => Repeat::Unknown(outcome.clone()),
    };
    let is_other = record.arguments != claims.arguments;
    Some(Repeated {
        repeat: if is_other {
            Repeat::OtherArguments
        } else {
            stands
        },
        first: Some(record.call),
        result: record.result.filter(|_| !is_other),
        until: (!record.is_given).then_some(record.ends),
    })
}

#[cfg(test)]
mod tests;
