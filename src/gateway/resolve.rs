//! Which server an agent means, and what that server calls it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use crate::policy::{UngrantedStyle, may_see_server};
use crate::protocol::{Method, Object};
use crate::types::{AgentName, ServerName};

use super::built_in;
use super::listener::Listener;
use super::names::{self, Names, is_changed, is_web};
use super::recheck::plain;
use super::stages::Caller;
use super::{Failure, Gateway, Scope};

/// How long a list of names is trusted.
const FRESH: Duration = Duration::from_secs(60);

/// Names by agent, server and list, for those that do not say their server. As many entries as the rules have agents
/// and servers, times four.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    names: Mutex<HashMap<(AgentName, ServerName, Method), Known>>,
}

/// The names on one server's list, and since when they are known.
type Known = (Duration, Arc<Vec<String>>);

impl Catalog {
    fn fresh(
        &self,
        agent: &AgentName,
        server: &ServerName,
        list: Method,
        at: Duration,
    ) -> Option<Arc<Vec<String>>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, names) = names.get(&(agent.clone(), server.clone(), list))?;
        (at.saturating_sub(*since) < FRESH).then(|| Arc::clone(names))
    }

    /// Forgets all of them: other rules show other names, and other servers have other ones.
    pub(super) fn clear(&self) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.clear();
    }

    /// Keeps the names on a whole list.
    pub(super) fn keep(
        &self,
        agent: &AgentName,
        server: &ServerName,
        list: Method,
        items: &[Object],
        at: Duration,
    ) {
        let is_resource = list == Method::ResourcesList;
        let key = if is_resource { "uri" } else { "name" };
        let named = items.iter().filter_map(|item| item.get_str(key));
        let named = Arc::new(named.map(|name| name.into_owned()).collect());
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert((agent.clone(), server.clone(), list), (at, named));
    }
}

