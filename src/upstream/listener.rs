//! What one call wants to hear while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::Sender;

use crate::protocol::{Json, LogLevel, Object, PROGRESS_TOKEN, raw};

use super::asking::Asker;
use super::audience::Audience;
use super::listen_modern::Subscription;
use super::{EventId, Notice, StreamNews, limits};

/// Who hears what is said on the way of a call without belonging to it.
#[derive(Debug, Clone)]
pub(super) enum Hearing {
    /// The ears of its lane: servers before 2026-07-28 say their news wherever they can.
    Lane(Arc<Audience>),
    /// The ear that made this request, for just that.
    Own(Arc<Subscription>),
}

/// Picks the notifications of one call out of what a server says.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    token: String,
    agent_token: Option<Json>,
    log_level: Option<LogLevel>,
    last_progress: Option<f64>,
    notices: Sender<Notice>,
    asker: Option<Asker>,
    hearing: Option<Hearing>,
    /// Whether the places of the stream are told: it can be taken up again.
    has_places: bool,
    /// The place of the event that is heard.
    place: Option<EventId>,
    /// What was last told of how long to wait.
    retry: Option<u64>,
    missed: Arc<AtomicU64>,
}

impl Listener {
    /// For the call that sent `token`, in place of the token of the agent.
    pub(super) fn new(
        token: u64,
        agent_token: Option<Json>,
        log_level: Option<LogLevel>,
        notices: &Sender<Notice>,
    ) -> Self {
        Self {
            token: token.to_string(),
            agent_token,
            log_level,
            last_progress: None,
            notices: notices.clone(),
            asker: None,
            hearing: None,
            has_places: false,
            place: None,
            retry: None,
            missed: Arc::default(),
        }
    }

    /// Counts here what is dropped.
    pub(super) fn counting(mut self, missed: Arc<AtomicU64>) -> Self {
        self.missed = missed;
        self
    }

    /// Passes questions up as well.
    pub(super) fn asking(mut self, asker: Option<Asker>) -> Self {
        self.asker = asker;
        self
    }

    /// Passes on as well what does not belong to the call.
    pub(super) fn hearing(mut self, hearing: Hearing) -> Self {
        self.hearing = Some(hearing);
        self
    }

    /// Whether this is no call, but a request to listen.
    pub(super) fn is_for_news(&self) -> bool {
        matches!(self.hearing, Some(Hearing::Own(_)))
    }

    pub(super) fn asker(&self) -> Option<Asker> {
        self.asker.clone()
    }

    /// Tells the places of the stream as well.
    pub(super) fn tell_places(&mut self) {
        self.has_places = true;
    }

    /// Turns to an event with this id; what is heard next is its. `retry` is what the stream said so far of how long to
    /// wait before it is asked for again, in milliseconds.
    pub(super) fn turn_to(&mut self, id: Option<String>, retry: Option<u64>) {
        let fits = |id: &String| !id.is_empty() && id.len() <= limits::EVENT_ID;
        let place = id.filter(|id| self.has_places && fits(id)).map(EventId);
        if place.is_some() {
            self.tell_retry(retry);
        }
        self.place = place;
    }

    /// The place of the event that is heard, once.
    pub(super) fn take_place(&mut self) -> Option<EventId> {
        self.place.take()
    }

    /// The event said nothing.
    pub(super) fn hear_nothing(&mut self) {
        if let Some(place) = self.place.take() {
            self.send(Notice::Stream(StreamNews::Here(place)));
        }
    }

    /// The event is the answer.
    pub(super) fn hear_answer(&mut self) {
        if let Some(place) = self.place.take() {
            self.send(Notice::Stream(StreamNews::Answer(place)));
        }
    }

    /// The server closed its stream before the answer, after an event with an id.
    pub(super) fn hear_end(&mut self, retry: Option<u64>) {
        if self.has_places {
            self.tell_retry(retry);
            self.send(Notice::Stream(StreamNews::Closed));
        }
    }

    fn tell_retry(&mut self, retry: Option<u64>) {
        if let Some(wait) = retry.filter(|_| self.retry != retry) {
            self.retry = retry;
            self.send(Notice::Stream(StreamNews::Retry(wait)));
        }
    }

    /// Passes a notification on, if it is one the call asked for.
    pub(super) fn hear(&mut self, method: &str, params: Object) {
        match method {
            "notifications/progress" => self.hear_progress(params),
            "notifications/message" => self.hear_log(params),
            _ => match &self.hearing {
                Some(Hearing::Lane(audience)) => audience.hear(method, &params),
                Some(Hearing::Own(subscription)) => subscription.hear(method, params),
                None => {}
            },
        }
    }

