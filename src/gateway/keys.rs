//! Keys of calls, as they come: in a header or in `_meta`, and which of them a call has.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::budget::{Claim, Claims, KeyId, KeyScope, Lasts};
use crate::protocol::{META, Method, Object, canonical};
use crate::types::hex;

use super::Failure;
use super::stages::{Authenticated, Subject, Wish};

/// The key of `_meta` under which an agent sends the key of a call.
const KEY: &str = "dev.hayward/idempotency_key";

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// Takes the key of a call out of its request, so that no server gets it: there, keys of all agents would be those of
/// one client, the gateway.
///
/// # Errors
/// When it is no key, or header and `_meta` have different ones.
pub(super) fn take_key(
    params: &mut Object,
    header: Option<&str>,
) -> Result<Option<String>, Failure> {
    let in_header = header.map(of_header).transpose()?;
    let in_meta = out_of_meta(params)?;
    match (in_header, in_meta) {
        (Some(header), Some(meta)) if header != meta => Err(Failure::InvalidParams(format!(
            "the Idempotency-Key header and `{KEY}` in `_meta` are different keys; send one of them"
        ))),
        (header, meta) => Ok(header.or(meta)),
    }
}

/// A string as structured fields write it (RFC 9651, section 3.3.3), as `draft-ietf-httpapi-idempotency-key-header`
/// asks for, or the bare key.
fn of_header(value: &str) -> Result<String, Failure> {
    let unquoted = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').and_then(unescaped),
        None => Some(value.to_owned()),
    };
    unquoted
        .filter(|key| is_key(key))
        .ok_or_else(|| wrong("the Idempotency-Key header"))
}

fn unescaped(quoted: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return None,
            '\\' => key.push(characters.next().filter(|c| "\"\\".contains(*c))?),
            c => key.push(c),
        }
    }
    Some(key)
}

fn out_of_meta(params: &mut Object) -> Result<Option<String>, Failure> {
    let Some(mut meta) = params.get_object(META) else {
        return Ok(None);
    };
    if let Some(key) = meta.look_alike(&[KEY]) {
        let why = format!("the key {key:?} in `_meta` differs from `{KEY}` only in case");
        return Err(Failure::InvalidParams(why));
    }
    if meta.get(KEY).is_none() {
        return Ok(None);
    }
    let key = meta.get_str(KEY).map(|key| key.into_owned());
    meta.remove(KEY);
    params.set(META, meta.to_json());
    let key = key.filter(|key| is_key(key));
    key.map(Some)
        .ok_or_else(|| wrong(&format!("`{KEY}` in `_meta`")))
}

fn is_key(key: &str) -> bool {
    (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

fn wrong(what: &str) -> Failure {
    Failure::InvalidParams(format!(
        "{what} must be 1 to {MAX_KEY} visible ASCII characters"
    ))
}

/// The keys that a call has: the one that came with it, and its arguments where its server's rules say so. One that
/// goes on with another has the keys of that one, too.
pub(super) fn claims(request: &Authenticated) -> Option<Claims> {
    let Authenticated { caller, wish, .. } = request;
    let (Method::ToolsCall, Subject::Tool(tool)) = (wish.request.method, &wish.subject) else {
        return None;
    };
    let dedupe = dedupe(request, tool);
    if wish.key.is_none() && dedupe.is_none() && wish.continues.is_none() {
        return None;
    }
    let scope = KeyScope {
        agent: &caller.agent.name,
        server: &wish.server,
        tool,
    };
    let arguments = digest(wish);
    let given = wish.key.as_deref().map(|key| Claim {
        id: KeyId::given(scope, key),
        lasts: Lasts::Kept,
    });
    let same = dedupe.map(|span| Claim {
        id: KeyId::of_arguments(scope, &arguments),
        lasts: Lasts::For(span),
    });
    Some(Claims {
        agent: caller.agent.name.clone(),
        arguments,
        continues: wish.continues,
        keys: given.into_iter().chain(same).collect(),
    })
}

fn dedupe(request: &Authenticated, tool: &str) -> Option<Duration> {
    let servers = request.caller.permissions.servers();
    servers.get(&request.wish.server)?.dedupe_of(tool)
}

/// Whether a call has any key; also when its arguments are gone.
pub(super) fn has_keys(request: &Authenticated) -> bool {
    match &request.wish.subject {
        Subject::Tool(tool) => request.wish.key.is_some() || dedupe(request, tool).is_some(),
        Subject::Prompt(_) | Subject::Resource(_) | Subject::Listing => false,
    }
}

/// SHA-256 of the arguments as canonical JSON. None at all are the same as empty ones.
fn digest(wish: &Wish) -> [u8; 32] {
    let arguments = wish.request.params.get("arguments");
    let arguments = arguments.map_or("{}", |arguments| arguments.get());
    Sha256::digest(canonical(arguments).as_bytes()).into()
}

/// A key as the log names it: calls with the same one have the same, and nobody can tell what it was.
pub(super) fn in_log(claims: &Claims) -> Option<String> {
    let given = claims.keys.iter().find(|claim| claim.lasts == Lasts::Kept);
    given.map(|claim| hex(&claim.id.as_bytes()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{json_string, raw};

    fn taken(header: Option<&str>, meta: Option<&str>) -> Result<Option<String>, String> {
        let mut params = Object::parse(r#"{"name":"x"}"#).unwrap();
        if let Some(meta) = meta {
            params.set(META, raw(format!("{{\"a\":1,\"{KEY}\":{meta}}}")));
        }
        let key = take_key(&mut params, header).map_err(|failure| failure.to_string())?;
        if meta.is_some() {
            assert_eq!(params.to_text(), r#"{"name":"x","_meta":{"a":1}}"#);
        }
        Ok(key)
    }

    #[test]
    fn a_key_is_read_from_either_place_and_taken_out() {
        let longest = "k".repeat(MAX_KEY);
        for (header, meta, key) in [
            (None, None, None),
            (Some("k-1"), None, Some("k-1")),
            (Some("\"k-1\""), None, Some("k-1")),
            (Some(r#""a\"b\\c""#), None, Some(r#"a"b\c"#)),
            (None, Some("\"k-1\""), Some("k-1")),
            (None, Some(r#""\u006b-1""#), Some("k-1")),
            (Some("\"k-1\""), Some("\"k-1\""), Some("k-1")),
            (Some(&longest), None, Some(&longest)),
        ] {
            assert_eq!(
                taken(header, meta),
                Ok(key.map(str::to_owned)),
                "{header:?} {meta:?}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(MAX_KEY + 1);
        let long_text = json_string(&long);
        for (header, meta) in [
            (Some(""), None),
            (Some("\"\""), None),
            (Some("two words"), None),
            (Some("\"open"), None),
            (Some("\""), None),
            (Some(r#""a"b""#), None),
            (Some(r#""a\n""#), None),
            (Some("\"a\";p=1"), None),
            (Some("é"), None),
            (Some(&long), None),
            (None, Some("7")),
            (None, Some("null")),
            (None, Some("\"\"")),
            (None, Some("\"a\\n\"")),
            (None, Some("\"é\"")),
            (None, Some(&long_text)),
            (Some("a"), Some("\"b\"")),
        ] {
            assert!(taken(header, meta).is_err(), "{header:?} {meta:?}");
        }
        let other_case = format!(r#"{{"_meta":{{"{}":"k"}}}}"#, KEY.to_uppercase());
        let mut params = Object::parse(&other_case).unwrap();
        assert!(take_key(&mut params, None).is_err());
    }
}
