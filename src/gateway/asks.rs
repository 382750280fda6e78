//! Questions of servers that wait for their agent's answer.
//!
//! An agent with a session is asked on the stream of its own request and answers with a POST. The ids are
//! ours, so an answer reaches exactly the question it is for, and only from the session that was asked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::protocol::{Json, Object, PROGRESS_TOKEN, RequestId};

/// Questions open at once in one session; a server with more to ask is refused.
const MAX_OPEN: usize = 32;

/// What an agent answered: a result, or a whole error object.
pub(super) type Answered = Result<Json, Json>;

/// All open questions, by session and id.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: Mutex<HashMap<Arc<str>, OfSession>>,
    last: AtomicU64,
}

/// The questions of one session.
type OfSession = HashMap<u64, Waiting>;

/// Whom to hand an answer to, and what is said before it.
#[derive(Debug)]
struct Waiting {
    reply: oneshot::Sender<Answered>,
    progress: Option<Progress>,
}

/// Where progress on a question goes, and the token its server chose for it.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) token: Json,
    pub(super) to: mpsc::Sender<Object>,
}

/// One open question. Dropped, it is closed: a later answer finds nothing.
#[derive(Debug)]
pub(super) struct OpenAsk {
    asks: Arc<Asks>,
    session: Arc<str>,
    number: u64,
    /// Yields the answer.
    pub(super) answer: oneshot::Receiver<Answered>,
}

impl Asks {
    /// Opens a question; `None` when the session has too many.
    pub(super) fn open(
        self: &Arc<Self>,
        session: &Arc<str>,
        progress: Option<Progress>,
    ) -> Option<OpenAsk> {
        let number = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let (reply, answer) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = open.entry(Arc::clone(session)).or_default();
        if of_session.len() >= MAX_OPEN {
            return None;
        }
        of_session.insert(number, Waiting { reply, progress });
        Some(OpenAsk {
            asks: Arc::clone(self),
            session: Arc::clone(session),
            number,
            answer,
        })
    }

    /// Hands an answer to its question. Says whether there was one.
    pub(super) fn answer(&self, session: &str, id: &RequestId, answered: Answered) -> bool {
        let Ok(number) = id.as_json().parse::<u64>() else {
            return false;
        };
        self.take(session, number)
            .is_some_and(|waiting| waiting.reply.send(answered).is_ok())
    }

    /// Passes progress on to the server whose question it is about. Servers choose their tokens without knowing of
    /// each other, so the agent is given the number of the question for one.
    pub(super) fn progress(&self, session: &str, mut params: Object) {
        let token = params.get(PROGRESS_TOKEN);
        let Some(number) = token.and_then(|token| token.get().parse::<u64>().ok()) else {
            return;
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = open
            .get(session)
            .and_then(|of_session| of_session.get(&number));
        if let Some(progress) = waiting.and_then(|waiting| waiting.progress.as_ref()) {
            params.set(PROGRESS_TOKEN, progress.token.clone());
            // A slow server misses progress, not the answer.
            drop(progress.to.try_send(params));
        }
    }

    fn take(&self, session: &str, number: u64) -> Option<Waiting> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_session = open.get_mut(session)?;
        let waiting = of_session.remove(&number);
        if of_session.is_empty() {
            open.remove(session);
        }
        waiting
    }
}

impl OpenAsk {
    /// The id the agent sees.
    pub(super) fn id(&self) -> RequestId {
        RequestId::number(self.number)
    }
}

impl Drop for OpenAsk {
    fn drop(&mut self) {
        self.asks.take(&self.session, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::raw;

    #[tokio::test]
    async fn an_answer_reaches_its_own_question_once_and_only_from_its_session() {
        let asks = Arc::new(Asks::default());
        let session: Arc<str> = "s".into();
        let mut one = asks.open(&session, None).unwrap();
        let two = asks.open(&session, None).unwrap();
        let id = one.id();
        assert!(
            !asks.answer("t", &id, Ok(raw("1".into()))),
            "another session's"
        );
        assert!(asks.answer("s", &id, Ok(raw("1".into()))));
        assert!(!asks.answer("s", &id, Ok(raw("2".into()))), "a second time");
        assert_eq!((&mut one.answer).await.unwrap().unwrap().get(), "1");
        let late = two.id();
        drop(two);
        assert!(!asks.answer("s", &late, Ok(raw("1".into()))), "given up");
        assert!(asks.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_session_has_only_so_many_open() {
        let asks = Arc::new(Asks::default());
        let session: Arc<str> = "s".into();
        let open: Vec<_> = (0..MAX_OPEN)
            .map(|_| asks.open(&session, None).unwrap())
            .collect();
        assert!(asks.open(&session, None).is_none());
        drop(open);
        assert!(asks.open(&session, None).is_some());
    }

    #[test]
    fn progress_reaches_its_own_question_with_the_servers_token() {
        let asks = Arc::new(Asks::default());
        let session: Arc<str> = "s".into();
        let (to, mut heard) = mpsc::channel(1);
        let token = raw("\"theirs\"".into());
        let open = asks.open(&session, Some(Progress { token, to })).unwrap();
        let deaf = asks.open(&session, None).unwrap();
        let say = |session: &str, number: u64| {
            let params = format!(r#"{{"progressToken":{number},"progress":0.50}}"#);
            asks.progress(session, Object::parse(&params).unwrap());
        };
        say("t", open.number);
        say("s", deaf.number);
        say("s", 99);
        asks.progress("s", Object::default());
        assert!(heard.try_recv().is_err());
        say("s", open.number);
        say("s", open.number);
        assert_eq!(
            heard.try_recv().unwrap().to_text(),
            r#"{"progressToken":"theirs","progress":0.50}"#
        );
        assert!(heard.try_recv().is_err(), "more than the server takes");
    }
}
