//! What is written down about a call: when it opens, when it is refused, when it closes.

use std::fmt::Write;
use std::time::Duration;

use crate::audit::{Entry, Kind};
use crate::budget::{Charged, Claims, Ending, Held, Span};
use crate::clock::Turn;
use crate::policy::{Capture, Charge, Place, keeping};
use crate::protocol::{Object, error_code, json_string};
use crate::types::{CallId, Timestamp};
use crate::upstream::Era;

use super::exchange::Round;
use super::keys::{has_keys, in_log};
use super::shape::needs_input;
use super::stages::{Authenticated, Caller, Forwarded, Outcome, Subject, Why};
use super::{shadow, visits};

/// The word for a server of 2026-07-28 in closing events.
pub(super) const MODERN: &str = "modern";

/// The longest text of an agent's own making that one field of an event keeps, in characters.
const MAX_TEXT: usize = 256;

/// The longest reason that is kept, in characters: a sentence, and the name in it.
const MAX_MESSAGE: usize = 1_024;

/// What is known of any request of a known agent.
pub(super) fn of_caller(caller: &Caller, call: CallId, method: &str) -> Entry {
    let mut entry = Entry::new(Kind::Denied);
    if !method.is_empty() {
        entry = entry.text("method", &cut(method));
    }
    entry.call = Some(call);
    entry.agent = Some(caller.agent.name.clone());
    entry = entry
        .text("policy", &caller.permissions.revision().short())
        .text("era", caller.era.as_str());
    if let super::AgentEra::Session(version) = caller.era {
        entry = entry.text("version", version.as_str());
    }
    if let Some(client) = &caller.client {
        entry = entry.text("client", &cut(client));
    }
    if let Some(session) = caller.session_label() {
        entry = entry.text("session", session);
    }
    match caller.agent.capture {
        Capture::None => entry,
        Capture::Metadata | Capture::Arguments | Capture::Full => {
            entry.number("bytes_in", caller.bytes_in)
        }
    }
}

/// What is known of a request for one server.
pub(super) fn of_request(request: &Authenticated) -> Entry {
    let wish = &request.wish;
    let mut entry = of_caller(&request.caller, request.call, wish.request.method.as_str());
    let kept = keeping(
        &request.caller.permissions,
        &request.caller.agent,
        &wish.server,
    );
    if kept.capture == Capture::None {
        entry = entry.without("bytes_in");
    }
    entry.server = Some(wish.server.clone());
    if let Some(call) = wish.continues {
        entry = entry.text("continues", &call.to_string());
    }
    match &wish.subject {
        Subject::Tool(name) => entry.tool = Some(cut(name)),
        Subject::Prompt(name) => entry = entry.text("target", &cut(name)),
        Subject::Resource(uri) => entry = entry.text("target", &cut(uri)),
        Subject::Listing => {}
    }
    entry
}

/// The rule that decided.
pub(super) fn with_rule(entry: Entry, rule: &Place) -> Entry {
    entry
        .text("rule", &rule.path)
        .number("line", u64::from(rule.line))
}

/// The key that it came with, so that calls with the same one can be found.
pub(super) fn with_key(entry: Entry, claims: Option<&Claims>) -> Entry {
    match claims.and_then(in_log) {
        Some(key) => entry.text("idempotency_key", &key),
        None => entry,
    }
}

/// Turns a known request into its `admitted` event.
pub(super) fn admitted(entry: Entry, held: &[Held]) -> Entry {
    let mut entry = Entry {
        kind: Kind::Admitted,
        ..entry
    };
    if !held.is_empty() {
        entry = entry.json("budgets", list(held, write_held));
    }
    entry
}

/// Turns a known request into its `denied` event.
pub(super) fn denied(entry: Entry, reason: &'static str, message: &str) -> Entry {
    let entry = Entry {
        kind: Kind::Denied,
        reason: Some(reason.into()),
        // Nothing was done with them.
        body: None,
        ..entry
    };
    // What was compared with was that it is let through.
    let entry = entry.without(shadow::FIELD);
    entry.text("message", &cut_to(message, MAX_MESSAGE))
}

