//! What was said on the stream of one request, for an agent that comes back for the rest. Pure.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::Duration;

use crate::gateway::{Answer, Event, StreamPlace};
use crate::protocol::{write_event_at, write_retry};

/// Notices kept of one stream, in bytes; the oldest are let go. The newest and open questions are not, and the answer
/// never is.
pub(super) const MAX_NOTICES: usize = 1024 * 1024;

/// What keeping one event takes beside its text, in bytes, roughly.
const OVERHEAD: usize = 128;

/// One event.
#[derive(Debug)]
struct Said {
    /// Counts what is said, in order, whether it has a place or not.
    turn: u64,
    place: Option<StreamPlace>,
    text: String,
    asked: Option<Weak<()>>,
}

impl Said {
    fn size(&self) -> usize {
        let place = self.place.as_ref().map_or(0, |place| place.id.len());
        self.text.len() + place + OVERHEAD
    }

    fn number(&self) -> Option<u64> {
        self.place.as_ref().map(|place| place.number)
    }

    /// Whether it is a question that nobody waits for any more.
    fn is_closed(&self) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|asked| asked.strong_count() == 0)
    }

    fn is_open(&self) -> bool {
        self.asked
            .as_ref()
            .is_some_and(|asked| asked.strong_count() > 0)
    }
}

/// The stream of one request.
#[derive(Debug, Default)]
pub(super) struct Kept {
    said: VecDeque<Said>,
    /// How much was said.
    turns: u64,
    /// Size of what is kept, in bytes.
    size: usize,
    retry: Option<u64>,
    /// How often the server closed its own stream.
    closings: u64,
    /// How many readers there were. Only the last one is served.
    readers: u64,
    /// When it ended.
    over: Option<Duration>,
}

/// How far a reader has come.
#[derive(Debug)]
pub(super) struct Cursor {
    reader: u64,
    turn: u64,
    /// Up to this place it has seen everything, whichever turn that was.
    seen: u64,
    closings: u64,
    retry: Option<u64>,
}

/// What a reader does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Writes this.
    Say(String),
    /// Waits until something changes.
    Wait,
    /// Ends.
    End,
}

impl Kept {
    /// Keeps an event.
    pub(super) fn say(&mut self, event: Event) {
        self.push(event.place, event.text.unwrap_or_default(), event.asked);
        self.make_room();
    }

    /// Keeps the answer, after which nothing is said.
    pub(super) fn answer(&mut self, answer: Answer, now: Duration) {
        self.push(answer.place, answer.body, None);
        self.end(now);
    }

    /// There is nothing more to say. Questions are of no use to anybody now.
    pub(super) fn end(&mut self, now: Duration) {
        self.over = Some(now);
        for question in self.said.iter_mut().filter(|said| said.asked.is_some()) {
            // Its place stays: the agent may name it.
            question.text = String::new();
            question.asked = Some(Weak::new());
        }
        self.size = self.said.iter().map(Said::size).sum();
    }

    fn push(&mut self, place: Option<StreamPlace>, text: String, asked: Option<Weak<()>>) {
        let said = Said {
            turn: self.turns,
            place,
            text,
            asked,
        };
        self.turns += 1;
        self.size += said.size();
        self.said.push_back(said);
    }

    fn make_room(&mut self) {
        while self.size > MAX_NOTICES {
            let newest = self.said.len().saturating_sub(1);
            let oldest = self.said.iter().position(|said| !said.is_open());
            let Some(said) = oldest
                .filter(|at| *at < newest)
                .and_then(|at| self.said.remove(at))
            else {
                return;
            };
            self.size = self.size.saturating_sub(said.size());
        }
    }

    /// How long the server wants to be left alone.
    pub(super) fn set_retry(&mut self, retry: u64) {
        self.retry = Some(retry);
    }

    /// Ends the stream of whoever reads, after what was said; a reader that comes back goes on.
    pub(super) fn close(&mut self) {
        self.closings += 1;
    }

