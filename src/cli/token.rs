//! `hayward token`: make bearer tokens. A token is shown once; only its hash is kept.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::{Exit, Failure, Screen};
use crate::protocol::json_string;
use crate::types::{AgentName, Secret, TOKEN_RANDOM_BYTES, TokenHash, new_token};

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: it alone on standard output, the line for permissions.yaml on standard error
    New(NewArguments),
    /// Read a token from standard input and print its hash for permissions.yaml
    Hash,
    /// Read a token from standard input and say whose it is; exit 1 when it opens nothing
    Inspect(super::InspectArguments),
}

/// Flags of `hayward token new`.
#[derive(Debug, Clone, Args)]
pub struct NewArguments {
    /// Who the token is for
    pub agent: AgentName,
    /// A few words to tell this token from the agent's others
    #[arg(long, value_name = "TEXT", env = "HAYWARD_LABEL", value_parser = label)]
    pub label: Option<String>,
    /// The last day on which the token is good, such as 2027-01-31
    #[arg(long, value_name = "DATE", env = "HAYWARD_EXPIRES", value_parser = date)]
    pub expires: Option<jiff::civil::Date>,
    /// Write the token to a new file that only you can read, instead of standard output
    #[arg(long, value_name = "PATH", env = "HAYWARD_FILE")]
    pub file: Option<PathBuf>,
}

/// Makes a token and shows it once.
pub(super) fn new(arguments: &NewArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let token = fresh()?;
    match &arguments.file {
        Some(path) => write_file(path, &token)
            .with_context(|| format!("cannot write the token to `{}`", path.display()))?,
        None => screen
            .answer(token.expose())
            .context("cannot write the token to standard output")?,
    }
    screen.say(&format!(
        "Only the hash is kept, so keep the token. Put this under `agents:` in permissions.yaml and name the \
         servers it may use, or take over the hash where `{}` has an entry already:\n",
        arguments.agent
    ));
    screen.note(&policy_line(arguments, &TokenHash::of(token.expose())));
    Ok(Exit::Yes)
}

/// A token that nobody has yet.
pub(super) fn fresh() -> anyhow::Result<Secret> {
    let mut random = [0; TOKEN_RANDOM_BYTES];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    Ok(new_token(random))
}

/// Never overwrites: the old file may hold the only copy of a token in use.
pub(super) fn write_file(path: &Path, token: &Secret) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(token.expose().as_bytes())?;
    file.sync_all()
}

/// The agent's line for `permissions.yaml`.
fn policy_line(arguments: &NewArguments, hash: &TokenHash) -> String {
    let hash = format!("\"{}\"", hash.to_policy_form());
    let mut about = String::new();
    if let Some(label) = &arguments.label {
        about.push_str(&format!(", label: {}", json_string(label)));
    }
    if let Some(expires) = arguments.expires {
        about.push_str(&format!(", expires: {expires}"));
    }
    let hash = if about.is_empty() {
        hash
    } else {
        format!("[{{hash: {hash}{about}}}]")
    };
    format!("  {}: {{token_hash: {hash}, servers: []}}", arguments.agent)
}

fn label(text: &str) -> Result<String, &'static str> {
    let is_plain = !text.is_empty() && text.len() <= 64 && !text.chars().any(char::is_control);
    is_plain
        .then(|| text.to_owned())
        .ok_or("a label is 1 to 64 characters on one line")
}

pub(super) fn date(text: &str) -> Result<jiff::civil::Date, &'static str> {
    text.parse()
        .map_err(|_| "write a day as year, month and day, such as 2027-01-31")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::screen::tests::paper_screen;
    use crate::types::checksum_holds;

    fn arguments() -> NewArguments {
        NewArguments {
            agent: "clawd".parse().unwrap(),
            label: None,
            expires: None,
            file: None,
        }
    }

    #[test]
    fn the_token_stands_alone_on_one_stream_and_its_hash_on_the_other() {
        let (mut screen, out, err) = paper_screen();
        assert_eq!(new(&arguments(), &mut screen).unwrap(), Exit::Yes);
        let token = out.text().trim_end().to_owned();
        assert!(checksum_holds(&token), "{token}");
        assert!(!err.text().contains(&token));
        let hash = TokenHash::of(&token).to_policy_form();
        let line = format!("\n  clawd: {{token_hash: \"{hash}\", servers: []}}\n");
        assert!(err.text().ends_with(&line), "{}", err.text());
    }

    #[test]
    fn a_label_and_an_end_stand_beside_the_hash() {
        let arguments = NewArguments {
            label: Some("old \"laptop\"".into()),
            expires: Some(date("2026-12-01").unwrap()),
            ..arguments()
        };
        let line = policy_line(&arguments, &TokenHash::of("x"));
        let wanted = format!(
            r#"  clawd: {{token_hash: [{{hash: "{}", label: "old \"laptop\"", expires: 2026-12-01}}], servers: []}}"#,
            TokenHash::of("x").to_policy_form()
        );
        assert_eq!(line, wanted);
        assert!(date("01.12.2026").is_err() && label("a\nb").is_err() && label("").is_err());
    }

    #[test]
    fn a_file_is_for_its_owner_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let arguments = NewArguments {
            file: Some(path.clone()),
            ..arguments()
        };
        let (mut screen, out, _) = paper_screen();
        assert_eq!(new(&arguments, &mut screen).unwrap(), Exit::Yes);
        assert_eq!(out.text(), "");
        let token = std::fs::read_to_string(&path).unwrap();
        assert!(checksum_holds(&token), "no line end: {token:?}");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let failure = new(&arguments, &mut screen).unwrap_err();
        assert_eq!(failure.exit, Exit::Environment);
        assert!(
            format!("{:#}", failure.error).contains("exists"),
            "{:#}",
            failure.error
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), token);
    }
}
