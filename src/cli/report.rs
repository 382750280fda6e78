//! `hayward audit report`: the report of a month, the same as on the dashboard.

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use super::args::{LogFile, PolicyFile};
use super::rules::load_rules;
use super::{Exit, Failure, Screen};
use crate::audit::read::snapshot;
use crate::dashboard::{Month, gather};
use crate::db::Readers;
use crate::types::Zone;

/// In which form a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// Markdown
    Md,
    /// A page that stands alone, to read, to print, to keep
    Html,
}

/// Flags of `hayward audit report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArguments {
    /// Which month: 2026-10
    #[arg(long, value_name = "MONTH", env = "HAYWARD_MONTH", value_parser = month)]
    pub month: Month,
    /// How it is written
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        env = "HAYWARD_REPORT_FORMAT",
        default_value = "md"
    )]
    pub format: ReportForm,
    /// The zone in which the month begins and ends; that of the rules otherwise
    #[arg(long, value_name = "ZONE", env = "HAYWARD_TZ", value_parser = Zone::named)]
    pub tz: Option<Zone>,
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// The rules that the access review is about.
    #[command(flatten)]
    pub rules: PolicyFile,
}

fn month(text: &str) -> Result<Month, &'static str> {
    text.parse()
}

/// Prints the report.
pub(super) async fn run(arguments: &ReportArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let rules = load_rules(&arguments.rules.policy, screen)?;
    let permissions = &rules.permissions;
    let zone = arguments.tz.as_ref().unwrap_or_else(|| permissions.zone());
    let readers = Readers::open(&arguments.log.db).await?;
    let report = async {
        let mut db = readers.pool().acquire().await?;
        let month = (arguments.month, zone);
        snapshot(&mut db, async |db| gather(db, permissions, month).await).await
    };
    let report = report.await;
    readers.close().await;
    let report = report?;
    if report.log.is_none() {
        screen.say(&format!(
            "the log has no event of {}",
            arguments.month.name()
        ));
    }
    let text = match arguments.format {
        ReportForm::Md => report.markdown(),
        ReportForm::Html => report
            .html()
            .map_err(|error| anyhow!("the report cannot be written: {error}"))?,
    };
    screen.answer(text.trim_end())?;
    Ok(Exit::Yes)
}
