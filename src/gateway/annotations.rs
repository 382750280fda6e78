//! Which arguments of a tool stand in headers (2026-07-28): remembered from lists, and asked for before a first call.
//!
//! Towards an agent the gateway is a server and checks them, towards a server it is a client and writes them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::policy::{Question, Target, is_granted};
use crate::protocol::{BadAnnotation, Method, ParamHeaders, code, error_code};
use crate::types::{AgentName, ServerName};
use crate::upstream::{Era, Outgoing, Reply};

use super::listener::Listener;
use super::recheck::plain;
use super::stages::{Caller, Wish};
use super::{Failure, Gateway};

/// How long a list is trusted, however short the server says. A list for each call would double what it gets.
const TRUSTED_LEAST: Duration = Duration::from_secs(60);

/// How long a list is trusted, however long the server says.
const TRUSTED_MOST: Duration = Duration::from_secs(3_600);

/// What is younger is not asked for again, whatever makes it look wrong: an agent could bring that about with every
/// request.
const TOO_YOUNG: Duration = Duration::from_secs(15);

/// How long a call waits to learn how to speak to its server, before it is let in.
const ERA_WAIT: Duration = Duration::from_secs(3);

/// How long a first call waits for a list of tools.
const LIST_WAIT: Duration = Duration::from_secs(5);

/// Tools of one server that are remembered; calls of others pass without headers of ours.
const MAX_TOOLS: usize = 2_000;

/// What is known of servers' tools. As many lists as the rules have servers, times their agents and one more.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    lists: Mutex<HashMap<Key, List>>,
}

/// A server, and for whom its list was meant; `None` for everyone.
type Key = (ServerName, Option<AgentName>);

#[derive(Debug, Default)]
struct List {
    tools: HashMap<String, Tool>,
    /// Until when nobody asks for a tool that is not there.
    settled_until: Duration,
    /// Who asks does so in turn, so that calls that come first together share one list.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Clone)]
struct Tool {
    params: Result<Arc<ParamHeaders>, BadAnnotation>,
    since: Duration,
    until: Duration,
}

/// What a page of a list says about tools.
#[derive(Debug)]
pub(super) struct Annotated {
    pub(super) tools: Vec<(String, Result<ParamHeaders, BadAnnotation>)>,
    /// Whether it is the same for everyone.
    pub(super) is_public: bool,
    /// How long the server says it stays so.
    pub(super) ttl: Duration,
    /// Whether nothing came before, and nothing comes after it.
    pub(super) is_whole: bool,
}

/// What is known of one tool.
enum Known {
    Tool(Tool),
    /// It is not in the list, or that cannot be had.
    NotListed,
    NotAsked,
}

impl Annotations {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, List>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, server: &ServerName, agent: &AgentName, tool: &str, at: Duration) -> Known {
        let lists = self.locked();
        let mut known = Known::NotAsked;
        for whose in [Some(agent.clone()), None] {
            let Some(list) = lists.get(&(server.clone(), whose)) else {
                continue;
            };
            if let Some(tool) = list.tools.get(tool).filter(|tool| at < tool.until) {
                return Known::Tool(tool.clone());
            }
            if at < list.settled_until {
                known = Known::NotListed;
            }
        }
        known
    }

    /// Forgets the tools of a server.
    pub(super) fn forget(&self, server: &ServerName) {
        self.locked().retain(|(of, _), _| of != server);
    }

    /// Keeps what a page says. Yields the tools that nobody can call, where that is new.
    pub(super) fn keep<'a>(
        &self,
        server: &ServerName,
        agent: &AgentName,
        page: &'a Annotated,
        at: Duration,
    ) -> Vec<(&'a str, BadAnnotation)> {
        let whose = (!page.is_public).then(|| agent.clone());
        let until = at.saturating_add(page.ttl.clamp(TRUSTED_LEAST, TRUSTED_MOST));
        let mut lists = self.locked();
        let list = lists.entry((server.clone(), whose)).or_default();
        let before = std::mem::take(&mut list.tools);
        let mut unusable = Vec::new();
        for (name, params) in &page.tools {
            let was = before.get(name).map(|tool| &tool.params);
            if let (Err(why), None | Some(Ok(_))) = (params, was) {
                unusable.push((name.as_str(), *why));
            }
            let tool = Tool {
                params: params.clone().map(Arc::new),
                since: at,
                until,
            };
            if list.tools.len() < MAX_TOOLS {
                list.tools.insert(name.clone(), tool);
            }
        }
        if page.is_whole {
            list.settled_until = until;
        } else {
            let others = before.into_iter().filter(|(_, tool)| at < tool.until);
            for (name, tool) in others.take(MAX_TOOLS.saturating_sub(list.tools.len())) {
                list.tools.entry(name).or_insert(tool);
            }
        }
        unusable
    }

    /// The list was asked for page by page, or could not be had: it is not asked for again soon.
    fn settle(&self, server: &ServerName, agent: &AgentName, until: Duration) {
        let key = (server.clone(), Some(agent.clone()));
        let mut lists = self.locked();
        let list = lists.entry(key).or_default();
        list.settled_until = list.settled_until.max(until);
    }

    fn turn(&self, server: &ServerName, agent: &AgentName) -> Arc<tokio::sync::Mutex<()>> {
        let key = (server.clone(), Some(agent.clone()));
        Arc::clone(&self.locked().entry(key).or_default().turn)
    }

    /// Something makes what is known of a tool look wrong. Says whether it was forgotten.
    fn doubt(&self, server: &ServerName, agent: &AgentName, tool: &str, at: Duration) -> bool {
        let keys = [Some(agent.clone()), None].map(|whose| (server.clone(), whose));
        let mut lists = self.locked();
        let is_old = |list: &List| {
            let tool = list.tools.get(tool);
            tool.is_some_and(|tool| at.saturating_sub(tool.since) >= TOO_YOUNG)
        };
        let is_doubtful = keys.iter().any(|key| lists.get(key).is_some_and(is_old));
        if is_doubtful {
            for key in keys {
                if let Some(list) = lists.get_mut(&key) {
                    list.tools.clear();
                    list.settled_until = Duration::ZERO;
                }
            }
        }
        is_doubtful
    }
}

