//! The calls in flight on one connection that carries many at once, and who of them gets a message that came. Does no I/O.

use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::protocol::{Message, MessageError, Object, RequestId};

use super::UpstreamError;
use super::asking::{Asker, Question, refusal};
use super::audience::Hearers;
use super::codec::Outcome;
use super::listen_modern::subscription_id;
use super::listener::{Listener, progress_token};

/// What a call gets in the end.
pub(super) type Answer = Result<Outcome, UpstreamError>;

/// The calls in flight.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: HashMap<u64, Waiting>,
    last_id: u64,
    /// Why nothing can be called any more.
    over: Option<String>,
    /// Who hears what belongs to no call.
    hearers: Option<Hearers>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    listener: Listener,
}

/// What is left to do after a message was given to whom it concerns.
#[derive(Debug)]
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// To write this back.
    Reply(String),
    /// To wait for the agent's answer to this question, and to write that back.
    Ask {
        id: RequestId,
        method: String,
        question: Question,
    },
    /// To log that this line made no sense, for this reason.
    Junk(String),
}

impl Pending {
    /// Passes on what belongs to no call as well.
    pub(super) fn listened_by(&mut self, hearers: Hearers) {
        self.hearers = Some(hearers);
    }

    /// An id that was not used before on this process; also the progress token of its call.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id = self.last_id.saturating_add(1);
        self.last_id
    }

    /// Expects the answer of a call that is about to be sent.
    pub(super) fn expect(
        &mut self,
        id: u64,
        listener: Listener,
    ) -> Result<oneshot::Receiver<Answer>, UpstreamError> {
        if let Some(why) = &self.over {
            return Err(UpstreamError::Unreachable(why.clone()));
        }
        let (answer, receiver) = oneshot::channel();
        self.last_id = self.last_id.max(id);
        self.waiting.insert(id, Waiting { answer, listener });
        Ok(receiver)
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Lets nothing new in.
    pub(super) fn close(&mut self, why: &str) {
        self.over.get_or_insert_with(|| why.into());
        if let Some(hearers) = &self.hearers {
            hearers.audience.shake();
        }
    }

    /// Whether nothing new is let in.
    pub(super) fn is_closed(&self) -> bool {
        self.over.is_some()
    }

    /// Gives up everyone who still waits.
    pub(super) fn fail_all(&mut self) {
        let why = self.over.clone().unwrap_or_default();
        for (_, waiting) in self.waiting.drain() {
            // Nobody listens when the call was given up meanwhile.
            let _ = waiting.answer.send(Err(UpstreamError::Broken(why.clone())));
        }
    }

    /// Fails the only call in flight; with several, whose fault a bad message is cannot be known.
    pub(super) fn fail_sole(&mut self, error: UpstreamError) {
        if let Some(waiting) = self.sole().and_then(|id| self.waiting.remove(&id)) {
            let _ = waiting.answer.send(Err(error));
        }
    }

    /// The only call in flight. Who listens for news does not count: that request may be open for days.
    fn sole(&self) -> Option<u64> {
        let calls = self.waiting.iter();
        let mut calls = calls.filter(|(_, waiting)| !waiting.listener.is_for_news());
        match (calls.next(), calls.next()) {
            (Some((id, _)), None) => Some(*id),
            _ => None,
        }
    }

    /// Gives a message to the call it belongs to.
    pub(super) fn route(&mut self, message: Result<Message, MessageError>) -> Left {
        match message {
            Ok(Message::Response { id, outcome }) => {
                let number = id.and_then(|id| id.as_json().parse().ok());
                self.answer(number, outcome)
            }
            Ok(Message::Notification { method, params }) => {
                self.notify(&method, params);
                Left::Nothing
            }
            Ok(Message::Request { id, method, params }) => match self.ask(&method, params) {
                Some(question) => Left::Ask {
                    id,
                    method,
                    question,
                },
                None => Left::Reply(refusal(&id, &method)),
            },
            Err(MessageError::NotJson(_)) => Left::Junk("not JSON".into()),
            Err(MessageError::NotAMessage(why)) => Left::Junk(why),
        }
    }

    fn answer(&mut self, id: Option<u64>, outcome: Outcome) -> Left {
        if let Some(waiting) = id.and_then(|id| self.waiting.remove(&id)) {
            let _ = waiting.answer.send(Ok(outcome));
            return Left::Nothing;
        }
        // The late answer of a call that was given up is nobody's fault.
        if id.is_some_and(|id| id <= self.last_id) {
            return Left::Nothing;
        }
        self.fail_sole(UpstreamError::Broken(
            "the answer carries the id of another request".into(),
        ));
        Left::Junk("an answer to a request that was never made".into())
    }

    /// A question names no call: it is that of the only call there is that may be asked. With two of them it would be
    /// a guess. Without any it is for whoever listens.
    fn ask(&self, method: &str, params: Object) -> Option<Question> {
        let waiting = self.waiting.values();
        let askers: Vec<Asker> = waiting.filter_map(|call| call.listener.asker()).collect();
        match askers.as_slice() {
            [] => self.hearers.as_ref()?.ask(method, &params),
            [only] => only.ask(method, params),
            _ => None,
        }
    }

    /// Progress names its call, and modern news the request that asked for them. A log line does not: it belongs to a
    /// call only when there is no other.
    fn notify(&mut self, method: &str, params: Object) {
        if let Some(hearers) = &self.hearers {
            hearers.hear(method, &params);
        }
        let waiting = match (method, progress_token(&params)) {
            ("notifications/progress", Some(token)) => self.waiting.get_mut(&token),
            ("notifications/message", _) => {
                let sole = self.sole();
                sole.and_then(|id| self.waiting.get_mut(&id))
            }
            _ if self.hearers.is_none() => {
                let id = subscription_id(&params);
                id.and_then(|id| self.waiting.get_mut(&id))
            }
            _ => None,
        };
        if let Some(waiting) = waiting {
            waiting.listener.hear(method, params);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::protocol::{LogLevel, raw};
    use crate::upstream::Notice;

    fn expect(
        pending: &mut Pending,
        notices: &mpsc::Sender<Notice>,
    ) -> (u64, oneshot::Receiver<Answer>) {
        let id = pending.next_id();
        let listener = Listener::new(
            id,
            Some(raw(format!("\"t{id}\""))),
            Some(LogLevel::Debug),
            notices,
        );
        (id, pending.expect(id, listener).unwrap())
    }

    fn route(pending: &mut Pending, line: &str) -> Left {
        pending.route(Message::parse(line.as_bytes()))
    }

    fn got(receiver: &mut oneshot::Receiver<Answer>) -> String {
        match receiver.try_recv() {
            Ok(Ok(Ok(json) | Err(json))) => json.get().to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "nothing".into(),
        }
    }

    #[test]
    fn answers_find_their_calls_in_any_order() {
        let (notices, _receiver) = mpsc::channel(8);
        let mut pending = Pending::default();
        let (_, mut one) = expect(&mut pending, &notices);
        let (_, mut two) = expect(&mut pending, &notices);
        assert!(matches!(
            route(&mut pending, r#"{"jsonrpc":"2.0","id":2,"result":"two"}"#),
            Left::Nothing
        ));
        let failure = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#;
        assert!(matches!(route(&mut pending, failure), Left::Nothing));
        assert_eq!(
            (got(&mut one), got(&mut two)),
            (r#"{"code":1}"#.into(), r#""two""#.into())
        );
        assert!(matches!(
            route(&mut pending, r#"{"jsonrpc":"2.0","id":1,"result":"again"}"#),
            Left::Nothing
        ));
    }

    #[test]
    fn an_answer_to_nothing_fails_the_only_call_and_no_other() {
        let (notices, _receiver) = mpsc::channel(8);
        for line in [
            r#"{"jsonrpc":"2.0","id":99,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":1}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{}}"#,
        ] {
            let mut pending = Pending::default();
            let (_, mut one) = expect(&mut pending, &notices);
            assert!(matches!(route(&mut pending, line), Left::Junk(_)));
            assert!(got(&mut one).contains("another request"), "{line}");

            let mut pending = Pending::default();
            let (_, mut one) = expect(&mut pending, &notices);
            let (_, mut two) = expect(&mut pending, &notices);
            route(&mut pending, line);
            assert_eq!(
                (got(&mut one), got(&mut two)),
                ("nothing".into(), "nothing".into())
            );
        }
    }

    #[test]
    fn notices_reach_the_call_they_are_of() {
        let (one_notices, mut one) = mpsc::channel(8);
        let (two_notices, mut two) = mpsc::channel(8);
        let mut pending = Pending::default();
        let _one = expect(&mut pending, &one_notices);
        let (id, _two) = expect(&mut pending, &two_notices);
        let log =
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error"}}"#;
        route(
            &mut pending,
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":2,"progress":1}}"#,
        );
        route(&mut pending, log);
        assert!(one.try_recv().is_err());
        assert!(matches!(two.try_recv(), Ok(Notice::Progress(_))));
        assert!(
            two.try_recv().is_err(),
            "a log line of one of two calls is nobody's"
        );
        pending.forget(id);
        route(&mut pending, log);
        assert!(matches!(one.try_recv(), Ok(Notice::Log(_))));
    }

    #[test]
    fn requests_of_the_server_are_declined_and_pings_answered() {
        let mut pending = Pending::default();
        let left = route(
            &mut pending,
            r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#,
        );
        let pong = r#"{"jsonrpc":"2.0","id":"x","result":{}}"#;
        assert!(matches!(left, Left::Reply(reply) if reply == pong));
        let Left::Reply(reply) = route(
            &mut pending,
            r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#,
        ) else {
            panic!("a reply");
        };
        assert!(reply.contains("-32601"));
    }

    #[test]
    fn after_the_end_everyone_knows() {
        let (notices, _receiver) = mpsc::channel(8);
        let mut pending = Pending::default();
        let (_, mut one) = expect(&mut pending, &notices);
        pending.close("the process ended");
        let listener = Listener::new(9, None, None, &notices);
        assert!(pending.expect(9, listener).unwrap_err().nothing_sent());
        pending.fail_all();
        assert_eq!(got(&mut one), "server broke off: the process ended");
    }
}
