//! Streams of requests that agents can take up again: which there are, whose, and for how long (MCP 2025-11-25,
//! transports, resumability).
//!
//! Only requests of a session of 2025-11-25 have them. Before it no event may be without data, which is what makes a
//! stream one that can be taken up from its start; after it there are none.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::gateway::{Event, Part, StreamId};
use crate::types::AgentName;

use super::delivery::{KEEP_ALIVE, KEEP_ALIVE_COMMENT};
use super::kept::{Cursor, Kept, Next};

/// Streams of one session.
const OF_SESSION: usize = 64;

/// Streams of one agent.
const OF_AGENT: usize = 256;

/// Bytes of all streams of one agent that ended; of the oldest nothing is kept then. What was said last is kept.
const BYTES_OF_AGENT: usize = 64 * 1024 * 1024;

/// How long a stream can be taken up after it ended.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// All streams, by agent, the oldest first.
#[derive(Debug)]
pub(super) struct Streams {
    clock: Arc<dyn Clock>,
    by_agent: Mutex<HashMap<AgentName, VecDeque<Listed>>>,
}

#[derive(Debug)]
struct Listed {
    id: StreamId,
    session: Arc<str>,
    stream: Arc<Stream>,
}

/// The stream of one request.
#[derive(Debug)]
struct Stream {
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
}

/// Whose the stream of a request would be, if its server has places to come back to.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) streams: Arc<Streams>,
    pub(super) agent: AgentName,
    pub(super) session: Arc<str>,
    pub(super) id: StreamId,
}

/// Reads one stream from some place on.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Arc<Stream>,
    cursor: Cursor,
    changed: watch::Receiver<()>,
}

impl Streams {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            by_agent: Mutex::default(),
        }
    }

    /// Reads a stream of this agent and session after a place in it; `None` when there is no such stream any more.
    pub(super) fn take_up(
        &self,
        agent: &AgentName,
        session: &str,
        id: StreamId,
        after: u64,
    ) -> Option<Reader> {
        let now = self.clock.monotonic();
        let by_agent = locked(&self.by_agent);
        let mut streams = by_agent.get(agent)?.iter();
        let listed = streams.find(|listed| listed.id == id && &*listed.session == session)?;
        if listed.stream.is_stale(now) {
            return None;
        }
        Some(listed.stream.reader(Some(after)))
    }

    /// Forgets a session that ended. What is being said goes on for whoever hears it.
    pub(super) fn forget_session(&self, agent: &AgentName, session: &str) {
        self.retain(agent, |listed| &*listed.session != session);
    }

    /// Puts a new stream on the list, or finds no room for it: then all there are have not ended yet.
    fn list(&self, agent: &AgentName, session: &Arc<str>, id: StreamId) -> Option<Arc<Stream>> {
        let now = self.clock.monotonic();
        let mut by_agent = locked(&self.by_agent);
        let streams = by_agent.entry(agent.clone()).or_default();
        streams.retain(|listed| !listed.stream.is_stale(now));
        let of_session = streams.iter().filter(|listed| listed.session == *session);
        if of_session.count() >= OF_SESSION {
            let oldest = |listed: &Listed| listed.session == *session && listed.stream.is_over();
            streams.remove(streams.iter().position(oldest)?)?;
        }
        if streams.len() >= OF_AGENT {
            let oldest = |listed: &Listed| listed.stream.is_over();
            streams.remove(streams.iter().position(oldest)?)?;
        }
        let stream = Arc::new(Stream {
            kept: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        streams.push_back(Listed {
            id,
            session: Arc::clone(session),
            stream: Arc::clone(&stream),
        });
        Some(stream)
    }

    /// Lets go of the oldest ended streams of an agent that has too much in them.
    fn make_room(&self, agent: &AgentName) {
        let mut by_agent = locked(&self.by_agent);
        let Some(streams) = by_agent.get_mut(agent) else {
            return;
        };
        let ended = streams.iter().filter(|listed| listed.stream.is_over());
        let mut size: usize = ended.map(|listed| listed.stream.size()).sum();
        let mut left = streams.len();
        streams.retain(|listed| {
            left = left.saturating_sub(1);
            let is_too_much = size > BYTES_OF_AGENT && left > 0 && listed.stream.is_over();
            if is_too_much {
                size = size.saturating_sub(listed.stream.size());
            }
            !is_too_much
        });
    }

    fn retain(&self, agent: &AgentName, keep: impl FnMut(&Listed) -> bool) {
        let mut by_agent = locked(&self.by_agent);
        if let Some(streams) = by_agent.get_mut(agent) {
            streams.retain(keep);
            if streams.is_empty() {
                by_agent.remove(agent);
            }
        }
    }
}

impl Stream {
    fn change<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        let changed = change(&mut locked(&self.kept));
        self.changed.send_replace(());
        changed
    }

    fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        Reader {
            // Whoever read before hears of it, and ends.
            cursor: self.change(|kept| kept.reader(after)),
            changed: self.changed.subscribe(),
            stream: Arc::clone(self),
        }
    }

    fn is_over(&self) -> bool {
        locked(&self.kept).over().is_some()
    }

    fn is_stale(&self, now: Duration) -> bool {
        let over = locked(&self.kept).over();
        over.is_some_and(|over| now.saturating_sub(over) > KEPT)
    }

    fn size(&self) -> usize {
        locked(&self.kept).size()
    }
}

