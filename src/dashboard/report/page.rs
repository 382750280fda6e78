//! `/report` and `/report/2026-10`: the report of a month as a page.

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::audit::read;
use crate::audit::{Accessed, Deed};
use crate::dashboard::BASE;
use crate::dashboard::failure::{Failure, Message, html};
use crate::dashboard::frame::{Frame, Guest};
use crate::dashboard::visit::{Visit, reading};
use crate::types::Peer;

use super::{Month, gather};

/// Months that are offered beside the one that is shown.
const OFFERED: usize = 24;

#[derive(Debug, Template)]
#[template(path = "report.html", whitespace = "minimize")]
struct Page {
    frame: Frame,
    title: String,
    months: Vec<Offered>,
    body: String,
}

#[derive(Debug)]
struct Offered {
    href: String,
    text: String,
    is_here: bool,
}

/// `GET /report`: leads to the last month that is over, or to the one that is not when the log is younger.
pub(in crate::dashboard) async fn latest(visit: Visit) -> Result<Response, Failure> {
    let ends = reading(&visit, async |db| Ok(read::ends(db).await?)).await?;
    let present = Month::of(visit.now, &visit.zone);
    let first = ends.map_or(present, |(first, _)| Month::of(first, &visit.zone));
    let month = present.previous().max(first.min(present));
    Ok(Redirect::to(&address(month, &visit)).into_response())
}

/// `GET /report/{month}`.
pub(in crate::dashboard) async fn page(
    Path(month): Path<String>,
    peer: Option<Extension<Peer>>,
    visit: Visit,
) -> Result<Response, Failure> {
    let Ok(month) = month.parse::<Month>() else {
        return Err(Failure::Unknown("A report is of a month, such as 2026-10."));
    };
    if !record(month, peer, &visit).await {
        let message = Message::new(
            "The report cannot be shown",
            "That somebody opens a report is written down, and just now it cannot be. Try again in a minute.",
        );
        return Ok(message.answer(StatusCode::SERVICE_UNAVAILABLE));
    }
    let (report, ends) = reading(&visit, async |db| {
        let report = gather(db, &visit.permissions, (month, &visit.zone)).await?;
        Ok((report, read::ends(db).await?))
    })
    .await?;
    let (first, last) = ends.map_or((month, month), |(first, last)| {
        (Month::of(first, &visit.zone), Month::of(last, &visit.zone))
    });
    let newest_first = std::iter::successors(Some(last), |month| Some(month.previous()));
    let months = newest_first
        .take_while(|month| *month >= first)
        .take(OFFERED);
    let months = months.map(|offered| Offered {
        href: address(offered, &visit),
        text: offered.name(),
        is_here: offered == month,
    });
    let body = report.body().map_err(|error| {
        tracing::error!(%error, "a report cannot be written");
        Failure::Astray
    })?;
    Ok(html(&Page {
        frame: visit.frame("report"),
        title: report.title(),
        months: months.collect(),
        body,
    }))
}

fn address(month: Month, visit: &Visit) -> String {
    format!("{BASE}/report/{month}{}", visit.filter.any_call())
}

/// Writes down that a report was opened, as logins are. Says whether that is durable.
async fn record(month: Month, peer: Option<Extension<Peer>>, visit: &Visit) -> bool {
    let accessed = Accessed {
        viewer: match &visit.guest {
            Guest::Viewer(name, _) => Some(name.clone()),
            Guest::Anybody => None,
        },
        path: Some(format!("{BASE}/report/{month}")),
        address: peer.map(|Extension(peer)| peer.0),
        ..Accessed::new(Deed::Report)
    };
    visit.dashboard.record(accessed).await
}
