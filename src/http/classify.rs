//! Which era a message belongs to: the body first, then the headers. Pure.

use crate::gateway::Failure;
use crate::protocol::{CLIENT_CAPABILITIES, META, Object, PROTOCOL_VERSION, Version};

/// Versions that requests may name for themselves.
const MODERN: [&str; 1] = [Version::V2026_07_28.as_str()];

/// The headers that matter for the question.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hints<'a> {
    /// `MCP-Protocol-Version`.
    pub(super) version: Option<&'a str>,
    /// `Mcp-Session-Id`.
    pub(super) session: Option<&'a str>,
}

/// How a message is to be treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// 2026-07-28: names its version itself.
    Modern,
    /// Opens a session.
    Opening,
    /// Belongs to the session with this id, if the agent has one.
    InSession(String),
    /// None of these: a bare request, served without ceremony.
    Bare,
}

/// Why a message cannot be treated at all.
#[derive(Debug)]
pub(super) enum Unclear {
    /// The message contradicts itself.
    Failure(Failure),
    /// The header names a version nobody knows.
    UnknownVersion(String),
}

/// Tells the era of a request or notification.
pub(super) fn classify(method: &str, params: &Object, hints: &Hints<'_>) -> Result<Class, Unclear> {
    let meta = params.get_object(META).unwrap_or_default();
    if meta.get(PROTOCOL_VERSION).is_some() {
        return modern(&meta, hints)
            .map(|()| Class::Modern)
            .map_err(Unclear::Failure);
    }
    if named(hints)?.is_some_and(Version::is_modern) {
        let missing =
            format!("`params._meta` lacks `{PROTOCOL_VERSION}` and `{CLIENT_CAPABILITIES}`");
        return Err(Unclear::Failure(Failure::InvalidParams(missing)));
    }
    Ok(match hints.session {
        _ if method == "initialize" => Class::Opening,
        Some(session) => Class::InSession(session.into()),
        None => Class::Bare,
    })
}

/// Tells which session a notification belongs to; `None` when it belongs to none, so that it is dropped. There is
/// none that 2026-07-28 would have over HTTP.
pub(super) fn session_of(params: &Object, hints: &Hints<'_>) -> Result<Option<String>, Unclear> {
    let meta = params.get_object(META).unwrap_or_default();
    if meta.get(PROTOCOL_VERSION).is_some() {
        return claimed(&meta, hints)
            .map(|()| None)
            .map_err(Unclear::Failure);
    }
    let is_modern = named(hints)?.is_some_and(Version::is_modern);
    Ok(hints.session.filter(|_| !is_modern).map(str::to_owned))
}

/// Whether a message says of itself that it is of 2026-07-28 or later.
pub(super) fn is_claimed(params: &Object) -> bool {
    let meta = params.get_object(META).unwrap_or_default();
    meta.get(PROTOCOL_VERSION).is_some()
}

/// The version in the header.
pub(super) fn named(hints: &Hints<'_>) -> Result<Option<Version>, Unclear> {
    let version = |text: &str| {
        text.parse()
            .map_err(|()| Unclear::UnknownVersion(text.chars().take(40).collect()))
    };
    hints.version.map(version).transpose()
}

/// Tells which session a message without a method belongs to, if any: an answer to a question, or the end of the
/// session itself. A header must name a version that has sessions.
pub(super) fn session_alone(hints: &Hints<'_>) -> Result<Option<String>, Unclear> {
    match named(hints)? {
        Some(version) if version.is_modern() => {
            let why = format!("revision {version} has no sessions");
            Err(Unclear::Failure(Failure::NotAMessage(why)))
        }
        Some(_) | None => Ok(hints.session.map(str::to_owned)),
    }
}

/// Checks what every 2026-07-28 request has to carry.
fn modern(meta: &Object, hints: &Hints<'_>) -> Result<(), Failure> {
    claimed(meta, hints)?;
    match meta.get(CLIENT_CAPABILITIES) {
        Some(capabilities) if capabilities.get().starts_with('{') => Ok(()),
        _ => Err(Failure::InvalidParams(format!(
            "`params._meta` lacks `{CLIENT_CAPABILITIES}`"
        ))),
    }
}

