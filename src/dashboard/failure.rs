//! Pages that cannot be shown, and the small pages that say one thing.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use crate::db::DbError;

use super::BASE;
use super::headers::STYLE_NAME;

/// A page that says one thing.
#[derive(Debug, Template)]
#[template(path = "message.html", whitespace = "minimize")]
pub(super) struct Message {
    style: &'static str,
    title: &'static str,
    text: &'static str,
    next: &'static str,
    next_text: &'static str,
}

impl Message {
    pub(super) fn new(title: &'static str, text: &'static str) -> Self {
        Self {
            style: &STYLE_NAME,
            title,
            text,
            next: BASE,
            next_text: "To the overview",
        }
    }

    pub(super) fn then(self, next: &'static str, next_text: &'static str) -> Self {
        Self {
            next,
            next_text,
            ..self
        }
    }

    pub(super) fn answer(self, status: StatusCode) -> Response {
        (status, html(&self)).into_response()
    }
}

/// A page as an answer.
pub(super) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page of the dashboard cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Why a page cannot be shown.
#[derive(Debug)]
pub(super) enum Failure {
    /// It took longer than a page may.
    TooSlow,
    /// Too many people read at once.
    Busy,
    /// The database said no.
    Database(DbError),
    /// There is nothing at this address.
    Astray,
    /// The log, or the rules in force, know nothing of this name.
    Unknown(&'static str),
    /// Who looks may not see what was said in calls.
    Hidden,
    /// Who looks may see the calls of some agents only, and this is about others as well.
    NotTheirs,
    /// It cannot be written down that somebody looks.
    Unrecorded,
    /// As many lists are being taken away as may be at once.
    Crowded,
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::TooSlow => Message::new(
                "That took too long",
                "The search was stopped after two seconds. What it has read by then is in memory now, so loading the page again \
                 may be enough; otherwise choose a shorter time, or fewer filters. Calls through the gateway are not affected.",
            )
            .answer(StatusCode::SERVICE_UNAVAILABLE),
            Self::NotTheirs => Message::new(
                "Not for this viewer",
                "This viewer sees the calls of some agents only, as `agents` in permissions.yaml says, and this page is about \
                 others as well.",
            )
            .then("/audit/calls", "To the calls")
            .answer(StatusCode::FORBIDDEN),
            Self::Busy => Message::new(
                "Many people are reading",
                "Pages take turns, so that calls through the gateway are not held up, and it did not come to this one within \
                 five seconds. Load it again.",
            )
            .answer(StatusCode::SERVICE_UNAVAILABLE),
            Self::Astray => Message::new("No such page", "There is nothing at this address.")
                .answer(StatusCode::NOT_FOUND),
            Self::Unknown(text) => {
                Message::new("Nothing of this name", text).answer(StatusCode::NOT_FOUND)
            }
            Self::Hidden => Message::new(
                "Not for this viewer",
                "What was said in calls may be seen only by viewers whose `see` in permissions.yaml names arguments or \
                 results.",
            )
            .answer(StatusCode::FORBIDDEN),
            Self::Unrecorded => Message::new(
                "Not now",
                "Opening this is written down in the log, and the log cannot be written at the moment. Nothing is shown \
                 without that.",
            )
            .answer(StatusCode::SERVICE_UNAVAILABLE),
            Self::Crowded => Message::new(
                "Too many at once",
                "Four lists are being sent already. Try again when one of them is done; `hayward audit export` has no such \
                 limit.",
            )
            .answer(StatusCode::SERVICE_UNAVAILABLE),
            Self::Database(error) => {
                tracing::error!(%error, "the dashboard cannot read the database");
                Message::new(
                    "The log cannot be read",
                    "The gateway's own log says why. While the database cannot be written either, no call \
                     is let through.",
                )
                .answer(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }
}

/// Every other address.
pub(super) async fn elsewhere() -> Response {
    Failure::Astray.into_response()
}
