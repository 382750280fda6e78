//! A legacy session's own stream of events, on which servers put news, and questions that name no call.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::protocol::{Message, Object};

use super::asking::{Asker, Question, refusal};
use super::audience::Hearers;
use super::body::EventReader;
use super::channel::{Channel, is_stream};
use super::limits;
use super::opening::locked;

/// The calls in flight on one session, as far as their agents can be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Floor(Arc<Mutex<Vec<(u64, Asker)>>>);

/// One call's place on the floor, until it is dropped.
#[derive(Debug)]
pub(super) struct OnFloor<'a> {
    floor: &'a Floor,
    id: u64,
}

impl Floor {
    pub(super) fn enter(&self, id: u64, asker: Asker) -> OnFloor<'_> {
        locked(&self.0).push((id, asker));
        OnFloor { floor: self, id }
    }

    /// A question that names no call is that of the only call there is. With two of them it would be a guess. Without
    /// any it is for whoever listens.
    fn ask(&self, hearers: &Hearers, method: &str, params: Object) -> Option<Question> {
        match locked(&self.0).as_slice() {
            [] => hearers.ask(method, &params),
            [(_, asker)] => asker.ask(method, params),
            _ => None,
        }
    }
}

impl Drop for OnFloor<'_> {
    fn drop(&mut self) {
        locked(&self.floor.0).retain(|(id, _)| *id != self.id);
    }
}

/// The place of a session's own stream, which is open while somebody has use for it: calls that can be asked
/// something, or ears.
#[derive(Debug)]
pub(super) struct Stand {
    channel: Arc<Channel>,
    pub(super) floor: Floor,
    hearers: Hearers,
    standing: tokio::sync::Mutex<Option<Standing>>,
}

impl Stand {
    /// The stream of a new session; it is opened when there is use for it already.
    pub(super) async fn new(channel: Arc<Channel>, hearers: Hearers) -> Arc<Self> {
        let stand = Arc::new(Self {
            channel,
            floor: Floor::default(),
            hearers,
            standing: tokio::sync::Mutex::default(),
        });
        let is_listened_to = stand.hearers.audience.enroll(&stand);
        if is_listened_to || stand.hearers.declared.is_some() {
            stand.open().await;
        }
        stand
    }

    /// Opens the stream if it is not open. Without a session there is none.
    pub(super) async fn open(&self) {
        let mut standing = self.standing.lock().await;
        if standing.is_none() && self.channel.has_id() {
            let (channel, floor) = (self.channel.clone(), self.floor.clone());
            *standing = Some(Standing::open(channel, floor, self.hearers.clone()).await);
        }
    }

    /// Closes the stream if it was open for nothing but ears.
    pub(super) async fn close(&self) {
        if self.hearers.declared.is_none() {
            self.standing.lock().await.take();
        }
    }
}

/// A stream that is kept open until this is dropped.
#[derive(Debug)]
struct Standing(JoinHandle<()>);

impl Standing {
    /// Opens the stream, and waits a little for it: what a server asks before it is there is lost with many
    /// servers. A server need not have one (MCP 2025-11-25, transports, listening for messages).
    async fn open(channel: Arc<Channel>, floor: Floor, hearers: Hearers) -> Self {
        let (opened, is_open) = oneshot::channel();
        let task = tokio::spawn(listen(channel, floor, hearers, opened));
        let standing = Self(task);
        let _ = timeout(limits::STREAM_HEAD, is_open).await;
        standing
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the stream open; `opened` is dropped when the server first said yes or no.
async fn listen(
    channel: Arc<Channel>,
    floor: Floor,
    hearers: Hearers,
    opened: oneshot::Sender<()>,
) {
    let mut opened = Some(opened);
    let mut was_open = false;
    let mut last_event = None;
    let mut pause = limits::RESUME_FIRST;
    loop {
        let response = channel.stream(last_event.as_deref()).await;
        drop(opened.take());
        match response {
            Ok(response) if is_stream(&response) => {
                // A stream that is taken up where it ended has lost nothing.
                if was_open && last_event.is_none() {
                    hearers.audience.miss();
                }
                was_open = true;
                let mut events = EventReader::new(response.into_body(), last_event);
                if hear(&channel, &floor, &hearers, &mut events).await {
                    pause = limits::RESUME_FIRST;
                }
                last_event = events.last_event;
            }
            // The session is gone. A server that never had a stream may say 404 to that.
            Ok(response) if was_open && response.status() == StatusCode::NOT_FOUND => {
                channel.lose();
                return;
            }
            Ok(response) if !response.status().is_server_error() => return,
            Ok(_) | Err(_) => {}
        }
        sleep(pause).await;
        pause = limits::REOPEN_LAST.min(pause * 2);
    }
}

/// Reads a stream to its end; `true` when it said anything.
async fn hear(
    channel: &Arc<Channel>,
    floor: &Floor,
    hearers: &Hearers,
    events: &mut EventReader,
) -> bool {
    let mut has_spoken = false;
    while let Ok(Some(event)) = events.next().await {
        has_spoken = true;
        // What is bounded is one event, not all that is said in days.
        events.taken = 0;
        match Message::parse(&event.data) {
            Ok(Message::Request { id, method, params }) => {
                match floor.ask(hearers, &method, params) {
                    Some(question) => channel.carry_back(id, &method, question),
                    // One at a time: who floods us waits for us.
                    None => channel.post_aside(refusal(&id, &method)).await,
                }
            }
            Ok(Message::Notification { method, params }) => hearers.hear(&method, &params),
            Ok(Message::Response { .. }) | Err(_) => {}
        }
    }
    has_spoken
}
