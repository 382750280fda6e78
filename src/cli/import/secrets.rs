//! Which parts of a value are secrets. Too many rather than too few: a variable for a word that was none costs a line
//! in the environment, a secret in a file under git costs the secret.

use crate::config;

/// The shortest run of letters and digits that is taken for a random one.
const RANDOM: usize = 16;

/// Schemes that stand before a secret in a header.
const SCHEMES: &[&str] = &[
    "Bearer ", "bearer ", "Basic ", "Token ", "token ", "ApiKey ",
];

/// A value in pieces: what may be written, and what becomes a variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Nothing that is secret.
    Open(&'a str),
    /// A secret; the hint names it where its surroundings do.
    Secret {
        text: &'a str,
        hint: Option<&'a str>,
    },
}

/// Parts of a name that announce a secret, in whatever way its words are joined.
const WORDS: &[&str] = &["token", "secret", "passw", "apikey", "credential", "key"];

fn looks_secret(name: &str, text: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_named = WORDS.iter().any(|word| lower.contains(word));
    (is_named && !text.is_empty()) || config::looks_secret(name, text)
}

/// Takes a value of this name apart. `name` is that of a header, a variable or a flag.
pub(super) fn pieces<'a>(name: &str, text: &'a str) -> Vec<Piece<'a>> {
    if text.is_empty() {
        return Vec::new();
    }
    if is_address(text) && !looks_secret(name, "-") {
        return address(text);
    }
    // `--header "X-Api-Key: abc"`, `-e KEY=abc`, `--token=abc`
    if !looks_secret(name, "-")
        && let Some(pieces) = named_within(text)
    {
        return pieces;
    }
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme));
    let (open, rest) = text.split_at(scheme.map_or(0, |scheme| scheme.len()));
    if scheme.is_some() || looks_secret(name, rest) || is_random(rest) {
        let secret = Piece::Secret {
            text: rest,
            hint: None,
        };
        return open_then(open, secret);
    }
    vec![Piece::Open(text)]
}

/// A text that names its own secret: a header, a pair, or a flag with its value.
fn named_within(text: &str) -> Option<Vec<Piece<'_>>> {
    let (name, rest) = text.split_at_checked(text.find([':', '='])?)?;
    let value = rest.trim_start_matches([':', '=']).trim_start();
    let inner = pieces(name.trim_start_matches('-'), value);
    let is_secret = |piece: &Piece<'_>| matches!(piece, Piece::Secret { .. });
    inner.iter().any(is_secret).then_some(())?;
    let inner = inner.into_iter().map(|piece| match piece {
        Piece::Secret { text, hint: None } => Piece::Secret {
            text,
            hint: Some(name),
        },
        Piece::Open(_) | Piece::Secret { .. } => piece,
    });
    let before = text.get(..text.len() - value.len())?;
    Some(std::iter::once(Piece::Open(before)).chain(inner).collect())
}

fn open_then<'a>(open: &'a str, secret: Piece<'a>) -> Vec<Piece<'a>> {
    if open.is_empty() {
        return vec![secret];
    }
    vec![Piece::Open(open), secret]
}

/// Whether a text begins with the scheme of an address.
fn is_address(text: &str) -> bool {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.chars().all(is_scheme))
}

/// The password, the random parts of the path, and the secret values of a query.
fn address(text: &str) -> Vec<Piece<'_>> {
    let start = text.find("://").map_or(0, |at| at + 3);
    let rest = text.get(start..).unwrap_or_default();
    let before_query = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, query) = rest.split_at(before_query);
    let user = user_of(path);
    let mut found: Vec<(usize, usize, Option<&str>)> = Vec::new();
    if let Some(user) = user {
        let from = user.find(':').map_or(0, |colon| colon + 1);
        found.push((start + from, start + user.len(), Some("password")));
    }
    let mut at = start + user.map_or(0, str::len);
    let path = path.get(at - start..).unwrap_or_default();
    for (part, joints) in [(path, &['/'][..]), (query, &['?', '#', '&'])] {
        for part in part.split_inclusive(joints) {
            let bare = part.trim_end_matches(joints);
            let (key, value) = bare.split_once('=').unwrap_or(("", bare));
            let is_pair = value.len() < bare.len();
            if !value.is_empty() && (looks_secret(key, value) || is_random(value)) {
                let from = at + bare.len() - value.len();
                found.push((from, at + bare.len(), is_pair.then_some(key)));
            }
            at += part.len();
        }
    }
    cut(text, found)
}

/// The user and the password before the host. A password that was not escaped may hold a slash.
fn user_of(path: &str) -> Option<&str> {
    let authority = path.split('/').next().unwrap_or_default();
    if let Some((user, _)) = authority.rsplit_once('@') {
        return Some(user);
    }
    let (user, _) = path.rsplit_once('@')?;
    authority.contains(':').then_some(user)
}