impl Gateway {
    /// The `Mcp-Param-*` headers that a call of a tool is to have at its server: those of its arguments written
    /// anew, and those that the tool does not know as the agent sent them.
    ///
    /// # Errors
    /// When the agent's headers do not say what its arguments say, and when nobody can call the tool over HTTP.
    pub(super) async fn param_headers(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        tool: &str,
        request: &Outgoing,
        agent: &Listener,
    ) -> Result<Vec<(String, String)>, Failure> {
        // What was not granted is refused next, without a word to the server; the gateway's own has no headers.
        if server.is_built_in() || !self.may_call(caller, server, tool) {
            return Ok(Vec::new());
        }
        // Headers matter where 2026-07-28 is spoken on either side.
        if !caller.era.is_modern() && !self.is_modern(caller, server).await {
            return Ok(Vec::new());
        }
        let mut params = self.params_of(caller, server, tool, agent).await?;
        if self.differ(caller, &params, request).is_err() {
            let (of, at) = (&caller.agent.name, self.clock.monotonic());
            // The tool may have changed since it was listed here, and the agent may know that.
            if self.annotations.doubt(server, of, tool, at) {
                params = self.params_of(caller, server, tool, agent).await?;
            }
        }
        self.differ(caller, &params, request)?;
        let differs =
            |error: crate::protocol::HeaderDiffers| Failure::HeaderMismatch(error.to_string());
        let mut headers = request.param_headers.clone();
        headers.retain(|(name, _)| !params.has(name));
        headers.extend(
            params
                .write(request.params.get("arguments"))
                .map_err(differs)?,
        );
        Ok(headers)
    }

    /// Only an agent of 2026-07-28 sends such headers, so only there can they differ.
    fn differ(
        &self,
        caller: &Caller,
        params: &ParamHeaders,
        request: &Outgoing,
    ) -> Result<(), Failure> {
        if !caller.era.is_modern() {
            return Ok(());
        }
        params
            .check(request.params.get("arguments"), &request.param_headers)
            .map_err(|error| Failure::HeaderMismatch(error.to_string()))
    }

    /// Whether 2026-07-28 is spoken to a server. One that is silent is taken for none: the call waits for it again.
    async fn is_modern(&self, caller: &Caller, server: &ServerName) -> bool {
        let lane = caller.lane();
        let asking = timeout(ERA_WAIT, Box::pin(self.forwarder.era(server, &lane)));
        matches!(asking.await, Ok(Ok(Era::Modern)))
    }

    pub(super) fn may_call(&self, caller: &Caller, server: &ServerName, tool: &str) -> bool {
        let question = Question {
            agent: &caller.agent,
            server,
            target: Target::Tool(tool),
            arguments: None,
            at: self.clock.now(),
            peer: caller.peer,
        };
        is_granted(&caller.permissions, &question)
    }

    /// What is known of a tool; asks the server when nothing is. A list that cannot be had says nothing: the call
    /// goes on, and its server judges the headers.
    async fn params_of(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        tool: &str,
        agent: &Listener,
    ) -> Result<Arc<ParamHeaders>, Failure> {
        let of = &caller.agent.name;
        let find = || {
            self.annotations
                .find(server, of, tool, self.clock.monotonic())
        };
        let mut known = find();
        if matches!(known, Known::NotAsked) {
            let turn = self.annotations.turn(server, of);
            let _turn = turn.lock().await;
            known = find();
            if matches!(known, Known::NotAsked) {
                self.ask_for_tools(caller, server, agent).await?;
                known = find();
            }
        }
        match known {
            Known::Tool(tool_known) => tool_known
                .params
                .map_err(|_| Failure::UnknownTool(tool.into())),
            Known::NotListed | Known::NotAsked => Ok(Arc::default()),
        }
    }

