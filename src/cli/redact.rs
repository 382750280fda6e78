//! `hayward audit redact`: delete what is kept of arguments and results, with a word in the log.

use clap::{ArgGroup, Args};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::budget::other;
use super::operate::{OperateArguments, order};
use super::token::date;
use super::{Exit, Failure, Screen};
use crate::gateway::{Order, Outcome};
use crate::types::CallId;

/// Flags of `hayward audit redact`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["call", "before"]))]
pub struct RedactArguments {
    /// The id of the call, as refusals, pages and the log show it
    #[arg(value_name = "CALL")]
    pub call: Option<CallId>,
    /// All calls before this day (UTC), such as 2026-11-01
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub before: Option<Date>,
    /// Why, for whoever reads the log
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Deletes bodies, with as many orders as it takes.
pub(super) async fn run(arguments: RedactArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let (mut deleted, mut goes_on) = (0_usize, true);
    while goes_on {
        let done = order(&arguments.at, wanted(&arguments)?).await?;
        let Outcome::Redacted { seq, bodies, more } = done else {
            return Err(other(&done));
        };
        if let Some(seq) = seq {
            screen.say(&format!("written down as event {seq}"));
        }
        deleted = deleted.saturating_add(bodies);
        goes_on = more;
    }
    screen.answer(&format!("{deleted} arguments and results deleted"))?;
    Ok(Exit::Yes)
}

fn wanted(arguments: &RedactArguments) -> Result<Order, Failure> {
    let why = arguments.why.clone();
    match (arguments.call, arguments.before) {
        (Some(call), _) => Ok(Order::RedactCall { call, why }),
        (None, Some(before)) => {
            let midnight = before.to_zoned(TimeZone::UTC).map_err(Failure::usage)?;
            let before_us = midnight.timestamp().as_microsecond();
            Ok(Order::RedactBefore { before_us, why })
        }
        (None, None) => Err(Failure::usage(anyhow::anyhow!(
            "name a call, or a day with --before"
        ))),
    }
}
