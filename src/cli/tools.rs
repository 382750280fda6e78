//! `hayward tools`: what the servers of the rules offer, each tool with the hash of its definition.
//!
//! The servers are asked as the gateway asks them, for no agent and without a call in the log: nothing is called.

mod ask;
mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};

use self::ask::{Found, ask_all};
use self::compare::{Difference, compare};
use super::args::PolicyFile;
use super::inspect::Format;
use super::rules::load_connected;
use super::{Exit, Failure, Screen, plain};
use crate::config::{self, Loaded, Offered};
use crate::policy::{Locked, ToolLock};
use crate::types::ServerName;

/// Flags of `hayward tools`.
#[derive(Debug, Clone, Args)]
pub struct ToolsArguments {
    /// Which rules.
    #[command(flatten)]
    pub rules: PolicyFile,
    /// Only this server; may be repeated
    #[arg(long = "server", value_name = "NAME")]
    pub servers: Vec<ServerName>,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// Write `tools.lock` beside the rules: from then on, a tool whose definition is another one is refused
    #[arg(long)]
    pub write_lock: bool,
    /// Compare with `tools.lock`, and exit 1 when something was added, removed or changed
    #[arg(long, conflicts_with = "write_lock")]
    pub check_lock: bool,
}

/// The definitions of the tools of each server that was asked.
type Tools = BTreeMap<ServerName, Vec<Found>>;

/// The tools that servers have, with the names of their arguments, and why some could not be asked. Those that are switched
/// off are not asked.
pub(super) async fn offered(
    rules: Loaded,
) -> anyhow::Result<(Offered, BTreeMap<ServerName, String>)> {
    let servers = rules.permissions.servers().values();
    let on = servers.filter(|rule| rule.disabled.is_none());
    let on: Vec<ServerName> = on.map(|rule| rule.name.clone()).collect();
    let (found, failed) = ask_all(rules.connections, &on).await?;
    let offered = found.into_iter().map(|(server, tools)| {
        let tools = tools.into_iter();
        let tools = tools.map(|tool| (tool.definition.name.clone(), arguments_of(&tool.text)));
        (server, tools.collect())
    });
    Ok((offered.collect(), failed))
}

/// The names of the arguments in the schema of a tool.
fn arguments_of(definition: &str) -> BTreeSet<String> {
    let definition: Value = serde_json::from_str(definition).unwrap_or_default();
    let properties = definition.pointer("/inputSchema/properties");
    let properties = properties.and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(|all| all.keys().cloned())
        .collect()
}

/// Asks the servers and does with their answers what was asked for.
pub(super) async fn run(arguments: ToolsArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let rules = load_connected(&arguments.rules.policy, screen)?;
    let wanted = wanted(&arguments, &rules, screen)?;
    let known: Vec<ServerName> = rules.permissions.servers().keys().cloned().collect();
    let (found, failed) = ask_all(rules.connections, &wanted).await?;
    for (server, why) in &failed {
        screen.note(&format!(
            "server `{server}` could not be asked: {}",
            plain(why)
        ));
    }
    let is_whole = failed.is_empty();
    let done = if arguments.write_lock {
        if !is_whole {
            screen.note("nothing was written: a lock without these servers would let all of their tools pass");
            return Ok(Exit::Environment);
        }
        write_lock(&arguments, &known, &found, screen)?
    } else if arguments.check_lock {
        check_lock(&arguments, &known, &found, screen)?
    } else {
        list(&arguments, &found, &failed, screen)?;
        Exit::Yes
    };
    Ok(if is_whole { done } else { Exit::Environment })
}

/// The servers to ask: those that were named, or all that are not switched off.
fn wanted(
    arguments: &ToolsArguments,
    rules: &Loaded,
    screen: &mut Screen,
) -> Result<Vec<ServerName>, Failure> {
    let known = rules.permissions.servers();
    if let Some(unknown) = arguments
        .servers
        .iter()
        .find(|name| !known.contains_key(*name))
    {
        let file = arguments.rules.policy.display();
        return Err(Failure::usage(anyhow!(
            "`{file}` has no server `{unknown}`"
        )));
    }
    if !arguments.servers.is_empty() {
        return Ok(arguments.servers.clone());
    }
    let (on, off): (Vec<_>, Vec<_>) = known.values().partition(|rule| rule.disabled.is_none());
    for rule in off {
        screen.say(&format!(
            "server `{}` is switched off and was not asked",
            rule.name
        ));
    }
    Ok(on.into_iter().map(|rule| rule.name.clone()).collect())
}

