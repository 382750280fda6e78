//! `hayward check`: whether a policy file is in order, for people and for continuous integration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::findings::{FindingsFormat, Report};
use super::rules::{load_connected, read_rules};
use super::tools::offered;
use super::{Exit, Failure, Screen, plain};
use crate::audit;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Diagnostic, Severity};
use crate::db::Readers;
use crate::review;
use crate::types::{ServerName, Timestamp};

/// Exit codes, for scripts.
const CODES: &str = "\
Exit codes:
  0  nothing to complain about, at the level of --fail-level
  1  findings
  4  the file cannot be read; with --online, a server could not be asked";

/// Flags of `hayward check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CODES)]
pub struct CheckArguments {
    /// The rules
    #[arg(
        value_name = "FILE",
        env = "HAYWARD_POLICY",
        default_value = "./permissions.yaml"
    )]
    pub policy: PathBuf,
    /// How to write what was found
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: FindingsFormat,
    /// From which level on findings end with 1
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "error")]
    pub fail_level: Level,
    /// Leave out warnings of this kind, such as P060; may be repeated
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    pub allow: Vec<String>,
    /// Ask the servers which tools they have, and warn of grants, denials and conditions that name others; needs the secrets
    #[arg(long)]
    pub online: bool,
    /// The log of a gateway: warns of grants and denials that name other tools than its servers listed so far
    #[arg(long, value_name = "FILE", conflicts_with = "online")]
    pub db: Option<PathBuf>,
    /// Do not run the tests that stand in the file
    #[arg(long)]
    pub no_tests: bool,
}

/// From which level on a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What keeps the file from being used.
    Error,
    /// Also what someone should look at.
    Warning,
}

/// Reads the file without any secret, and says what is wrong with it.
pub(super) async fn check(
    arguments: &CheckArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let name = arguments.policy.to_string_lossy();
    let text = config::read_text(&arguments.policy)?;
    let now = SystemClock::start().now();
    let (mut findings, tests) = found(&name, &text, now, !arguments.no_tests);
    let mut is_whole = true;
    let is_usable = findings.iter().all(|one| one.severity() != Severity::Error);
    if let Some(db) = arguments.db.as_deref().filter(|_| is_usable) {
        let seen = listed(db).await?;
        findings.extend(read_rules(&name, &text, screen)?.missing_tools(&seen));
    }
    if arguments.online && is_usable {
        let (missing, answered) = missing(arguments, &text, screen).await?;
        findings.extend(missing);
        is_whole = answered;
    }
    findings.retain(|finding| !is_allowed(finding, &arguments.allow));
    let report = Report {
        file: &name,
        findings: &findings,
        tests,
    };
    screen.answer(&report.render(arguments.format, screen.has_color()))?;
    let fails = |finding: &Diagnostic| match arguments.fail_level {
        Level::Error => finding.severity() == Severity::Error,
        Level::Warning => true,
    };
    Ok(if findings.iter().any(fails) {
        Exit::No
    } else if is_whole {
        Exit::Yes
    } else {
        Exit::Environment
    })
}

/// What the rules name and the servers do not have, and whether all of them could be asked.
async fn missing(
    arguments: &CheckArguments,
    text: &str,
    screen: &mut Screen,
) -> Result<(Vec<Diagnostic>, bool), Failure> {
    let connected = load_connected(&arguments.policy, screen)?;
    let (offered, failed) = offered(connected).await?;
    for (server, why) in &failed {
        screen.note(&format!(
            "server `{server}` could not be asked: {}",
            plain(why)
        ));
    }
    let rules = read_rules(&arguments.policy.to_string_lossy(), text, screen)?;
    Ok((rules.missing(&offered), failed.is_empty()))
}

/// The tools that servers listed, as the log of a gateway knows them.
async fn listed(db: &Path) -> Result<BTreeMap<ServerName, BTreeSet<String>>, Failure> {
    let readers = Readers::open(db).await?;
    let found = async {
        let mut db = readers.pool().acquire().await?;
        audit::load_definitions(&mut db).await
    };
    let found = found.await;
    readers.close().await;
    let mut listed = BTreeMap::<ServerName, BTreeSet<String>>::new();
    for defined in found? {
        listed
            .entry(defined.server)
            .or_default()
            .insert(defined.tool);
    }
    Ok(listed)
}

/// What is wrong with a file at an instant, and how many of its tests passed.
fn found(name: &str, text: &str, now: Timestamp, with_tests: bool) -> (Vec<Diagnostic>, usize) {
    let loaded = match config::review(name, text) {
        Ok(loaded) => loaded,
        Err(problems) => return (problems.diagnostics().to_vec(), 0),
    };
    let mut findings = loaded.warnings.clone();
    findings.extend(loaded.advice(now));
    if !with_tests {
        return (findings, 0);
    }
    let failed = review::run_tests(&loaded, now);
    let passed = loaded.tests.len().saturating_sub(failed.len());
    findings.splice(..0, failed);
    (findings, passed)
}

/// An error cannot be allowed: with it, the file is not used.
fn is_allowed(finding: &Diagnostic, allowed: &[String]) -> bool {
    finding.severity() == Severity::Warning
        && allowed.iter().any(|code| code == finding.code().as_str())
}

fn code(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('P').unwrap_or_default();
    if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("write the code of a finding, such as P060".into())
}

#[cfg(test)]
mod corpus;