/// Checks that the version a message claims is served, and what its header says.
fn claimed(meta: &Object, hints: &Hints<'_>) -> Result<(), Failure> {
    let version = meta.get_str(PROTOCOL_VERSION).unwrap_or_default();
    // A header that contradicts the body comes first: which of the two is unsupported would be a guess.
    if hints.version.is_some_and(|header| header != version) {
        return Err(Failure::HeaderMismatch(format!(
            "the MCP-Protocol-Version header differs from `{PROTOCOL_VERSION}` in the body"
        )));
    }
    if !MODERN.contains(&&*version) {
        return Err(Failure::UnsupportedVersion {
            requested: version.into_owned(),
            supported: MODERN.to_vec(),
        });
    }
    if hints.version.is_none() {
        return Err(Failure::HeaderMismatch(
            "the MCP-Protocol-Version header is missing".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIM: &str = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#;

    fn ask(method: &str, params: &str, version: Option<&str>, session: Option<&str>) -> String {
        let hints = Hints { version, session };
        match classify(method, &Object::parse(params).unwrap(), &hints) {
            Ok(class) => format!("{class:?}"),
            Err(Unclear::Failure(failure)) => failure.reason().into(),
            Err(Unclear::UnknownVersion(version)) => format!("unknown {version}"),
        }
    }

    #[test]
    fn the_body_decides_before_the_headers() {
        let modern = Some("2026-07-28");
        assert_eq!(ask("tools/list", CLAIM, modern, None), "Modern");
        assert_eq!(ask("tools/list", CLAIM, modern, Some("ignored")), "Modern");
        assert_eq!(ask("tools/list", CLAIM, None, None), "header_mismatch");
        assert_eq!(
            ask("tools/list", CLAIM, Some("2025-11-25"), None),
            "header_mismatch"
        );
        let other = CLAIM.replace("2026-07-28", "2099-01-01");
        assert_eq!(
            ask("tools/list", &other, Some("2099-01-01"), None),
            "unsupported_version"
        );
        assert_eq!(ask("tools/list", &other, modern, None), "header_mismatch");
        let without = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert_eq!(ask("tools/list", without, modern, None), "malformed");
    }

    #[test]
    fn without_a_claim_the_headers_tell_session_from_bare() {
        assert_eq!(ask("initialize", "{}", None, None), "Opening");
        assert_eq!(
            ask("initialize", "{}", Some("2025-06-18"), Some("old")),
            "Opening"
        );
        assert_eq!(
            ask("tools/list", "{}", Some("2025-06-18"), Some("s")),
            "InSession(\"s\")"
        );
        assert_eq!(ask("tools/list", "{}", None, None), "Bare");
        assert_eq!(ask("tools/list", "{}", Some("2024-11-05"), None), "Bare");
        assert_eq!(
            ask("tools/list", "{}", Some("2026-07-28"), None),
            "malformed"
        );
        assert_eq!(
            ask("tools/list", "{}", Some("tomorrow"), None),
            "unknown tomorrow"
        );
    }

    #[test]
    fn a_notification_belongs_to_its_session_or_to_nobody() {
        let of = |params: &str, version, session| {
            let hints = Hints { version, session };
            match session_of(&Object::parse(params).unwrap(), &hints) {
                Ok(session) => session.unwrap_or_else(|| "nobody".into()),
                Err(Unclear::Failure(failure)) => failure.reason().into(),
                Err(Unclear::UnknownVersion(version)) => format!("unknown {version}"),
            }
        };
        let modern = Some("2026-07-28");
        let s = Some("s");
        assert_eq!(of("{}", None, s), "s");
        assert_eq!(of("{}", Some("2025-06-18"), s), "s");
        assert_eq!(of("{}", None, None), "nobody");
        assert_eq!(of("{}", modern, s), "nobody");
        assert_eq!(of("{}", Some("tomorrow"), s), "unknown tomorrow");
        let claim = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert_eq!(of(claim, modern, s), "nobody");
        assert_eq!(of(claim, Some("2025-06-18"), s), "header_mismatch");
        let other = claim.replace("2026-07-28", "2031-01-01");
        assert_eq!(of(&other, Some("2031-01-01"), s), "unsupported_version");
    }
}
