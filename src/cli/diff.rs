//! `hayward diff`: what a change of the rules changes, for whoever reviews it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::process::Command;

use super::findings::counted;
use super::rules::read_rules;
use super::{Exit, Failure, Screen, plain};
use crate::audit::read::{snapshot, uses};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::db::Readers;
use crate::review::{Change, Effect, Past, diff};
use crate::types::Timestamp;

/// How far back calls are counted.
const LATELY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The largest file with names of tools, in bytes.
const MAX_TOOLS: u64 = 16 * 1024 * 1024;

/// Exit codes, for scripts.
const CODES: &str = "\
Exit codes:
  0  the differences are above, or there are none
  1  there are some, with --exit-code
  3  one of the two files is not in order
  4  a file, a revision or the database cannot be read";

/// Flags of `hayward diff`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CODES)]
pub struct DiffArguments {
    /// The rules before: a file, or a git revision and a file, such as main:permissions.yaml
    #[arg(value_name = "OLD")]
    pub old: String,
    /// The rules after, in the same way
    #[arg(value_name = "NEW", default_value = "./permissions.yaml")]
    pub new: String,
    /// The database: patterns are compared at the tools that were called, and calls are counted
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// Names of tools, a line each, as server/tool: patterns are compared at them, too
    #[arg(long, value_name = "FILE")]
    pub tools: Option<PathBuf>,
    /// How to write the differences
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: DiffFormat,
    /// End with 1 when there are differences
    #[arg(long)]
    pub exit_code: bool,
}

/// In which form differences are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// Columns, for people; their form may change.
    Text,
    /// A table for a comment at a pull request.
    Markdown,
    /// One JSON object, for programs.
    Json,
}

/// Compares the two files.
pub(super) async fn run(arguments: &DiffArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let old = read_rules(&arguments.old, &text_of(&arguments.old).await?, screen)?;
    let new = read_rules(&arguments.new, &text_of(&arguments.new).await?, screen)?;
    let now = SystemClock::start().now();
    let mut past = Past::default();
    if let Some(db) = &arguments.db {
        remember(db, now, &mut past).await?;
    }
    if let Some(tools) = &arguments.tools {
        read_tools(tools, &mut past)?;
    }
    let changes = diff(&old, &new, &past, now);
    screen.answer(&match arguments.format {
        DiffFormat::Text => text(&changes),
        DiffFormat::Markdown => markdown(&changes),
        DiffFormat::Json => as_json(&changes).to_string(),
    })?;
    Ok(if arguments.exit_code && !changes.is_empty() {
        Exit::No
    } else {
        Exit::Yes
    })
}

/// The text of a file, or of a file in a git revision.
async fn text_of(name: &str) -> Result<String, Failure> {
    let path = Path::new(name);
    match name.split_once(':') {
        Some((revision, file)) if !path.exists() => from_git(revision, file).await,
        Some(_) | None => Ok(config::read_text(path)?),
    }
}

/// Asks git for a file of a revision, by its path from the top of the repository or from here.
async fn from_git(revision: &str, file: &str) -> Result<String, Failure> {
    let mut said = String::new();
    for path in [file.to_owned(), format!("./{file}")] {
        let asked = Command::new("git")
            .args(["show", "--end-of-options"])
            .arg(format!("{revision}:{path}"))
            .stdin(Stdio::null())
            .output()
            .await;
        let output = asked.map_err(|error| {
            anyhow::anyhow!("git cannot be asked for `{revision}:{file}`: {error}")
        })?;
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|_| {
                Failure::from(anyhow::anyhow!("`{revision}:{file}` is not UTF-8 text"))
            });
        }
        said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    }
    Err(Failure::from(anyhow::anyhow!(
        "there is no `{}`: git says `{}`",
        plain(&format!("{revision}:{file}")),
        plain(said.lines().next().unwrap_or_default())
    )))
}

