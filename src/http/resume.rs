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
    /// back.
    ///
    /// # Errors
    /// When there is no room; the event and what follows are the caller's again.
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
    async fn pump(self, stream: Arc<Stream>, parts: mpsc::Receiver<Part>) {
        if self.fill(&stream, parts).await {
            self.streams.make_room(&self.agent);
            drop(stream);
            sleep(KEPT).await;
        }
        // Without an answer there is nothing to come back for.
        self.streams
            .retain(&self.agent, |listed| listed.id != self.id);
    }

    /// Whether the request ended with an answer.
    async fn fill(&self, stream: &Stream, mut parts: mpsc::Receiver<Part>) -> bool {
        let now = || self.streams.clock.monotonic();
        let answer = loop {
            match parts.recv().await {
                Some(Part::Notice(text)) => stream.change(|kept| kept.say(unplaced(text))),
                Some(Part::Event(event)) => stream.change(|kept| kept.say(event)),
                Some(Part::Retry(retry)) => stream.change(|kept| kept.set_retry(retry)),
                Some(Part::Closed) => stream.change(Kept::close),
                Some(Part::Answer(answer)) => break Some(answer),
                Some(Part::NoAnswer(_)) | None => break None,
            }
        };
        let is_answered = answer.is_some();
        stream.change(|kept| match answer {
            Some(answer) => kept.answer(answer, now()),
            None => kept.end(now()),
        });
        is_answered
    }
}

