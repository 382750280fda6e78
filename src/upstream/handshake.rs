//! The two ways a connection opens: `initialize`, and `server/discover`. Pure.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::{
    Json, LATEST_LEGACY, LogLevel, META, Method, Object, RequestId, SERVER_INFO, Version,
    array_items, code, json_string, raw, request,
};

use super::asking::Declared;
use super::audience::{Audience, Hearers};
use super::codec::{Outcome, client_info, declare, error_code, printable};
use super::{Description, Era, UpstreamError};

/// The parameters of `initialize`.
pub(super) fn initialize_params(declared: Option<&Declared>) -> Object {
    let (capabilities, info) = match declared {
        Some(declared) => (
            declared.capabilities.to_json(),
            declared.client_info.clone(),
        ),
        None => (raw("{}".into()), client_info()),
    };
    let mut params = Object::default();
    params.set("protocolVersion", raw(json_string(LATEST_LEGACY.as_str())));
    params.set("capabilities", capabilities);
    params.set("clientInfo", info);
    params
}

/// What a connection opens with.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) id: u64,
    pub(super) declared: Option<Arc<Declared>>,
    /// Who hears what the server says outside of calls.
    pub(super) audience: Arc<Audience>,
}

impl Opener {
    pub(super) fn hearers(&self) -> Hearers {
        Hearers {
            audience: self.audience.clone(),
            declared: self.declared.clone(),
        }
    }

    /// The request that opens it.
    pub(super) fn initialize(&self) -> Bytes {
        let params = initialize_params(self.declared.as_deref());
        let id = RequestId::number(self.id);
        request(&id, Method::Initialize.as_str(), Some(&params)).into()
    }
}

/// Whether a server announced that it logs.
pub(super) fn logs(description: &Description) -> bool {
    description.capabilities.get("logging").is_some()
}

/// The parameters of `logging/setLevel`.
pub(super) fn level_params(level: LogLevel) -> Object {
    let mut params = Object::default();
    params.set("level", raw(json_string(level.as_str())));
    params
}

/// The parameters of `server/discover`.
pub(super) fn discover_params() -> Object {
    let mut meta = Object::default();
    declare(&mut meta, None, &Object::default(), None);
    let mut params = Object::default();
    params.set(META, meta.to_json());
    params
}

/// Reads the answer to `initialize`.
///
/// # Errors
/// `Refused` when the server declines, or wants a version we do not speak.
pub(super) fn read_initialize(outcome: Outcome) -> Result<(Version, Description), UpstreamError> {
    let result = outcome.map_err(|error| {
        let code = error_code(&error).map_or("no code".into(), |code| code.to_string());
        UpstreamError::Refused(format!("it answers `initialize` with error {code}"))
    })?;
    let result = Object::parse(result.get())
        .map_err(|_| UpstreamError::Refused("its answer to `initialize` is no object".into()))?;
    let asked = result.get_str("protocolVersion").unwrap_or_default();
    let version = asked
        .parse::<Version>()
        .ok()
        .filter(|version| !version.is_modern())
        .ok_or_else(|| {
            let asked = printable(&asked, 32);
            UpstreamError::Refused(format!("it wants protocol version `{asked}`"))
        })?;
    let server_info = result.get("serverInfo").map(ToOwned::to_owned);
    Ok((version, describe(&result, version, server_info)))
}

/// What the answer to `server/discover` says about the era of a server.
#[derive(Debug)]
pub(super) enum Probed {
    /// It speaks our modern version.
    Modern(Description),
    /// It opens with `initialize`, or at least does not know `server/discover`.
    Legacy,
    /// It speaks only versions that we do not.
    Unknown(String),
}

/// Judges an answer to `server/discover` (MCP 2026-07-28, versioning; the fallback is for every other error).
pub(super) fn judge(outcome: &Outcome) -> Probed {
    match outcome {
        Ok(result) => judge_result(result),
        Err(error) if error_code(error) == Some(code::UNSUPPORTED_VERSION) => {
            let supported = Object::parse(error.get())
                .ok()
                .and_then(|error| error.get_object("data"))
                .map(|data| versions(&data, "supported"))
                .unwrap_or_default();
            judge_versions(&supported).unwrap_or(Probed::Legacy)
        }
        Err(_) => Probed::Legacy,
    }
}

fn judge_result(result: &Json) -> Probed {
    let Ok(result) = Object::parse(result.get()) else {
        return Probed::Legacy;
    };
    let supported = versions(&result, "supportedVersions");
    if supported.iter().any(|version| is_spoken(version)) {
        let server_info = result
            .get_object(META)
            .and_then(|meta| meta.get(SERVER_INFO).map(ToOwned::to_owned));
        return Probed::Modern(describe(&result, Version::V2026_07_28, server_info));
    }
    judge_versions(&supported).unwrap_or(Probed::Legacy)
}