    /// Passes on progress of this call, when it rose.
    fn hear_progress(&mut self, mut params: Object) {
        let token = params.get(PROGRESS_TOKEN).map(|token| token.get());
        let Some(agent_token) = &self.agent_token else {
            return;
        };
        let progress: Option<f64> = params
            .get("progress")
            .and_then(|progress| progress.get().parse().ok());
        let Some(progress) = progress.filter(|_| token == Some(self.token.as_str())) else {
            return;
        };
        if self.last_progress.is_some_and(|last| progress <= last) {
            return;
        }
        self.last_progress = Some(progress);
        params.set(PROGRESS_TOKEN, agent_token.clone());
        self.pass(Notice::Progress(params));
    }

    /// Passes on a log line that is severe enough.
    fn hear_log(&mut self, params: Object) {
        let level: Option<LogLevel> = params.get_str("level").and_then(|level| level.parse().ok());
        if let (Some(least), Some(level)) = (self.log_level, level)
            && level >= least
        {
            self.pass(Notice::Log(params));
        }
    }

    fn pass(&mut self, notice: Notice) {
        let notice = match self.place.take() {
            Some(place) => Notice::At(place, Box::new(notice)),
            None => notice,
        };
        self.send(notice);
    }

    /// INVARIANT: never waits. A server that floods us loses its own notices, not our memory or its answer.
    fn send(&mut self, notice: Notice) {
        if self.notices.try_send(notice).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The progress token that a notification names, when it is one of ours.
pub(super) fn progress_token(params: &Object) -> Option<u64> {
    params.get(PROGRESS_TOKEN)?.get().parse().ok()
}

/// The parameters of `notifications/cancelled` for the request with this id.
pub(super) fn cancellation(id: u64) -> Object {
    let mut params = Object::default();
    params.set("requestId", raw(id.to_string()));
    params.set("reason", raw("\"the call was given up\"".into()));
    params
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    fn heard(receiver: &mut mpsc::Receiver<Notice>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|notice| match notice {
                Notice::Progress(params) | Notice::Log(params) => params.to_text(),
                Notice::Ask(ask) => ask.params.to_text(),
                Notice::At(..) | Notice::Stream(_) => panic!("no stream has places here"),
            })
            .collect()
    }

    #[test]
    fn progress_is_of_this_call_and_rises_and_carries_the_agents_token() {
        let (sender, mut receiver) = mpsc::channel(9);
        let mut listener = Listener::new(5, Some(raw("\"a\"".into())), None, &sender);
        for params in [
            r#"{"progressToken":5,"progress":1}"#,
            r#"{"progressToken":6,"progress":2}"#,
            r#"{"progressToken":"5","progress":2}"#,
            r#"{"progressToken":5,"progress":1.0}"#,
            r#"{"progressToken":5,"progress":0.5}"#,
            r#"{"progressToken":5,"progress":2,"total":3}"#,
            r#"{"progressToken":5}"#,
        ] {
            listener.hear("notifications/progress", object(params));
        }
        assert_eq!(
            heard(&mut receiver),
            [
                r#"{"progressToken":"a","progress":1}"#,
                r#"{"progressToken":"a","progress":2,"total":3}"#
            ]
        );
    }

    #[test]
    fn logs_pass_only_when_asked_for_and_severe_enough() {
        let (sender, mut receiver) = mpsc::channel(9);
        let mut deaf = Listener::new(5, None, None, &sender);
        deaf.hear("notifications/message", object(r#"{"level":"emergency"}"#));
        let mut listener = Listener::new(5, None, Some(LogLevel::Warning), &sender);
        for level in ["info", "warning", "error", "shouting"] {
            listener.hear(
                "notifications/message",
                object(&format!(r#"{{"level":"{level}","data":1}}"#)),
            );
        }
        listener.hear("notifications/tools/list_changed", Object::default());
        assert_eq!(
            heard(&mut receiver),
            [
                r#"{"level":"warning","data":1}"#,
                r#"{"level":"error","data":1}"#
            ]
        );
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let (sender, _receiver) = mpsc::channel(2);
        let mut listener = Listener::new(5, Some(raw("1".into())), None, &sender);
        for progress in 0..10 {
            let params = format!(r#"{{"progressToken":5,"progress":{progress}}}"#);
            listener.hear("notifications/progress", object(&params));
        }
        assert_eq!(listener.missed.load(Ordering::Relaxed), 8);
    }
}
