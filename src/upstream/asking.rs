//! What a legacy server asks the agent whose call it works on: passed up while the call runs, refused otherwise.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::protocol::{
    Json, Object, RequestId, error_response, notification, raw, result_response,
};

use super::codec::{Outcome, client_info, not_offered};
use super::{Ask, EventId, Notice, Outgoing, limits};

/// The methods an agent can be asked with, and the capability that allows each (MCP 2025-11-25, client features).
const ASKS: [(&str, &str); 3] = [
    ("elicitation/create", "elicitation"),
    ("roots/list", "roots"),
    ("sampling/createMessage", "sampling"),
];

/// Says that the agent's roots are others now (MCP 2025-11-25, roots).
pub(super) const ROOTS_CHANGED: &str = "notifications/roots/list_changed";

/// Notifications of progress on a question that wait to be carried back; more are dropped.
const PROGRESS: usize = 8;

/// What a server is told, when a connection opens, about the agent behind it. Without one it is told that nobody
/// can be asked anything.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) capabilities: Object,
    pub(super) client_info: Json,
    /// Whether it is for a request that concerns tasks.
    pub(super) for_tasks: bool,
}

impl Declared {
    /// `None` when the agent of this request cannot be asked anything.
    pub(super) fn of(outgoing: &Outgoing) -> Option<Arc<Self>> {
        let client_info = outgoing.client_info.clone().unwrap_or_else(client_info);
        Self::among(
            &outgoing.capabilities,
            client_info,
            outgoing.concerns_tasks(),
        )
    }

    /// `None` when there is nothing to ask for among these capabilities.
    pub(super) fn new(capabilities: &Object, client_info: Json) -> Option<Arc<Self>> {
        Self::among(capabilities, client_info, false)
    }

    fn among(capabilities: &Object, client_info: Json, for_tasks: bool) -> Option<Arc<Self>> {
        let mut capabilities = capabilities.clone();
        capabilities.retain(|key| ASKS.iter().any(|(_, capability)| *capability == key));
        if capabilities.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            capabilities,
            client_info,
            for_tasks,
        }))
    }

    /// The same for the same declaration, and for no other.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.capabilities.to_text());
        digest.update([0]);
        digest.update(self.client_info.get());
        digest.finalize().into()
    }

    /// Whether the agent has roots to ask for.
    pub(super) fn has_roots(&self) -> bool {
        self.capabilities.get("roots").is_some()
    }

    /// Whether the server may ask this.
    pub(super) fn allows(&self, method: &str) -> bool {
        ASKS.iter().any(|(name, capability)| {
            *name == method && self.capabilities.get(capability).is_some()
        })
    }
}

/// The questions of one call. Those that are open when it is dropped are refused.
#[derive(Debug)]
pub(super) struct Questions {
    asker: Asker,
    _over: DropGuard,
}

/// Passes the questions of one call up to its agent.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    declared: Arc<Declared>,
    notices: mpsc::Sender<Notice>,
    /// How many are open.
    open: watch::Sender<usize>,
    over: CancellationToken,
}

/// A question that was passed up.
#[derive(Debug)]
pub(super) struct Question {
    /// What did not fit into the queue at once.
    waiting: Option<(mpsc::Sender<Notice>, Notice)>,
    answer: oneshot::Receiver<Outcome>,
    progress: mpsc::Receiver<Object>,
    over: CancellationToken,
    /// When it is refused at last, where no call says so.
    until: Option<Instant>,
    _open: Open,
}

/// What there is to tell a server that asked.
#[derive(Debug)]
pub(super) enum Told {
    /// How far the agent is.
    Progress(String),
    /// What it answered; the last.
    Answer(String),
}

impl Questions {
    pub(super) fn new(declared: Arc<Declared>, notices: &mpsc::Sender<Notice>) -> Self {
        let over = CancellationToken::new();
        let asker = Asker {
            declared,
            notices: notices.clone(),
            open: watch::Sender::new(0),
            over: over.clone(),
        };
        Self {
            asker,
            _over: over.drop_guard(),
        }
    }

