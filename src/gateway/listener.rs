//! The agent's end of a request: where notices and questions go, and whether hanging up cancels the call.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::protocol::{
    META, Method, Object, PROGRESS_TOKEN, json_string, notification, raw, request,
};
use crate::upstream::{Ask, EventId, Notice, StreamNews};

use super::asks::{Answered, Asks, Progress};
use super::exchange::{Line, Round};
use super::flood::Heard;
use super::places::Places;
use super::stages::Why;
use super::task_ids::Names;
use super::visits::may_ask;
use super::{Event, Part};

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

/// Where what a server says goes.
#[derive(Debug, Clone)]
pub(super) enum Ear {
    /// Into the answer of the agent's request.
    Request(mpsc::Sender<Part>),
    /// To whichever request of the agent follows the call.
    Exchange(Line),
}

/// The agent's end of a request.
#[derive(Debug, Clone)]
pub(super) struct Listener {
    pub(super) ear: Ear,
    pub(super) hangup_cancels: bool,
    /// Told when the agent cancels the request.
    pub(super) cancelled: CancellationToken,
    pub(super) asking: Asking,
    pub(super) asks: Arc<Asks>,
    /// The places of the stream, when it can be taken up again.
    pub(super) places: Option<Arc<Places>>,
    /// The task that the request is about.
    pub(super) task: Option<Names>,
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
    /// The agent's end of what a server is asked with this method. Where that is not what the agent asked, its stream
    /// has no places for it.
    pub(super) fn asked_with(&self, method: Method) -> Cow<'_, Self> {
        if self
            .places
            .as_ref()
            .is_none_or(|places| places.are_of(method))
        {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            places: None,
            ..self.clone()
        })
    }

    /// The same agent, for a request about one of its tasks.
    pub(super) fn about(&self, task: Names) -> Self {
        Self {
            task: Some(task),
            ..self.clone()
        }
    }

    /// The same end, which waits only until then.
    pub(super) fn until(&self, until: Instant) -> Self {
        Self {
            until: Some(until),
            ..self.clone()
        }
    }

    /// Passes on what a server says; ends only when the agent cancels the call, or has gone and that cancels
    /// it, or when it has waited long enough.
    pub(super) async fn relay(&self, heard: &mut Heard) {
        loop {
            tokio::select! {
                Some(notice) = heard.recv() => self.pass(notice),
                () = self.gone() => return,
                () = reached(self.until) => return,
            }
        }
    }

    /// Resolves when the agent cancels the call, or has gone and that cancels it.
    pub(super) async fn gone(&self) {
        let hung_up = async {
            match &self.ear {
                Ear::Request(parts) if self.hangup_cancels => parts.closed().await,
                Ear::Request(_) => std::future::pending().await,
                Ear::Exchange(line) => line.gone().await,
            }
        };
        tokio::select! {
            () = hung_up => {}
            () = self.cancelled.cancelled() => {}
        }
    }

    /// Whether the agent cancelled the request.
    pub(super) fn has_cancelled(&self) -> bool {
        let has_hung_up = match &self.ear {
            Ear::Request(parts) => self.hangup_cancels && parts.is_closed(),
            Ear::Exchange(line) => line.is_gone(),
        };
        has_hung_up || self.cancelled.is_cancelled()
    }

    pub(super) fn pass(&self, notice: Notice) {
        match notice {
            Notice::At(at, notice) => self.pass_at(*notice, Some(&at)),
            Notice::Stream(news) => self.pass_news(&news),
            notice @ (Notice::Progress(_) | Notice::Log(_) | Notice::Ask(_)) => {
                self.pass_at(notice, None);
            }
        }
    }

    fn pass_at(&self, notice: Notice, at: Option<&EventId>) {
        if let Ear::Exchange(line) = &self.ear {
            return line.pass(notice);
        }
        let (method, mut params) = match notice {
            Notice::Progress(params) => ("notifications/progress", params),
            Notice::Log(params) => ("notifications/message", params),
            Notice::Ask(ask) => return self.put(ask, at.cloned()),
            // A place has no place.
            Notice::At(..) | Notice::Stream(_) => return,
        };
        if let Some(task) = &self.task {
            task.expose(&mut params);
        }
        self.offer(self.part(notification(method, Some(&params)), at));
    }

    /// Passes on what a server lets know about its stream, where the agent's is the same.
    fn pass_news(&self, news: &StreamNews) {
        let Some(places) = &self.places else { return };
        match news {
            StreamNews::Here(at) => self.offer(Part::Event(Event {
                place: Some(places.next(at)),
                text: None,
                asked: None,
            })),
            StreamNews::Answer(at) => places.keep_answer(at),
            StreamNews::Retry(wait) => self.offer(Part::Retry(*wait)),
            StreamNews::Closed => self.offer(Part::Closed),
        }
    }

    /// A slow agent misses progress, not its answer.
    fn offer(&self, part: Part) {
        if let Ear::Request(parts) = &self.ear {
            drop(parts.try_send(part));
        }
    }

    /// Says something on the stream of the agent's request, waiting for room; whether anybody is there to hear it.
    pub(super) async fn say(&self, text: String) -> bool {
        match &self.ear {
            Ear::Request(parts) => parts.send(Part::Notice(text)).await.is_ok(),
            Ear::Exchange(_) => false,
        }
    }

    /// A message, at its place where it has one.
    fn part(&self, text: String, at: Option<&EventId>) -> Part {
        match (&self.places, at) {
            (Some(places), Some(at)) => Part::Event(Event {
                place: Some(places.next(at)),
                text: Some(text),
                asked: None,
            }),
            (None, _) | (_, None) => Part::Notice(text),
        }
    }

    /// A question. On a stream that is taken up again it is put again only while it is open.
    fn question(&self, text: String, at: Option<&EventId>, asked: &Arc<()>) -> Part {
        match &self.places {
            Some(places) => Part::Event(Event {
                place: at.map(|at| places.next(at)),
                text: Some(text),
                asked: Some(Arc::downgrade(asked)),
            }),
            None => Part::Notice(text),
        }
    }

    /// Puts a server's question to the agent while the call goes on.
    fn put(&self, mut ask: Ask, at: Option<EventId>) {
        let listener = self.clone();
        if let Some(task) = &self.task {
            task.expose(&mut ask.params);
        }
        tokio::spawn(async move {
            let answered = tokio::select! {
                answered = listener.push(&ask.method, ask.params, Some(ask.progress), at.as_ref()) => answered,
                // The call ended meanwhile: nobody waits for the answer.
                () = ask.reply.closed() => None,
            };
            // Without an answer the reply is dropped, which refuses the question.
            if let Some(answered) = answered {
                let answered = match &listener.task {
                    Some(task) => answered.map(|answer| task.concealed(answer)),
                    None => answered,
                };
                drop(ask.reply.send(answered));
            }
        });
    }

    /// How the agent was asked by its next request.
    pub(super) fn rounds(&self) -> Vec<Round> {
        match &self.ear {
            Ear::Request(_) => Vec::new(),
            Ear::Exchange(line) => line.rounds(),
        }
    }

    /// Why nobody listens any more.
    pub(super) fn why_gone(&self) -> Why {
        match &self.ear {
            Ear::Request(_) => Why::Cancelled,
            Ear::Exchange(line) => line.why_gone(),
        }
    }

    /// Whether answers can be had while the request is open.
    pub(super) fn can_push(&self) -> bool {
        matches!(self.asking, Asking::Push { .. })
    }

    async fn push(
        &self,
        method: &str,
        mut params: Object,
        progress: Option<mpsc::Sender<Object>>,
        at: Option<&EventId>,
    ) -> Option<Answered> {
        let (Asking::Push { session, declared }, Ear::Request(parts)) = (&self.asking, &self.ear)
        else {
            return None;
        };
        // Nobody is asked what its client did not say it can be asked.
        if !may_ask(declared, method, &params) {
            return None;
        }
        let mut meta = params.get_object(META).unwrap_or_default();
        let token = meta.get(PROGRESS_TOKEN).map(ToOwned::to_owned);
        let is_followed = token.is_some();
        let progress = token.zip(progress);
        let progress = progress.map(|(token, to)| Progress { token, to });
        let mut open = self.asks.open(session, progress)?;
        if is_followed {
            meta.set(PROGRESS_TOKEN, raw(open.id().as_json().into()));
            params.set(META, meta.to_json());
        }
        let text = request(&open.id(), method, Some(&params));
        let asked = Arc::new(());
        let question = self.question(text, at, &asked);
        let asking = async {
            parts.send(question).await.ok()?;
            timeout(ANSWER_TIME, &mut open.answer).await.ok()?.ok()
        };
        tokio::select! {
            answered = asking => answered,
            () = self.cancelled.cancelled() => None,
        }
    }

    /// Puts all questions of an `input_required` result; yields the answers by the same keys. `None` when one
    /// was not answered, or answered with an error.
    pub(super) async fn answers(&self, questions: &Object) -> Option<Object> {
        let asked = questions.keys().map(async |key| {
            let question = questions.get_object(key)?;
            let method = question.get_str("method")?.into_owned();
            let mut params = question.get_object("params").unwrap_or_default();
            name_url_question(&mut params);
            Some((
                key.to_owned(),
                self.push(&method, params, None, None).await?.ok()?,
            ))
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
