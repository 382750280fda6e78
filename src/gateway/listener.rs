//! The agent's end of a request: where notices and questions go, and whether hanging up cancels the call.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::protocol::{Object, json_string, notification, raw, request};
use crate::upstream::{Ask, Notice};

use super::Part;
use super::asks::{Answered, Asks};

/// How long a person may take to answer a question.
const ANSWER_TIME: Duration = Duration::from_secs(600);

/// How an agent can be asked something in the middle of a call.
#[derive(Debug, Clone)]
pub enum Asking {
    /// Not at all: a bare client, or one without a stream.
    No,
    /// With a request on the stream; the answer comes as a POST in the session.
    Push {
        /// The session.
        session: Arc<str>,
        /// What its client declared it can be asked.
        declared: Object,
    },
    /// By ending the request with `input_required`; the agent repeats it with the answers (2026-07-28).
    Retry,
}

/// The agent's end of a request.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) parts: mpsc::Sender<Part>,
    pub(super) hangup_cancels: bool,
    pub(super) asking: Asking,
    pub(super) asks: Arc<Asks>,
    /// When a request is given up that others should not wait for.
    pub(super) until: Option<Instant>,
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

impl Listener {
    /// The same end, which waits only until then.
    pub(super) fn until(&self, until: Instant) -> Self {
        Self {
            until: Some(until),
            ..self.clone()
        }
    }

    /// Passes on what a server says; ends only when the agent has gone and that cancels the call, or when it has
    /// waited long enough.
    pub(super) async fn relay(&self, heard: &mut mpsc::Receiver<Notice>) {
        loop {
            tokio::select! {
                Some(notice) = heard.recv() => self.pass(notice),
                () = self.parts.closed(), if self.hangup_cancels => return,
                () = reached(self.until) => return,
                else => std::future::pending().await,
            }
        }
    }

    pub(super) fn pass(&self, notice: Notice) {
        let (method, params) = match notice {
            Notice::Progress(params) => ("notifications/progress", params),
            Notice::Log(params) => ("notifications/message", params),
            Notice::Ask(ask) => return self.put(ask),
        };
        // A slow agent misses progress, not its answer.
        drop(
            self.parts
                .try_send(Part::Notice(notification(method, Some(&params)))),
        );
    }

    /// Puts a server's question to the agent while the call goes on.
    fn put(&self, ask: Ask) {
        let listener = self.clone();
        tokio::spawn(async move {
            // Without an answer the reply is dropped, which refuses the question.
            if let Some(answered) = listener.push(&ask.method, &ask.params).await {
                // The call may have ended meanwhile; then nobody waits for the answer.
                drop(ask.reply.send(answered));
            }
        });
    }

    /// Whether answers can be had while the request is open.
    pub(super) fn can_push(&self) -> bool {
        matches!(self.asking, Asking::Push { .. })
    }

    async fn push(&self, method: &str, params: &Object) -> Option<Answered> {
        let Asking::Push { session, declared } = &self.asking else {
            return None;
        };
        // Nobody is asked what its client did not say it can be asked.
        let capability = method.split('/').next().unwrap_or_default();
        declared.get(capability)?;
        let mut open = self.asks.open(session)?;
        let question = request(&open.id(), method, Some(params));
        self.parts.send(Part::Notice(question)).await.ok()?;
        timeout(ANSWER_TIME, &mut open.answer).await.ok()?.ok()
    }

    /// Puts all questions of an `input_required` result; yields the answers by the same keys. `None` when one
    /// was not answered, or answered with an error.
    pub(super) async fn answers(&self, questions: &Object) -> Option<Object> {
        let asked = questions.keys().map(async |key| {
            let question = questions.get_object(key)?;
            let method = question.get_str("method")?.into_owned();
            let mut params = question.get_object("params").unwrap_or_default();
            name_url_question(&mut params);
            Some((key.to_owned(), self.push(&method, &params).await?.ok()?))
        });
        let mut answers = Object::default();
        for answer in join_all(asked).await {
            let (key, answer) = answer?;
            answers.set(&key, answer);
        }
        Some(answers)
    }
}

/// Questions that send a person to a page need an id in 2025-11-25, which 2026-07-28 does not have.
fn name_url_question(params: &mut Object) {
    if params.get_str("mode").as_deref() == Some("url") && params.get("elicitationId").is_none() {
        let id: [u8; 16] = super::random();
        let id = u128::from_be_bytes(id);
        params.set("elicitationId", raw(json_string(&format!("{id:032x}"))));
    }
}
