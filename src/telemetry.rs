//! The log of the process: lines on standard error, as text or as JSON.

use std::io;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What to log, and how.
#[derive(Debug)]
pub struct Logging {
    /// The form of a line.
    pub format: LogFormat,
    /// Which lines: a level, or directives such as `hayward=debug,info`.
    pub filter: EnvFilter,
    /// Whether text is coloured.
    pub color: bool,
}

/// Starts logging for the rest of the process.
///
/// # Errors
/// When logging was started before.
pub fn start(logging: Logging) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(logging.filter)
        .with_writer(io::stderr);
    match logging.format {
        LogFormat::Text => lines.with_ansi(logging.color).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
}
