//! Streams of events that a test writes itself, word by word, in the place of a scripted server's answers.

use std::io;

use bytes::Bytes;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use super::soon;

/// A body that is written piece by piece.
pub(super) type Pieces = mpsc::Receiver<Result<Frame<Bytes>, io::Error>>;

/// Streams that wait for the test.
#[derive(Debug)]
pub(super) struct Streams {
    opened: mpsc::UnboundedSender<FakeStream>,
    waiting: Mutex<mpsc::UnboundedReceiver<FakeStream>>,
}

impl Default for Streams {
    fn default() -> Self {
        let (opened, waiting) = mpsc::unbounded_channel();
        Self {
            opened,
            waiting: Mutex::new(waiting),
        }
    }
}

impl Streams {
    /// Opens a stream for a request, or for one that is taken up after an event.
    pub(super) fn open(&self, request: &str, last_event: Option<&str>) -> Pieces {
        let (pieces, body) = mpsc::channel(64);
        let stream = FakeStream {
            request: serde_json::from_str(request).unwrap_or_default(),
            last_event: last_event.map(String::from),
            pieces,
        };
        self.opened.send(stream).unwrap();
        body
    }

    pub(super) async fn next(&self) -> FakeStream {
        let mut waiting = self.waiting.lock().await;
        soon("a stream at the server", waiting.recv())
            .await
            .unwrap()
    }
}

/// One stream at the server. Dropped, it is closed in order.
#[derive(Debug)]
pub(crate) struct FakeStream {
    /// The request, when it came with one.
    pub(crate) request: Value,
    /// After which event it goes on, when one is taken up again.
    pub(crate) last_event: Option<String>,
    pieces: mpsc::Sender<Result<Frame<Bytes>, io::Error>>,
}

impl FakeStream {
    /// Writes lines as they are.
    pub(crate) async fn write(&self, text: &str) {
        let piece = Frame::data(Bytes::from(text.to_owned()));
        self.pieces.send(Ok(piece)).await.unwrap();
    }

    /// Opens the stream as servers do: an id, how long to wait, and nothing said.
    pub(crate) async fn prime(&self, id: &str) {
        self.write(&format!("id: {id}\nretry: 60\ndata: \n\n"))
            .await;
    }

    pub(crate) async fn say(&self, id: &str, message: &Value) {
        self.write(&format!("event: message\nid: {id}\ndata: {message}\n\n"))
            .await;
    }

    /// Says how far the call that began here is.
    pub(crate) async fn progress(&self, id: &str, call: &Value, number: u32) {
        let token = &call["params"]["_meta"]["progressToken"];
        let params = json!({"progressToken": token, "progress": number});
        let notice =
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
        self.say(id, &notice).await;
    }

    /// Answers the call that began here, and closes the stream.
    pub(crate) async fn answer(self, id: &str, call: &Value, text: &str) {
        let result = json!({"content": [{"type": "text", "text": text}], "tools": []});
        let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
        self.say(id, &answer).await;
    }

    /// Breaks the connection.
    pub(crate) async fn cut(self) {
        let broken = io::Error::other("the connection breaks");
        self.pieces.send(Err(broken)).await.unwrap();
    }
}
