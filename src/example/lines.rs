//! Lines of a stream, bounded: a line that never ends takes no memory.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What stood between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line without its end.
    Whole(Vec<u8>),
    /// It was longer than allowed and is gone.
    TooLong,
}

/// Reads the next line; `None` at the end of the input.
pub(super) async fn next(
    input: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut too_long = false;
    let mut begun = false;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(begun.then(|| finish(line, too_long)));
        }
        begun = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let (text, _) = chunk.split_at(end.unwrap_or(chunk.len()));
        if line.len().saturating_add(text.len()) > limit {
            too_long = true;
            line = Vec::new();
        } else if !too_long {
            line.extend_from_slice(text);
        }
        let taken = text.len() + usize::from(end.is_some());
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(finish(line, too_long)));
        }
    }
}

fn finish(line: Vec<u8>, too_long: bool) -> Line {
    if too_long {
        Line::TooLong
    } else {
        Line::Whole(line)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_are_cut_wherever_the_chunks_end() {
        let text = b"one\n\nfour!\n12345\nend".as_slice();
        for capacity in 1..12 {
            let mut input = BufReader::with_capacity(capacity, text);
            let mut lines = Vec::new();
            while let Some(line) = next(&mut input, 5).await.unwrap() {
                lines.push(line);
            }
            let whole = |text: &str| Line::Whole(text.into());
            let wanted = [
                whole("one"),
                whole(""),
                whole("four!"),
                whole("12345"),
                whole("end"),
            ];
            assert_eq!(lines, wanted, "capacity {capacity}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_dropped_to_its_end() {
        for capacity in 1..12 {
            let mut input =
                BufReader::with_capacity(capacity, b"123456\nok\n1234567890".as_slice());
            let mut lines = Vec::new();
            while let Some(line) = next(&mut input, 5).await.unwrap() {
                lines.push(line);
            }
            let wanted = [Line::TooLong, Line::Whole("ok".into()), Line::TooLong];
            assert_eq!(lines, wanted, "capacity {capacity}");
        }
    }
}
