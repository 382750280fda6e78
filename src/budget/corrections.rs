//! The tables of the ledger, where an operator corrects them: refunds, and windows that were forgotten.

use sqlx::SqliteConnection;

use crate::db::{DbError, WriteTx, params};
use crate::types::{BudgetKey, CallId, Timestamp, Window, Zone};

use super::count::{Count, Row, WindowId};
use super::{Span, span};

/// Notes which calls were refunded, with the sequence of the event that says so.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn write_refunds(tx: &mut WriteTx<'_>, refunds: &[(CallId, i64)]) -> Result<(), DbError> {
    let add = "INSERT INTO refund (call_id, seq) VALUES (?, ?)";
    tx.each(add, refunds, |add, (call, seq)| {
        add.change(params![call.as_bytes(), seq])
    })
}

/// The sequence of the event that refunded a call; `None` when none did.
///
/// # Errors
/// When SQLite refuses.
pub async fn refund_of(
    connection: &mut SqliteConnection,
    call: CallId,
) -> Result<Option<i64>, DbError> {
    let seq = sqlx::query_scalar("SELECT seq FROM refund WHERE call_id = $1")
        .bind(call.as_bytes().as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(seq)
}

/// Reads one window; `None` when there is no such row.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_window(
    connection: &mut SqliteConnection,
    (budget, starts): WindowId,
) -> Result<Option<Row>, DbError> {
    let row = "SELECT ends_at_us, limit_amount, limit_high, used, held, overrun, frozen FROM budget_window
        WHERE budget_id = $1 AND starts_at_us = $2";
    let row: Option<(i64, i64, i64, i64, i64, i64, bool)> = sqlx::query_as(row)
        .bind(budget)
        .bind(starts.micros())
        .fetch_optional(connection)
        .await?;
    let amount = |stored: i64| u64::try_from(stored).unwrap_or(0);
    Ok(
        row.map(|(ends, limit, high, used, held, overrun, frozen)| Row {
            span: Span {
                starts,
                ends: Timestamp::from_micros(ends),
            },
            count: Count {
                limit: amount(limit),
                limit_high: amount(high),
                used: amount(used),
                held: amount(held),
            },
            overrun: amount(overrun),
            frozen,
        }),
    )
}

/// A row as the events say it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correction {
    /// What a window has used and holds.
    Window {
        /// Which count.
        key: BudgetKey,
        /// The start of the window.
        starts: Timestamp,
        /// What is used, in the unit of the budget.
        used: u64,
        /// What is held.
        held: u64,
        /// What servers reported beyond that.
        overrun: u64,
        /// Whether the budget is frozen for it.
        frozen: bool,
    },
    /// Whether a call is listed as open.
    Call {
        /// Which call.
        call: CallId,
        /// The sequence of the event that admitted it; none takes it off the list.
        admitted: Option<i64>,
    },
    /// What a call holds.
    Hold {
        /// Which call.
        call: CallId,
        /// Which count.
        key: BudgetKey,
        /// The start of the window.
        starts: Timestamp,
        /// How much; 0 takes it off the list.
        amount: u64,
        /// Until when it is kept, of a call that is closed and that another may go on with.
        kept_until: Option<Timestamp>,
    },
    /// Whether a call is listed as refunded.
    Refund {
        /// Which call.
        call: CallId,
        /// The sequence of the event; none takes it off the list.
        seq: Option<i64>,
    },
}

/// Puts rows right, each by itself: they are few, if any.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn correct(tx: &mut WriteTx<'_>, corrections: &[Correction]) -> Result<(), DbError> {
    for correction in corrections {
        match correction {
            Correction::Window {
                key,
                starts,
                used,
                held,
                overrun,
                frozen,
            } => {
                let sums = [used, held, overrun].map(|sum| stored(*sum));
                correct_window(tx, (key, *starts), sums, *frozen)?;
            }
            Correction::Call { call, admitted } => {
                let list = "INSERT INTO open_call (call_id, admitted_seq) VALUES (?, ?)";
                let forget = "DELETE FROM open_call WHERE call_id = ?";
                correct_list(tx, [list, forget], *call, *admitted)?;
            }
            Correction::Hold {
                call,
                key,
                starts,
                amount,
                kept_until,
            } => correct_hold(tx, *call, (key, *starts), stored(*amount), *kept_until)?,
            Correction::Refund { call, seq } => {
                let list = "INSERT INTO refund (call_id, seq) VALUES (?, ?)
                    ON CONFLICT (call_id) DO UPDATE SET seq = excluded.seq";
                let forget = "DELETE FROM refund WHERE call_id = ?";
                correct_list(tx, [list, forget], *call, *seq)?;
            }
        }
    }
    Ok(())
}

