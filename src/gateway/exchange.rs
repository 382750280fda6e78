//! A call that outlasts the requests of its agent. It runs in a task of its own; the agent's requests, one after
//! the other, hear what its server says and bring the answers to what it asks. Knows nothing of who may bring them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::protocol::{
    Json, LogLevel, META, Object, PROGRESS_TOKEN, is_reserved_key, json_string, raw,
};
use crate::types::ServerName;
use crate::upstream::{Ask, Notice, Outgoing};

use super::Failure;
use super::listener::Listener;
use super::stages::{Replied, Why, Wish};
use super::visits::may_ask;

/// How long further questions are waited for after one, so that a person is asked once.
const COLLECT: Duration = Duration::from_millis(50);

/// Notices that wait for the agent's next request; more are dropped, questions never are.
const NOTICES: usize = 64;

/// Questions that wait for the agent's next request; a server with more to ask is refused.
const ASKS: usize = 16;

/// What a call came to.
pub(super) type Ran = Result<Replied, Failure>;

/// The agent's end of a call. Dropping it cancels the call.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Whose answer it waits for.
    pub(super) server: ServerName,
    /// What the call is, so that no other request takes it over.
    pub(super) purpose: String,
    notices: mpsc::Receiver<Notice>,
    asks: mpsc::Receiver<Ask>,
    outcome: oneshot::Receiver<Ran>,
    /// Questions that are not answered yet, by the keys the agent knows them by.
    open: Vec<(String, Ask)>,
    /// Questions so far.
    asked: usize,
    minutes: Minutes,
    given_up: GivenUp,
}

/// The call's end of an exchange.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What the agent can be asked.
    declared: Object,
    notices: mpsc::Sender<Notice>,
    asks: mpsc::Sender<Ask>,
    minutes: Minutes,
    given_up: GivenUp,
}

/// Why the agent's end is gone; empty when the agent hung up.
type GivenUp = Arc<OnceLock<Why>>;

/// What was asked when; the closing event of the call tells it.
type Minutes = Arc<Mutex<Vec<Round>>>;

/// One time that the agent was asked in the middle of a call.
#[derive(Debug, Clone)]
pub(super) struct Round {
    /// With which methods.
    pub(super) asked: Vec<String>,
    /// How long it took to come back; `None` when it did not.
    pub(super) waited: Option<Duration>,
}

/// What one request of an agent wants to hear while the call runs.
#[derive(Debug)]
pub(super) struct Wants {
    token: Option<Json>,
    log_level: Option<LogLevel>,
}

/// Why a request of an agent need not wait any more.
#[derive(Debug)]
pub(super) enum Heard {
    /// The call has ended.
    Done(Box<Ran>),
    /// The server wants to know something first.
    Asked,
    /// The agent went away.
    Gone,
}

impl Exchange {
    /// Both ends of a call that is about to begin, and where its outcome goes.
    pub(super) fn new(wish: &Wish) -> (Self, Line, oneshot::Sender<Ran>) {
        let (notices, heard) = mpsc::channel(NOTICES);
        let (asks, questions) = mpsc::channel(ASKS);
        let (ended, outcome) = oneshot::channel();
        let line = Line {
            declared: wish.request.capabilities.clone(),
            notices,
            asks,
            minutes: Minutes::default(),
            given_up: GivenUp::default(),
        };
        let exchange = Self {
            server: wish.server.clone(),
            purpose: wish.purpose.clone(),
            notices: heard,
            asks: questions,
            outcome,
            open: Vec::new(),
            asked: 0,
            minutes: Arc::clone(&line.minutes),
            given_up: Arc::clone(&line.given_up),
        };
        (exchange, line, ended)
    }

