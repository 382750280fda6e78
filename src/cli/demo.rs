//! `hayward demo`: the first minute with a gateway.
//!
//! Nothing here is pretended: a real gateway on a real database, real MCP servers as child processes, and
//! calls that come in over HTTP like any agent's.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::demo_agent::{Visitor, tell};
use super::serve::{environment, interruption, listen_address, settings, stop_when};
use super::{Exit, Failure, LogArguments, Screen, token};
use crate::app::{self, Running};
use crate::config;
use crate::dashboard::Access;
use crate::db::Durability;
use crate::http::Guard;
use crate::protocol::json_string;
use crate::types::{Secret, TokenHash, Zone};

/// Where the demo listens when nobody says anything; taken, it moves to any free port.
const DEFAULT_LISTEN: &str = "127.0.0.1:3100";

/// Flags of `hayward demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArguments {
    /// Address and port to listen on; port 0 takes any that is free [default: 127.0.0.1:3100, or any free port when that is taken]
    #[arg(long, value_name = "ADDRESS", env = "HAYWARD_LISTEN", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// What to log.
    #[command(flatten)]
    pub log: LogArguments,
}

/// The tokens of one run.
struct Tokens {
    designer: Secret,
    reader: Secret,
    viewer: Secret,
}

/// Starts everything, lets two agents work a little, and stays up until interrupted.
pub(super) async fn run(arguments: DemoArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let interrupted = interruption()?;
    let folder = make_folder().context("cannot make a folder for the demo")?;
    let tokens = Tokens {
        designer: token::fresh()?,
        reader: token::fresh()?,
        viewer: token::fresh()?,
    };
    let policy = folder.join("permissions.yaml");
    let text = rules(&std::env::current_exe()?, &tokens);
    fs::write(&policy, text).context("cannot write the rules of the demo")?;
    let running = start(&arguments, &policy, &folder.join("hayward.db")).await?;
    let address = running.address;
    screen.note(&format!(
        "A gateway is up at http://{address} with two servers and two agents.\n"
    ));
    traffic(address, &tokens, screen).await?;
    screen.note(&invitation(address, &folder, &tokens));
    stop_when(running, interrupted, screen).await
}

async fn start(arguments: &DemoArguments, policy: &Path, db: &Path) -> Result<Running, Failure> {
    let usual: SocketAddr = DEFAULT_LISTEN.parse().context("the usual address")?;
    let wanted = arguments.listen.unwrap_or(usual);
    match start_at(wanted, policy, db).await {
        Err(_) if arguments.listen.is_none() => {
            start_at(SocketAddr::new(usual.ip(), 0), policy, db).await
        }
        started => started,
    }
}

async fn start_at(listen: SocketAddr, policy: &Path, db: &Path) -> Result<Running, Failure> {
    let variables = environment();
    let loaded = config::load(policy, &|name| variables.get(name).cloned())?;
    let settings = settings(
        loaded,
        db,
        listen,
        Durability::Process,
        Access::Viewers,
        Guard::default(),
    );
    Ok(app::start(settings).await?)
}

/// A folder of this run's own, that others on the machine cannot look into.
fn make_folder() -> io::Result<PathBuf> {
    let run: [u8; 4] = crate::gateway::random();
    let name = format!("hayward-demo-{:08x}", u32::from_be_bytes(run));
    let folder = std::env::temp_dir().join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}

