//! The words for calls that were made before: refused, or answered with what they came to then. Pure.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::Entry;
use crate::budget::{MAX_KEYS_OF_AGENT, Repeat, Repeated};
use crate::protocol::{META, Object, json_string, raw};
use crate::types::{CallId, Timestamp, Zone};
use crate::upstream::{Era, Reply};

use super::entries;
use super::refusal::millis;
use super::writer::Replay;

/// The key of `_meta` of a result that is given a second time.
const REPLAYED: &str = "dev.hayward/replayed";

/// The key of `_meta` with the call that such a result is of.
const FIRST_CALL: &str = "dev.hayward/first_call_id";

/// When to ask again for a call that is still running.
const RETRY: Duration = Duration::from_secs(2);

/// The word for it in the log and in machine fields.
pub(super) fn reason(repeated: &Repeated) -> &'static str {
    match &repeated.repeat {
        Repeat::Running | Repeat::Asked => "in_progress",
        Repeat::Done(_) => "already_executed",
        Repeat::Unknown(_) => "outcome_unknown",
        Repeat::OtherArguments => "key_reused",
        Repeat::TooMany => "too_many_keys",
    }
}

/// What to tell a model, without the ids.
pub(super) fn sentence(repeated: &Repeated, subject: &str, zone: &Zone) -> String {
    let what = match repeated.until {
        Some(_) => "the same call with the same arguments",
        None => "the call of this idempotency key",
    };
    // The arguments themselves are a key for a while; one that an agent chose is to be changed by it.
    let anew = repeated.until.map_or_else(
        || "use a fresh key".to_owned(),
        |until| format!("wait until {}", until.rfc3339(zone)),
    );
    match &repeated.repeat {
        Repeat::Running => format!(
            "{subject}: {what} is still running. Wait for its answer; asking again does not start a second one."
        ),
        Repeat::Asked => format!(
            "{subject}: {what} waits for answers to what its server asked. Send them with the `requestState` that \
             came with the questions; to begin anew instead, {anew}."
        ),
        Repeat::Done(outcome) => format!(
            "{subject}: {what} was made before and answered (`{outcome}`). It is not made a second time, and its \
             result was not kept. Only if it is to be done once more, {anew}."
        ),
        Repeat::Unknown(outcome) => format!(
            "{subject}: {what} was made before, and nobody knows whether the server did it (`{outcome}`). Find out \
             first; to have it done all the same, {anew}."
        ),
        Repeat::OtherArguments => format!(
            "{subject}: this idempotency key belongs to a call with other arguments. Use a fresh key for each new \
             call."
        ),
        Repeat::TooMany => format!(
            "{subject}: there are {MAX_KEYS_OF_AGENT} idempotency keys of this agent, as many as are kept. Some come \
             free within a day. Retrying now will not help."
        ),
    }
}

/// The figures for a program.
pub(super) fn data(repeated: &Repeated, at: Timestamp) -> Map<String, Value> {
    let mut data = Map::new();
    if let Some(first) = repeated.first {
        data.insert("first_call_id".into(), first.to_string().into());
    }
    if let Some(outcome) = outcome(repeated) {
        data.insert("outcome".into(), outcome.into());
    }
    let wait = match &repeated.repeat {
        Repeat::Running => Some(RETRY),
        Repeat::Asked | Repeat::Done(_) | Repeat::Unknown(_) => {
            repeated.until.map(|until| until.since(at))
        }
        Repeat::OtherArguments | Repeat::TooMany => None,
    };
    if let Some(wait) = wait {
        data.insert("retry_after_ms".into(), millis(wait).into());
    }
    data
}

/// The `denied` event of such a call.
pub(super) fn denied_as_repeat(entry: Entry, repeated: &Repeated) -> Entry {
    let message = match &repeated.repeat {
        Repeat::Running => "the first call is still running",
        Repeat::Asked => "the first call waits for answers of its agent",
        Repeat::Done(_) => "the first call was answered, and its result was not kept",
        Repeat::Unknown(_) => "nobody knows whether the first call was done",
        Repeat::OtherArguments => "the first call had other arguments",
        Repeat::TooMany => "the agent has as many keys as are kept",
    };
    let mut entry = entries::denied(entry, reason(repeated), message);
    if let Some(first) = repeated.first {
        entry = entry.text("first_call", &first.to_string());
    }
    match outcome(repeated) {
        Some(outcome) => entry.text("first_outcome", outcome),
        None => entry,
    }
}

/// The event of a call that is answered with what it came to when it was made. It is told like a refusal, for it is no
/// second call, and an agent in a loop cannot fill the log with it either.
pub(super) fn denied_as_replayed(entry: Entry, first: CallId) -> Entry {
    let message = "the result of the first call was given again";
    entries::denied(entry, "replayed", message).text("first_call", &first.to_string())
}

/// What the server answered the first time, with a word that it is that.
pub(super) fn replayed(replay: Replay) -> Reply {
    let Replay {
        first,
        is_modern,
        result,
    } = replay;
    let mut result = Object::parse(&result).unwrap_or_default();
    let mut meta = result.get_object(META).unwrap_or_default();
    meta.set(REPLAYED, raw("true".into()));
    meta.set(FIRST_CALL, raw(json_string(&first.to_string())));
    result.set(META, meta.to_json());
    Reply {
        era: if is_modern { Era::Modern } else { Era::Legacy },
        status: 200,
        outcome: Ok(result.to_json()),
    }
}

fn outcome(repeated: &Repeated) -> Option<&str> {
    match &repeated.repeat {
        Repeat::Done(outcome) | Repeat::Unknown(outcome) => Some(outcome),
        Repeat::Running | Repeat::Asked | Repeat::OtherArguments | Repeat::TooMany => None,
    }
}
