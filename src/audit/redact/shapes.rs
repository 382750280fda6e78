//! What looks like a secret without being known: tokens of ours and of well-known issuers, what stands behind
//! `Bearer`, JSON Web Tokens, private keys, passwords in URLs.
//!
//! Each begins with a word that is looked for; how far it goes is found out from there. Every rule looks at a byte a
//! bounded number of times, so that no text takes longer than its length allows.

use crate::types::{ISSUERS, TOKEN_PREFIX, is_prose, is_rest_of_token, is_token_byte};

use super::encoded::{first_character, in_base64, sextet};
use super::spans::Span;

/// How far a token of ours is looked for in base64, in characters.
const ENCODED_TOKEN: usize = 256;

/// The longest user and password before the host of a URL, in bytes.
const AUTHORITY: usize = 1_024;

/// The longest line that begins a private key, in bytes.
const PEM_LINE: usize = 64;

/// The fewest characters behind our prefix, `Bearer` and the like, and in a part of a JSON Web Token.
const SHORTEST: usize = 8;

/// What a word may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A token of ours.
    Ours,
    /// The same in base64, with so many bytes (modulo three) before it.
    OursEncoded(usize),
    /// A token of somebody known.
    Issued,
    /// The value of an `Authorization` header (RFC 6750, section 2.1; RFC 7617).
    Scheme,
    /// A JSON Web Token (RFC 7519).
    Jwt,
    /// A private key (RFC 7468).
    Pem,
    /// User and password in a URL (RFC 3986, section 3.2.1).
    Url,
}

/// All words, with what they may begin.
pub(super) fn words() -> Vec<(String, Shape)> {
    let mut words = vec![
        (TOKEN_PREFIX.to_owned(), Shape::Ours),
        ("eyJ".to_owned(), Shape::Jwt),
        ("-----BEGIN ".to_owned(), Shape::Pem),
        ("://".to_owned(), Shape::Url),
    ];
    for scheme in [
        "Bearer ", "bearer ", "BEARER ", "Basic ", "basic ", "BASIC ",
    ] {
        words.push((scheme.to_owned(), Shape::Scheme));
    }
    for alignment in 0..3 {
        let [form, _] = in_base64(TOKEN_PREFIX.as_bytes(), alignment);
        words.push((form.text, Shape::OursEncoded(alignment)));
    }
    let ours = [TOKEN_PREFIX, "eyJ"];
    let issuers = ISSUERS.iter().filter(|issuer| !ours.contains(issuer));
    words.extend(issuers.map(|issuer| ((*issuer).to_owned(), Shape::Issued)));
    words
}

/// Remembers what was looked at already.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The end of a run of characters that holds no token.
    dull_until: usize,
}

impl Shape {
    /// The piece of the text that the word at `from..to` begins, if it is what it looks like.
    pub(super) fn span(
        self,
        text: &[u8],
        from: usize,
        to: usize,
        looked: &mut Looked,
    ) -> Option<Span> {
        let (rule, found) = match self {
            Self::Ours => ("hayward_token", ours(text, from, to)),
            Self::OursEncoded(alignment) => ("hayward_token", encoded(text, from, alignment)),
            Self::Issued => ("token", issued(text, from, to, looked)),
            Self::Scheme => ("credentials", credentials(text, to)),
            Self::Jwt => ("jwt", jwt(text, from)),
            Self::Pem => ("private_key", pem(text, from)),
            Self::Url => ("password", password(text, to)),
        };
        found.map(|(start, end)| Span { start, end, rule })
    }
}

type Found = Option<(usize, usize)>;

fn ours(text: &[u8], from: usize, to: usize) -> Found {
    let end = run(text, to, |byte| {
        byte.is_ascii_alphanumeric() || byte == b'_'
    });
    (end - to >= SHORTEST).then_some((from, end))
}

