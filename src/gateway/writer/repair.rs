//! Puts the rows of the ledger right after the events, which are the truth about it.

use super::super::operator::{Outcome, PutRight, Refused};
use super::Writer;
use super::batch::Batch;
use super::orders::Stop;
use crate::audit::{self, Difference, Entry, Proof};
use crate::budget::Correction;
use crate::protocol::json_string;
use crate::types::Timestamp;

/// Rows that one order repairs, so that its event stays readable; the next order repairs the rest.
const MAX_REPAIRS: usize = 10_000;

impl Writer {
    /// The log was read up to a while ago. Only the rest is read here, where nothing else can come between.
    pub(super) async fn repair(
        &mut self,
        batch: &mut Batch,
        proof: &mut Proof,
        entry: Entry,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let db = self.database.connection();
        proof.read(&mut *db).await?;
        if let Some(fault) = proof.faults().first() {
            return Err(Refused::Unsound(fault.to_string()).into());
        }
        let mut differing = proof.differences(&mut *db).await?;
        let more = differing.len() > MAX_REPAIRS;
        differing.truncate(MAX_REPAIRS);
        let mut corrections = Vec::new();
        for differs in &differing {
            let mut opened = None;
            if let Difference::Call {
                call,
                is_open: true,
            } = differs
            {
                let traced = audit::trace(&mut *db, *call).await?;
                opened = traced.map(|traced| traced.opened);
            }
            corrections.push(correction(differs, opened, at)?);
        }
        let counts: Vec<PutRight> = differing.iter().filter_map(put_right).collect();
        let rows = differing.len().saturating_sub(counts.len());
        let seq = (!differing.is_empty()).then(|| {
            let rows = u64::try_from(rows).unwrap_or(u64::MAX);
            let entry = entry.json("counts", list(&counts)).number("rows", rows);
            self.chain(batch, &entry, at)
        });
        batch.corrections = Some(corrections);
        Ok(Outcome::Repaired {
            seq,
            counts,
            rows,
            more,
        })
    }
}

/// The row that the events ask for; of an open call with the event that opened it.
fn correction(
    differs: &Difference,
    opened: Option<i64>,
    at: Timestamp,
) -> Result<Correction, Refused> {
    let amount = |key: &dyn ToString, sum: i64| {
        let amount = u64::try_from(sum);
        amount.map_err(|_| Refused::Unsound(format!("`{}` adds up to {sum}", key.to_string())))
    };
    Ok(match differs {
        Difference::Window {
            key,
            starts,
            events,
            ..
        } => Correction::Window {
            key: key.clone(),
            starts: *starts,
            used: amount(key, events.used)?,
            held: amount(key, events.held)?,
            overrun: amount(key, events.overrun)?,
            frozen: events.frozen,
        },
        Difference::Call { call, .. } => Correction::Call {
            call: *call,
            admitted: opened,
        },
        Difference::Hold {
            call,
            key,
            starts,
            amount: held,
            is_kept,
        } => Correction::Hold {
            // How long it was to be kept stands nowhere else: it is over.
            kept_until: is_kept.then_some(at),
            call: *call,
            key: key.clone(),
            starts: *starts,
            amount: amount(key, *held)?,
        },
        Difference::Refund { call, refunded } => Correction::Refund {
            call: *call,
            seq: *refunded,
        },
    })
}

fn put_right(differs: &Difference) -> Option<PutRight> {
    match differs {
        Difference::Window {
            key,
            starts,
            counted,
            events,
        } => Some(PutRight {
            key: key.to_string(),
            window: starts.micros(),
            used: [counted.used, events.used],
            held: [counted.held, events.held],
            overrun: [counted.overrun, events.overrun],
            frozen: [counted.frozen, events.frozen],
        }),
        Difference::Call { .. } | Difference::Hold { .. } | Difference::Refund { .. } => None,
    }
}

fn list(counts: &[PutRight]) -> String {
    let each = counts.iter().map(|one| {
        let (key, window) = (json_string(&one.key), one.window);
        let pairs = [one.used, one.held, one.overrun].map(|[a, b]| format!("[{a},{b}]"));
        let ([used, held, overrun], [a, b]) = (pairs, one.frozen);
        format!(
            r#"{{"key":{key},"window":{window},"used":{used},"held":{held},"overrun":{overrun},"frozen":[{a},{b}]}}"#
        )
    });
    format!("[{}]", each.collect::<Vec<_>>().join(","))
}
