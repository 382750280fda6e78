//! `hayward example-server`: one of the demo's MCP servers on standard input and output.

use std::io;

use clap::ValueEnum;
use tokio::io::BufReader;

use super::{Exit, Failure};
use crate::example::{Example, serve};

/// Which example server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// Draws small pictures
    Images,
    /// Holds a few notes
    Notes,
}

impl From<Which> for Example {
    fn from(which: Which) -> Self {
        match which {
            Which::Images => Self::Images,
            Which::Notes => Self::Notes,
        }
    }
}

/// Serves until the client closes the input.
pub(super) async fn run(which: Which) -> Result<Exit, Failure> {
    let input = BufReader::new(tokio::io::stdin());
    match serve(which.into(), input, tokio::io::stdout()).await {
        Ok(()) => Ok(Exit::Yes),
        // The client left without closing the input first.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Yes),
        Err(error) => Err(error.into()),
    }
}
