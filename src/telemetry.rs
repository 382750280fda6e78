//! The log of the process: lines on standard error, as text or as JSON.

use std::fmt;
use std::io::{self, Write};
use std::sync::OnceLock;

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

/// What takes secrets out of a line.
type Cleaner = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Set once there is something to take out.
static CLEANER: OnceLock<Cleaner> = OnceLock::new();

/// Passes every line through this from now on. The first to be given stays for the rest of the process.
pub fn clean_with(cleaner: impl Fn(&str) -> String + Send + Sync + 'static) {
    // A process runs one gateway; several stand only in tests.
    drop(CLEANER.set(Box::new(cleaner)));
}

/// Takes secrets out of lines on their way: servers say theirs in errors, and children write them to standard error.
struct Clean<W>(W);

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match CLEANER.get() {
            Some(clean) => {
                let clean = clean(&String::from_utf8_lossy(line));
                self.0.write_all(clean.as_bytes())?;
            }
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W> fmt::Debug for Clean<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clean")
    }
}

/// Starts logging for the rest of the process.
///
/// # Errors
/// When logging was started before.
pub fn start(logging: Logging) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(logging.filter)
        .with_writer(|| Clean(io::stderr()));
    match logging.format {
        LogFormat::Text => lines.with_ansi(logging.color).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
}
