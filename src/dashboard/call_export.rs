//! The list of calls for programs: everything that the filter keeps, page after page, while it is read.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};

use crate::audit::read::{self, CallRow, CallsPage, Cursor, Wanted};
use crate::types::{Peer, Unit};

use super::call_row::costs;
use super::failure::Failure;
use super::twins::{self, Datum, Form, Table};
use super::visit::Visit;
use super::{Dashboard, within};

/// Exports under way at once; one more is asked to come back.
pub(super) const EXPORTS: usize = 4;

/// The columns. Arguments and results are in none of them: opening one is written down for itself.
pub(super) const COLUMNS: &[&str] = &[
    "call",
    "at",
    "agent",
    "server",
    "tool",
    "method",
    "target",
    "decision",
    "outcome",
    "reason",
    "message",
    "times",
    "policy",
    "rule",
    "line",
    "latency_us",
    "bytes_in",
    "bytes_out",
    "cost",
    "unit",
    "error",
    "client",
];

/// `GET /calls.csv`, `.jsonl`, `.json`.
pub(super) async fn export(
    form: Form,
    peer: Option<Extension<Peer>>,
    visit: Visit,
) -> Result<Response, Failure> {
    let Ok(place) = Arc::clone(&visit.dashboard.exports).try_acquire_owned() else {
        return Err(Failure::Crowded);
    };
    twins::taking(&visit, peer, form).await?;
    let table = Table {
        columns: COLUMNS,
        rows: Vec::new(),
    };
    // The first page is read before the answer begins, so that what cannot be read is an error and no short file.
    let wanted = visit.filter.at(Cursor::Newest).wanted(visit.now);
    let dashboard = visit.dashboard.clone();
    let first = page(&dashboard, &wanted).await?;
    let state = Exporting {
        text: table.head(form),
        next: Some(first),
        is_first: true,
        table,
        form,
        wanted,
        dashboard,
        _place: place,
    };
    let body = Body::from_stream(stream::unfold(Some(state), step).fuse());
    Ok((form.headers("calls"), body).into_response())
}

async fn page(dashboard: &Dashboard, wanted: &Wanted) -> Result<CallsPage, Failure> {
    let _turn = dashboard.turn().await?;
    within(async {
        let mut db = dashboard.readers.page().await?;
        Ok(read::calls(&mut db, wanted).await?)
    })
    .await
}

struct Exporting {
    /// What is to be sent next.
    text: String,
    next: Option<CallsPage>,
    is_first: bool,
    table: Table,
    form: Form,
    wanted: Wanted,
    dashboard: Dashboard,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// Prints one page and reads the next. A page that cannot be read breaks the connection: a file that ends early must
/// not look whole.
async fn step(
    state: Option<Exporting>,
) -> Option<(Result<Bytes, std::io::Error>, Option<Exporting>)> {
    let mut state = state?;
    let found = state.next.take()?;
    for row in &found.rows {
        let row = cells(row);
        state
            .table
            .print_row(state.form, &row, state.is_first, &mut state.text);
        state.is_first = false;
    }
    let rest = found.older.or(found.stopped.map(|stopped| stopped.rest));
    if let Some(cursor) = rest {
        state.wanted.cursor = cursor;
        match page(&state.dashboard, &state.wanted).await {
            Ok(next) => state.next = Some(next),
            Err(_) => {
                let broken = std::io::Error::other("the log cannot be read");
                return Some((Err(broken), None));
            }
        }
    } else {
        state.text.push_str(Table::foot(state.form));
    }
    let text = std::mem::take(&mut state.text);
    Some((Ok(text.into()), Some(state)))
}

/// A call as cells, in the order of the columns.
fn cells(row: &CallRow) -> Vec<Datum> {
    let opening = &row.opening;
    let closing = row.closing.as_ref();
    let text = |text: &Option<String>| Datum::some_text(text.as_deref());
    let costs = costs(row);
    let money = costs.iter().find(|(unit, _)| matches!(unit, Unit::Cost(_)));
    let cost = money.or(costs.first());
    vec![
        row.call
            .map_or(Datum::Empty, |call| Datum::Text(call.to_string())),
        Datum::Time(row.at),
        text(&opening.agent),
        text(&opening.server),
        text(&opening.tool),
        text(&opening.method),
        text(&opening.target),
        Datum::text(row.state.as_str()),
        closing.map_or(Datum::Empty, |closing| text(&closing.outcome)),
        text(&opening.reason),
        text(&opening.message),
        Datum::some_number(opening.count),
        text(&opening.policy),
        text(&opening.rule),
        Datum::some_number(opening.line),
        Datum::some_number(closing.and_then(|closing| closing.latency_us)),
        Datum::some_number(opening.bytes_in),
        Datum::some_number(closing.and_then(|closing| closing.bytes_out)),
        cost.map_or(Datum::Empty, |(unit, amount)| {
            Datum::Text(unit.number(*amount))
        }),
        cost.map_or(Datum::Empty, |(unit, _)| Datum::text(unit.word())),
        closing.map_or(Datum::Empty, |closing| text(&closing.error)),
        text(&opening.client),
    ]
}