    pub(super) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// How many are open, and every change of that.
    pub(super) fn open(&self) -> watch::Receiver<usize> {
        self.asker.open.subscribe()
    }
}

impl Asker {
    /// Passes a question up; `None` when it is to be refused at once: not declared, the call is over, or too many
    /// are open. Never waits.
    pub(super) fn ask(&self, method: &str, params: Object) -> Option<Question> {
        self.ask_at(method, params, None)
    }

    /// The same, at a place of the server's stream.
    pub(super) fn ask_at(
        &self,
        method: &str,
        params: Object,
        at: Option<EventId>,
    ) -> Option<Question> {
        let is_possible = self.declared.allows(method) && !self.over.is_cancelled();
        if !is_possible || *self.open.borrow() >= limits::OPEN_ASKS {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let (saying, progress) = mpsc::channel(PROGRESS);
        let method = method.to_owned();
        let ask = Notice::Ask(Ask {
            method,
            params,
            reply,
            progress: saying,
        });
        let ask = match at {
            Some(at) => Notice::At(at, Box::new(ask)),
            None => ask,
        };
        // Progress is dropped while the agent is slow. A question is not: its server would wait for ever.
        let waiting = match self.notices.try_send(ask) {
            Ok(()) => None,
            Err(TrySendError::Full(ask)) => Some((self.notices.clone(), ask)),
            Err(TrySendError::Closed(_)) => return None,
        };
        Some(Question {
            waiting,
            answer,
            progress,
            over: self.over.clone(),
            until: None,
            _open: Open::new(&self.open),
        })
    }
}

impl Question {
    /// Refuses it when it was not answered in so long.
    pub(super) fn within(mut self, patience: Duration) -> Self {
        self.until = Some(Instant::now() + patience);
        self
    }