fn cut<'a>(text: &'a str, found: Vec<(usize, usize, Option<&'a str>)>) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    for (from, to, hint) in found {
        let open = text.get(at..from).unwrap_or_default();
        let secret = text.get(from..to).unwrap_or_default();
        pieces.extend((!open.is_empty()).then_some(Piece::Open(open)));
        pieces.extend((!secret.is_empty()).then_some(Piece::Secret { text: secret, hint }));
        at = to;
    }
    let open = text.get(at..).unwrap_or_default();
    pieces.extend((!open.is_empty()).then_some(Piece::Open(open)));
    pieces
}

/// Whether a text looks like nobody made it up: a long run of letters and digits mixed, or a UUID.
fn is_random(text: &str) -> bool {
    let runs = text.split(|c: char| !c.is_ascii_alphanumeric());
    let dashed_hex = text.len() == 36
        && text.matches('-').count() == 4
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    dashed_hex || runs.into_iter().any(is_random_run)
}

fn is_random_run(run: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| run.as_bytes().iter().any(kind);
    let has_digit = has(u8::is_ascii_digit);
    let has_letter = has(u8::is_ascii_alphabetic);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    (run.len() >= RANDOM && has_digit && has_letter) || (run.len() >= RANDOM + 8 && is_mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces as one text, secrets in angle brackets.
    fn shown(name: &str, text: &str) -> String {
        let pieces = pieces(name, text).into_iter().map(|piece| match piece {
            Piece::Open(text) => text.to_owned(),
            Piece::Secret { text, hint } => format!("<{text}|{}>", hint.unwrap_or_default()),
        });
        pieces.collect()
    }

    #[test]
    fn secrets_are_found_by_name_by_form_and_by_looks() {
        for (name, text, wanted) in [
            ("NODE_ENV", "production", "production"),
            ("API_KEY", "short", "<short|>"),
            ("Authorization", "Bearer abc", "Bearer <abc|>"),
            ("X-Team", "marketing", "marketing"),
            ("X-Team", "Bearer", "Bearer"),
            ("X-Any", "0123456789abcdef0123", "<0123456789abcdef0123|>"),
            (
                "WORKSPACE",
                "8f14e45f-ceea-467f-a8d1-0a1b2c3d4e5f",
                "<8f14e45f-ceea-467f-a8d1-0a1b2c3d4e5f|>",
            ),
            (
                "args",
                "@modelcontextprotocol/server-filesystem@2026.7.10",
                "@modelcontextprotocol/server-filesystem@2026.7.10",
            ),
            ("args", "--api-key=abcd", "--api-key=<abcd|--api-key>"),
            (
                "args",
                "Authorization: Bearer abc",
                "Authorization: Bearer <abc|Authorization>",
            ),
            ("args", "TOKEN=abcd", "TOKEN=<abcd|TOKEN>"),
            (
                "e",
                "SLACK_BOT_TOKEN=xoxb-0123456789abcd",
                "SLACK_BOT_TOKEN=<xoxb-0123456789abcd|SLACK_BOT_TOKEN>",
            ),
            ("API_KEY", "half=other", "<half=other|>"),
            ("args", "--root=/data/files", "--root=/data/files"),
            ("args", "/data/notes", "/data/notes"),
            (
                "DATABASE_URL",
                "postgres://me:pw@host/db",
                "postgres://me:<pw|password>@host/db",
            ),
            (
                "url",
                "https://x/mcp?api_key=abcd&team=a",
                "https://x/mcp?api_key=<abcd|api_key>&team=a",
            ),
            (
                "DATABASE_URL",
                "postgres://me:p/w@host/db?sslmode=require",
                "postgres://me:<p/w|password>@host/db?sslmode=require",
            ),
            ("url", "https://x/@scope/mcp", "https://x/@scope/mcp"),
            (
                "url",
                "https://x/mcp?key=a/b=c&k=d",
                "https://x/mcp?key=<a/b=c|key>&k=d",
            ),
            (
                "header",
                "Authorization: Bearer a://b?c",
                "Authorization: Bearer <a://b?c|Authorization>",
            ),
            (
                "url",
                "https://x/s/NTQ4abc123def456ghi/mcp",
                "https://x/s/<NTQ4abc123def456ghi|>/mcp",
            ),
            (
                "url",
                "https://mcp.example.com/v1/mcp",
                "https://mcp.example.com/v1/mcp",
            ),
        ] {
            assert_eq!(shown(name, text), wanted, "{name}");
        }
    }
}
