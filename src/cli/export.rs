//! `hayward audit export`: the log, or a part of it, as a file that can be checked without the database.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use super::args::{LogFile, TimeSpan};
use super::progress::Progress;
use super::query::{local_zone, time};
use super::{Exit, Failure, Screen, plain};
use crate::audit::{Export, ExportError, Form, Manifest, Paths, Plan, copy, plan};
use crate::clock::{Clock, SystemClock};
use crate::db::Readers;
use crate::types::hex;

/// In which form events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// The exact text of each event with its hash; `audit verify --export` checks it alone
    Jsonl,
    /// For spreadsheets
    Csv,
}

impl From<ExportForm> for Form {
    fn from(form: ExportForm) -> Self {
        match form {
            ExportForm::Jsonl => Self::Jsonl,
            ExportForm::Csv => Self::Csv,
        }
    }
}

/// Flags of `hayward audit export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// The file to write, or a folder, where it gets a name that says which events it holds
    #[arg(long, value_name = "PATH", env = "HAYWARD_OUT")]
    pub out: PathBuf,
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// Which part of it.
    #[command(flatten)]
    pub span: TimeSpan,
    /// How events are written
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        env = "HAYWARD_EXPORT_FORMAT",
        default_value = "jsonl"
    )]
    pub format: ExportForm,
    /// Go on with an export that was interrupted; its span is the one it began with
    #[arg(long, env = "HAYWARD_RESUME", value_parser = BoolishValueParser::new())]
    pub resume: bool,
}

/// Writes the export.
pub(super) async fn export(
    arguments: &ExportArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let zone = arguments.span.tz.clone().unwrap_or_else(local_zone);
    let now = SystemClock::start().now();
    let at = |text: &Option<String>| {
        let at = text.as_deref().map(|text| time(text, &zone, now));
        at.transpose().map_err(Failure::usage)
    };
    let span = (at(&arguments.span.since)?, at(&arguments.span.until)?);
    let readers = Readers::open(&arguments.log.db).await?;
    let written = async {
        let export = if arguments.resume {
            Export::resume(unfinished(&arguments.out)?)?
        } else {
            let plan = plan(&readers, arguments.format.into(), span).await?;
            let plan = plan.context("no events of this time stand in the log")?;
            Export::begin(paths(&arguments.out, &plan), plan)?
        };
        write(&readers, export, screen).await
    };
    let written: anyhow::Result<_> = written.await;
    readers.close().await;
    let (file, manifest) = written?;
    let plan = manifest.plan;
    screen.answer(&plain(&file.display().to_string()))?;
    screen.say(&format!(
        "{} events, {} to {}, head {}, sha256 {}",
        plan.events(),
        plan.first(),
        plan.last.seq,
        plan.last.hex(),
        hex(&manifest.sha256)
    ));
    Ok(Exit::Yes)
}

/// Copies the rest of the events with a bar, and gives the file its name.
pub(super) async fn write(
    readers: &Readers,
    export: Export,
    screen: &Screen,
) -> anyhow::Result<(PathBuf, Manifest)> {
    let file = export.paths().file.clone();
    let mut bar = Progress::new(screen, export.plan().events());
    let manifest = copy(readers, export, |done| bar.at(done)).await;
    bar.end();
    Ok((file, manifest?))
}

/// The files of a new export.
pub(super) fn paths(out: &Path, plan: &Plan) -> Paths {
    if !out.is_dir() {
        return Paths::of(out);
    }
    let log: String = hex(&plan.log.0).chars().take(8).collect();
    let (first, last, end) = (plan.first(), plan.last.seq, plan.form.as_str());
    Paths::of(&out.join(format!("hayward-{log}-{first}-{last}.{end}")))
}

/// The files of the export that was interrupted there.
fn unfinished(out: &Path) -> anyhow::Result<Paths> {
    if !out.is_dir() {
        return Ok(Paths::of(out));
    }
    let mut found = Paths::unfinished_in(out)?;
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(ExportError::NothingToResume(out.into()).into()),
        (Some(_), Some(_)) => bail!(anyhow!(
            "`{}` holds several unfinished exports; name the file of one with --out",
            out.display()
        )),
    }
}
