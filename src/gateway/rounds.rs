//! Calls in several rounds (2026-07-28): a server answers that it needs to know more, and its agent repeats the
//! request with the answers. What ties the rounds together is the server's own state, sealed to the agent, so
//! that a round is taken for the continuation of a call only once and only where it is one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::protocol::{Json, Object, json_string, raw};
use crate::types::{CallId, Timestamp, hex};
use crate::upstream::Outgoing;

use super::seal::{Binding, Sealer};
use super::stages::{Caller, Subject, Wish};
use super::{Failure, Gateway};

/// How long an agent may take to come back with the answers.
const STATE_TIME: Duration = Duration::from_secs(15 * 60);

/// Rounds remembered as taken up. Beyond it a repetition is charged like a new call.
const MAX_TAKEN: usize = 10_000;

/// The key under which a server's state travels, both ways.
const STATE: &str = "requestState";

/// Seals states, and remembers which were taken up.
#[derive(Debug)]
pub(super) struct Rounds {
    sealer: Sealer,
    taken: Mutex<HashMap<CallId, Timestamp>>,
}

impl Rounds {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            sealer: Sealer::new(key),
            taken: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this round is taken up for the first time.
    fn take(&self, call: CallId, now: Timestamp) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= MAX_TAKEN {
            taken.retain(|_, expires| now < *expires);
        }
        taken.len() < MAX_TAKEN && taken.insert(call, now.after(STATE_TIME)).is_none()
    }
}

impl Gateway {
    /// Puts the server's own state back into a request that brings a sealed one, and ties it to its call.
    ///
    /// # Errors
    /// When the state is not one that this agent got for this very request, or is too old.
    pub(super) fn take_up(&self, caller: &Caller, wish: &mut Wish) -> Result<(), Failure> {
        let Some(sealed) = wish
            .request
            .params
            .get_str(STATE)
            .map(|state| state.into_owned())
        else {
            return Ok(());
        };
        let now = self.clock.now();
        let binding = binding(caller, wish);
        let unsealed = self
            .rounds
            .sealer
            .unseal(&binding, &sealed, now)
            .ok_or_else(|| {
                Failure::InvalidParams(format!(
                    "`{STATE}` is not one that was given for this request, or is too old"
                ))
            })?;
        if self.rounds.take(unsealed.call, now) {
            wish.continues = Some(unsealed.call);
        }
        if unsealed.value.is_empty() {
            wish.request.params.remove(STATE);
        } else {
            wish.request.params.set(STATE, raw(unsealed.value));
        }
        Ok(())
    }

    /// Seals the state of an `input_required` result to its agent. A server that gave none gets by with ours.
    pub(super) fn sealed(&self, caller: &Caller, wish: &Wish, call: CallId, result: Json) -> Json {
        let Ok(mut fields) = Object::parse(result.get()) else {
            return result;
        };
        let state = fields
            .get(STATE)
            .map(|state| state.get().to_owned())
            .unwrap_or_default();
        let expires = self.clock.now().after(STATE_TIME);
        let sealed = self
            .rounds
            .sealer
            .seal(&binding(caller, wish), call, expires, &state);
        fields.set(STATE, raw(json_string(&sealed)));
        fields.to_json()
    }
}

fn binding<'a>(caller: &'a Caller, wish: &'a Wish) -> Binding<'a> {
    Binding {
        agent: caller.agent.name.as_str(),
        server: wish.server.as_str(),
        purpose: &wish.purpose,
    }
}

/// What a request is, so that a state given for it fits no other: the method, what it is about, and a digest of
/// the arguments.
pub(super) fn purpose(request: &Outgoing, subject: &Subject) -> String {
    let about = match subject {
        Subject::Tool(name) | Subject::Prompt(name) | Subject::Resource(name) => name,
        Subject::Listing => "",
    };
    let arguments = request
        .params
        .get("arguments")
        .map_or("", |arguments| arguments.get());
    let digest = hex(&Sha256::digest(arguments.as_bytes()));
    format!("{}\n{about}\n{digest}", request.method.as_str())
}
