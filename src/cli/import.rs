//! `hayward import FILE`: the servers somebody has in another program's file, as `servers:` of permissions.yaml.
//!
//! Nothing secret is written: it becomes `${NAME}`, and the operator learns which names to set. Nothing is dropped in
//! silence: what has no place in permissions.yaml is told, a line each.

mod entry;
mod names;
mod read;
mod secrets;
mod texts;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Map, Value};

use self::entry::{Imported, entry};
use self::names::Names;
use self::texts::Variables;
use super::{Exit, Failure, Screen, plain, token};
use crate::config;
use crate::types::{AgentName, Secret, TokenHash};

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// The keys under which programs keep their servers.
const SECTIONS: &[&str] = &["mcpServers", "servers", "mcp_servers"];

/// Flags of `hayward import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArguments {
    /// The file of Claude Desktop, Claude Code, Cursor, VS Code, mcpo, FastMCP or LibreChat
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Add an agent that is granted all of these servers; its new token is shown once, on standard error
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// Write the agent's token to a new file that only you can read, instead of standard error
    #[arg(long, value_name = "PATH", requires = "agent")]
    pub token_file: Option<PathBuf>,
}

/// What came out of a file.
#[derive(Debug, Default)]
struct Harvest {
    servers: Vec<Imported>,
    /// What could not be taken over, a line each.
    left_out: Vec<String>,
    /// What was changed on the way, a line each.
    notes: Vec<String>,
    variables: Variables,
}

/// Reads the file and prints what it becomes.
pub(super) fn run(arguments: &ImportArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let file = arguments.file.display();
    let text = read_text(&arguments.file).with_context(|| format!("cannot read `{file}`"))?;
    let root = read::read(&arguments.file, &text)
        .map_err(|error| anyhow!("`{file}` is not understood: {error}"))?;
    let harvest = harvest(&root);
    tell("not imported: ", &harvest.left_out, screen);
    tell("note: ", &harvest.notes, screen);
    if harvest.servers.is_empty() {
        screen.note(&format!(
            "error: `{file}` holds no server that can be imported"
        ));
        return Ok(Exit::No);
    }
    let token = arguments
        .agent
        .as_ref()
        .map(|_| token::fresh())
        .transpose()?;
    let agent = arguments.agent.as_ref().zip(token.as_ref());
    let agent = agent.map(|(name, token)| (name, TokenHash::of(token.expose())));
    let rules = write::rules(&harvest.servers, agent);
    check(&rules)?;
    if let Some(token) = &token {
        hand_over(arguments, token, screen)?;
    }
    screen.answer(rules.trim_end())?;
    tell_variables(&harvest.variables, screen);
    Ok(Exit::Yes)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_FILE {
        anyhow::bail!("it is larger than 2 MB");
    }
    let bytes = std::fs::read(path)?;
    String::from_utf8(bytes).map_err(|_| anyhow!("it is not UTF-8 text"))
}

fn tell(before: &str, lines: &[String], screen: &mut Screen) {
    for line in lines {
        screen.note(&format!("{before}{}", plain(line)));
    }
}

fn tell_variables(variables: &Variables, screen: &mut Screen) {
    let lines = variables.lines();
    if lines.is_empty() {
        return;
    }
    screen.note("\nSet these where the gateway starts; no value of theirs was written:");
    for line in lines {
        screen.note(&format!("  {}", plain(&line)));
    }
}

/// Gives the agent's token to whoever asked for it, once.
fn hand_over(
    arguments: &ImportArguments,
    token: &Secret,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let name = arguments.agent.as_ref().map_or("", |name| name.as_str());
    let Some(path) = &arguments.token_file else {
        screen.note(&format!(
            "The token of `{name}`, of which only the hash is kept: {}\n",
            token.expose()
        ));
        return Ok(());
    };
    token::write_file(path, token)
        .with_context(|| format!("cannot write the token to `{}`", path.display()))?;
    Ok(())
}

/// Takes every server of a file.
fn harvest(root: &Value) -> Harvest {
    let mut harvest = Harvest::default();
    let Value::Object(root) = root else {
        harvest
            .left_out
            .push("the file, which is no mapping".into());
        return harvest;
    };
    harvest.variables.reserve(root);
    sections(root, &mut harvest);
    harvest
}

fn sections(root: &Map<String, Value>, harvest: &mut Harvest) {
    let inner = inner_section(root);
    for (key, value) in root {
        match value {
            Value::Object(section) if SECTIONS.contains(&key.as_str()) => servers(section, harvest),
            Value::Object(_) if key == "mcp" && inner.is_some() => {}
            Value::Array(_) if key == "inputs" => {}
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => harvest.left_out.push(format!("`{key}` of the file")),
        }
    }
    if let Some(inner) = inner {
        sections(inner, harvest);
    }
    if let Some(Value::Array(inputs)) = root.get("inputs") {
        let unknown = harvest.variables.describe(inputs);
        harvest.left_out.extend(unknown);
    }
}

/// VS Code's own settings keep servers under `mcp`.
fn inner_section(root: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let inner = root.get("mcp")?.as_object()?;
    let has_servers = SECTIONS.iter().any(|key| inner.contains_key(*key));
    has_servers.then_some(inner)
}

fn servers(section: &Map<String, Value>, harvest: &mut Harvest) {
    let mut names = Names::default();
    for (written, value) in section {
        let (name, was_changed) = names.valid(written);
        if was_changed {
            harvest
                .notes
                .push(format!("server `{written}` is called `{name}`"));
        }
        let found = entry(&name, value, &mut harvest.variables, &mut harvest.left_out);
        let Some(found) = found else {
            continue;
        };
        match check(&write::rules(std::slice::from_ref(&found), None)) {
            Ok(()) => harvest.servers.push(found),
            Err(error) => {
                let line = format!("server `{name}`: {:#}", error.error);
                harvest.left_out.push(line);
            }
        }
    }
}

/// Whether `serve` would take these rules, and whether a secret still stands in them.
///
/// # Errors
/// Says what is wrong, without a word of the text.
fn check(rules: &str) -> Result<(), Failure> {
    let address = |name: &str| rules.contains(&format!("url: \"${{{name}"));
    let stand_in = |name: &str| {
        let value = if address(name) {
            "http://stand-in.invalid"
        } else {
            "1"
        };
        Some(value.to_owned())
    };
    let (titles, is_wrong): (Vec<String>, bool) =
        match config::parse("permissions.yaml", rules, &stand_in) {
            Ok(loaded) => {
                let secret =
                    |found: &&config::Diagnostic| found.code() == config::Code::SecretWritten;
                let found = loaded.warnings.iter().filter(secret);
                let titles: Vec<String> = found.map(|found| found.title().to_owned()).collect();
                let is_wrong = !titles.is_empty();
                (titles, is_wrong)
            }
            Err(problems) => {
                let all = problems.diagnostics().iter();
                (all.map(|found| found.title().to_owned()).collect(), true)
            }
        };
    if is_wrong {
        return Err(anyhow!("{}", titles.join("; ")).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