    /// A reader that has seen everything up to a place, or nothing yet. The one before is served no more: nothing may
    /// be said on two streams (MCP 2025-11-25, transports, multiple connections).
    pub(super) fn reader(&mut self, after: Option<u64>) -> Cursor {
        self.readers += 1;
        let is_there = |said: &&Said| said.number() == after;
        let named = after.and_then(|_| self.said.iter().find(is_there));
        // A place that was let go lies before everything that is kept, some questions aside.
        let (turn, seen) = match named {
            Some(said) => (said.turn + 1, 0),
            None => (0, after.unwrap_or(0)),
        };
        Cursor {
            reader: self.readers,
            turn,
            seen,
            closings: self.closings,
            retry: None,
        }
    }

    /// What a reader does next.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Next {
        if cursor.reader != self.readers {
            return Next::End;
        }
        let first = self.said.partition_point(|said| said.turn < cursor.turn);
        let is_new = |said: &&Said| {
            !said.is_closed() && said.number().is_none_or(|number| number > cursor.seen)
        };
        if let Some(said) = self.said.range(first..).find(is_new) {
            cursor.turn = said.turn + 1;
            let retry = self.untold_retry(cursor);
            let id = said.place.as_ref().map(|place| place.id.as_str());
            return Next::Say(write_event_at(id, retry, &said.text));
        }
        if self.over.is_some() {
            return Next::End;
        }
        if cursor.closings == self.closings {
            return Next::Wait;
        }
        match self.untold_retry(cursor) {
            Some(retry) => Next::Say(write_retry(retry) + "\n"),
            None => Next::End,
        }
    }

    fn untold_retry(&self, cursor: &mut Cursor) -> Option<u64> {
        let untold = self.retry.filter(|_| self.retry != cursor.retry);
        cursor.retry = self.retry;
        untold
    }

    /// When it ended, if it did.
    pub(super) fn over(&self) -> Option<Duration> {
        self.over
    }

    /// Size of what is kept, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn place(number: u64) -> StreamPlace {
        StreamPlace {
            number,
            id: format!("p{number}"),
        }
    }

    fn event(number: u64, text: &str) -> Event {
        Event {
            place: Some(place(number)),
            text: Some(text.into()),
            asked: None,
        }
    }

    fn unplaced(text: &str) -> Event {
        Event {
            place: None,
            text: Some(text.into()),
            asked: None,
        }
    }

    fn answer(number: u64) -> Answer {
        Answer {
            status: 200,
            body: "the answer".into(),
            place: Some(place(number)),
            rate_limit: None,
        }
    }

    /// Everything a reader gets now, as `id data`, and whether it waits for more.
    fn read(kept: &Kept, cursor: &mut Cursor) -> (Vec<String>, Next) {
        let mut said = Vec::new();
        loop {
            match kept.next(cursor) {
                Next::Say(text) => said.push(shown(&text)),
                end @ (Next::Wait | Next::End) => return (said, end),
            }
        }
    }

    fn shown(text: &str) -> String {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let fields = ["retry: ", "id: ", "data: "].map(field);
        let fields: Vec<&str> = fields.into_iter().flatten().collect();
        fields.join(" ").trim_end().to_owned()
    }

    fn after(kept: &mut Kept, place: Option<u64>) -> (Vec<String>, Next) {
        let mut cursor = kept.reader(place);
        read(kept, &mut cursor)
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn talk() -> Kept {
        let mut kept = Kept::default();
        kept.say(Event {
            place: Some(place(1)),
            text: None,
            asked: None,
        });
        kept.say(event(2, "two"));
        kept.say(unplaced("between"));
        kept.say(event(3, "three"));
        kept
    }

    #[test]
    fn a_reader_gets_everything_after_the_place_it_names() {
        let mut kept = talk();
        let table: [(Option<u64>, &[&str]); 4] = [
            (None, &["p1", "p2 two", "between", "p3 three"]),
            (Some(1), &["p2 two", "between", "p3 three"]),
            (Some(2), &["between", "p3 three"]),
            (Some(3), &[]),
        ];
        for (place, expected) in table {
            assert_eq!(after(&mut kept, place), (strings(expected), Next::Wait));
        }
        kept.answer(answer(4), NOW);
        assert_eq!(
            after(&mut kept, Some(3)),
            (strings(&["p4 the answer"]), Next::End)
        );
        assert_eq!(after(&mut kept, Some(4)), (vec![], Next::End));
    }

    #[test]
    fn places_that_come_out_of_order_are_gone_by_as_they_came() {
        let mut kept = Kept::default();
        for number in [1, 3, 2] {
            kept.say(event(number, "x"));
        }
        assert_eq!(after(&mut kept, Some(3)).0, strings(&["p2 x"]));
        assert_eq!(after(&mut kept, Some(1)).0, strings(&["p3 x", "p2 x"]));
    }

    #[test]
    fn a_closing_ends_the_reader_after_what_was_said_and_not_the_one_that_comes_back() {
        let mut kept = talk();
        kept.set_retry(500);
        let mut cursor = kept.reader(Some(3));
        kept.say(event(4, "four"));
        kept.set_retry(700);
        kept.close();
        assert_eq!(
            read(&kept, &mut cursor),
            (strings(&["700 p4 four"]), Next::End)
        );
        let mut back = kept.reader(Some(4));
        assert_eq!(read(&kept, &mut back), (vec![], Next::Wait));
        kept.say(event(5, "five"));
        assert_eq!(
            read(&kept, &mut back),
            (strings(&["700 p5 five"]), Next::Wait)
        );
        kept.set_retry(20);
        kept.close();
        assert_eq!(
            read(&kept, &mut back),
            (strings(&["20"]), Next::End),
            "how long to wait is said before the end"
        );
    }

    #[test]
    fn only_the_last_reader_is_served() {
        let mut kept = talk();
        let mut first = kept.reader(None);
        let mut second = kept.reader(Some(3));
        kept.answer(answer(4), NOW);
        assert_eq!(kept.next(&mut first), Next::End);
        assert_eq!(read(&kept, &mut second).0, strings(&["p4 the answer"]));
    }

    #[test]
    fn questions_are_put_again_only_while_they_are_open() {
        let mut kept = talk();
        let (open, closed) = (Arc::new(()), Arc::new(()));
        for (number, asked) in [(4, &open), (5, &closed)] {
            let asked = Some(Arc::downgrade(asked));
            kept.say(Event {
                asked,
                ..event(number, "a question")
            });
        }
        drop(closed);
        assert_eq!(after(&mut kept, Some(3)).0, strings(&["p4 a question"]));
        kept.answer(answer(6), NOW);
        assert_eq!(
            after(&mut kept, Some(3)).0,
            strings(&["p6 the answer"]),
            "with the answer every question is over"
        );
        assert_eq!(
            after(&mut kept, Some(5)).0,
            strings(&["p6 the answer"]),
            "and its place is still one"
        );
        drop(open);
    }

    #[test]
    fn the_oldest_notices_make_room_and_never_the_answer_or_an_open_question() {
        let mut kept = Kept::default();
        let open = Arc::new(());
        kept.say(Event {
            asked: Some(Arc::downgrade(&open)),
            ..event(1, "a question")
        });
        let long = "x".repeat(MAX_NOTICES / 4);
        for number in 2..10 {
            kept.say(event(number, &long));
            assert!(kept.size() <= MAX_NOTICES);
        }
        let numbers = |kept: &mut Kept, place| {
            let (said, _) = after(kept, place);
            let ids: Vec<String> = said
                .iter()
                .map(|said| said.split(' ').next().unwrap().to_owned())
                .collect();
            ids
        };
        assert_eq!(numbers(&mut kept, None), ["p1", "p7", "p8", "p9"]);
        assert_eq!(
            numbers(&mut kept, Some(2)),
            ["p7", "p8", "p9"],
            "a place that was let go still says what was seen"
        );
        kept.say(event(10, &"y".repeat(2 * MAX_NOTICES)));
        assert_eq!(numbers(&mut kept, None), ["p1", "p10"], "the newest stays");
        let mut huge = answer(11);
        huge.body = "z".repeat(3 * MAX_NOTICES);
        kept.answer(huge, NOW);
        assert_eq!(numbers(&mut kept, Some(1)), ["p10", "p11"]);
        drop(open);
    }
}
