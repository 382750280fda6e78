//! Reads the tables of coarse sums, some time or some names at once: see [`crate::audit::row`].

use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::mpsc::Sender;

use super::{Piece, Wanted, send};
use crate::audit::coarse::{DAY_US, Shape, Table};
use crate::audit::verify::derived::Packed;

/// What is read at once where a key begins with the time: a day.
const TIME: i64 = DAY_US;

/// What is read at once where it begins with the number of a name: that one.
const NAMES: i64 = 1;

/// Packed values in one piece, of some ten thousand bytes each.
const PACKED: i64 = 64;

/// Sends the rows of all tables, and what is packed of them.
pub(super) async fn send_all(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    for table in Table::ALL {
        if !send_rows(db, pieces, table).await? {
            return Ok(false);
        }
    }
    send_packed(db, pieces).await
}

async fn send_rows(db: &mut SqliteConnection, pieces: &Sender<Piece>, table: Table) -> Wanted {
    let shape = table.shape();
    let Some(first) = shape.key.first() else {
        return Ok(true);
    };
    let (name, step) = (shape.name, if shape.time == 0 { TIME } else { NAMES });
    let columns = columns(&shape);
    // The texts are put together from constants of this program alone.
    let next = format!("SELECT min({first}) FROM {name} WHERE {first} >= $1");
    let rows = format!(
        "SELECT group_concat(concat_ws(',', {columns}), char(10)) FROM {name} WHERE {first} >= $1 AND {first} < $2"
    );
    let mut from = Some(i64::MIN);
    while let Some(at) = from {
        let begins: Option<i64> = sqlx::query_scalar(AssertSqlSafe(next.clone()))
            .bind(at)
            .fetch_one(&mut *db)
            .await?;
        let Some(begins) = begins else { break };
        let until = begins.saturating_add(step);
        let lines = sqlx::query_scalar(AssertSqlSafe(rows.clone()))
            .bind(begins)
            .bind(until)
            .fetch_one(&mut *db)
            .await?;
        if !send(pieces, Piece::Coarse(table, lines)).await? {
            return Ok(false);
        }
        from = Some(until);
    }
    Ok(true)
}

/// The columns of a table, in its order; the text as the digits of its bytes, so that no comma is in it.
fn columns(shape: &Shape) -> String {
    let columns = shape.columns().into_iter().map(|column| match shape.text {
        Some(text) if text == column => format!("lower(hex({text}))"),
        _ => column.into_owned(),
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Sends what is packed, some days at once.
async fn send_packed(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let mut after = 0;
    loop {
        let text = "SELECT id, sums, day_us, first, last, packed FROM packed_day WHERE id > $1 ORDER BY id LIMIT $2";
        let rows: Vec<Packed> = sqlx::query_as(text)
            .bind(after)
            .bind(PACKED)
            .fetch_all(&mut *db)
            .await?;
        let Some((last, ..)) = rows.last() else {
            return Ok(true);
        };
        after = *last;
        if !send(pieces, Piece::Packed(rows)).await? {
            return Ok(false);
        }
    }
}