impl Owner {
    /// Keeps what is said on the stream from its first place on, in a task of its own: the agent may leave and come
    /// back. `None` when there is no room; the event and what follows is then the caller's again.
    pub(super) fn keep(
        &self,
        first: Event,
        retry: Option<u64>,
        parts: mpsc::Receiver<Part>,
    ) -> Result<Reader, (Event, mpsc::Receiver<Part>)> {
        let Some(stream) = self.streams.list(&self.agent, &self.session, self.id) else {
            return Err((first, parts));
        };
        stream.change(|kept| {
            retry.into_iter().for_each(|retry| kept.set_retry(retry));
            kept.say(first);
        });
        let reader = stream.reader(None);
        tokio::spawn(self.clone().pump(stream, parts));
        Ok(reader)
    }

    /// Puts everything that is said onto the stream, and lets go of it some time after the answer.
    async fn pump(self, stream: Arc<Stream>, mut parts: mpsc::Receiver<Part>) {
        let mut is_answered = false;
        while let Some(part) = parts.recv().await {
            is_answered = matches!(part, Part::Answer(_));
            let now = self.streams.clock.monotonic();
            stream.change(|kept| take(kept, part, now));
            if is_answered {
                break;
            }
        }
        if is_answered {
            self.streams.make_room(&self.agent);
        } else {
            let now = self.streams.clock.monotonic();
            stream.change(|kept| kept.end(now));
        }
        drop(stream);
        let Self {
            streams, agent, id, ..
        } = self;
        let streams = {
            let waiting = Arc::downgrade(&streams);
            drop(streams);
            // Without an answer there is nothing to come back for.
            if is_answered {
                sleep(KEPT).await;
            }
            waiting.upgrade()
        };
        if let Some(streams) = streams {
            streams.retain(&agent, |listed| listed.id != id);
        }
    }
}

fn take(kept: &mut Kept, part: Part, now: Duration) {
    match part {
        Part::Notice(text) => kept.say(Event {
            place: None,
            text: Some(text),
            asked: None,
        }),
        Part::Event(event) => kept.say(event),
        Part::Retry(retry) => kept.set_retry(retry),
        Part::Closed => kept.close(),
        Part::Answer(answer) => kept.answer(answer, now),
    }
}

impl Reader {
    /// The next text for the agent; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            self.changed.mark_unchanged();
            let next = locked(&self.stream.kept).next(&mut self.cursor);
            match next {
                Next::Say(text) => return Some(text),
                Next::End => return None,
                Next::Wait => {}
            }
            match timeout(KEEP_ALIVE, self.changed.changed()).await {
                Ok(Ok(())) => {}
                // Cannot be: the stream is held here.
                Ok(Err(_)) => return None,
                Err(_) => return Some(KEEP_ALIVE_COMMENT.into()),
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
