//! The headers of MCP: reading them, and the rule that they say what the body says (2026-07-28, transport).

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::gateway::Failure;
use crate::protocol::{Method, Object};

/// Headers that repeat tool arguments start so.
const PARAM_PREFIX: &str = "mcp-param-";

/// Such headers in one request.
const MAX_PARAM_HEADERS: usize = 32;

/// The value of a header that stands once; `Err` when it stands twice or is no visible text.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Failure::HeaderMismatch(format!(
            "the {name} header stands twice"
        )));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(Failure::HeaderMismatch(format!(
            "the {name} header is not readable text"
        ))),
    }
}

/// Checks that `Mcp-Method` and `Mcp-Name` say what the body says; the body is the truth.
pub(super) fn check_equality(
    headers: &HeaderMap,
    method: &str,
    params: &Object,
) -> Result<(), Failure> {
    let mismatch =
        |name: &str| Failure::HeaderMismatch(format!("the {name} header differs from the body"));
    let missing = |name: &str| Failure::HeaderMismatch(format!("the {name} header is missing"));
    let named = single(headers, "mcp-method")?.ok_or_else(|| missing("Mcp-Method"))?;
    if named != method {
        return Err(mismatch("Mcp-Method"));
    }
    let Some(key) = Method::named(method).and_then(Method::name_key) else {
        return Ok(());
    };
    let name = single(headers, "mcp-name")?.ok_or_else(|| missing("Mcp-Name"))?;
    let name = decode(name).ok_or_else(|| mismatch("Mcp-Name"))?;
    if params.get_str(key).as_deref() == Some(name.as_str()) {
        Ok(())
    } else {
        Err(mismatch("Mcp-Name"))
    }
}

/// The `Mcp-Param-*` headers, by full name.
pub(super) fn param_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let params = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(PARAM_PREFIX));
    let params = params
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_string())));
    params.take(MAX_PARAM_HEADERS).collect()
}

/// A value as it is meant: `=?base64?…?=` stands for the bytes in it, anything else for itself.
fn decode(value: &str) -> Option<String> {
    match value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
    {
        None => Some(value.into()),
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let params = Object::parse(r#"{"name":"grüßen"}"#).unwrap();
        check_equality(&headers, "tools/call", &params).is_ok()
    }

    #[test]
    fn headers_say_what_the_body_says_or_the_request_is_refused() {
        let name = "=?base64?Z3LDvMOfZW4=?=";
        assert!(check(&[("mcp-method", " tools/call "), ("mcp-name", name)]));
        assert!(!check(&[("mcp-method", "tools/call")]));
        assert!(!check(&[("mcp-method", "TOOLS/CALL"), ("mcp-name", name)]));
        assert!(!check(&[
            ("mcp-method", "tools/call"),
            ("mcp-name", "other")
        ]));
        assert!(!check(&[
            ("mcp-method", "tools/call"),
            ("mcp-name", "=?base64?Z3LDvMOfZW4?=")
        ]));
        assert!(!check(&[
            ("mcp-method", "tools/call"),
            ("mcp-method", "tools/call"),
            ("mcp-name", name)
        ]));
    }
}