/// A notice without a place.
fn unplaced(text: String) -> Event {
    Event {
        place: None,
        text: Some(text),
        asked: None,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::gateway::{Answer, StreamPlace};
    use crate::types::{CallId, Timestamp};

    fn world() -> (Arc<ManualClock>, Arc<Streams>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
        (clock.clone(), Arc::new(Streams::new(clock)))
    }

    fn agent(name: &str) -> AgentName {
        name.parse().unwrap()
    }

    fn id(number: u16) -> StreamId {
        let mut random = [0; 10];
        random[8..].copy_from_slice(&number.to_be_bytes());
        StreamId(CallId::new(Timestamp::from_micros(0), random))
    }

    fn list(streams: &Streams, name: &str, session: &str, number: u16) -> Option<Arc<Stream>> {
        streams.list(&agent(name), &session.into(), id(number))
    }

    fn is_there(streams: &Streams, name: &str, session: &str, number: u16) -> bool {
        streams
            .take_up(&agent(name), session, id(number), 0)
            .is_some()
    }

    fn answer(body: String) -> Answer {
        Answer {
            status: 200,
            body,
            place: None,
            rate_limit: None,
        }
    }

    fn end(stream: &Stream, at: Duration) {
        stream.change(|kept| kept.answer(answer("{}".into()), at));
    }

    #[test]
    fn a_stream_is_there_for_its_own_until_some_time_after_its_end() {
        let (clock, streams) = world();
        let stream = list(&streams, "a", "s", 1).unwrap();
        clock.advance(10 * KEPT);
        assert!(is_there(&streams, "a", "s", 1), "it goes on");
        for (name, session, number) in [("a", "t", 1), ("b", "s", 1), ("a", "s", 2)] {
            assert!(!is_there(&streams, name, session, number));
        }
        end(&stream, clock.monotonic());
        clock.advance(KEPT);
        assert!(is_there(&streams, "a", "s", 1));
        clock.advance(Duration::from_millis(1));
        assert!(!is_there(&streams, "a", "s", 1));
    }

    #[test]
    fn the_end_of_a_session_forgets_its_streams_and_no_others() {
        let (_, streams) = world();
        for (name, session) in [("a", "s"), ("a", "t"), ("b", "u")] {
            list(&streams, name, session, 1).unwrap();
        }
        streams.forget_session(&agent("a"), "s");
        streams.forget_session(&agent("a"), "u");
        assert!(!is_there(&streams, "a", "s", 1));
        assert!(is_there(&streams, "a", "t", 1));
        assert!(is_there(&streams, "b", "u", 1));
    }

    #[test]
    fn the_oldest_ended_stream_makes_room_and_one_that_goes_on_does_not() {
        let (_, streams) = world();
        let most = u16::try_from(OF_SESSION).unwrap();
        let open: Vec<_> = (0..most)
            .map(|number| list(&streams, "a", "s", number).unwrap())
            .collect();
        assert!(list(&streams, "a", "s", most).is_none());
        assert!(list(&streams, "a", "t", most).is_some());
        end(&open[3], Duration::ZERO);
        end(&open[2], Duration::ZERO);
        assert!(list(&streams, "a", "s", most + 1).is_some());
        assert!(!is_there(&streams, "a", "s", 2));
        assert!(is_there(&streams, "a", "s", 3));
    }

    #[test]
    fn an_agent_has_only_so_many_streams_in_all_its_sessions() {
        let (_, streams) = world();
        let most = u16::try_from(OF_AGENT).unwrap();
        for number in 0..most {
            let session = (number / 10).to_string();
            let stream = list(&streams, "a", &session, number).unwrap();
            if number == 7 {
                end(&stream, Duration::ZERO);
            }
        }
        assert!(list(&streams, "a", "new", most).is_some());
        assert!(!is_there(&streams, "a", "0", 7));
        assert!(list(&streams, "a", "new", most + 1).is_none());
        assert!(list(&streams, "b", "other", most + 1).is_some());
    }

    #[test]
    fn an_agent_has_only_so_many_bytes_in_streams_that_ended() {
        let (_, streams) = world();
        for number in 0..6 {
            let stream = list(&streams, "a", "s", number).unwrap();
            if number != 1 {
                let body = "x".repeat(BYTES_OF_AGENT / 4);
                stream.change(|kept| kept.answer(answer(body), Duration::ZERO));
            }
            streams.make_room(&agent("a"));
        }
        let there: Vec<u16> = (0..6)
            .filter(|number| is_there(&streams, "a", "s", *number))
            .collect();
        assert_eq!(there, [1, 3, 4, 5], "what goes on is not let go");
        let stream = list(&streams, "a", "s", 6).unwrap();
        let body = "x".repeat(2 * BYTES_OF_AGENT);
        stream.change(|kept| kept.answer(answer(body), Duration::ZERO));
        streams.make_room(&agent("a"));
        assert!(!is_there(&streams, "a", "s", 5));
        assert!(is_there(&streams, "a", "s", 6), "what came last is kept");
    }

    fn owner(streams: &Arc<Streams>) -> Owner {
        Owner {
            streams: Arc::clone(streams),
            agent: agent("a"),
            session: "s".into(),
            id: id(1),
        }
    }

    fn first() -> Event {
        Event {
            place: Some(StreamPlace {
                number: 1,
                id: "p1".into(),
            }),
            text: None,
            asked: None,
        }
    }

    /// Lets time pass until something is so.
    async fn until(is_so: impl Fn() -> bool) {
        for _ in 0..1_000 {
            if is_so() {
                return;
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        panic!("it does not come about");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_while_nobody_listens_is_kept_and_then_let_go() {
        let (_, streams) = world();
        let (parts, waiting) = mpsc::channel(4);
        let reader = owner(&streams).keep(first(), None, waiting);
        drop(reader.unwrap());
        parts.send(Part::Notice("a notice".into())).await.unwrap();
        parts
            .send(Part::Answer(answer("the answer".into())))
            .await
            .unwrap();
        parts.closed().await;
        let mut back = streams.take_up(&agent("a"), "s", id(1), 1).unwrap();
        assert!(back.next().await.unwrap().contains("a notice"));
        assert!(back.next().await.unwrap().contains("the answer"));
        assert_eq!(back.next().await, None);
        until(|| locked(&streams.by_agent).is_empty()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_ends_without_an_answer_leaves_nothing_behind() {
        let (_, streams) = world();
        let (parts, waiting) = mpsc::channel(4);
        let mut reader = owner(&streams).keep(first(), None, waiting).unwrap();
        drop(parts);
        assert!(reader.next().await.unwrap().starts_with("id: p1\n"));
        assert_eq!(reader.next().await, None);
        until(|| locked(&streams.by_agent).is_empty()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_room_the_request_is_given_back() {
        let (_, streams) = world();
        for number in 2..2 + u16::try_from(OF_SESSION).unwrap() {
            list(&streams, "a", "s", number).unwrap();
        }
        let (parts, waiting) = mpsc::channel(4);
        let (event, mut waiting) = owner(&streams).keep(first(), None, waiting).unwrap_err();
        assert_eq!(event.place, first().place);
        parts.send(Part::Closed).await.unwrap();
        assert!(matches!(waiting.recv().await, Some(Part::Closed)));
    }
}