/// The rules of the demo, in the short form people start with.
fn rules(program: &Path, tokens: &Tokens) -> String {
    let program = json_string(&program.to_string_lossy());
    let hash = |token: &Secret| TokenHash::of(token.expose()).to_policy_form();
    format!(
        "# The rules of this demo. Change them, and start the gateway again with\n\
         # `hayward serve --policy permissions.yaml --db hayward.db`.\n\
         version: 1\n\
         defaults: {{timezone: {zone}}}\n\n\
         servers:\n  \
           images:\n    \
             description: \"Draws small pictures; two a day for each agent\"\n    \
             command: {program}\n    \
             args: [example-server, images]\n    \
             budgets: [{{limit: 2/day, tools: [imagine, blend], each: agent}}]\n  \
           notes:\n    \
             description: \"Notes about commons and gateways\"\n    \
             command: {program}\n    \
             args: [example-server, notes]\n\n\
         agents:\n  \
           designer: {{token_hash: \"{designer}\", servers: [images, notes]}}\n  \
           reader: {{token_hash: \"{reader}\", servers: [notes], owner: \"whoever runs this demo\"}}\n\n\
         viewers:\n  \
           you: {{token_hash: \"{viewer}\"}}\n",
        zone = local_zone().name(),
        designer = hash(&tokens.designer),
        reader = hash(&tokens.reader),
        viewer = hash(&tokens.viewer),
    )
}

/// The zone of this machine by its name, so that `2/day` means the day of whoever watches.
fn local_zone() -> Zone {
    let system = jiff::tz::TimeZone::try_system().ok();
    let name = system.as_ref().and_then(|zone| zone.iana_name());
    name.and_then(|name| Zone::named(name).ok())
        .unwrap_or_else(Zone::utc)
}

/// A little work of both agents, told as it happens; the third picture is one too many.
async fn traffic(address: SocketAddr, tokens: &Tokens, screen: &mut Screen) -> anyhow::Result<()> {
    let designer = Visitor::new(address, "designer", tokens.designer.clone());
    let reader = Visitor::new(address, "reader", tokens.reader.clone());
    let said = designer
        .call("notes__search", json!({"query": "commons"}))
        .await?;
    tell(screen, "designer searches the notes for `commons`", &said);
    for prompt in [
        "a hayward at the gate",
        "a common field",
        "one picture too many",
    ] {
        let said = designer
            .call("images__imagine", json!({"prompt": prompt}))
            .await?;
        tell(screen, &format!("designer imagines `{prompt}`"), &said);
    }
    let said = reader
        .call("notes__search", json!({"query": "budget"}))
        .await?;
    tell(screen, "reader searches the notes for `budget`", &said);
    let said = reader
        .call("images__imagine", json!({"prompt": "not granted"}))
        .await?;
    tell(screen, "reader tries to imagine a picture", &said);
    Ok(())
}

/// This program, as it can be called from here.
fn program() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| "hayward".into());
    let here = std::env::current_dir().ok();
    let near = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf));
    near.unwrap_or(path)
}

fn invitation(address: SocketAddr, folder: &Path, tokens: &Tokens) -> String {
    let url = format!("http://{address}/mcp");
    let (designer, viewer) = (tokens.designer.expose(), tokens.viewer.expose());
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let left =
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"hayward__budgets"}}"#;
    format!(
        "\nLook at it all:\n  \
           http://{address}/audit\n  \
           log in with  {viewer}\n\n\
         Call it yourself, as `designer`:\n  \
           curl -s {url} -H 'Authorization: Bearer {designer}' \\\n    \
             -H 'Content-Type: application/json' -d '{request}'\n  \
           and for what is left of its pictures today, the same with\n    \
             -d '{left}'\n\n\
         Give it to Claude Code:\n  \
           claude mcp add --transport http --header 'Authorization: Bearer {designer}' hayward {url}\n\n\
         Check the log:\n  \
           {program} audit verify --db {folder}/hayward.db\n\n\
         Rules and database stay in {folder}. Interrupt (Ctrl-C) to stop.",
        program = program().display(),
        folder = folder.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_demo_are_valid() {
        let tokens = Tokens {
            designer: token::fresh().unwrap(),
            reader: token::fresh().unwrap(),
            viewer: token::fresh().unwrap(),
        };
        let text = rules(Path::new("/a folder/\"odd\" name"), &tokens);
        let loaded = config::parse("permissions.yaml", &text, &|_| None).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        assert_eq!(loaded.permissions.agents().len(), 2);
    }
}
