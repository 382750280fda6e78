//! Which server an agent means, and what that server calls it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use crate::policy::{UngrantedStyle, may_see_server};
use crate::protocol::{Method, Object};
use crate::types::{AgentName, ServerName, Timestamp};
use crate::upstream::Outgoing;

use super::listener::Listener;
use super::names::{exposed, split_exposed, split_uri};
use super::stages::Caller;
use super::{Failure, Gateway, Scope};

/// How long a list of tool names is trusted for resolving bare names.
const FRESH: Duration = Duration::from_secs(60);

/// Tool names by agent and server, for bare and shortened names only. As many entries as the rules have
/// agents and servers.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    tools: Mutex<HashMap<(AgentName, ServerName), Known>>,
}

/// The names of one server's tools, and since when they are known.
type Known = (Timestamp, Arc<Vec<String>>);

impl Catalog {
    fn fresh(
        &self,
        agent: &AgentName,
        server: &ServerName,
        at: Timestamp,
    ) -> Option<Arc<Vec<String>>> {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, names) = tools.get(&(agent.clone(), server.clone()))?;
        (at.since(*since) < FRESH).then(|| Arc::clone(names))
    }

    fn keep(&self, agent: &AgentName, server: &ServerName, at: Timestamp, names: Arc<Vec<String>>) {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.insert((agent.clone(), server.clone()), (at, names));
    }
}

impl Gateway {
    /// The server and its own name of a tool.
    pub(super) async fn resolve_tool(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        name: &str,
        agent: &Listener,
    ) -> Result<(ServerName, String), Failure> {
        if let Scope::One(server) = scope {
            return Ok((server.clone(), name.into()));
        }
        if let Some((server, own)) = split_exposed(name, self.nameable_servers(caller)) {
            return Ok((server.clone(), own.into()));
        }
        let servers = self.visible_servers(caller);
        if let [only] = servers.as_slice()
            && name.len() < 64
        {
            return Ok((only.clone(), name.into()));
        }
        let lists = servers
            .iter()
            .map(async |server| (server, self.tool_names(caller, server, agent).await));
        let lists = join_all(lists).await;
        let fits = lists.iter().flat_map(|(server, names)| {
            let fitting = names
                .iter()
                .filter(|own| *own == name || exposed(server, own) == name);
            fitting.map(|own| ((*server).clone(), own.clone()))
        });
        let mut fits: Vec<(ServerName, String)> = fits.collect();
        match fits.len() {
            0 => Err(Failure::UnknownTool(name.into())),
            1 => Ok(fits.remove(0)),
            _ => Err(Failure::AmbiguousTool {
                name: name.into(),
                choices: fits
                    .iter()
                    .map(|(server, own)| exposed(server, own))
                    .collect(),
            }),
        }
    }

    /// The server and its own name of a prompt.
    pub(super) fn resolve_prompt(
        &self,
        caller: &Caller,
        scope: &Scope,
        name: &str,
    ) -> Result<(ServerName, String), Failure> {
        self.resolve(caller, scope, name, |servers| split_exposed(name, servers))
            .ok_or_else(|| Failure::UnknownPrompt(name.into()))
    }

    /// The server and its own URI of a resource or a template.
    pub(super) fn resolve_resource(
        &self,
        caller: &Caller,
        scope: &Scope,
        uri: &str,
    ) -> Result<(ServerName, String), Failure> {
        self.resolve(caller, scope, uri, |servers| split_uri(uri, servers))
            .ok_or_else(|| Failure::UnknownResource(uri.into()))
    }

    fn resolve<'a>(
        &self,
        caller: &'a Caller,
        scope: &Scope,
        name: &'a str,
        split: impl FnOnce(
            &mut dyn Iterator<Item = &'a ServerName>,
        ) -> Option<(&'a ServerName, &'a str)>,
    ) -> Option<(ServerName, String)> {
        if let Scope::One(server) = scope {
            return Some((server.clone(), name.into()));
        }
        if let Some((server, own)) = split(&mut self.nameable_servers(caller)) {
            return Some((server.clone(), own.into()));
        }
        match self.visible_servers(caller).as_slice() {
            [only] => Some((only.clone(), name.into())),
            _ => None,
        }
    }

    /// The servers that an agent can put before a name. To one that is not to learn what it was not granted, the
    /// name of a hidden server means what any other word means.
    fn nameable_servers<'a>(
        &self,
        caller: &'a Caller,
    ) -> impl Iterator<Item = &'a ServerName> + use<'a> {
        let at = self.clock.now();
        let hides = caller.agent.ungranted == UngrantedStyle::Hide;
        let servers = caller.permissions.servers().keys();
        servers.filter(move |server| {
            !hides || may_see_server(&caller.permissions, &caller.agent, server, at)
        })
    }

    async fn tool_names(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        agent: &Listener,
    ) -> Arc<Vec<String>> {
        let at = self.clock.now();
        if let Some(names) = self.catalog.fresh(&caller.agent.name, server, at) {
            return names;
        }
        let request = Outgoing {
            method: Method::ToolsList,
            params: Object::default(),
            log_level: None,
            session_level: None,
            missed: Arc::default(),
            param_headers: Vec::new(),
            capabilities: Object::default(),
            client_info: None,
        };
        // A server that cannot be asked has no tools for now; it is asked again next time.
        let Ok(items) = self.list_pages(caller, server, request, agent).await else {
            return Arc::default();
        };
        let names = items
            .iter()
            .filter_map(|item| item.get_str("name").map(|name| name.into_owned()));
        let names: Arc<Vec<String>> = Arc::new(names.collect());
        self.catalog
            .keep(&caller.agent.name, server, at, Arc::clone(&names));
        names
    }
}
