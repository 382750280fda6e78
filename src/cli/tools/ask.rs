//! The tools of servers, asked for in the ways agents would.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Tools;
use crate::cli::serve::environment;
use crate::clock::SystemClock;
use crate::protocol::code::METHOD_NOT_FOUND;
use crate::protocol::{Definition, Method, Object, array_items, error_code};
use crate::types::{AgentName, Connection, ServerName};
use crate::upstream::{Era, Lane, Outgoing, Upstream, Upstreams};

/// The longest wait for all pages of one server.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many pages as the gateway asks a server for.
const MAX_PAGES: usize = 50;

/// One definition of a tool.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) definition: Definition,
    /// As the server wrote it.
    pub(super) text: String,
}

/// Asks these servers, all at once. Returns what each has, and why the others could not be asked.
pub(super) async fn ask_all(
    connections: BTreeMap<ServerName, Connection>,
    wanted: &[ServerName],
) -> anyhow::Result<(Tools, BTreeMap<ServerName, String>)> {
    let clock = Arc::new(SystemClock::start());
    let connections = connections
        .into_iter()
        .filter(|(name, _)| wanted.contains(name));
    let upstreams = Upstreams::new(connections.collect(), &environment(), clock)
        .map_err(|(server, error)| anyhow!("server `{server}`: {error}"))?;
    let asking = upstreams.iter().map(async |(name, upstream)| {
        let asked = timeout(PATIENCE, ask(upstream)).await;
        let late = || Err(format!("it took longer than {} s", PATIENCE.as_secs()));
        (name.clone(), asked.unwrap_or_else(|_| late()))
    });
    let answers = join_all(asking).await;
    upstreams.close().await;
    let (mut found, mut failed) = (Tools::new(), BTreeMap::new());
    for (server, answer) in answers {
        match answer {
            Ok(tools) => drop(found.insert(server, tools)),
            Err(why) => drop(failed.insert(server, why)),
        }
    }
    Ok((found, failed))
}

/// A server that speaks two eras may define its tools differently in each, so it is asked in both.
async fn ask(upstream: &Upstream) -> Result<Vec<Found>, String> {
    let (era, mut tools) = list(upstream, None).await?;
    if era == Era::Modern {
        let (_, others) = list(upstream, Some(Era::Legacy)).await?;
        tools.extend(others);
    }
    tools.sort_by(|one, other| {
        let key = |found: &Found| (found.definition.name.clone(), found.definition.hash);
        key(one).cmp(&key(other))
    });
    tools.dedup_by(|one, other| one.definition == other.definition);
    Ok(tools)
}

async fn list(upstream: &Upstream, prefers: Option<Era>) -> Result<(Era, Vec<Found>), String> {
    let agent: AgentName = "hayward-tools".parse().map_err(|_| "no name".to_owned())?;
    // With a session, a server of both eras speaks the older one.
    let session = prefers.map(|_| Arc::from("hayward-tools"));
    let lane = Lane {
        agent,
        session,
        prefers,
    };
    let (mut tools, mut cursor) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let mut params = Object::default();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", cursor);
        }
        let (notices, _heard) = mpsc::channel(1);
        let reply = upstream
            .send(&lane, Outgoing::own(Method::ToolsList, params), &notices)
            .await;
        let reply = reply.map_err(|error| error.to_string())?;
        let result = match reply.outcome {
            Ok(result) => result,
            // A server without tools need not know the method.
            Err(error) if error_code(&error) == Some(METHOD_NOT_FOUND) => {
                return Ok((reply.era, tools));
            }
            Err(error) => return Err(format!("it answers with the error {}", error.get())),
        };
        let fields = Object::parse(result.get())
            .map_err(|error| format!("its list is not readable: {error}"))?;
        tools.extend(read(&fields)?);
        cursor = fields
            .get("nextCursor")
            .filter(|next| next.get() != "null")
            .map(ToOwned::to_owned);
        if cursor.is_none() {
            return Ok((reply.era, tools));
        }
    }
    Err(format!("its list has more than {MAX_PAGES} pages"))
}

fn read(fields: &Object) -> Result<Vec<Found>, String> {
    let items = fields
        .get("tools")
        .and_then(|tools| array_items(tools.get()));
    let items = items.ok_or("its answer has no list of tools")?;
    let tools = items.into_iter().map(|item| {
        let object = Object::parse(item.get()).ok()?;
        Some(Found {
            definition: Definition::of(&object)?,
            text: item.get().to_owned(),
        })
    });
    tools
        .collect::<Option<_>>()
        .ok_or_else(|| "one of its tools is not readable".into())
}
