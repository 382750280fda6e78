//! `hayward budget`: what is used of every budget, and what an operator may correct.

use clap::{Args, Subcommand};

use super::operate::{OperateArguments, order};
use super::{Exit, Failure, Screen, plain};
use crate::gateway::{Order, Outcome};
use crate::types::CallId;

/// What can be done with budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Give back what a call cost, in the window it was counted in; written down with who and why
    Refund(RefundArguments),
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

/// Gives back what a call cost.
pub(super) async fn refund(
    arguments: RefundArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let RefundArguments { call, why, at } = arguments;
    let outcome = order(&at, Order::Refund { call, why }).await?;
    let Outcome::Refunded { seq, budgets } = outcome else {
        return Err(anyhow::anyhow!("the gateway answered another order").into());
    };
    for budget in budgets {
        screen.answer(&format!(
            "{} back to {}",
            budget.refunded,
            plain(&budget.key)
        ))?;
    }
    screen.say(&format!("written down as event {seq}"));
    Ok(Exit::Yes)
}