fn correct_list(
    tx: &mut WriteTx<'_>,
    [list, forget]: [&'static str; 2],
    call: CallId,
    seq: Option<i64>,
) -> Result<(), DbError> {
    match seq {
        Some(seq) => tx.execute(list, params![call.as_bytes(), seq])?,
        None => tx.execute(forget, [call.as_bytes()])?,
    };
    Ok(())
}

/// A window that is not there gets the end that its budget's name says, and a limit that leaves no more room: the
/// next call sets the one in force.
fn correct_window(
    tx: &mut WriteTx<'_>,
    (key, starts): (&BudgetKey, Timestamp),
    [used, held, overrun]: [i64; 3],
    frozen: bool,
) -> Result<(), DbError> {
    let budget = "INSERT INTO budget (key) VALUES (?) ON CONFLICT (key) DO NOTHING";
    tx.execute(budget, [key.as_str()])?;
    let row = "INSERT INTO budget_window
            (budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held, overrun, frozen)
        SELECT id, ?2, ?3, ?4 + ?5, ?4 + ?5, ?4, ?5, ?6, ?7 FROM budget WHERE key = ?1
        ON CONFLICT (budget_id, starts_at_us) DO UPDATE SET
            limit_high = max(limit_high, excluded.limit_high), used = excluded.used, held = excluded.held,
            overrun = excluded.overrun, frozen = excluded.frozen";
    let (text, ends) = (key.as_str(), ends(key, starts).micros());
    let starts = starts.micros();
    tx.execute(
        row,
        params![text, starts, ends, used, held, overrun, frozen],
    )?;
    Ok(())
}

fn correct_hold(
    tx: &mut WriteTx<'_>,
    call: CallId,
    (key, starts): (&BudgetKey, Timestamp),
    amount: i64,
    kept_until: Option<Timestamp>,
) -> Result<(), DbError> {
    let forget = "DELETE FROM hold
        WHERE call_id = ?1 AND budget_id = (SELECT id FROM budget WHERE key = ?2) AND starts_at_us = ?3";
    let list = "INSERT INTO hold (call_id, budget_id, starts_at_us, amount, kept_until_us)
        SELECT ?1, id, ?3, ?4, ?5 FROM budget WHERE key = ?2
        ON CONFLICT (call_id, budget_id) DO UPDATE SET
            starts_at_us = excluded.starts_at_us, amount = excluded.amount";
    let (call, key, starts) = (call.as_bytes(), key.as_str(), starts.micros());
    if amount > 0 {
        let until = kept_until.map(|until| until.micros());
        tx.execute(list, params![call, key, starts, amount, until])?;
    } else {
        tx.execute(forget, params![call, key, starts])?;
    }
    Ok(())
}

/// When a window ends; never, if the name of its budget does not say.
fn ends(key: &BudgetKey, starts: Timestamp) -> Timestamp {
    let never = Timestamp::from_micros(i64::MAX);
    let window = key.parts().window;
    let (window, zone) = window.split_once('@').unwrap_or((window, "UTC"));
    match (window.parse::<Window>(), Zone::named(zone)) {
        // How long the pieces of a rolling one are depends on its limit: at most so long.
        (Ok(window), Ok(zone)) => span(window, u64::MAX, &zone, starts).ends,
        _ => never,
    }
}

fn stored(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_budget_says_when_its_windows_end() {
        let noon = Timestamp::from_micros(1_795_172_400_000_000);
        for (key, ends_at) in [
            ("agents.a calls/day@UTC", "2026-11-21T00:00:00.000000Z"),
            (
                "servers.x[a,b] calls/day from 06:00@Europe/Berlin each agent=a",
                "2026-11-21T05:00:00.000000Z",
            ),
        ] {
            let ends = ends(&BudgetKey::new(key), noon);
            assert_eq!(ends.rfc3339_utc(), ends_at, "{key}");
        }
        let never = Timestamp::from_micros(i64::MAX);
        for key in ["agents.a calls/total", "something else", ""] {
            assert_eq!(ends(&BudgetKey::new(key), noon), never, "{key}");
        }
        let rolling = ends(&BudgetKey::new("agents.a calls/24h each tool=x"), noon);
        assert!(rolling >= noon.after(std::time::Duration::from_secs(86_400)));
    }
}