/// What an agent wants by name, and to whom.
struct Wanted<'a> {
    caller: &'a Arc<Caller>,
    /// The list it would stand on.
    list: Method,
    name: &'a str,
    agent: &'a Listener,
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
        let wanted = Wanted {
            caller,
            list: Method::ToolsList,
            name,
            agent,
        };
        if let Some(tool) = names::built_in(name).filter(|_| *scope == Scope::All)
            && self.may_name_built_in(caller)
        {
            return Ok((ServerName::built_in(), tool.into()));
        }
        if let Some(found) = self.resolve_name(scope, &wanted).await {
            return Ok(found);
        }
        let names = self.names(caller);
        let mut fits = Box::pin(self.find(&wanted, |_, own| own == name)).await;
        match fits.len() {
            // A bare name is the gateway's own only where no server has such a tool.
            0 => match built_in::named(name).filter(|_| self.may_name_built_in(caller)) {
                Some(tool) => Ok((ServerName::built_in(), tool.into())),
                None => Err(Failure::UnknownTool(name.into())),
            },
            1 => Ok(fits.remove(0)),
            _ => Err(Failure::AmbiguousTool {
                name: name.into(),
                choices: fits
                    .iter()
                    .map(|(server, own)| names.exposed(server, own))
                    .collect(),
            }),
        }
    }

    /// The server and its own name of a prompt.
    pub(super) async fn resolve_prompt(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        name: &str,
        agent: &Listener,
    ) -> Result<(ServerName, String), Failure> {
        let wanted = Wanted {
            caller,
            list: Method::PromptsList,
            name,
            agent,
        };
        let found = self.resolve_name(scope, &wanted).await;
        found.ok_or_else(|| Failure::UnknownPrompt(name.into()))
    }

    /// What a name stands for that says its server, or can have only one.
    async fn resolve_name(
        &self,
        scope: &Scope,
        wanted: &Wanted<'_>,
    ) -> Option<(ServerName, String)> {
        let (caller, name) = (wanted.caller, wanted.name);
        if let Scope::One(server) = scope {
            return Some((server.clone(), name.into()));
        }
        let names = self.names(caller);
        if is_changed(name) {
            let is_it = |server: &ServerName, own: &str| names.exposed(server, own) == name;
            let mut fits = Box::pin(self.find(wanted, is_it)).await;
            if !fits.is_empty() {
                return Some(fits.remove(0));
            }
        }
        if let Some((server, own)) = names.split(name) {
            return Some((server.clone(), own.into()));
        }
        match self.visible_servers(caller).as_slice() {
            [only] => Some((only.clone(), name.into())),
            _ => None,
        }
    }

    /// What fits on the lists of all servers that an agent may see.
    async fn find(
        &self,
        wanted: &Wanted<'_>,
        fits: impl Fn(&ServerName, &str) -> bool,
    ) -> Vec<(ServerName, String)> {
        let servers = self.visible_servers(wanted.caller);
        let lists = servers
            .iter()
            .map(async |server| (server, self.listed_names(wanted, server).await));
        let lists = join_all(lists).await;
        let found = lists.iter().flat_map(|(server, names)| {
            let fitting = names.iter().filter(|own| fits(server, own));
            fitting.map(|own| ((*server).clone(), own.clone()))
        });
        found.collect()
    }

    /// The server and its own URI of a resource or a template. A URI of the web, which does not say its server, is
    /// looked up in the servers' lists.
    pub(super) async fn locate(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        uri: &str,
        agent: &Listener,
    ) -> Result<(ServerName, String), Failure> {
        if *scope == Scope::All && is_web(uri) && self.visible_servers(caller).len() > 1 {
            let wanted = Wanted {
                caller,
                list: Method::ResourcesList,
                name: uri,
                agent,
            };
            // Asked for, the lists are known.
            drop(self.find(&wanted, |_, _| false).await);
        }
        self.resolve_resource(caller, scope, uri)
    }

    /// The first server on whose list, as far as it is known, a resource stands.
    fn known_owner(&self, caller: &Caller, uri: &str) -> Option<ServerName> {
        let (agent, at) = (&caller.agent.name, self.clock.monotonic());
        let mut servers = self.visible_servers(caller).into_iter();
        servers.find(|server| {
            let listed = self.catalog.fresh(agent, server, Method::ResourcesList, at);
            listed.is_some_and(|uris| uris.iter().any(|own| own == uri))
        })
    }

    /// The server and its own URI of a resource or a template, as far as that is known.
    pub(super) fn resolve_resource(
        &self,
        caller: &Caller,
        scope: &Scope,
        uri: &str,
    ) -> Result<(ServerName, String), Failure> {
        if let Scope::One(server) = scope {
            return Ok((server.clone(), uri.into()));
        }
        if let Some((server, own)) = self.names(caller).split_uri(uri) {
            return Ok((server.clone(), own));
        }
        if is_web(uri)
            && let Some(server) = self.known_owner(caller, uri)
        {
            return Ok((server, uri.into()));
        }
        match self.visible_servers(caller).as_slice() {
            [only] => Ok((only.clone(), uri.into())),
            _ => Err(Failure::UnknownResource(uri.into())),
        }
    }

    /// Whether an agent is to know that the gateway has a server of its own.
    fn may_name_built_in(&self, caller: &Caller) -> bool {
        caller.agent.ungranted != UngrantedStyle::Hide || self.may_use_built_in(caller)
    }

    /// Whether the rules let an agent use the gateway's own server.
    pub(super) fn may_use_built_in(&self, caller: &Caller) -> bool {
        let (server, at) = (ServerName::built_in(), self.clock.now());
        may_see_server(&caller.permissions, &caller.agent, &server, at)
    }

    /// The servers that an agent can put before a name. To one that is not to learn what it was not granted, the
    /// name of a hidden server means what any other word means.
    pub(super) fn names<'a>(&self, caller: &'a Caller) -> Names<'a> {
        let at = self.clock.now();
        let hides = caller.agent.ungranted == UngrantedStyle::Hide;
        let servers = caller.permissions.servers().keys();
        Names::new(servers.filter(|server| {
            !hides || may_see_server(&caller.permissions, &caller.agent, server, at)
        }))
    }

    async fn listed_names(&self, wanted: &Wanted<'_>, server: &ServerName) -> Arc<Vec<String>> {
        let (caller, list) = (wanted.caller, wanted.list);
        let fresh = || {
            let at = self.clock.monotonic();
            self.catalog.fresh(&caller.agent.name, server, list, at)
        };
        if let Some(names) = fresh() {
            return names;
        }
        let asking = self.list_in_time(caller, server, plain(list), wanted.agent);
        // A server that cannot be asked has nothing for now; it is asked again next time.
        match asking.await {
            Ok(_) => fresh().unwrap_or_default(),
            Err(_) => Arc::default(),
        }
    }
}
