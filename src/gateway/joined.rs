//! The lists of all servers as one, on the common endpoint.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::policy::{Question, Target, is_granted};
use crate::protocol::{Json, META, Method, Object, json_string, raw, write_array};
use crate::types::{AgentName, ServerName};
use crate::upstream::{Era, Outgoing};

use super::built_in;
use super::cursors::{self, Place};
use super::known::GivenPage;
use super::listener::Listener;
use super::lists::texts;
use super::names::Names;
use super::pages::Pages;
use super::stages::Caller;
use super::{Failure, Gateway, expose, shape};

/// How long a joined list waits for one server; one that takes longer is left out of it. Clients wait half a minute
/// at least, and a child process that is only just being fetched may need all of this.
const LIST_WAIT: Duration = Duration::from_secs(10);

/// Items of one page of a joined list. Many clients never ask for a second one.
const PAGE: usize = 500;

/// The longest that an agent may keep a joined list, in milliseconds: grants change, too.
const MAX_TTL: u64 = 300_000;

/// More tools than this are more than some clients give to a model: VS Code, JetBrains and Eclipse refuse to send
/// any request with more.
const MANY_TOOLS: usize = 128;

/// The key under which a list names servers that could not be asked.
const UNAVAILABLE: &str = "dev.hayward/unavailable";

/// The key under which a list says that it is longer than some clients take.
const NOTE: &str = "dev.hayward/note";

/// Agents that have more tools than some clients take, so that this is said in our log once for each.
#[derive(Debug, Default)]
pub(super) struct Crowded(Mutex<HashSet<AgentName>>);

impl Crowded {
    /// Notes how many tools an agent has. Says whether that are too many, and were not before.
    fn is_news(&self, agent: &AgentName, tools: usize) -> bool {
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tools <= MANY_TOOLS {
            agents.remove(agent);
            return false;
        }
        agents.insert(agent.clone())
    }
}

/// What all servers brought together.
#[derive(Debug, Default)]
struct Joined {
    /// What each server has, by the server's own names.
    lists: Vec<(ServerName, Vec<Object>)>,
    /// Servers that could not be asked.
    unavailable: Vec<ServerName>,
    /// How long all of it stays as it is, in milliseconds.
    ttl: Option<u64>,
}

impl Gateway {
    /// One page of the lists of all servers that an agent may see, joined.
    pub(super) async fn list_all(
        &self,
        caller: &Arc<Caller>,
        request: Outgoing,
        cursor: Option<String>,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let place = cursor.as_deref().map(cursors::place).transpose()?;
        let joined = self.join(caller, request, place.as_ref(), agent).await?;
        let names = self.names(caller);
        let (items, next) = page(&joined, place.as_ref(), method, &names);
        let mut result = Object::default();
        result.set(method.list_key().unwrap_or_default(), texts(&items));
        if let Some(next) = &next {
            self.seal_place(caller, method, &mut result, next);
        }
        let modern = caller.era.is_modern();
        if modern {
            result.set("ttlMs", raw(joined.ttl().to_string()));
        }
        let is_begin = place.is_none() && method == Method::ToolsList;
        let tools = joined.lists.iter().map(|(_, items)| items.len()).sum();
        let note = is_begin.then(|| self.note_many(caller, tools)).flatten();
        if let Some(meta) = meta(&joined.unavailable, note) {
            result.set(META, meta.to_json());
        }
        Ok(shape::result(method, result.to_json(), Era::Legacy, modern))
    }

    /// Asks all servers from `place` on.
    async fn join(
        &self,
        caller: &Arc<Caller>,
        request: Outgoing,
        place: Option<&Place>,
        agent: &Listener,
    ) -> Result<Joined, Failure> {
        let method = request.method;
        let mut servers = self.visible_servers(caller);
        servers.retain(|server| place.is_none_or(|place| *server >= place.server));
        let lists = servers
            .iter()
            .map(|server| self.list_in_time(caller, server, request.clone(), agent));
        let mut joined = Joined::default();
        for (server, list) in servers.iter().zip(join_all(lists).await) {
            match list {
                Ok(list) => {
                    if place.is_some_and(|place| *server == place.server) {
                        let audiences = &self.audiences;
                        audiences.got_rest(caller, server, method, &list.items);
                    } else {
                        let given = GivenPage {
                            from: None,
                            items: &list.items,
                            next: None,
                        };
                        self.audiences.got(caller, server, method, &given);
                    }
                    joined.add(server, list);
                }
                // A server without prompts or resources says so with an error; that is no failure.
                Err(failure) if failure.is_unknown_method() => {}
                // Nobody was asked: an empty list would look as if every tool were gone.
                Err(Failure::Unrecorded) => return Err(Failure::Unrecorded),
                Err(_) => {
                    self.audiences.missed(caller, server, method);
                    joined.unavailable.push(server.clone());
                }
            }
        }
        if method == Method::ToolsList {
            self.join_built_in(caller, place, &mut joined);
        }
        Ok(joined)
    }

