//! `hayward schema`: the format of the rules, for editors and other programs.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Exit, Failure, Screen};
use crate::config;

/// Flags of `hayward schema`.
#[derive(Debug, Clone, Args)]
pub struct SchemaArguments {
    /// Write it to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Tells the schema.
pub(super) fn run(arguments: &SchemaArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let text = format!("{:#}", config::schema());
    match &arguments.out {
        None => screen.answer(&text)?,
        Some(path) => {
            let written = std::fs::write(path, format!("{text}\n"));
            written.with_context(|| format!("cannot write the schema to `{}`", path.display()))?;
        }
    }
    Ok(Exit::Yes)
}
