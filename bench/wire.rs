//! Just enough of HTTP for callers and server of a measurement.

/// Where the first whole message ends, requests and answers alike. Of a message in pieces nothing may follow, which
/// holds as long as nobody asks before the answer.
pub(super) fn end_of_message(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    if header(&bytes[..head], "transfer-encoding").is_some() {
        return bytes.ends_with(b"\r\n0\r\n\r\n").then_some(bytes.len());
    }
    let length = header(&bytes[..head], "content-length");
    let length = length.and_then(|value| value.parse::<usize>().ok());
    let end = head + length.unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}

/// The value of a header in the head of a message.
pub(super) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    })?;
    Some(str::from_utf8(value).ok()?.trim())
}

/// What stands after `key` until the next comma or brace: an id, a number, a token.
pub(super) fn value_after<'a>(bytes: &'a [u8], key: &str) -> Option<&'a str> {
    let start = find(bytes, key.as_bytes())? + key.len();
    let length = bytes[start..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'}'))?;
    str::from_utf8(&bytes[start..start + length]).ok()
}

/// Where a word first stands.
pub(super) fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}
