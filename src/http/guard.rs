//! Host and Origin, checked on every path before anything else (MCP transports, "DNS rebinding").

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::gateway::Door;

use super::cors;

/// Which hosts this gateway goes by, and which pages may use it.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Beside `localhost` and addresses in figures, which no foreign name can stand for, these hosts are
    /// accepted; `*` accepts any. Beside pages of the gateway's own address, these origins are.
    pub fn new(hosts: Vec<String>, origins: Vec<String>) -> Self {
        Self { hosts, origins }
    }

    fn check(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<(), Door> {
        let host = single(headers, header::HOST)
            .or(authority)
            .unwrap_or_default();
        let hosts = [Some(host), authority];
        if let Some(foreign) = hosts
            .into_iter()
            .flatten()
            .find(|host| !self.knows_host(name_of(host)))
        {
            return Err(Door::ForeignHost(
                name_of(foreign).chars().take(100).collect(),
            ));
        }
        match headers.get(header::ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let origin = origin.to_str().unwrap_or("null");
                let own = origin
                    .split_once("://")
                    .is_some_and(|(_, authority)| authority == host);
                if own || self.origins.iter().any(|known| known == origin) {
                    Ok(())
                } else {
                    Err(Door::ForeignOrigin(origin.chars().take(100).collect()))
                }
            }
        }
    }

    /// The page of another origin that sends a request, if it may. The gateway's own need no permission.
    fn foreign_page(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let is_listed = self.origins.iter().any(|known| *origin == **known);
        is_listed.then(|| origin.clone())
    }

    fn knows_host(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|known| known == "*" || known.eq_ignore_ascii_case(name))
    }
}

/// Refuses requests that a foreign name or page brought here. Pages that may use the addresses of agents get to
/// read the answers.
pub async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let authority = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_string());
    if let Err(door) = guard.check(request.headers(), authority.as_deref()) {
        return super::refuse_unread(&door, request.headers());
    }
    let page = guard.foreign_page(request.headers());
    let Some(page) = page.filter(|_| cors::is_for_agents(request.uri().path())) else {
        return next.run(request).await;
    };
    let mut response = if cors::is_preflight(&request) {
        cors::preflight(request.headers())
    } else {
        next.run(request).await
    };
    cors::open_to(&mut response, page);
    response
}

fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    // Two Host headers are two stories; neither is believed.
    if values.next().is_some() {
        Some("")
    } else {
        first.to_str().ok()
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    if host.starts_with('[') {
        return host
            .find(']')
            .and_then(|end| host.get(..=end))
            .unwrap_or(host);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_and_pages_are_refused() {
        let guard = Guard::new(
            vec!["hayward".into()],
            vec!["https://tools.example.com".into()],
        );
        let table = [
            ("127.0.0.1:3100", None, true),
            ("localhost:3100", None, true),
            ("[::1]:3100", None, true),
            ("HAYWARD:3100", None, true),
            ("evil.example.com", None, false),
            ("localhost.evil.example.com", None, false),
            ("127.0.0.1.evil.example.com", None, false),
            ("", None, false),
            ("127.0.0.1:3100", Some("http://127.0.0.1:3100"), true),
            ("127.0.0.1:3100", Some("http://127.0.0.1:9999"), false),
            ("127.0.0.1:3100", Some("null"), false),
            ("127.0.0.1:3100", Some("https://tools.example.com"), true),
        ];
        for (host, origin, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(
                guard.check(&headers, None).is_ok(),
                expected,
                "{host} {origin:?}"
            );
        }
    }

    #[test]
    fn two_host_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(Guard::default().check(&headers, None).is_err());
    }
}
