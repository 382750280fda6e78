//! The transport of 2024-11-05: the server says everything on one stream, and is told everything at one URL that
//! it names when the stream opens.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::protocol::{Message, notification};

use super::audience::Hearers;
use super::body::EventReader;
use super::channel::{Channel, is_stream};
use super::codec::{no_message, printable};
use super::handshake::{Opener, as_opening, read_initialize};
use super::listener::Listener;
use super::opening::locked;
use super::pending::{Answer, Left, Pending};
use super::session::Called;
use super::wire::{Sent, Wire};
use super::{Description, UpstreamError, limits};

/// One connection. Dropping it closes the stream, which ends it.
#[derive(Debug)]
pub(super) struct Sse {
    pub(super) channel: Arc<Channel>,
    pending: Arc<Mutex<Pending>>,
    reader: JoinHandle<()>,
}

impl Sse {
    /// Whether the stream behind this URL opens as this transport has it.
    pub(super) async fn is_spoken(wire: &Wire) -> bool {
        announced(wire).await.is_ok()
    }

    /// Opens a connection (MCP 2024-11-05, transports and lifecycle).
    ///
    /// # Errors
    /// `Refused` when the server wants messages sent somewhere else than to itself.
    pub(super) async fn open(
        wire: &Wire,
        opener: &Opener,
    ) -> Result<(Self, Description), UpstreamError> {
        const STREAM: &str = "the request for its stream";
        let (events, announced) = announced(wire)
            .await
            .map_err(|error| as_opening(error, STREAM))?;
        let messages = resolve(wire.uri(), &announced)?;
        let opened = Self::start(events, wire.at(messages), opener.hearers());
        let opening = opened.initialize(opener);
        let described = timeout(limits::HANDSHAKE, opening).await;
        let described = described.unwrap_or(Err(UpstreamError::TimedOut));
        let description = described.map_err(|error| as_opening(error, "`initialize`"))?;
        Ok((opened, description))
    }

    fn start(events: EventReader, messages: Wire, hearers: Hearers) -> Self {
        let audience = hearers.audience.clone();
        let channel = Channel::new(Arc::new(messages), None, None, audience);
        let pending = Arc::<Mutex<Pending>>::default();
        locked(&pending).listened_by(hearers);
        let reader = tokio::spawn(read(events, pending.clone(), channel.clone()));
        Self {
            channel,
            pending,
            reader,
        }
    }

    async fn initialize(&self, opener: &Opener) -> Result<Description, UpstreamError> {
        let (nobody, _) = mpsc::channel(1);
        let listener = Listener::new(opener.id, None, None, &nobody);
        let sent = Sent::default();
        let called = self.call(opener.id, opener.initialize(), listener, &sent);
        let outcome = match called.await? {
            Called::Answered { outcome, .. } => outcome,
            Called::SessionGone(_) => return Err(UpstreamError::Rejected(404)),
        };
        let (_, description) = read_initialize(outcome)?;
        let opened = notification("notifications/initialized", None);
        self.channel.post(opened).await?;
        Ok(description)
    }

    /// Whether the stream ended.
    pub(super) fn is_over(&self) -> bool {
        locked(&self.pending).is_closed()
    }

    /// One call.
    pub(super) async fn call(
        &self,
        id: u64,
        body: Bytes,
        listener: Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let mut answer = locked(&self.pending).expect(id, listener)?;
        let _waiting = Waiting { sse: self, id };
        let posting = self.channel.deliver(body, sent);
        let answered = tokio::select! {
            biased;
            // The answer may come before the server confirms that it got the request.
            answer = &mut answer => answer,
            posted = posting => match posted {
                Ok(()) => answer.await,
                Err(error @ UpstreamError::Rejected(404)) => return Ok(Called::SessionGone(Err(error))),
                Err(error) => return Err(error),
            },
        };
        match received(answered) {
            Ok(outcome) => Ok(Called::Answered {
                status: 200,
                outcome,
            }),
            Err(UpstreamError::Broken(why)) if !sent.happened() => {
                Err(UpstreamError::Unreachable(why))
            }
            Err(error) => Err(error),
        }
    }
}

fn received(answer: Result<Answer, oneshot::error::RecvError>) -> Answer {
    answer.unwrap_or_else(|_| Err(UpstreamError::Broken("the stream ended".into())))
}

impl Drop for Sse {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Forgets a call when it ends, whichever way.
struct Waiting<'a> {
    sse: &'a Sse,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        locked(&self.sse.pending).forget(self.id);
    }
}

