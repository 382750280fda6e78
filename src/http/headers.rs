//! The headers of MCP: reading them, and the rule that they say what the body says (2026-07-28, transport).

use axum::http::HeaderMap;

use crate::gateway::Failure;
use crate::protocol::{MAX_PARAM_HEADERS, Method, Object, PARAM_PREFIX, from_header};

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

/// Checks that `Mcp-Method` and `Mcp-Name` say what the body says, the truth, and that no header stands twice.
pub(super) fn check_equality(
    headers: &HeaderMap,
    method: &str,
    params: &Object,
) -> Result<(), Failure> {
    let mismatch =
        |name: &str| Failure::HeaderMismatch(format!("the {name} header differs from the body"));
    let missing = |name: &str| Failure::HeaderMismatch(format!("the {name} header is missing"));
    param_headers(headers)?;
    let named = single(headers, "mcp-method")?.ok_or_else(|| missing("Mcp-Method"))?;
    if named != method {
        return Err(mismatch("Mcp-Method"));
    }
    let Some(key) = Method::named(method).and_then(Method::name_key) else {
        return Ok(());
    };
    let name = single(headers, "mcp-name")?.ok_or_else(|| missing("Mcp-Name"))?;
    let name = from_header(name).ok_or_else(|| mismatch("Mcp-Name"))?;
    if params.get_str(key).as_deref() == Some(name.as_str()) {
        Ok(())
    } else {
        Err(mismatch("Mcp-Name"))
    }
}

/// The `Mcp-Param-*` headers, by full name in lower case. Whether they say what the body says depends on the tool.
pub(super) fn param_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, Failure> {
    let names = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PARAM_PREFIX));
    let mut params = Vec::new();
    for name in names {
        if params.len() >= MAX_PARAM_HEADERS {
            let why = format!("there are more than {MAX_PARAM_HEADERS} Mcp-Param headers");
            return Err(Failure::HeaderMismatch(why));
        }
        if let Some(value) = single(headers, name.as_str())? {
            params.push((name.to_string(), value.to_string()));
        }
    }
    Ok(params)
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
    fn a_request_has_only_so_many_param_headers() {
        let mut headers = HeaderMap::new();
        for number in 0..MAX_PARAM_HEADERS {
            let name = format!("Mcp-Param-X{number}").to_lowercase();
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.insert(name, " 1 ".parse().unwrap());
        }
        let params = param_headers(&headers).unwrap();
        assert_eq!(params.len(), MAX_PARAM_HEADERS);
        assert!(params.contains(&("mcp-param-x7".into(), "1".into())));
        headers.insert("mcp-param-more", "1".parse().unwrap());
        assert!(param_headers(&headers).is_err());
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
        let param = ("mcp-param-x", "1");
        let both = [("mcp-method", "tools/call"), ("mcp-name", name)];
        assert!(check(&[both[0], both[1], param]));
        assert!(!check(&[both[0], both[1], param, param]));
    }
}