/// Reads the base64 at `from`, which holds the last bytes of our prefix for sure, and what follows.
fn encoded(text: &[u8], from: usize, alignment: usize) -> Found {
    let first = first_character(alignment);
    // Bits of the first byte that stand in the character before, or nothing of it.
    let whole_byte = (first * 6).div_ceil(8);
    let mut skipped = whole_byte * 8 - first * 6;
    let mut known = TOKEN_PREFIX.len() + alignment - whole_byte;
    let (mut bits, mut held, mut behind) = (0_u32, 0_usize, 0_usize);
    let encoded = text.get(from..).unwrap_or_default();
    for value in encoded
        .iter()
        .take(ENCODED_TOKEN)
        .map_while(|byte| sextet(*byte))
    {
        bits = ((bits << 6) | u32::from(value)) & 0xffff;
        held += 6;
        if skipped > 0 {
            let now = skipped.min(held);
            (held, skipped) = (held - now, skipped - now);
        }
        if held < 8 || skipped > 0 {
            continue;
        }
        held -= 8;
        let byte = u8::try_from((bits >> held) & 0xff).ok()?;
        if known > 0 {
            known -= 1;
        } else if byte.is_ascii_alphanumeric() || byte == b'_' {
            behind += 1;
        } else {
            break;
        }
    }
    let last_bit = (alignment + TOKEN_PREFIX.len() + behind) * 8;
    let end = from + last_bit.div_ceil(6) - first;
    let start = from.saturating_sub(usize::from(alignment > 0));
    (behind >= SHORTEST).then_some((start, end.min(text.len())))
}

fn issued(text: &[u8], from: usize, to: usize, looked: &mut Looked) -> Found {
    if is_inside_word(text, from) || from < looked.dull_until {
        return None;
    }
    let end = run(text, to, is_token_byte);
    if is_rest_of_token(text.get(to..end)?) {
        return Some((from, end));
    }
    // What is too short or too plain here is so from every later place in the run.
    looked.dull_until = end;
    None
}

fn credentials(text: &[u8], to: usize) -> Found {
    let start = run(text, to, |byte| byte == b' ');
    let end = run(text, start, |byte| {
        is_token_byte(byte) || matches!(byte, b'/' | b'=')
    });
    let word = text.get(start..end)?;
    (word.len() >= SHORTEST && !is_prose(word)).then_some((start, end))
}

fn jwt(text: &[u8], from: usize) -> Found {
    if is_inside_word(text, from) {
        return None;
    }
    let end = run(text, from, |byte| is_base64url(byte) || byte == b'.');
    let token = text.get(from..end)?;
    let mut parts = token.split(|byte| *byte == b'.');
    let are_long = parts
        .by_ref()
        .take(2)
        .filter(|part| part.len() >= SHORTEST)
        .count()
        == 2;
    are_long.then_some((from, end))
}

fn pem(text: &[u8], from: usize) -> Found {
    let rest = text.get(from..)?;
    let line = rest.get(..PEM_LINE.min(rest.len()))?;
    find(line, b"PRIVATE KEY-----")?;
    let end = find(rest, b"-----END ").map_or(text.len(), |at| {
        let behind = from + at + b"-----END ".len();
        let last = text.get(behind..).unwrap_or_default();
        let last = last.get(..PEM_LINE.min(last.len())).unwrap_or_default();
        find(last, b"-----").map_or(text.len(), |at| behind + at + 5)
    });
    Some((from, end))
}

fn password(text: &[u8], to: usize) -> Found {
    let rest = text.get(to..)?;
    let rest = rest.get(..AUTHORITY.min(rest.len()))?;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"/\"'?#<>\\".contains(byte);
    let authority = rest.split(ends).next()?;
    let host = authority.iter().rposition(|byte| *byte == b'@')?;
    let colon = authority
        .get(..host)?
        .iter()
        .position(|byte| *byte == b':')?;
    (colon + 1 < host).then_some((to + colon + 1, to + host))
}

/// Where a run of such bytes ends that begins here.
fn run(text: &[u8], from: usize, goes_on: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| goes_on(**byte)).count()
}

fn find(text: &[u8], words: &[u8]) -> Option<usize> {
    text.windows(words.len()).position(|part| part == words)
}

fn is_inside_word(text: &[u8], from: usize) -> bool {
    let before = from.checked_sub(1).and_then(|at| text.get(at));
    before.is_some_and(u8::is_ascii_alphanumeric)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
