//! How do I wire my client? One section for each, with the address of this gateway in it and never a token.

use askama::Template;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;

use crate::audit::filter::Key;

use super::attribute::Attribute;
use super::failure::{Failure, html};
use super::filters;
use super::frame::Frame;
use super::visit::Visit;

mod clients;

use clients::{Client, Place};

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where the gateway is when a request does not say under which name it came.
const NOWHERE: &str = "127.0.0.1:3100";

/// `GET /connect`.
pub(super) async fn page(headers: HeaderMap, visit: Visit) -> Result<Response, Failure> {
    let servers: Vec<String> = visit
        .permissions
        .servers()
        .keys()
        .map(ToString::to_string)
        .collect();
    let mut picks = visit.filter.picks.iter();
    let asked = picks.find(|pick| pick.key == Key::Server && !pick.not);
    let chosen = asked.and_then(|pick| servers.iter().find(|name| **name == pick.value));
    let mut rest = visit.filter.clone();
    rest.picks.retain(|pick| pick.key != Key::Server);
    let place = Place::new(&base(&headers), chosen.map(String::as_str));
    Ok(html(&Connect {
        frame: visit.frame("connect"),
        url: place.url.clone(),
        is_plain: place.is_plain,
        chosen: chosen.cloned().unwrap_or_default(),
        unknown: asked.is_some() && chosen.is_none(),
        servers,
        hidden: filters::kept(&rest),
        clients: clients::all(&place),
    }))
}

#[derive(Debug, Template)]
#[template(path = "connect.html", whitespace = "minimize")]
struct Connect {
    frame: Frame,
    url: String,
    /// Whether tokens travel unencrypted to another machine.
    is_plain: bool,
    chosen: String,
    /// Whether a server was asked for that the rules do not name.
    unknown: bool,
    servers: Vec<String>,
    hidden: Vec<(String, Attribute)>,
    clients: Vec<Client>,
}

/// The address of this gateway as the request came to it: `https://gate.example`. The listener has checked the host;
/// whether the browser speaks https, it says in `Origin`, or the proxy before us in its header.
fn base(headers: &HeaderMap) -> String {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let host = text(&header::HOST);
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(is_plain));
    let origin = text(&header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let from_proxy = text(&FORWARDED_PROTO).and_then(|all| all.split(',').next());
    let is_secure = origin.is_some_and(|(scheme, _)| scheme == "https")
        || from_proxy.is_some_and(|scheme| scheme.trim() == "https");
    let scheme = if is_secure { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or(NOWHERE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_the_request_came_to() {
        let table: [(&[(HeaderName, &str)], &str); 6] = [
            (&[], "http://127.0.0.1:3100"),
            (&[(header::HOST, "localhost:3100")], "http://localhost:3100"),
            (&[(header::HOST, "[::1]:3100")], "http://[::1]:3100"),
            (&[(header::HOST, "a\"; rm -rf /")], "http://127.0.0.1:3100"),
            (
                &[
                    (header::HOST, "gate.example"),
                    (header::ORIGIN, "https://gate.example"),
                ],
                "https://gate.example",
            ),
            (
                &[
                    (header::HOST, "gate.example"),
                    (FORWARDED_PROTO, "https, http"),
                ],
                "https://gate.example",
            ),
        ];
        for (pairs, expected) in table {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()));
            assert_eq!(base(&pairs.collect()), expected);
        }
    }
}