fn list(
    arguments: &ToolsArguments,
    found: &Tools,
    failed: &BTreeMap<ServerName, String>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    if arguments.format == Format::Json {
        return Ok(screen.answer(&json!({"servers": as_json(found, failed)?}).to_string())?);
    }
    for (server, tools) in found {
        for tool in tools {
            let (hash, name) = (tool.definition.hash, plain(&tool.definition.name));
            screen.answer(&format!("sha256:{hash}  {server}/{name}"))?;
        }
        if tools.is_empty() {
            screen.say(&format!("server `{server}` has no tools"));
        }
    }
    Ok(())
}

/// The answer as JSON. Stable: what stands here is what scripts read.
fn as_json(
    found: &Tools,
    failed: &BTreeMap<ServerName, String>,
) -> Result<Vec<Value>, serde_json::Error> {
    let mut servers = Vec::new();
    for (server, tools) in found {
        let mut listed = Vec::new();
        for tool in tools {
            let definition: Value = serde_json::from_str(&tool.text)?;
            listed.push(json!({
                "name": tool.definition.name,
                "hash": format!("sha256:{}", tool.definition.hash),
                "parts": tool.definition.parts,
                "definition": definition,
            }));
        }
        servers.push(json!({"server": server.as_str(), "tools": listed, "error": null}));
    }
    for (server, why) in failed {
        servers.push(json!({"server": server.as_str(), "tools": [], "error": why}));
    }
    Ok(servers)
}

/// Writes the lock. Servers that were not asked keep their lines, as long as the rules have them.
fn write_lock(
    arguments: &ToolsArguments,
    known: &[ServerName],
    found: &Tools,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let old = match config::load_lock(&arguments.rules.policy) {
        // Nothing of it would stay.
        Err(_) if arguments.servers.is_empty() => None,
        read => read?,
    };
    for (server, _) in found.iter().filter(|(_, tools)| tools.is_empty()) {
        screen.note(&format!(
            "server `{server}` has no tools, so the lock says nothing about it"
        ));
    }
    let lock = ToolLock::new(lines(known, found, old.as_ref()));
    let path = config::lock_path(&arguments.rules.policy);
    replace(&path, &lock.to_text())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    let counts = lock.servers().map(|server| lock.tools(server).count());
    screen.say(&format!(
        "{} tools stand in `{}`; review it, and put it under git",
        counts.sum::<usize>(),
        path.display()
    ));
    Ok(Exit::Yes)
}

fn lines(
    known: &[ServerName],
    found: &Tools,
    old: Option<&ToolLock>,
) -> BTreeMap<ServerName, BTreeMap<String, Vec<Locked>>> {
    let lines = known.iter().map(|server| {
        let lines = match (found.get(server), old) {
            (Some(tools), _) => locked(tools),
            (None, Some(old)) => kept(old, server),
            (None, None) => BTreeMap::new(),
        };
        (server.clone(), lines)
    });
    lines.filter(|(_, lines)| !lines.is_empty()).collect()
}

fn locked(tools: &[Found]) -> BTreeMap<String, Vec<Locked>> {
    let mut lines: BTreeMap<String, Vec<Locked>> = BTreeMap::new();
    for tool in tools {
        let line = Locked {
            hash: tool.definition.hash,
            parts: tool.definition.parts.clone(),
        };
        lines
            .entry(tool.definition.name.clone())
            .or_default()
            .push(line);
    }
    lines
}

fn kept(old: &ToolLock, server: &ServerName) -> BTreeMap<String, Vec<Locked>> {
    let lines = old.tools(server);
    lines
        .map(|(tool, locked)| (tool.to_owned(), locked.to_vec()))
        .collect()
}

/// Puts a file in place whole: a gateway that reads it meanwhile finds the old one or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

/// Compares with the lock.
fn check_lock(
    arguments: &ToolsArguments,
    known: &[ServerName],
    found: &Tools,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let path = config::lock_path(&arguments.rules.policy);
    let Some(lock) = config::load_lock(&arguments.rules.policy)? else {
        screen.note(&format!(
            "there is no `{}`; `hayward tools --write-lock` writes one",
            path.display()
        ));
        return Ok(Exit::No);
    };
    let all = arguments.servers.is_empty();
    let gone = lock
        .servers()
        .filter(|server| all && !known.contains(server));
    let differences = compare(&lock, found, gone);
    match arguments.format {
        Format::Json => screen.answer(&Difference::json(&differences).to_string())?,
        Format::Text => {
            for difference in &differences {
                screen.answer(&plain(&difference.line()))?;
            }
        }
    }
    if differences.is_empty() {
        screen.say(&format!("`{}` says what the servers say", path.display()));
        return Ok(Exit::Yes);
    }
    screen.say("review what changed, then `hayward tools --write-lock`");
    Ok(Exit::No)
}