    /// Puts the tools of the gateway's own server where its name stands among the others. Nobody is asked for them,
    /// and they are never others: this is no call.
    fn join_built_in(&self, caller: &Caller, place: Option<&Place>, joined: &mut Joined) {
        let server = ServerName::built_in();
        if place.is_some_and(|place| server < place.server) {
            return;
        }
        let at = self.clock.now();
        let is_granted = |name: &str| {
            let question = Question {
                agent: &caller.agent,
                server: &server,
                target: Target::Tool(name),
                arguments: None,
                at,
                peer: caller.peer,
            };
            is_granted(&caller.permissions, &question)
        };
        let mut tools = built_in::items();
        tools.retain(|tool| tool.get_str("name").is_some_and(|name| is_granted(&name)));
        if tools.is_empty() {
            return;
        }
        let before = joined.lists.partition_point(|(other, _)| *other < server);
        joined.lists.insert(before, (server, tools));
    }

    /// All pages of one server's list, unless that takes so long that others should not wait for it.
    pub(super) async fn list_in_time(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Pages, Failure> {
        let agent = agent.until(Instant::now() + LIST_WAIT);
        self.list_pages(caller, server, request, &agent).await
    }

    /// What to say to an agent with more tools than some clients take. None is left out: which one could be spared is
    /// not for us to say.
    fn note_many(&self, caller: &Caller, tools: usize) -> Option<String> {
        let agent = &caller.agent.name;
        if self.crowded.is_news(agent, tools) {
            tracing::warn!(
                %agent, tools,
                "an agent has more tools than some clients take; narrow its grants, or let it use /mcp/<server>"
            );
        }
        (tools > MANY_TOOLS).then(|| {
            format!(
                "{tools} tools are more than the {MANY_TOOLS} that some clients take: narrower grants, or an \
                 endpoint for each server (/mcp/<server>), make them fewer"
            )
        })
    }
}

impl Joined {
    fn add(&mut self, server: &ServerName, list: Pages) {
        let ttl = list.ttl.unwrap_or_default();
        self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
        self.lists.push((server.clone(), list.items));
    }

    /// How long an agent may keep the list, in milliseconds: not at all when a server may be there again any moment.
    fn ttl(&self) -> u64 {
        if self.unavailable.is_empty() {
            self.ttl.unwrap_or_default().min(MAX_TTL)
        } else {
            0
        }
    }
}

/// The items of one page by the names they have here, and where the next page begins.
fn page(
    joined: &Joined,
    place: Option<&Place>,
    method: Method,
    names: &Names<'_>,
) -> (Vec<Object>, Option<Place>) {
    let mut page = Vec::new();
    let mut taken = HashSet::new();
    let mut last = None;
    for (server, items) in &joined.lists {
        let before = place.filter(|place| place.server == *server);
        let before = before.map_or(0, |place| place.before(items));
        for (index, item) in items.iter().enumerate().skip(before) {
            if page.len() >= PAGE {
                return (page, last);
            }
            last = Some(Place::behind(server, items, index));
            let mut item = item.clone();
            let name = expose::item(&mut item, method, server, names);
            // Two names are cut to the same one as good as never; then the first has it.
            if taken.insert(name) {
                page.push(item);
            }
        }
    }
    (page, None)
}

fn meta(unavailable: &[ServerName], note: Option<String>) -> Option<Object> {
    let mut meta = Object::default();
    if !unavailable.is_empty() {
        let names: Vec<String> = unavailable
            .iter()
            .map(|server| json_string(server.as_str()))
            .collect();
        meta.set(UNAVAILABLE, write_array(names.iter().map(String::as_str)));
    }
    if let Some(note) = note {
        meta.set(NOTE, raw(json_string(&note)));
    }
    (!meta.is_empty()).then_some(meta)
}
