//! `hayward budget`: what is used of every budget, and what an operator may correct.

use std::path::Path;

use clap::{Args, Subcommand};

use super::audit::exit_code;
use super::operate::{OperateArguments, order};
use super::{Exit, Failure, Screen, ShowArguments, plain};
use crate::audit::{Known, Verified, verify_against};
use crate::db::{DbError, Readers};
use crate::gateway::{Order, Outcome, PutRight};
use crate::types::{BudgetKey, CallId, Unit};

/// What `verify` ends with, for scripts.
const CODES: &str = "\
Exit codes:
  0  every count is what the events add up to, or was put right
  6  it is not
  7  the file cannot be read
  others: the log itself is not sound, see `hayward audit verify --help`";

/// What can be done with budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Show what is used and left of every budget that anything was taken of
    Show(ShowArguments),
    /// Compute every count again from the events, and compare
    #[command(after_help = CODES)]
    Verify(CountsArguments),
    /// Let a budget be used again that is frozen because a server reported more than was held; written down
    Unfreeze(UnfreezeArguments),
    /// Give back what a call cost, in the window it was counted in; written down with who and why
    Refund(RefundArguments),
}

/// Flags of `hayward budget verify`.
#[derive(Debug, Clone, Args)]
pub struct CountsArguments {
    /// Put right what differs; written down with who and why, before and after
    #[arg(long, requires = "why")]
    pub repair: bool,
    /// Why, for whoever reads the log
    #[arg(long, value_name = "TEXT", requires = "repair")]
    pub why: Option<String>,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Flags of `hayward budget refund`.
#[derive(Debug, Clone, Args)]
pub struct RefundArguments {
    /// The id of the call, as refusals, pages and the log show it
    #[arg(value_name = "CALL")]
    pub call: CallId,
    /// Why, for whoever reads the log
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Flags of `hayward budget unfreeze`.
#[derive(Debug, Clone, Args)]
pub struct UnfreezeArguments {
    /// The name of the budget, as `hayward budget show` prints it
    #[arg(value_name = "BUDGET")]
    pub key: String,
    /// Why, for whoever reads the log
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Lets a budget be used again.
pub(super) async fn unfreeze(
    arguments: UnfreezeArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let UnfreezeArguments { key, why, at } = arguments;
    let unit = unit_of(&key);
    let done = order(&at, Order::Unfreeze { key, why }).await?;
    let Outcome::Unfrozen {
        seq,
        windows,
        overrun,
    } = done
    else {
        return Err(other(&done));
    };
    screen.answer(&format!(
        "{windows} window(s) can be used again; servers had reported {} {} more than was held",
        unit.number(overrun),
        plain(unit.word())
    ))?;
    screen.say(&format!("written down as event {seq}"));
    Ok(Exit::Yes)
}

/// What a budget counts, by its name.
pub(super) fn unit_of(key: &str) -> Unit {
    let key = BudgetKey::new(key);
    Unit::of_key(key.parts().unit)
}

/// Gives back what a call cost.
pub(super) async fn refund(
    arguments: RefundArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let RefundArguments { call, why, at } = arguments;
    let done = order(&at, Order::Refund { call, why }).await?;
    let Outcome::Refunded { seq, budgets } = done else {
        return Err(other(&done));
    };
    for budget in budgets {
        let unit = unit_of(&budget.key);
        screen.answer(&format!(
            "{} {} back to {}",
            unit.number(budget.refunded),
            plain(unit.word()),
            plain(&budget.key)
        ))?;
    }
    screen.say(&format!("written down as event {seq}"));
    Ok(Exit::Yes)
}

/// Compares the counts with the events, after having them put right if that was asked for.
pub(super) async fn verify(
    arguments: CountsArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let CountsArguments { why, at, .. } = arguments;
    // With `--repair`, and only then, there is a reason.
    if let Some(why) = why {
        let mut more = true;
        while more {
            let why = why.clone();
            more = say_repaired(order(&at, Order::Repair { why }).await?, screen)?;
        }
    }
    compare(&at.db, screen).await
}

/// Tells what was put right; says whether there is more.
fn say_repaired(done: Outcome, screen: &mut Screen) -> Result<bool, Failure> {
    let Outcome::Repaired {
        seq,
        counts,
        rows,
        more,
    } = done
    else {
        return Err(other(&done));
    };
    for one in counts {
        screen.answer(&format!("repaired: {}", put_right(&one)))?;
    }
    if rows > 0 {
        screen.answer(&format!("repaired: {rows} open calls, holds or refunds"))?;
    }
    match seq {
        Some(seq) => screen.say(&format!("written down as event {seq}")),
        None => screen.say("nothing to repair"),
    }
    Ok(more)
}

/// A counter before and after; only what differs.
fn put_right(one: &PutRight) -> String {
    let unit = unit_of(&one.key);
    let sum = |sum: i64| match u64::try_from(sum) {
        Ok(sum) => unit.number(sum),
        Err(_) => sum.to_string(),
    };
    let mut text = plain(&one.key);
    let sums = [
        ("used", one.used),
        ("held", one.held),
        ("overrun", one.overrun),
    ];
    for (word, [before, after]) in sums.into_iter().filter(|(_, [a, b])| a != b) {
        text.push_str(&format!(", {word} {} -> {}", sum(before), sum(after)));
    }
    if let [before, after] = one.frozen
        && before != after
    {
        text.push_str(if after { ", frozen" } else { ", not frozen" });
    }
    text
}

async fn compare(db: &Path, screen: &mut Screen) -> Result<Exit, Failure> {
    let found = match read(db).await {
        Ok(found) => found,
        Err(error) => {
            let why = plain(&format!("{:#}", anyhow::Error::from(error)));
            screen.answer(&format!("cannot be verified: {why}"))?;
            return Ok(Exit::Verdict(7));
        }
    };
    for fault in &found.faults {
        screen.answer(&format!("differs: {}", plain(&fault.to_string())))?;
    }
    let Some(first) = found.faults.first() else {
        screen.answer(&format!(
            "ok: every count is what {} events add up to, {} calls open",
            found.head.seq, found.open_calls
        ))?;
        return Ok(Exit::Yes);
    };
    Ok(Exit::Verdict(exit_code(first)))
}

async fn read(db: &Path) -> Result<Verified, DbError> {
    let readers = Readers::open(db).await?;
    let found = verify_against(&readers, Known::default(), |_| ()).await;
    readers.close().await;
    found
}

/// An answer to another question, which only a gateway of another version can give.
pub(super) fn other(done: &Outcome) -> Failure {
    anyhow::anyhow!("the gateway did something else: {done:?}").into()
}
