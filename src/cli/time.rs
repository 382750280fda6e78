//! `hayward time`: what to do about a clock that jumped ahead.

use clap::{Args, Subcommand};

use super::operate::{OperateArguments, order};
use super::{Exit, Failure, Screen};
use crate::gateway::{Order, Outcome};
use crate::types::{Timestamp, Zone};

/// What can be done about the time.
#[derive(Debug, Subcommand)]
pub enum TimeCommand {
    /// Have a running gateway follow its wall clock again, which jumped ahead and is right; written down
    Accept(AcceptArguments),
}

/// Flags of `hayward time accept`.
#[derive(Debug, Clone, Args)]
pub struct AcceptArguments {
    /// Why, for whoever reads the log
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Has the wall clock followed again.
pub(super) async fn accept(
    arguments: AcceptArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let AcceptArguments { why, at } = arguments;
    let done = order(&at, Order::AcceptTime { why }).await?;
    let Outcome::TimeAccepted { seq, wall } = done else {
        return Err(anyhow::anyhow!("the gateway did something else: {done:?}").into());
    };
    let wall = Timestamp::from_micros(wall).rfc3339(&Zone::utc());
    screen.answer(&format!("the gateway goes by {wall} from here on"))?;
    screen.say(&format!("written down as event {seq}"));
    Ok(Exit::Yes)
}