/// `None` when there is nothing to judge by.
fn judge_versions(supported: &[String]) -> Option<Probed> {
    let is_legacy = |text: &String| text.parse::<Version>().is_ok_and(|v| !v.is_modern());
    if supported.is_empty() || supported.iter().any(is_legacy) {
        return None;
    }
    Some(Probed::Unknown(printable(&supported.join(", "), 80)))
}

fn is_spoken(version: &str) -> bool {
    version.parse::<Version>().is_ok_and(Version::is_modern)
}

fn versions(object: &Object, key: &str) -> Vec<String> {
    let items = object
        .get(key)
        .and_then(|list| array_items(list.get()))
        .unwrap_or_default();
    items
        .into_iter()
        .filter_map(|item| serde_json::from_str(item.get()).ok())
        .collect()
}

fn describe(result: &Object, version: Version, server_info: Option<Json>) -> Description {
    Description {
        era: if version.is_modern() {
            Era::Modern
        } else {
            Era::Legacy
        },
        version,
        capabilities: result.get_object("capabilities").unwrap_or_default(),
        server_info,
        instructions: result.get_str("instructions").map(Into::into),
    }
}

/// The failure of an opening. Whatever it was, the request of the call was not sent.
pub(super) fn as_opening(error: UpstreamError, what: &str) -> UpstreamError {
    match error {
        UpstreamError::Rejected(status @ (401 | 403)) => {
            UpstreamError::Refused(format!("our credentials are not accepted (HTTP {status})"))
        }
        UpstreamError::Rejected(status @ (408 | 429 | 500..)) => {
            UpstreamError::Unreachable(format!("it answers {what} with HTTP {status}"))
        }
        UpstreamError::Rejected(status) => {
            UpstreamError::Refused(format!("it answers {what} with HTTP {status}"))
        }
        UpstreamError::TimedOut => UpstreamError::Unreachable(format!("no answer to {what}")),
        UpstreamError::Broken(why) => UpstreamError::Unreachable(format!("{what}: {why}")),
        UpstreamError::TooLarge(limit) => {
            UpstreamError::Unreachable(format!("{what}: the answer is larger than {limit} bytes"))
        }
        kept @ (UpstreamError::Unreachable(_) | UpstreamError::Refused(_)) => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Result<&str, &str>) -> String {
        let outcome = match outcome {
            Ok(result) => Ok(raw(result.into())),
            Err(error) => Err(raw(error.into())),
        };
        match judge(&outcome) {
            Probed::Modern(_) => "modern".into(),
            Probed::Legacy => "legacy".into(),
            Probed::Unknown(versions) => versions,
        }
    }

    #[test]
    fn the_era_is_judged_by_what_the_server_says_it_speaks() {
        assert_eq!(
            verdict(Ok(r#"{"supportedVersions":["2026-07-28"]}"#)),
            "modern"
        );
        assert_eq!(
            verdict(Ok(r#"{"supportedVersions":["2025-11-25"]}"#)),
            "legacy"
        );
        assert_eq!(
            verdict(Ok(r#"{"supportedVersions":["2031-01-01"]}"#)),
            "2031-01-01"
        );
        assert_eq!(verdict(Ok(r#"{"content":[]}"#)), "legacy");
        assert_eq!(verdict(Ok("7")), "legacy");
        assert_eq!(verdict(Err(r#"{"code":-32601,"message":"?"}"#)), "legacy");
        assert_eq!(
            verdict(Err(
                r#"{"code":-32022,"data":{"supported":["2025-11-25","2031-01-01"]}}"#
            )),
            "legacy"
        );
        assert_eq!(
            verdict(Err(
                r#"{"code":-32022,"data":{"supported":["2031-01-01"]}}"#
            )),
            "2031-01-01"
        );
    }

    #[test]
    fn initialize_is_read_or_refused_without_repeating_the_servers_words() {
        let (version, description) = read_initialize(Ok(raw(
            r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{}},"serverInfo":{"name":"x"},"instructions":"hi"}"#.into(),
        )))
        .unwrap();
        assert_eq!(version, Version::V2025_03_26);
        assert!(description.capabilities.get("tools").is_some());
        assert_eq!(description.instructions.as_deref(), Some("hi"));
        let refusal = |outcome| read_initialize(outcome).unwrap_err().to_string();
        assert_eq!(
            refusal(Ok(raw(r#"{"protocolVersion":"1999-01-01"}"#.into()))),
            "server refused the connection: it wants protocol version `1999-01-01`"
        );
        let error = refusal(Err(raw(
            r#"{"code":-32600,"message":"token abc is bad"}"#.into()
        )));
        assert_eq!(
            error,
            "server refused the connection: it answers `initialize` with error -32600"
        );
    }

    #[test]
    fn a_failed_opening_never_counts_as_sent() {
        for error in [
            UpstreamError::Rejected(401),
            UpstreamError::Rejected(404),
            UpstreamError::TimedOut,
            UpstreamError::Broken("x".into()),
            UpstreamError::TooLarge(1),
        ] {
            assert!(as_opening(error, "`initialize`").nothing_sent());
        }
    }
}