/// The event that ends a call. What it costs is added by the writer, which knows.
pub(super) fn closing(forwarded: &Forwarded) -> Entry {
    let request = &forwarded.request;
    let (kind, outcome) = ending(&forwarded.outcome);
    let mut entry = Entry::new(kind).text("outcome", outcome);
    entry.call = Some(request.call);
    entry.agent = Some(request.caller.agent.name.clone());
    entry.server = Some(request.wish.server.clone());
    if let Subject::Tool(name) = &request.wish.subject {
        entry.tool = Some(cut(name));
    }
    if let Some(what) = asks(forwarded) {
        entry = entry.text("asks", what);
    }
    match &forwarded.outcome {
        Outcome::Answered(reply) => {
            let body = reply.outcome.as_ref().unwrap_or_else(|error| error);
            let size = u64::try_from(body.get().len()).unwrap_or(u64::MAX);
            entry = entry.number("status", u64::from(reply.status));
            if forwarded.keeping.capture > Capture::None {
                entry = entry.number("bytes_out", size);
            }
        }
        Outcome::Unanswered(error) => entry = entry.text("error", &cut(&error.to_string())),
        Outcome::GivenUp(_) | Outcome::Withdrawn => {}
    }
    if forwarded.said.passed > 0 {
        entry = entry.number("notices", forwarded.said.passed);
    }
    if forwarded.said.missed > 0 {
        entry = entry.number("notices_dropped", forwarded.said.missed);
    }
    entry = entry.number("latency_us", micros(forwarded.latency));
    if forwarded.rounds.is_empty() {
        return entry;
    }
    entry.json("rounds", list(&forwarded.rounds, write_round))
}

/// Says in the closing event of a call with a key that a repeat is given its result: it is kept as it came.
pub(super) fn with_replay(entry: Entry, forwarded: &Forwarded) -> Entry {
    match replays(&entry, forwarded) {
        Some(Era::Modern) => entry.text("replays", MODERN),
        Some(Era::Legacy) => entry.text("replays", "legacy"),
        None => entry,
    }
}

/// What the server speaks whose result is kept as it came.
fn replays(entry: &Entry, forwarded: &Forwarded) -> Option<Era> {
    let (Some(body), Outcome::Answered(reply)) = (&entry.body, &forwarded.outcome) else {
        return None;
    };
    let result = reply.outcome.as_ref().ok()?;
    let is_kept = !body.is_truncated && body.kept == result.get();
    if !is_kept || !has_keys(&forwarded.request) {
        return None;
    }
    let fields = Object::parse(result.get()).ok()?;
    // A task is asked about by its id, which is made for one answer.
    let is_task = fields.get("task").is_some()
        || fields
            .get_str("resultType")
            .is_some_and(|kind| kind == "task");
    (!is_task).then_some(reply.era)
}

/// Adds what a closed call cost.
pub(super) fn with_charges(entry: Entry, charged: &[Charged]) -> Entry {
    if charged.is_empty() {
        return entry;
    }
    entry.json("budgets", list(charged, write_charged))
}

/// The event of a count that begins with what earlier ones of its rule have used.
pub(super) fn seeded(charge: &Charge, used: &[(Span, u64)]) -> Entry {
    let entry = with_rule(Entry::new(Kind::Seeded), &charge.place);
    let budgets = list(used, |text, (span, used)| {
        let key = json_string(charge.key.as_str());
        let starts = span.starts.micros();
        let _ = write!(text, r#"{{"key":{key},"window":{starts},"seeded":{used}}}"#);
    });
    entry.json("budgets", budgets)
}

/// The event of a wall clock that is not followed, or followed again.
pub(super) fn of_clock(turn: Turn) -> Entry {
    let entry = Entry::new(Kind::Clock);
    match turn {
        Turn::Suspect { wall } => entry
            .text("clock", "suspect")
            .json("wall_us", wall.micros().to_string()),
        Turn::Agrees => entry.text("clock", "agrees"),
    }
}

/// The event of a hold that was kept for a call that never came.
pub(super) fn expired(call: CallId, charged: &[Charged]) -> Entry {
    // Not as the call of this event: that one is closed already.
    let entry = Entry::new(Kind::Expired).text("of", &call.to_string());
    with_charges(entry, charged)
}

/// The event that ends a call whose gateway stopped in the middle of it.
pub(super) fn abandoned(call: CallId) -> Entry {
    let mut entry = Entry::new(Kind::Abandoned).text("outcome", "gateway_stopped");
    entry.call = Some(call);
    entry
}

/// The event that ends a call that was written down as admitted but never forwarded.
pub(super) fn never_forwarded(call: CallId) -> Entry {
    let mut entry = Entry::new(Kind::Released).text("outcome", "not_forwarded");
    entry.call = Some(call);
    entry
}

/// What the end of a call means for its budgets. `kept_until` is how long a call that goes on with it may take to come.
pub(super) fn settlement(forwarded: &Forwarded, kept_until: Timestamp) -> Ending {
    use crate::upstream::UpstreamError as E;
    let reply = match &forwarded.outcome {
        Outcome::Answered(reply) => reply,
        Outcome::Unanswered(E::Unreachable(_) | E::Refused(_)) | Outcome::Withdrawn => {
            return Ending::Unsent;
        }
        Outcome::Unanswered(E::Rejected(_)) => return Ending::Rejected,
        Outcome::Unanswered(E::TimedOut | E::Broken(_) | E::TooLarge(_)) | Outcome::GivenUp(_) => {
            return Ending::Unclear;
        }
    };
    match &reply.outcome {
        Ok(result) if needs_input(result) => Ending::Kept(kept_until),
        Ok(result) => {
            let costs = forwarded.open.read_costs(result.get());
            if says_is_error(result.get()) {
                Ending::ToolError(costs)
            } else {
                Ending::Answered(costs)
            }
        }
        Err(error) if is_rejection(reply.status, error_code(error)) => Ending::Rejected,
        Err(_) => Ending::Unclear,
    }
}

/// Whether a server says with its error that it did not begin: HTTP 4xx, or JSON-RPC 2.0, section 5.1: the request is
/// invalid, the method is unknown, the parameters are.
fn is_rejection(status: u16, code: Option<i32>) -> bool {
    (400..500).contains(&status) || code.is_some_and(|code| (-32_602..=-32_600).contains(&code))
}

/// How a call ends, as the log says it; `settled` and `failed` cost what was held.
fn ending(outcome: &Outcome) -> (Kind, &'static str) {
    use crate::upstream::UpstreamError as E;
    match outcome {
        Outcome::Answered(reply) => (Kind::Settled, answer_kind(reply)),
        Outcome::Unanswered(E::Unreachable(_)) => (Kind::Released, "unreachable"),
        Outcome::Unanswered(E::Refused(_)) => (Kind::Released, "refused"),
        Outcome::Unanswered(E::Rejected(_)) => (Kind::Failed, "rejected"),
        Outcome::Unanswered(E::TimedOut) => (Kind::Failed, "timed_out"),
        Outcome::Unanswered(E::Broken(_)) => (Kind::Failed, "broken"),
        Outcome::Unanswered(E::TooLarge(_)) => (Kind::Failed, "too_large"),
        Outcome::GivenUp(Why::Cancelled) => (Kind::Failed, "cancelled"),
        Outcome::GivenUp(Why::Expired) => (Kind::Failed, "input_expired"),
        Outcome::GivenUp(Why::Displaced) => (Kind::Failed, "input_displaced"),
        Outcome::GivenUp(Why::Stopped) => (Kind::Failed, "gateway_stopped"),
        Outcome::Withdrawn => (Kind::Released, "cancelled"),
    }
}

fn answer_kind(reply: &crate::upstream::Reply) -> &'static str {
    match &reply.outcome {
        Err(_) => "rpc_error",
        Ok(result) if says_is_error(result.get()) => "tool_error",
        Ok(_) => "ok",
    }
}