/// Which tools were called lately, and how often.
async fn remember(db: &Path, now: Timestamp, past: &mut Past) -> Result<(), Failure> {
    let lately = i64::try_from(LATELY.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp::from_micros(now.micros().saturating_sub(lately));
    let readers = Readers::open(db).await?;
    let found = async {
        let mut db = readers.pool().acquire().await?;
        // A gateway beside this may build sums and pack them between two statements.
        snapshot(&mut db, async |db| uses(db, since).await).await
    };
    let found = found.await;
    readers.close().await;
    past.remember(found?);
    Ok(())
}

fn read_tools(path: &Path, past: &mut Past) -> Result<(), Failure> {
    let shown = path.display();
    let size = std::fs::metadata(path).map(|file| file.len());
    let text = match size {
        Ok(size) if size > MAX_TOOLS => {
            return Err(anyhow::anyhow!("`{shown}` is larger than 16 MB").into());
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    let text =
        text.map_err(|error| anyhow::anyhow!("cannot read tools from `{shown}`: {error}"))?;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let found = line.split_once('/');
        let found = found.and_then(|(server, tool)| Some((server.parse().ok()?, tool)));
        let Some((server, tool)) = found else {
            let number = number + 1;
            return Err(anyhow::anyhow!(
                "line {number} of `{shown}` is not written as `server/tool`"
            )
            .into());
        };
        past.tools
            .entry(server)
            .or_default()
            .insert(tool.to_owned());
    }
    Ok(())
}

/// `6 changes: 2 high, 2 loosened, 1 tightened, 1 neutral`.
fn summary(changes: &[Change]) -> String {
    let high = changes
        .iter()
        .filter(|change| change.high.is_some())
        .count();
    let mut parts = Vec::new();
    if high > 0 {
        parts.push(format!("{high} high"));
    }
    for effect in [Effect::Loosened, Effect::Tightened, Effect::Neutral] {
        let count = changes
            .iter()
            .filter(|change| change.effect == effect)
            .count();
        if count > 0 {
            parts.push(format!("{count} {}", effect.as_str()));
        }
    }
    format!("{}: {}", counted(changes.len(), "change"), parts.join(", "))
}

const NOTHING: &str = "nothing changes";

fn text(changes: &[Change]) -> String {
    if changes.is_empty() {
        return NOTHING.into();
    }
    let rows: Vec<[String; 3]> = changes
        .iter()
        .map(|change| {
            let what = format!("{} {}", change.sign.as_str(), plain(&change.what));
            [change.about.to_string(), what, plain(&change.detail)]
        })
        .collect();
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.get(column));
        // A long one is not made a measure for all.
        widths
            .map(|cell| cell.chars().count())
            .filter(|width| *width <= 60)
            .max()
            .unwrap_or(0)
    };
    let (a, b, c) = (width(0), width(1), width(2));
    let mut text = String::new();
    for (change, [about, what, detail]) in changes.iter().zip(&rows) {
        let effect = change.effect.as_str();
        let high = change
            .high
            .map(|why| format!("  HIGH: {why}"))
            .unwrap_or_default();
        let line = format!("  {about:<a$}  {what:<b$}  {detail:<c$}  {effect}{high}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = write!(text, "\n{}", summary(changes));
    text
}

fn markdown(changes: &[Change]) -> String {
    if changes.is_empty() {
        return format!("**{NOTHING}** in who may use what");
    }
    let mut text = format!("**{}**\n\n", summary(changes));
    text.push_str("| | who | what | how | effect |\n|---|---|---|---|---|\n");
    for change in changes {
        let high = change
            .high
            .map(|why| format!("**high**: {why}"))
            .unwrap_or_default();
        let cells = [
            change.sign.as_str().to_owned(),
            cell(&change.about.to_string()),
            cell(&change.what),
            cell(&change.detail),
            [change.effect.as_str(), &high].join(" "),
        ];
        let _ = writeln!(
            text,
            "| {} |",
            cells.map(|cell| cell.trim().to_owned()).join(" | ")
        );
    }
    text.trim_end().to_owned()
}

/// Text in a cell of a table, as code, so that nothing in it is markup.
fn cell(text: &str) -> String {
    let text = plain(text).replace('`', "'").replace('|', "\\|");
    if text.is_empty() {
        return text;
    }
    format!("`{text}`")
}

fn as_json(changes: &[Change]) -> Value {
    let count = |effect: Effect| {
        changes
            .iter()
            .filter(|change| change.effect == effect)
            .count()
    };
    let list = changes.iter().map(|change| {
        json!({
            "about": change.about.to_string(),
            "sign": change.sign.as_str(),
            "what": change.what,
            "detail": change.detail,
            "effect": change.effect.as_str(),
            "high": change.high,
        })
    });
    let counts: BTreeMap<&str, usize> = [Effect::Loosened, Effect::Tightened, Effect::Neutral]
        .map(|effect| (effect.as_str(), count(effect)))
        .into();
    json!({
        "changes": list.collect::<Vec<_>>(),
        "high": changes.iter().filter(|change| change.high.is_some()).count(),
        "effects": counts,
    })
}
