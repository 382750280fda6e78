//! Server-sent events, byte for byte (WHATWG HTML, section 9.2).
//!
//! Events are cut from bytes, not from text, so a character split between two chunks stays whole; CR, LF and
//! CRLF all end a line, also when a chunk ends between the two; a leading byte-order mark is dropped; an
//! event that is not finished is bounded.

/// One event, or only the id of one: a place in the stream at which nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// The `event` field; empty means `message`.
    pub name: String,
    /// The `data` lines, joined by LF.
    pub data: Vec<u8>,
    /// The `id` field, when this event carried one.
    pub id: Option<String>,
}

/// An event grew beyond the limit before it was finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct SseTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    size: usize,
    after_cr: bool,
    at_start: bool,
    retry: Option<u64>,
}

impl SseParser {
    /// A parser for one stream; `limit` bounds one unfinished event, in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            event: SseEvent::default(),
            has_data: false,
            size: 0,
            after_cr: false,
            at_start: true,
            retry: None,
        }
    }

    /// How long to wait before the stream is asked for again, in milliseconds, as last said on it.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// Takes the next bytes and returns the events they finish.
    ///
    /// # Errors
    /// When the unfinished event is larger than the limit; the stream cannot be used further.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<SseEvent>, SseTooLarge> {
        let mut events = Vec::new();
        if self.after_cr && bytes.first() == Some(&b'\n') {
            bytes = bytes.get(1..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.after_cr = false;
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.grow(bytes.get(..end).unwrap_or_default())?;
            events.extend(self.end_line());
            let is_cr = bytes.get(end) == Some(&b'\r');
            bytes = bytes.get(end + 1..).unwrap_or_default();
            if is_cr {
                if bytes.first() == Some(&b'\n') {
                    bytes = bytes.get(1..).unwrap_or_default();
                } else {
                    self.after_cr = bytes.is_empty();
                }
            }
        }
        self.grow(bytes)?;
        Ok(events)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), SseTooLarge> {
        self.size = self.size.saturating_add(bytes.len());
        if self.size > self.limit {
            return Err(SseTooLarge { limit: self.limit });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let whole = std::mem::take(&mut self.line);
        let first = std::mem::replace(&mut self.at_start, false);
        let mark: &[u8] = if first { b"\xef\xbb\xbf" } else { b"" };
        let line = whole.strip_prefix(mark).unwrap_or(&whole);
        if line.is_empty() {
            return self.end_event();
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let (field, rest) = line.split_at(colon);
        let value = rest.strip_prefix(b":").unwrap_or(rest);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => {
                self.event.id = Some(String::from_utf8_lossy(value).into_owned())
            }
            _ => {
                if field == b"retry" {
                    self.retry = read_digits(value).or(self.retry);
                }
                // Comments and fields nobody knows take no room beyond their own line.
                self.size = self.size.saturating_sub(whole.len());
            }
        }
        None
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        self.size = 0;
        let event = std::mem::take(&mut self.event);
        let has_data = std::mem::take(&mut self.has_data);
        (has_data || event.id.is_some()).then_some(event)
    }
}

/// Digits and nothing else, as the standard has it; a number beyond all sense is none.
fn read_digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// Writes one `message` event around a JSON text, which holds no line breaks outside of escapes or has them
/// spread over several `data` lines.
pub fn write_event(data: &str) -> String {
    write_event_at(None, None, data)
}

/// Writes an event with its id, and how long to wait before the stream is asked for again, in milliseconds. Without
/// data it only names a place in the stream. The id holds no line breaks.
pub fn write_event_at(id: Option<&str>, retry: Option<u64>, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + id.map_or(0, str::len) + 48);
    if !data.is_empty() {
        text.push_str("event: message\n");
    }
    if let Some(id) = id {
        text.push_str("id: ");
        text.push_str(id);
        text.push('\n');
    }
    if let Some(retry) = retry {
        text.push_str(&write_retry(retry));
    }
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The line that says how long to wait before the stream is asked for again, in milliseconds.
pub fn write_retry(retry: u64) -> String {
    format!("retry: {retry}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(chunks: &[&[u8]]) -> Vec<SseEvent> {
        let mut parser = SseParser::new(1_000);
        chunks
            .iter()
            .flat_map(|chunk| parser.push(chunk).unwrap())
            .collect()
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        let stream =
            b"\xef\xbb\xbf: hello\nevent: message\nid: 7\ndata: a\ndata:b\n\ndata\n\nretry: 5\n\n";
        let found = events(&[stream]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].data, b"a\nb");
        assert_eq!(found[0].id.as_deref(), Some("7"));
        assert_eq!(found[1].data, b"");
    }

    #[test]
    fn an_id_without_data_is_a_place_and_the_wait_before_coming_back_is_kept() {
        let mut parser = SseParser::new(1_000);
        let found = parser.push(b"id: 7\nretry: 500\ndata:\n\nid: 8\n\n");
        let ids: Vec<_> = found.unwrap().into_iter().map(|event| event.id).collect();
        assert_eq!(ids, [Some("7".into()), Some("8".into())]);
        assert_eq!(parser.retry(), Some(500));
        for nonsense in ["+1", "1 s", "", "99999999999999999999"] {
            let said = format!("retry: {nonsense}\n\n");
            assert_eq!(parser.push(said.as_bytes()), Ok(vec![]));
            assert_eq!(parser.retry(), Some(500), "{nonsense}");
        }
        assert_eq!(parser.push(b"retry: 20\n\n"), Ok(vec![]));
        assert_eq!(parser.retry(), Some(20));
    }

    #[test]
    fn an_event_with_its_place_is_read_as_it_was_written() {
        let text = write_event_at(Some("7"), Some(500), "{}");
        assert_eq!(text, "event: message\nid: 7\nretry: 500\ndata: {}\n\n");
        let found = events(&[text.as_bytes()]);
        assert_eq!(
            (found[0].id.as_deref(), &*found[0].data),
            (Some("7"), &b"{}"[..])
        );
        assert_eq!(write_event_at(Some("7"), None, ""), "id: 7\ndata: \n\n");
        assert_eq!(write_event("{}"), "event: message\ndata: {}\n\n");
    }

    #[test]
    fn an_unfinished_event_is_bounded_and_comments_are_free() {
        let mut parser = SseParser::new(64);
        for _ in 0..100 {
            assert_eq!(parser.push(b": keep-alive\n"), Ok(vec![]));
        }
        assert_eq!(parser.push(&[b'x'; 65]), Err(SseTooLarge { limit: 64 }));
    }

    proptest! {
        #[test]
        fn where_the_chunks_end_changes_nothing(
            cuts in proptest::collection::vec(1usize..9, 0..40),
            ending in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        ) {
            let text = ["event: message", "data: {\"grüße\":1}", "", "id: 1", "data: x", "data: y", "", ""].join(ending);
            let whole = events(&[text.as_bytes()]);
            prop_assert_eq!(whole.len(), 2);
            let mut rest = text.as_bytes();
            let mut chunks = Vec::new();
            for cut in cuts {
                let (chunk, tail) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            chunks.push(rest);
            prop_assert_eq!(events(&chunks), whole);
        }
    }
}