    /// Waits for what the agent says, and writes the message for the server that asked with this id.
    pub(super) async fn next(&mut self, id: &RequestId, method: &str) -> Told {
        if let Some((notices, ask)) = self.waiting.take() {
            tokio::select! {
                // Should the call be over, the answer says so below.
                _ = notices.send(ask) => {}
                () = self.over.cancelled() => {}
                () = passed(self.until) => {}
            }
        }
        let answer = tokio::select! {
            biased;
            () = self.over.cancelled() => None,
            () = passed(self.until) => None,
            Some(params) = self.progress.recv() => {
                return Told::Progress(notification("notifications/progress", Some(&params)));
            }
            answer = &mut self.answer => answer.ok(),
        };
        Told::Answer(match answer {
            Some(Ok(result)) => result_response(id, &result),
            Some(Err(error)) => error_response(Some(id), &error, false),
            None => refusal(id, method),
        })
    }
}

async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The answer to a request of a server that nobody is asked about: we are alive, and offer nothing.
pub(super) fn refusal(id: &RequestId, method: &str) -> String {
    if method == "ping" {
        let nothing: Json = raw("{}".into());
        return result_response(id, &nothing);
    }
    error_response(Some(id), &not_offered(method), false)
}

/// Counts an open question for as long as it lives.
#[derive(Debug)]
struct Open(watch::Sender<usize>);

impl Open {
    fn new(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open = open.saturating_add(1));
        Self(open.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::tool_call;
    use super::*;

    fn declared(capabilities: &str) -> Option<Arc<Declared>> {
        Declared::of(&Outgoing {
            capabilities: Object::parse(capabilities).unwrap(),
            ..tool_call("{}")
        })
    }

    fn id() -> RequestId {
        RequestId::number(7)
    }

    async fn answer(mut question: Question) -> String {
        match question.next(&id(), "roots/list").await {
            Told::Answer(answer) => answer,
            Told::Progress(progress) => panic!("{progress}"),
        }
    }

    #[test]
    fn only_what_can_be_asked_is_declared() {
        assert!(declared("{}").is_none());
        assert!(declared(r#"{"experimental":{},"tasks":{}}"#).is_none());
        let both = declared(r#"{"experimental":{},"sampling":{"tools":{}},"roots":{}}"#).unwrap();
        assert_eq!(
            both.capabilities.to_text(),
            r#"{"sampling":{"tools":{}},"roots":{}}"#
        );
        assert_ne!(
            both.digest(),
            declared(r#"{"sampling":{}}"#).unwrap().digest()
        );
    }

    #[tokio::test]
    async fn what_was_not_declared_is_not_asked() {
        let (notices, mut heard) = mpsc::channel(4);
        let questions = Questions::new(declared(r#"{"roots":{}}"#).unwrap(), &notices);
        for method in ["sampling/createMessage", "ping", "elicitation/create", "x"] {
            assert!(questions.asker().ask(method, Object::default()).is_none());
        }
        assert!(heard.try_recv().is_err());
        assert!(
            questions
                .asker()
                .ask("roots/list", Object::default())
                .is_some()
        );
    }

    #[tokio::test]
    async fn a_question_waits_for_room_and_a_dropped_reply_refuses_it() {
        let (notices, mut heard) = mpsc::channel(1);
        let questions = Questions::new(declared(r#"{"roots":{}}"#).unwrap(), &notices);
        notices
            .try_send(Notice::Progress(Object::default()))
            .unwrap();
        let question = questions
            .asker()
            .ask("roots/list", Object::default())
            .unwrap();
        assert_eq!(*questions.open().borrow(), 1);
        let answering = tokio::spawn(answer(question));
        assert!(matches!(heard.recv().await, Some(Notice::Progress(_))));
        assert!(matches!(heard.recv().await, Some(Notice::Ask(_))));
        let answer = answering.await.unwrap();
        assert!(
            answer.contains("-32601") && answer.contains(r#""id":7"#),
            "{answer}"
        );
        assert_eq!(*questions.open().borrow(), 0);
    }

    #[tokio::test]
    async fn progress_goes_before_the_answer_and_a_flood_of_it_is_dropped() {
        let (notices, mut heard) = mpsc::channel(4);
        let questions = Questions::new(declared(r#"{"roots":{}}"#).unwrap(), &notices);
        let question = questions.asker().ask("roots/list", Object::default());
        let mut question = question.unwrap();
        let Some(Notice::Ask(ask)) = heard.recv().await else {
            panic!("a question");
        };
        let said = (0..100)
            .filter(|_| ask.progress.try_send(Object::default()).is_ok())
            .count();
        assert_eq!(said, PROGRESS);
        ask.reply.send(Ok(raw("{}".into()))).unwrap();
        for _ in 0..PROGRESS {
            let told = question.next(&id(), "roots/list").await;
            assert!(matches!(told, Told::Progress(_)), "{told:?}");
        }
        assert!(answer(question).await.contains("result"));
    }

    #[tokio::test]
    async fn the_end_of_the_call_refuses_what_is_open_and_what_comes_later() {
        let (notices, mut heard) = mpsc::channel(4);
        let questions = Questions::new(declared(r#"{"roots":{}}"#).unwrap(), &notices);
        let asker = questions.asker();
        let question = asker.ask("roots/list", Object::default()).unwrap();
        drop(questions);
        let answer = answer(question).await;
        assert!(answer.contains("-32601"), "{answer}");
        let Some(Notice::Ask(ask)) = heard.recv().await else {
            panic!("a question");
        };
        assert!(ask.reply.is_closed());
        assert!(asker.ask("roots/list", Object::default()).is_none());
    }

    #[tokio::test]
    async fn so_many_are_open_at_once_and_no_more() {
        let (notices, _heard) = mpsc::channel(64);
        let questions = Questions::new(declared(r#"{"roots":{}}"#).unwrap(), &notices);
        let asker = questions.asker();
        let ask = || asker.ask("roots/list", Object::default());
        let open: Vec<_> = std::iter::from_fn(ask).collect();
        assert_eq!(open.len(), limits::OPEN_ASKS);
        drop(open);
        assert!(ask().is_some());
    }
}
