//! What every answer carries, the one style sheet and the one script.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// What browsers get: without comments and spaces that mean nothing.
pub(super) static STYLE: LazyLock<String> =
    LazyLock::new(|| squeezed(include_str!("../../templates/style.css")));

const SCRIPT: &str = include_str!("../../templates/script.js");

const ICON: &str = include_str!("../../templates/icon.svg");

/// The name of the style sheet; it changes with its content, so browsers may keep it for ever.
pub(super) static STYLE_NAME: LazyLock<String> =
    LazyLock::new(|| format!("style.{}.css", short_digest(&STYLE)));

/// The name of the script, in the same way.
pub(super) static SCRIPT_NAME: LazyLock<String> =
    LazyLock::new(|| format!("script.{}.js", short_digest(SCRIPT)));

/// A style sheet of ours without comments, line breaks and spaces beside punctuation. A space after a colon stands only
/// in declarations.
fn squeezed(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let lines: Vec<_> = plain.lines().map(str::trim).collect();
    let mut squeezed = lines.join("");
    for (loose, tight) in [
        (" {", "{"),
        ("{ ", "{"),
        (" }", "}"),
        ("} ", "}"),
        ("; ", ";"),
        (";}", "}"),
        (": ", ":"),
        (", ", ","),
    ] {
        squeezed = squeezed.replace(loose, tight);
    }
    squeezed
}

fn short_digest(text: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(text));
    format!("{a:02x}{b:02x}{c:02x}{d:02x}")
}

const FIXED: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Adds the headers that every answer carries, whatever made it.
pub(super) async fn add(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The style sheet. It holds nothing of the log, so it may be kept.
pub(super) async fn style() -> Response {
    kept_for_ever("text/css; charset=utf-8", &STYLE)
}

/// The script.
pub(super) async fn script() -> Response {
    kept_for_ever("text/javascript; charset=utf-8", SCRIPT)
}

fn kept_for_ever(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}

/// The mark in the browser's tab.
pub(super) async fn icon() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, "public, max-age=86400"),
    ];
    (headers, ICON).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_sheet_keeps_every_space_that_means_something() {
        let text = "/* why */\na:hover > b { margin: 0 1rem; color: red; }\n@media (max-width: 3rem) {\n  .a .b { width: calc(1px + 2px) }\n}\n";
        assert_eq!(
            squeezed(text),
            "a:hover > b{margin:0 1rem;color:red}@media (max-width:3rem){.a .b{width:calc(1px + 2px)}}"
        );
        assert_eq!(STYLE.matches('{').count(), STYLE.matches('}').count());
        assert!(STYLE.len() < 20_000, "{} bytes", STYLE.len());
        assert!(SCRIPT.len() < 6_000, "{} bytes", SCRIPT.len());
    }
}
