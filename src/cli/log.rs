//! Flags for the log of a command that keeps running.

use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::telemetry::{LogFormat, Logging};

/// What to log, and how.
#[derive(Debug, Clone, Args)]
pub struct LogArguments {
    /// Form of a log line on standard error
    #[arg(
        long = "log",
        value_enum,
        value_name = "FORMAT",
        env = "HAYWARD_LOG_FORMAT",
        default_value = "text"
    )]
    pub format: LogFormat,
    /// Which lines to log: error, warn, info, debug, trace, or directives such as `hayward=debug,info`
    #[arg(long = "log-level", value_name = "LEVEL", env = "HAYWARD_LOG", default_value = "info", value_parser = directives)]
    pub level: String,
}

impl LogArguments {
    /// The settings for this process.
    pub fn logging(&self, color: bool) -> Logging {
        Logging {
            format: self.format,
            filter: EnvFilter::new(&self.level),
            color,
        }
    }

    /// Warnings and errors as text: for commands that answer and end.
    pub fn quiet(color: bool) -> Logging {
        Logging {
            format: LogFormat::Text,
            filter: EnvFilter::new("warn"),
            color,
        }
    }
}

fn directives(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}