    /// Passes on what the server says, until it answers or asks.
    pub(super) async fn follow(&mut self, agent: &Listener, wants: &Wants) -> Heard {
        let mut collected = Instant::now();
        loop {
            tokio::select! {
                biased;
                outcome = &mut self.outcome => {
                    self.pass_on(agent, wants);
                    return Heard::Done(Box::new(outcome.unwrap_or(Err(Failure::Internal))));
                }
                () = agent.gone() => return Heard::Gone,
                Some(ask) = self.asks.recv() => {
                    if self.open.is_empty() {
                        collected = Instant::now() + COLLECT;
                    }
                    self.asked = self.asked.saturating_add(1);
                    self.open.push((format!("in-{}", self.asked), ask));
                }
                () = sleep_until(collected), if !self.open.is_empty() => {
                    // Those of a call that is just ending are nobody's any more.
                    self.open.retain(|(_, ask)| !ask.reply.is_closed());
                    if !self.open.is_empty() {
                        self.pass_on(agent, wants);
                        return Heard::Asked;
                    }
                }
                Some(notice) = self.notices.recv() => wants.pass(notice, agent),
            }
        }
    }

    /// Passes on what was said so far.
    fn pass_on(&mut self, agent: &Listener, wants: &Wants) {
        for _ in 0..NOTICES {
            match self.notices.try_recv() {
                Ok(notice) => wants.pass(notice, agent),
                Err(_) => return,
            }
        }
    }

    /// What the agent is to answer, as 2026-07-28 writes it.
    pub(super) fn questions(&self) -> Object {
        let mut questions = Object::default();
        for (key, ask) in &self.open {
            questions.set(key, question(ask));
        }
        questions
    }

    /// Hands the server the answers to its questions; what is no answer to one leaves it open.
    pub(super) fn answer(&mut self, given: &Object) {
        for (key, ask) in std::mem::take(&mut self.open) {
            match given
                .get_object(&key)
                .filter(|answer| answers(&ask.method, answer))
            {
                // Whoever asked may be through meanwhile.
                Some(answer) => drop(ask.reply.send(Ok(aged(answer)))),
                None => self.open.push((key, ask)),
            }
        }
    }

    /// Tells the server that nobody answers what it asks, so that the call can go on.
    pub(super) fn refuse(&mut self) {
        self.open.clear();
    }

    /// How often the agent was asked.
    pub(super) fn rounds(&self) -> usize {
        locked(&self.minutes).len()
    }

    /// Notes that the agent is being asked.
    pub(super) fn note_asked(&self) {
        let asked = self.open.iter().map(|(_, ask)| ask.method.clone());
        let (asked, waited) = (asked.collect(), None);
        locked(&self.minutes).push(Round { asked, waited });
    }

    /// Notes that the agent came back after so long.
    pub(super) fn note_back(&self, after: Duration) {
        if let Some(round) = locked(&self.minutes).last_mut() {
            round.waited = Some(after);
        }
    }

    /// Gives the call up, though its agent may still come.
    pub(super) fn give_up(self, why: Why) {
        // The call learns of it when this end is dropped, which is now.
        self.given_up.get_or_init(|| why);
    }
}

impl Line {
    /// Resolves when nobody waits for the call any more.
    pub(super) async fn gone(&self) {
        self.notices.closed().await;
    }

    /// Whether nobody waits for the call any more.
    pub(super) fn is_gone(&self) -> bool {
        self.notices.is_closed()
    }

    /// Why nobody waits for it any more.
    pub(super) fn why_gone(&self) -> Why {
        self.given_up.get().copied().unwrap_or(Why::Cancelled)
    }

    /// Passes on what the server says.
    pub(super) fn pass(&self, notice: Notice) {
        match notice {
            Notice::Ask(ask) if may_ask(&self.declared, &ask.method, &ask.params) => {
                // What does not fit is dropped, which refuses it.
                drop(self.asks.try_send(ask));
            }
            Notice::Ask(_) => {}
            Notice::Progress(_) | Notice::Log(_) => drop(self.notices.try_send(notice)),
            // Its requests come on streams of their own, which have no places.
            Notice::At(..) | Notice::Stream(_) => {}
        }
    }

    /// How the agent was asked so far.
    pub(super) fn rounds(&self) -> Vec<Round> {
        locked(&self.minutes).clone()
    }
}

impl Wants {
    /// What a request says about it.
    pub(super) fn of(request: &Outgoing) -> Self {
        let meta = request.params.get_object(META).unwrap_or_default();
        Self {
            token: meta.get(PROGRESS_TOKEN).map(ToOwned::to_owned),
            log_level: request.log_level,
        }
    }

