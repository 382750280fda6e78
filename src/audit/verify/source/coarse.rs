//! Reads the tables of coarse sums, some time or some names at once: see [`crate::audit::row`].

use sqlx::{AssertSqlSafe, SqliteConnection};
use tokio::sync::mpsc::Sender;

use super::{Piece, Wanted, send};
use crate::audit::coarse::{DAY_US, Shape, Table, Values};
use crate::audit::counts::COLUMNS;
use crate::audit::histogram::BUCKETS;

/// What is read at once where a key begins with the time: a day.
const TIME: i64 = DAY_US;

/// What is read at once where it begins with the number of a name: that one.
const NAMES: i64 = 1;

/// Sends the rows of all tables.
pub(super) async fn send_all(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    for table in Table::ALL {
        if !send_rows(db, pieces, table).await? {
            return Ok(false);
        }
    }
    Ok(true)
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
    let mut columns: Vec<String> = shape.key.iter().map(|key| (*key).to_owned()).collect();
    columns.extend(shape.text.map(|text| format!("lower(hex({text}))")));
    let counts = || COLUMNS.iter().map(|column| (*column).to_owned());
    match shape.values {
        Values::Counts => columns.extend(counts()),
        Values::Wide => {
            columns.extend(counts());
            columns.extend(["bytes_in".into(), "bytes_out".into()]);
            columns.extend((0..BUCKETS).map(|class| format!("b{class:02}")));
        }
        Values::One(column) => columns.push(column.into()),
    }
    columns.join(", ")
}
