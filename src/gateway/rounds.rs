//! Calls in several rounds (2026-07-28): a server answers that it needs to know more, and its agent repeats the
//! request with the answers. What ties the rounds together is the server's own state, sealed to the agent, so
//! that a round is taken for the continuation of a call only once and only where it is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::protocol::{Json, Object, json_string, raw};
use crate::types::{CallId, ServerName, Timestamp, hex};
use crate::upstream::{Outgoing, Reply};

use super::exchange::Exchange;
use super::listener::Listener;
use super::seal::{Binding, Sealer};
use super::shape::needs_input;
use super::stages::{Caller, Replied, Subject, Wish};
use super::visits::is_declined;
use super::{Failure, Gateway};

/// How long an agent may take to come back with the answers.
pub(super) const STATE_TIME: Duration = Duration::from_secs(15 * 60);

/// How often a server may ask for more in one request that stays open.
const MAX_ROUNDS: usize = 8;

/// Pause before a request is repeated of which the server only wants the repetition.
const AGAIN: Duration = Duration::from_millis(200);

/// Rounds remembered as taken up. Beyond it a repetition is charged like a new call.
const MAX_TAKEN: usize = 10_000;

/// The key under which a state travels, both ways.
pub(super) const STATE: &str = "requestState";

/// The key under which answers travel.
pub(super) const ANSWERS: &str = "inputResponses";

/// What a sealed state stands for.
#[derive(Debug)]
pub(super) enum State {
    /// The server's own, as the JSON text that came; empty when it gave none.
    Server(String),
    /// A call that goes on meanwhile.
    Parked,
    /// Pages to be visited before the same request is sent once more.
    Visits,
}

impl State {
    // No JSON text reads like one of the two words.
    const PARKED: &str = "parked";
    const VISITS: &str = "visits";

    fn read(text: String) -> Self {
        match text.as_str() {
            Self::PARKED => Self::Parked,
            Self::VISITS => Self::Visits,
            _ => Self::Server(text),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Server(text) => text,
            Self::Parked => Self::PARKED,
            Self::Visits => Self::VISITS,
        }
    }
}

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

    /// Seals a state; `id` is that of the call it was given in, or of the round it is good for.
    pub(super) fn seal(
        &self,
        binding: &Binding<'_>,
        id: CallId,
        expires: Timestamp,
        state: &State,
    ) -> String {
        self.sealer.seal(binding, id, expires, state.text())
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
    /// Sends a request, and again with answers as long as the server wants to know more and the agent can be
    /// asked while its request is open. Each time is a call of its own in the log; the first one pays.
    pub(super) async fn run_rounds(
        &self,
        caller: &Arc<Caller>,
        mut wish: Wish,
        agent: &Listener,
    ) -> Result<Replied, Failure> {
        let request = wish.request.clone();
        let mut rounds = 0;
        loop {
            let replied = self.run(caller, wish, agent).await?.into_reply()?;
            rounds += 1;
            let wanted = wanted(&replied.reply).filter(|_| agent.can_push() && rounds < MAX_ROUNDS);
            let Some(wanted) = wanted else {
                return Ok(replied);
            };
            let questions = wanted.get_object("inputRequests").unwrap_or_default();
            if questions.is_empty() {
                tokio::time::sleep(AGAIN).await;
            }
            let Some(answers) = agent.answers(&questions).await else {
                return Ok(replied);
            };
            wish = Wish {
                request: repeated(&request, &wanted, &answers),
                continues: Some(replied.call),
                ..replied.wish
            };
        }
    }

    /// Puts the server's own state back into a request that brings a sealed one, and ties it to its call; returns
    /// the call that goes on with it, when that is not a new one.
    ///
    /// # Errors
    /// When the state is not one that this agent got for this very request, or is too old.
    pub(super) fn take_up(
        &self,
        caller: &Caller,
        wish: &mut Wish,
    ) -> Result<Option<Exchange>, Failure> {
        let Some(sealed) = wish
            .request
            .params
            .get_str(STATE)
            .map(|state| state.into_owned())
        else {
            return Ok(None);
        };
        self.end_expired();
        let now = self.clock.now();
        let binding = binding(caller, &wish.server, &wish.purpose);
        let unknown = || {
            Failure::InvalidParams(format!(
                "`{STATE}` is not one that was given for this request, or is too old"
            ))
        };
        let unsealed = self.rounds.sealer.unseal(&binding, &sealed, now);
        let unsealed = unsealed.ok_or_else(unknown)?;
        let state = State::read(unsealed.value);
        if matches!(state, State::Parked) {
            // An agent that speaks otherwise now could not be asked once more.
            if !caller.era.is_modern() {
                return Err(unknown());
            }
            let resumed = self.resume(caller, unsealed.call, &wish.request);
            return resumed.map(Some);
        }
        let params = &mut wish.request.params;
        match state {
            State::Server(state) if !state.is_empty() => params.set(STATE, raw(state)),
            State::Server(_) | State::Parked => drop(params.remove(STATE)),
            State::Visits => {
                params.remove(STATE);
                let answers = params.get_object(ANSWERS).unwrap_or_default();
                params.remove(ANSWERS);
                if is_declined(&answers) {
                    return Err(Failure::Declined(wish.server.clone()));
                }
            }
        }
        if self.rounds.take(unsealed.call, now) {
            wish.continues = Some(unsealed.call);
        }
        Ok(None)
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
        self.put_state(caller, wish, call, &State::Server(state), &mut fields);
        fields.to_json()
    }

    /// Asks an agent to send its user to some pages, and to make its request once more then.
    pub(super) fn to_pages(
        &self,
        caller: &Caller,
        wish: &Wish,
        call: CallId,
        mut result: Object,
    ) -> Json {
        self.put_state(caller, wish, call, &State::Visits, &mut result);
        result.to_json()
    }

    fn put_state(
        &self,
        caller: &Caller,
        wish: &Wish,
        call: CallId,
        state: &State,
        result: &mut Object,
    ) {
        let binding = binding(caller, &wish.server, &wish.purpose);
        let expires = self.clock.now().after(STATE_TIME);
        let sealed = self.rounds.seal(&binding, call, expires, state);
        result.set(STATE, raw(json_string(&sealed)));
    }
}

/// What a server wants to know before it answers.
fn wanted(reply: &Reply) -> Option<Object> {
    let result = reply
        .outcome
        .as_ref()
        .ok()
        .filter(|result| needs_input(result))?;
    Object::parse(result.get()).ok()
}

/// The request again, with the answers and the state the server gave for it (2026-07-28, multi-round requests).
fn repeated(request: &Outgoing, wanted: &Object, answers: &Object) -> Outgoing {
    let mut request = request.clone();
    if !answers.is_empty() {
        request.params.set(ANSWERS, answers.to_json());
    }
    match wanted.get(STATE) {
        Some(state) => request.params.set(STATE, state.to_owned()),
        None => drop(request.params.remove(STATE)),
    }
    request
}

/// Whom a state is given to, and for what.
pub(super) fn binding<'a>(
    caller: &'a Caller,
    server: &'a ServerName,
    purpose: &'a str,
) -> Binding<'a> {
    Binding {
        agent: caller.agent.name.as_str(),
        server: server.as_str(),
        purpose,
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