    /// Passes a notice on as this request wants it: each request of an agent has a progress token of its own.
    fn pass(&self, notice: Notice, agent: &Listener) {
        match (notice, &self.token) {
            (Notice::Progress(mut params), Some(token)) => {
                params.set(PROGRESS_TOKEN, token.clone());
                agent.pass(Notice::Progress(params));
            }
            (Notice::Log(params), _) if self.hears(&params) => agent.pass(Notice::Log(params)),
            (
                Notice::Progress(_)
                | Notice::Log(_)
                | Notice::Ask(_)
                | Notice::At(..)
                | Notice::Stream(_),
                _,
            ) => {}
        }
    }

    fn hears(&self, log: &Object) -> bool {
        let level: Option<LogLevel> = log.get_str("level").and_then(|level| level.parse().ok());
        self.log_level
            .zip(level)
            .is_some_and(|(least, level)| level >= least)
    }
}

/// A question of a server of an earlier revision as an entry of `inputRequests`.
fn question(ask: &Ask) -> Json {
    let mut params = ask.params.clone();
    // Neither is known to 2026-07-28, and no progress can be told.
    params.remove("elicitationId");
    if let Some(mut meta) = params.get_object(META) {
        meta.retain(|key| key != PROGRESS_TOKEN && !is_reserved_key(key));
        if meta.is_empty() {
            params.remove(META);
        } else {
            params.set(META, meta.to_json());
        }
    }
    let mut question = Object::default();
    question.set("method", raw(json_string(&ask.method)));
    if !params.is_empty() {
        question.set("params", params.to_json());
    }
    question.to_json()
}

/// Whether this can be the answer to a question of this method (MCP 2026-07-28, multi-round requests: the bare
/// result; errors have no form there).
fn answers(method: &str, answer: &Object) -> bool {
    let required = match method {
        "elicitation/create" => "action",
        "sampling/createMessage" => "content",
        "roots/list" => "roots",
        _ => return false,
    };
    answer.get(required).is_some()
}

/// The answer as the server's revision knows it.
fn aged(mut answer: Object) -> Json {
    answer.remove("resultType");
    answer.to_json()
}

fn locked(minutes: &Minutes) -> std::sync::MutexGuard<'_, Vec<Round>> {
    minutes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn asked(method: &str, params: &str) -> String {
        let (reply, _) = oneshot::channel();
        let (progress, _) = mpsc::channel(1);
        let ask = Ask {
            method: method.into(),
            params: object(params),
            reply,
            progress,
        };
        question(&ask).get().to_owned()
    }

    #[test]
    fn a_question_is_told_as_it_was_asked_without_what_its_agent_does_not_know() {
        let form = r#"{"message":"n\u00e4me?","requestedSchema":{"n":1.10}}"#;
        assert_eq!(
            asked("elicitation/create", form),
            format!(r#"{{"method":"elicitation/create","params":{form}}}"#)
        );
        assert_eq!(
            asked(
                "elicitation/create",
                r#"{"mode":"url","elicitationId":"e","url":"u"}"#
            ),
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"u"}}"#
        );
        assert_eq!(
            asked("roots/list", r#"{"_meta":{"progressToken":1}}"#),
            r#"{"method":"roots/list"}"#
        );
        let meta =
            r#"{"_meta":{"progressToken":1,"io.modelcontextprotocol/related-task":{},"a.b/c":2}}"#;
        assert_eq!(
            asked("roots/list", meta),
            r#"{"method":"roots/list","params":{"_meta":{"a.b/c":2}}}"#
        );
    }

    #[test]
    fn only_the_result_of_its_own_method_answers_a_question() {
        let methods = ["elicitation/create", "sampling/createMessage", "roots/list"];
        for (method, answer) in [
            ("elicitation/create", r#"{"action":"cancel"}"#),
            ("sampling/createMessage", r#"{"role":"user","content":[]}"#),
            ("roots/list", r#"{"roots":[]}"#),
            ("", r#"{"code":-32603,"message":"no"}"#),
            ("", r#"{"error":{"code":-32603,"message":"no"}}"#),
            ("", "{}"),
        ] {
            for other in methods {
                let is_one = answers(other, &object(answer));
                assert_eq!(is_one, other == method, "{other}: {answer}");
            }
        }
    }
}