/// Opens the stream and waits for what it begins with: the URL that takes messages.
async fn announced(wire: &Wire) -> Result<(EventReader, String), UpstreamError> {
    let opening = async {
        let response = wire.get(HeaderMap::new()).await?;
        if !response.status().is_success() {
            return Err(UpstreamError::Rejected(response.status().as_u16()));
        }
        let none = || UpstreamError::Broken("it names no URL for messages".into());
        let response = Some(response).filter(is_stream).ok_or_else(none)?;
        let mut events = EventReader::new(response.into_body(), None);
        let first = events.next_named("endpoint").await?.ok_or_else(none)?;
        let url = String::from_utf8_lossy(&first.data).trim().to_owned();
        Ok((events, url))
    };
    timeout(limits::ENDPOINT, opening)
        .await
        .unwrap_or(Err(UpstreamError::TimedOut))
}

/// Reads the stream to its end. Calls in flight are broken off then, and never repeated.
async fn read(mut events: EventReader, pending: Arc<Mutex<Pending>>, channel: Arc<Channel>) {
    // Refusals go out one at a time, and a server that floods us with questions gets silence for some.
    let (refusals, queue) = mpsc::channel(limits::COUNTER_REQUESTS);
    let posting = post_all(queue, channel.clone());
    let reading = async {
        let why = loop {
            match events.next().await {
                Ok(Some(event)) => hear(&event.data, &pending, &channel, &refusals),
                Ok(None) => break "the stream ended".into(),
                Err(error) => break error.to_string(),
            }
            // What is bounded is one event, not all that is said in days.
            events.taken = 0;
        };
        let mut pending = locked(&pending);
        pending.close(&why);
        pending.fail_all();
    };
    tokio::select! {
        () = reading => {}
        () = posting => {}
    }
}

async fn post_all(mut queue: mpsc::Receiver<String>, channel: Arc<Channel>) {
    while let Some(message) = queue.recv().await {
        channel.post_aside(message).await;
    }
}

fn hear(
    message: &[u8],
    pending: &Mutex<Pending>,
    channel: &Arc<Channel>,
    refusals: &mpsc::Sender<String>,
) {
    let mut pending = locked(pending);
    match pending.route(Message::parse(message)) {
        Left::Nothing => {}
        Left::Reply(reply) => drop(refusals.try_send(reply)),
        Left::Ask {
            id,
            method,
            question,
        } => channel.carry_back(id, &method, question),
        Left::Junk(why) => pending.fail_sole(UpstreamError::Broken(no_message(&why))),
    }
}

/// The URL that takes messages. It must be on the same server: our credentials go there (MCP 2024-11-05 leaves it
/// open; its SDKs demand it).
fn resolve(stream: &Uri, announced: &str) -> Result<Uri, UpstreamError> {
    let refused = |why: &str| {
        let announced = printable(announced, limits::QUOTE);
        Err(UpstreamError::Refused(format!(
            "the URL it names for messages, `{announced}`, {why}"
        )))
    };
    let scheme = stream.scheme_str().unwrap_or_default();
    let authority = stream
        .authority()
        .map_or("", |authority| authority.as_str());
    let path = stream.path();
    let folder = path.rfind('/').and_then(|end| path.get(..=end));
    let text = match announced {
        text if has_scheme(text) => text.to_owned(),
        text if text.starts_with("//") => format!("{scheme}:{text}"),
        text if text.starts_with('/') => format!("{scheme}://{authority}{text}"),
        text if text.starts_with('?') => format!("{scheme}://{authority}{path}{text}"),
        text => format!("{scheme}://{authority}{}{text}", folder.unwrap_or("/")),
    };
    match text.parse::<Uri>() {
        Err(_) => refused("is none"),
        Ok(uri) if origin(&uri) != origin(stream) => {
            refused("is on another server, where our credentials must not go")
        }
        Ok(uri) => Ok(uri),
    }
}

fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Scheme, host and port (RFC 6454, section 4); `None` with credentials in it.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let authority = uri.authority()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(usual);
    Some((scheme, authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(announced: &str) -> String {
        let stream: Uri = "http://Host:80/a/sse?x=1".parse().unwrap();
        match resolve(&stream, announced) {
            Ok(uri) => uri.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_url_for_messages_is_resolved_against_that_of_the_stream() {
        for (announced, expected) in [
            ("/messages?s=1", "http://Host:80/messages?s=1"),
            (
                "messages?u=http://x",
                "http://Host:80/a/messages?u=http://x",
            ),
            ("?s=1", "http://Host:80/a/sse?s=1"),
            ("http://host/m", "http://host/m"),
            ("//host/m", "http://host/m"),
        ] {
            assert_eq!(resolved(announced), expected);
        }
    }

    #[test]
    fn messages_are_never_sent_to_another_server() {
        for announced in [
            "http://other/m",
            "//other/m",
            "https://host/m",
            "http://host:81/m",
            "http://host@other/m",
            "http://user@host/m",
            "http://169.254.169.254/",
            "ftp://host/m",
        ] {
            let refusal = resolved(announced);
            assert!(refusal.contains("another server"), "{announced}: {refusal}");
        }
        assert!(resolved("http://a b/").contains("is none"));
    }
}
