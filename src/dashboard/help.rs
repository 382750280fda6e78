//! What words, codes, filters and keys mean.

use askama::Template;
use axum::response::Response;

use crate::audit::filter::Key;

use super::BASE;
use super::failure::{Failure, html};
use super::filters::decisions;
use super::frame::Frame;
use super::reasons::{About, REASONS};
use super::visit::Visit;

/// `GET /help`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let groups = About::ALL.into_iter().map(|about| {
        let reasons = REASONS.iter().filter(|(_, its, _)| *its == about);
        Group {
            title: about.title(),
            reasons: reasons
                .map(|(code, _, words)| (*code, *words, calls_because(&visit, code)))
                .collect(),
        }
    });
    Ok(html(&Help {
        frame: visit.frame("help"),
        decisions: decisions()
            .map(|(word, told)| (word, told, means(word)))
            .collect(),
        reasons: REASONS.len(),
        groups: groups.collect(),
        keys: KEYS,
    }))
}

#[derive(Debug, Template)]
#[template(path = "help.html", whitespace = "minimize")]
struct Help {
    frame: Frame,
    /// The word of an address, what pages call it, what it means.
    decisions: Vec<(&'static str, &'static str, &'static str)>,
    reasons: usize,
    groups: Vec<Group>,
    keys: &'static [(&'static str, &'static str)],
}

#[derive(Debug)]
struct Group {
    title: &'static str,
    /// The code, what it means, the calls that were refused with it.
    reasons: Vec<(&'static str, &'static str, String)>,
}

fn calls_because(visit: &Visit, code: &str) -> String {
    let refused = visit.filter.time_only().with(Key::Reason, code);
    format!("{BASE}/calls{refused}")
}

/// The keys of `templates/script.js`, and what they do.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("/", "go to the filter"),
    ("j", "to the next row"),
    ("k", "to the row before"),
    ("Enter", "open what the row is about"),
    ("[", "a shorter time"),
    ("]", "a longer time"),
    ("t", "start or stop the live tail"),
    ("p", "pin the time: write it into the address"),
    (
        "g",
        "and then a letter: go to a page; the letters are those of the navigation",
    ),
    ("?", "this page"),
];

fn means(decision: &str) -> &'static str {
    match decision {
        "allowed" => "let through, whatever became of it",
        "denied" => "not let through; nothing was forwarded",
        "open" => "let through, and not over",
        "ok" => "the server answered, and not with an error",
        "error" => "the server answered with an error; the call costs what it held",
        "failed" => "nobody knows what the server did; the call costs what it held",
        "released" => "not one byte reached the server; the call costs nothing",
        _ => "the gateway stopped in the middle of it; the call costs what it held",
    }
}
