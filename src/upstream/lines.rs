//! Lines of a child process, in and out, each bounded in size or time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::limits;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A line, without its end.
    Line,
    /// A line beyond the limit; its beginning was kept and its rest thrown away.
    TooLong,
    /// Nothing more will come.
    End,
}

/// Reads the next line into `line`, of which at most `limit` bytes are kept.
pub(super) async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    limit: usize,
) -> Read {
    line.clear();
    let mut is_cut = false;
    loop {
        let chunk = match reader.fill_buf().await {
            Ok(chunk) if !chunk.is_empty() => chunk,
            Ok(_) | Err(_) => return Read::End,
        };
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let piece = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let room = limit.saturating_sub(line.len());
        is_cut |= piece.len() > room;
        line.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        let taken = piece.len() + usize::from(end.is_some());
        reader.consume(taken);
        if end.is_some() {
            return if is_cut { Read::TooLong } else { Read::Line };
        }
    }
}

/// A line to be written.
#[derive(Debug)]
pub(super) struct Line {
    text: Bytes,
    ticket: Ticket,
}

/// Says whether a line was begun; what was not begun can be taken back.
#[derive(Debug, Clone, Default)]
pub(super) struct Ticket(Arc<AtomicU8>);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Ticket {
    fn begin(&self) -> bool {
        self.0
            .compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Takes the line back; `false` when some of it may have left already.
    pub(super) fn withdraw(&self) -> bool {
        let was = self
            .0
            .compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire);
        !matches!(was, Err(BEGUN))
    }
}

impl Line {
    /// A message on one line. Line breaks in JSON stand only between its pieces, where a blank does as well.
    pub(super) fn new(message: String, ticket: &Ticket) -> Self {
        let mut text = if message.contains(['\n', '\r']) {
            message.replace(['\n', '\r'], " ")
        } else {
            message
        };
        text.push('\n');
        Self {
            text: text.into(),
            ticket: ticket.clone(),
        }
    }
}

/// Writes lines until none can come or none can be written.
pub(super) async fn write_lines(
    mut output: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Line>,
) {
    while let Some(mut line) = lines.recv().await {
        if !line.ticket.begin() {
            continue;
        }
        while line.text.has_remaining() {
            match timeout(limits::CHILD_WRITE, output.write_buf(&mut line.text)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
        if output.flush().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, BufReader};

    use super::*;

    #[tokio::test]
    async fn lines_are_bounded_and_the_next_one_is_whole() {
        let text = format!("one\n{}\r\n\ntwo\nunfinished", "x".repeat(30));
        let mut reader = BufReader::with_capacity(7, text.as_bytes());
        let mut line = Vec::new();
        let mut read = Vec::new();
        loop {
            let kind = read_line(&mut reader, &mut line, 10).await;
            if kind == Read::End {
                break;
            }
            read.push((kind, String::from_utf8(line.clone()).unwrap()));
        }
        let expected = [
            (Read::Line, "one".to_owned()),
            (Read::TooLong, "xxxxxxxxxx".into()),
            (Read::Line, String::new()),
            (Read::Line, "two".into()),
        ];
        assert_eq!(read, expected);
    }

    #[tokio::test]
    async fn a_withdrawn_line_is_never_written_and_a_message_stays_on_its_line() {
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let (sender, receiver) = mpsc::channel(8);
        let (kept, withdrawn) = (Ticket::default(), Ticket::default());
        sender
            .send(Line::new("{\"no\":1}".into(), &withdrawn))
            .await
            .unwrap();
        sender
            .send(Line::new("{\n\"a\":\r\n1}".into(), &kept))
            .await
            .unwrap();
        assert!(withdrawn.withdraw());
        drop(sender);
        write_lines(theirs, receiver).await;
        let mut written = String::new();
        ours.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, "{ \"a\":  1}\n");
        assert!(!kept.withdraw());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_nothing_holds_the_writer_up_only_so_long() {
        let (_unread, theirs) = tokio::io::duplex(4);
        let (sender, receiver) = mpsc::channel(8);
        let (stuck, behind) = (Ticket::default(), Ticket::default());
        sender
            .send(Line::new("a long line".into(), &stuck))
            .await
            .unwrap();
        sender.send(Line::new("{}".into(), &behind)).await.unwrap();
        write_lines(theirs, receiver).await;
        assert!(!stuck.withdraw() && behind.withdraw());
    }
}
