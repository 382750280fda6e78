//! Calls as they end, for whoever keeps the list open: server-sent events of rows that stand in the database.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::audit::filter::Filter;
use crate::audit::read::{self, CallRow, ended_since};

use super::call_row::{Columns, Row};
use super::failure::Failure;
use super::visit::Visit;

/// People who may watch at once; everybody else is told so.
pub(super) const WATCHERS: usize = 32;

/// Rows that are told in one second; of the rest only their number is.
const ROWS_A_SECOND: usize = 20;

/// Pieces of the log, of 500 events each, that are looked through for one watcher in one second.
const LOOKS: usize = 10;

/// How often rows are told at most.
const PACE: Duration = Duration::from_secs(1);

/// After so long without a word a line that means nothing keeps the connection.
const QUIET: Duration = Duration::from_secs(15);

/// How long one stream lasts; browsers come back by themselves with the last number they saw.
const LASTS: Duration = Duration::from_secs(3_600);

/// Events that are looked back at when a browser comes back, at most; who was away for longer reads the list.
const AWAY: i64 = 5_000;

/// `GET /calls/tail`.
pub(super) async fn tail(visit: Visit, headers: HeaderMap) -> Result<Response, Failure> {
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    let Some(news) = visit.dashboard.news() else {
        return Err(Failure::Astray);
    };
    let Ok(place) = Arc::clone(&visit.dashboard.watchers).try_acquire_owned() else {
        // As an event, because a browser tells no script what else an answer says.
        return Ok((kind, "event: full\ndata: 32\n\n").into_response());
    };
    let newest = *news.borrow();
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| id.to_str().ok()?.parse::<i64>().ok());
    let from = last.map_or(newest, |last| {
        last.clamp(newest.saturating_sub(AWAY).max(0), newest)
    });
    let (sender, receiver) = mpsc::channel(4);
    let filter = Filter {
        call: None,
        ..visit.filter.at(read::Cursor::Newest)
    };
    let watcher = Watcher {
        columns: Columns::of(&visit.filter),
        visit,
        filter,
        from,
        sender,
    };
    let stop = watcher.visit.dashboard.stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = tokio::time::timeout(LASTS, watcher.run(news, place)) => {}
        }
    });
    let texts = stream::unfold(receiver, async |mut receiver| {
        let text = receiver.recv().await?;
        Some((Ok::<Bytes, Infallible>(text), receiver))
    });
    Ok((kind, Body::from_stream(texts.fuse())).into_response())
}

struct Watcher {
    visit: Visit,
    filter: Filter,
    columns: Columns,
    /// The last event that was looked at.
    from: i64,
    sender: mpsc::Sender<Bytes>,
}

impl Watcher {
    /// Ends when the browser is gone, the rules change, the gateway stops, or its time is over.
    async fn run(mut self, mut news: watch::Receiver<i64>, _place: OwnedSemaphorePermit) {
        // Something at once, so that whoever waits knows it works.
        if !self.send(": here\n\n".into()).await {
            return;
        }
        loop {
            // Who may watch may be another matter under other rules; the browser comes back through the door.
            if self.visit.dashboard.permissions().revision() != self.visit.permissions.revision() {
                return;
            }
            let text = if *news.borrow_and_update() > self.from {
                self.told().await
            } else {
                tokio::select! {
                    changed = news.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                    () = self.sender.closed() => return,
                    () = tokio::time::sleep(QUIET) => Some(": quiet\n\n".into()),
                }
            };
            let Some(text) = text else {
                return;
            };
            if !text.is_empty() && !self.send(text).await {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn send(&self, text: String) -> bool {
        self.sender.send(text.into()).await.is_ok()
    }

    /// What ended since the last look; `None` when the log cannot be read.
    async fn told(&mut self) -> Option<String> {
        let Ok(_turn) = self.visit.dashboard.turn().await else {
            // Too many people read pages; nothing is lost by looking later.
            return Some(String::new());
        };
        let mut db = self.visit.dashboard.readers.page().await.ok()?;
        let (mut told, mut more) = (Vec::new(), 0_usize);
        let now = self.visit.dashboard.clock.now();
        // What is left after so many is looked at in the next second.
        for _ in 0..LOOKS {
            let ended = ended_since(&mut db, self.from).await.ok()?;
            self.from = ended.seq;
            for row in ended.rows.iter().filter(|row| self.filter.keeps(row, now)) {
                if told.len() < ROWS_A_SECOND {
                    told.extend(self.print(row));
                } else {
                    more = more.saturating_add(1);
                }
            }
            if !ended.has_more {
                break;
            }
        }
        if more > 0 {
            told.push(format!("event: more\ndata: {more}\n\n"));
        }
        // Only the last one has a number: who hears but some of them is told all of them again.
        if let Some(last) = told.last_mut() {
            *last = format!("id: {}\n{last}", self.from);
        }
        Some(told.concat())
    }

    fn print(&self, row: &CallRow) -> Option<String> {
        let row = Row::new(row, &self.filter, self.columns, self.visit.watch());
        // A line break would end the data (HTML Living Standard, 9.2.6); in a row of a table it means nothing.
        let html = row.render().ok()?.replace(['\n', '\r'], " ");
        Some(format!("event: call\ndata: {html}\n\n"))
    }
}
