//! Flags that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::types::Zone;

/// Which rules are read.
#[derive(Debug, Clone, Args)]
pub struct PolicyFile {
    /// The rules
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_POLICY",
        default_value = "./permissions.yaml"
    )]
    pub policy: PathBuf,
}

/// Which log is read.
#[derive(Debug, Clone, Args)]
pub struct LogFile {
    /// The database; it is only read
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_DB",
        default_value = "./hayward.db"
    )]
    pub db: PathBuf,
}

/// Which part of it, by time.
#[derive(Debug, Clone, Args)]
pub struct TimeSpan {
    /// What happened then or later: 7d, 2026-11-21, an instant
    #[arg(long, value_name = "TIME", env = "HAYWARD_SINCE")]
    pub since: Option<String>,
    /// What happened before this time
    #[arg(long, value_name = "TIME", env = "HAYWARD_UNTIL")]
    pub until: Option<String>,
    /// The zone of times without an offset; the one of this machine otherwise
    #[arg(long, value_name = "ZONE", env = "HAYWARD_TZ", value_parser = Zone::named)]
    pub tz: Option<Zone>,
}
