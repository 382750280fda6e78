//! A legacy session's own stream of events, on which servers put questions that name no call.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::protocol::{Message, Object};

use super::asking::{Asker, Question, refusal};
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

    /// A question that names no call is that of the only call there is. With two of them it would be a guess.
    fn ask(&self, method: &str, params: Object) -> Option<Question> {
        match locked(&self.0).as_slice() {
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

/// A stream that is kept open until this is dropped.
#[derive(Debug)]
pub(super) struct Standing(JoinHandle<()>);

impl Standing {
    /// Opens the stream, and waits a little for it: what a server asks before it is there is lost with many
    /// servers. A server need not have one (MCP 2025-11-25, transports, listening for messages).
    pub(super) async fn open(channel: Arc<Channel>, floor: Floor) -> Self {
        let (opened, is_open) = oneshot::channel();
        let task = tokio::spawn(listen(channel, floor, opened));
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
async fn listen(channel: Arc<Channel>, floor: Floor, opened: oneshot::Sender<()>) {
    let mut opened = Some(opened);
    let mut last_event = None;
    let mut pause = limits::RESUME_FIRST;
    loop {
        let response = channel.stream(last_event.as_deref()).await;
        drop(opened.take());
        match response {
            Ok(response) if is_stream(&response) => {
                let mut events = EventReader::new(response.into_body(), last_event);
                if hear(&channel, &floor, &mut events).await {
                    pause = limits::RESUME_FIRST;
                }
                last_event = events.last_event;
            }
            Ok(response) if !response.status().is_server_error() => return,
            Ok(_) | Err(_) => {}
        }
        sleep(pause).await;
        pause = limits::REOPEN_LAST.min(pause * 2);
    }
}

/// Reads a stream to its end; `true` when it said anything.
async fn hear(channel: &Arc<Channel>, floor: &Floor, events: &mut EventReader) -> bool {
    let mut has_spoken = false;
    while let Ok(Some(event)) = events.next().await {
        has_spoken = true;
        // What is bounded is one event, not all that is said in days.
        events.taken = 0;
        if let Ok(Message::Request { id, method, params }) = Message::parse(&event.data) {
            match floor.ask(&method, params) {
                Some(question) => channel.carry_back(id, &method, question),
                // One at a time: who floods us waits for us.
                None => channel.post_aside(refusal(&id, &method)).await,
            }
        }
    }
    has_spoken
}
