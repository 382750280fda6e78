//! How somebody wants the pages: colours and keys, kept in cookies of their own browser. Changes nothing else.

use axum::extract::RawQuery;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::BASE;
use super::filter::decode;
use super::frame::{COLOURS_COOKIE, KEYS_COOKIE};
use super::login::ours;

/// Seconds in a year.
const YEAR: u32 = 31_536_000;

/// `GET /look?colours=dark&back=/audit/calls`.
pub(super) async fn choose(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut back = BASE.to_owned();
    let mut cookies = Vec::new();
    for (key, value) in pairs {
        match (key, value) {
            ("back", value) => back = ours(&decode(value)).to_owned(),
            ("colours", "light" | "dark") => cookies.push((COLOURS_COOKIE, value, YEAR)),
            ("colours", "auto") => cookies.push((COLOURS_COOKIE, "", 0)),
            ("keys", "off") => cookies.push((KEYS_COOKIE, value, YEAR)),
            ("keys", "on") => cookies.push((KEYS_COOKIE, "", 0)),
            _ => {}
        }
    }
    let mut response = Redirect::to(&back).into_response();
    for (name, value, lasts) in cookies {
        let cookie =
            format!("{name}={value}; Max-Age={lasts}; Path={BASE}; HttpOnly; SameSite=Lax");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}
