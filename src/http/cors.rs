//! Pages of other origins that may use the gateway: what their browsers ask before, and need to be told (Fetch,
//! section 3.2, "CORS protocol"). Pure. Only for the addresses of agents; the pages for people are nobody else's.

use axum::body::Body;
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");

/// What a client of MCP sends (2026-07-28, transports).
const HEADERS: &str = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, \
    Mcp-Name, Last-Event-ID, X-Session-ID, Idempotency-Key";

/// What a client of MCP has to read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Mcp-Session-Id, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy",
);

/// Headers that repeat arguments have names of their own; so many are allowed to one request.
const MAX_PARAMS: usize = 32;

/// How long a browser may remember the answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Whether an address is for agents.
pub(super) fn is_for_agents(path: &str) -> bool {
    let first = path.split('/').nth(1).unwrap_or_default();
    matches!(first, "mcp" | "sse" | "messages")
}

/// Whether a browser asks if it may send a request. It comes without a token.
pub(super) fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to such a question from a page that may.
pub(super) fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    if let Ok(allowed) = HeaderValue::from_str(&allowed_headers(asked)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    response
}

/// Lets a page read an answer. No credentials of its browser are ever let in.
pub(super) fn open_to(response: &mut Response<Body>, origin: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

fn allowed_headers(asked: &HeaderMap) -> String {
    let asked = asked
        .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let params = asked.filter(|name| name.as_str().starts_with("mcp-param-"));
    params
        .take(MAX_PARAMS)
        .fold(HEADERS.to_owned(), |all, name| format!("{all}, {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_repeat_arguments_are_allowed_by_name_and_no_others() {
        let mut asked = HeaderMap::new();
        let name = header::ACCESS_CONTROL_REQUEST_HEADERS;
        asked.append(&name, "authorization, mcp-param-city".parse().unwrap());
        asked.append(&name, "cookie, Mcp-Param-Size,, x".parse().unwrap());
        let allowed = allowed_headers(&asked);
        let added = allowed.strip_prefix(HEADERS);
        assert_eq!(added, Some(", mcp-param-city, mcp-param-size"));
    }

    #[test]
    fn only_addresses_of_agents_are_opened() {
        for path in ["/mcp", "/mcp/", "/mcp/images", "/sse", "/messages"] {
            assert!(is_for_agents(path), "{path}");
        }
        for path in ["/", "/audit", "/health", "/mcpx", "//mcp", "/audit/mcp"] {
            assert!(!is_for_agents(path), "{path}");
        }
    }
}