    async fn ask_for_tools(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        agent: &Listener,
    ) -> Result<(), Failure> {
        let patient = agent.until(Instant::now() + LIST_WAIT);
        let asking = self.list_pages(caller, server, plain(Method::ToolsList), &patient);
        match Box::pin(asking).await {
            Ok(_) => {}
            Err(Failure::Unrecorded) => return Err(Failure::Unrecorded),
            Err(_) if agent.has_cancelled() => return Err(Failure::Cancelled),
            // Its server judges the headers then; the next call does not wait for a list again.
            Err(_) => tracing::debug!(%server, "no list of tools could be had before a call"),
        }
        let until = self.clock.monotonic().saturating_add(TRUSTED_LEAST);
        self.annotations.settle(server, &caller.agent.name, until);
        Ok(())
    }

    /// An answer of a server that what is known of its tool may be wrong.
    pub(super) fn learn_from(&self, caller: &Caller, wish: &Wish, reply: &Reply) {
        let Err(error) = &reply.outcome else { return };
        let super::stages::Subject::Tool(tool) = &wish.subject else {
            return;
        };
        let number = error_code(error);
        let telling = [
            code::INVALID_PARAMS,
            code::METHOD_NOT_FOUND,
            code::HEADER_MISMATCH,
        ];
        if reply.era == Era::Modern && number.is_some_and(|number| telling.contains(&number)) {
            let (of, at) = (&caller.agent.name, self.clock.monotonic());
            self.annotations.doubt(&wish.server, of, tool, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], is_public: bool, is_whole: bool) -> Annotated {
        let tools = names
            .iter()
            .map(|name| ((*name).into(), Ok(ParamHeaders::default())));
        Annotated {
            tools: tools.collect(),
            is_public,
            ttl: Duration::ZERO,
            is_whole,
        }
    }

    fn known(annotations: &Annotations, agent: &str, tool: &str, at: u64) -> &'static str {
        let (server, agent) = ("s".parse().unwrap(), agent.parse().unwrap());
        match annotations.find(&server, &agent, tool, Duration::from_secs(at)) {
            Known::Tool(_) => "known",
            Known::NotListed => "not listed",
            Known::NotAsked => "not asked",
        }
    }

    fn keep(annotations: &Annotations, agent: &str, page: &Annotated, at: u64) -> usize {
        let (server, agent) = ("s".parse().unwrap(), agent.parse().unwrap());
        let unusable = annotations.keep(&server, &agent, page, Duration::from_secs(at));
        unusable.len()
    }

    #[test]
    fn a_list_is_trusted_for_a_while_by_whom_it_was_meant_for() {
        let annotations = Annotations::default();
        keep(&annotations, "a", &page(&["x"], false, true), 10);
        assert_eq!(known(&annotations, "a", "x", 69), "known");
        assert_eq!(known(&annotations, "a", "y", 69), "not listed");
        assert_eq!(known(&annotations, "b", "x", 69), "not asked");
        assert_eq!(known(&annotations, "a", "x", 70), "not asked");
        keep(&annotations, "a", &page(&["x"], true, true), 70);
        assert_eq!(known(&annotations, "b", "x", 71), "known");
    }

    #[test]
    fn a_page_adds_to_what_is_known_and_a_whole_list_replaces_it() {
        let annotations = Annotations::default();
        keep(&annotations, "a", &page(&["x"], false, false), 10);
        keep(&annotations, "a", &page(&["y"], false, false), 20);
        assert_eq!(known(&annotations, "a", "x", 21), "known");
        assert_eq!(known(&annotations, "a", "z", 21), "not asked");
        keep(&annotations, "a", &page(&["y"], false, true), 30);
        assert_eq!(known(&annotations, "a", "x", 31), "not listed");
        let many: Vec<String> = (0..MAX_TOOLS + 9)
            .map(|number| format!("t{number}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        keep(&annotations, "a", &page(&many, false, false), 40);
        keep(&annotations, "a", &page(&["more"], false, false), 41);
        let lists = annotations.locked();
        assert!(lists.values().all(|list| list.tools.len() <= MAX_TOOLS));
    }

    #[test]
    fn doubt_forgets_what_is_not_too_young() {
        let annotations = Annotations::default();
        let (server, agent) = ("s".parse().unwrap(), "a".parse().unwrap());
        let doubt = |at| annotations.doubt(&server, &agent, "x", Duration::from_secs(at));
        keep(&annotations, "a", &page(&["x"], true, true), 10);
        annotations.settle(&server, &agent, Duration::from_secs(70));
        assert!(!doubt(24));
        assert!(doubt(25));
        assert_eq!(known(&annotations, "a", "x", 25), "not asked");
        assert!(!doubt(26));
    }

    #[test]
    fn that_nobody_can_call_a_tool_is_news_once() {
        let annotations = Annotations::default();
        let mut bad = page(&[], false, true);
        bad.tools.push(("x".into(), Err(BadAnnotation::Twice)));
        assert_eq!(keep(&annotations, "a", &bad, 10), 1);
        assert_eq!(keep(&annotations, "a", &bad, 11), 0);
    }
}