/// What the server of a tool wants before it does anything: input of its client, or its user on a page.
fn asks(forwarded: &Forwarded) -> Option<&'static str> {
    let Subject::Tool(_) = &forwarded.request.wish.subject else {
        return None;
    };
    match &forwarded.outcome {
        Outcome::Answered(reply) => match &reply.outcome {
            Ok(result) => needs_input(result).then_some("input"),
            Err(error) => visits::wanted(error).map(|_| "visit"),
        },
        Outcome::Unanswered(_) | Outcome::GivenUp(_) | Outcome::Withdrawn => None,
    }
}

fn says_is_error(result: &str) -> bool {
    // Results can be large; most do not hold the word at all.
    result.contains("\"isError\"")
        && crate::protocol::Object::parse(result).is_ok_and(|result| {
            result
                .get("isError")
                .is_some_and(|value| value.get() == "true")
        })
}

fn list<T>(items: &[T], write: impl Fn(&mut String, &T)) -> String {
    let mut text = String::from("[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write(&mut text, item);
    }
    text.push(']');
    text
}

// Writing to a String cannot fail.
fn write_held(text: &mut String, held: &Held) {
    let _ = write!(
        text,
        r#"{{"key":{},"window":{},"amount":{},"limit":{},"used":{},"held":{}}}"#,
        json_string(held.key.as_str()),
        held.starts.micros(),
        held.amount,
        held.after.limit,
        held.after.used,
        held.after.held,
    );
}

fn write_charged(text: &mut String, charged: &Charged) {
    let _ = write!(
        text,
        r#"{{"key":{},"window":{},"charged":{},"released":{}"#,
        json_string(charged.key.as_str()),
        charged.starts.micros(),
        charged.charged,
        charged.released,
    );
    for (key, amount) in [("overrun", charged.overrun), ("kept", charged.kept)] {
        if amount > 0 {
            let _ = write!(text, r#","{key}":{amount}"#);
        }
    }
    if charged.unreported {
        text.push_str(r#","unreported":true"#);
    }
    text.push('}');
}

/// One time that the agent was asked; without the time it took when it did not come back.
fn write_round(text: &mut String, round: &Round) {
    let asked = list(&round.asked, |text, method| {
        text.push_str(&json_string(&cut(method)));
    });
    let _ = write!(text, r#"{{"asked":{asked}"#);
    if let Some(waited) = round.waited {
        let _ = write!(text, r#","answered_after_us":{}"#, micros(waited));
    }
    text.push('}');
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> String {
    cut_to(text, MAX_TEXT)
}

fn cut_to(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}
