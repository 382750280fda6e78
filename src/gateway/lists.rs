//! Lists, as the agent may see them: of one server, or of all it was granted.
//!
//! Every page that is asked of a server is a call of its own in the log. Items are kept or left out whole.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::value::RawValue;

use crate::policy::{Question, Target, is_granted, may_see_server};
use crate::protocol::{Json, META, Method, Object, array_items, json_string, raw, write_array};
use crate::types::{ServerName, Timestamp};
use crate::upstream::{Era, Outgoing};

use super::known::GivenPage;
use super::listener::Listener;
use super::names::{exposed, exposed_uri};
use super::stages::{Caller, Subject, Wish};
use super::{Failure, Gateway, Scope, shape};

/// Pages asked of one server for one list on the common endpoint. A server with more, or with cursors that
/// run in a circle, is cut off there.
const MAX_PAGES: usize = 50;

/// The key under which a list names servers that could not be asked.
const UNAVAILABLE: &str = "dev.hayward/unavailable";

/// The items of one server's list.
struct Page {
    items: Vec<Object>,
    next: Option<Json>,
}

impl Gateway {
    /// Answers a list request.
    pub(super) async fn list(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        match scope {
            Scope::One(server) => self.list_one(caller, server, request, agent).await,
            Scope::All => self.list_all(caller, request, agent).await,
        }
    }

    async fn list_one(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let from = request.params.get("cursor").map(ToOwned::to_owned);
        let (era, result) = self.fetch_list(caller, server, request, agent).await?;
        let modern = caller.era.is_modern();
        let page = read_page(method, &result, era, modern, |item| {
            self.may_see(caller, server, method, item)
        });
        if let Some(page) = &page {
            let given = GivenPage {
                from: from.as_deref().map(RawValue::get),
                items: &page.items,
                next: page.next.as_deref().map(RawValue::get),
            };
            self.audiences.got(caller, server, method, &given);
        }
        // What cannot be read cannot be filtered, so none of it is shown.
        let items = page.map(|page| page.items).unwrap_or_default();
        let mut fields = Object::parse(result.get()).unwrap_or_default();
        fields.set(method.list_key().unwrap_or_default(), texts(&items));
        Ok(shape::result(method, fields.to_json(), era, modern))
    }

    async fn list_all(
        &self,
        caller: &Arc<Caller>,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let servers = self.visible_servers(caller);
        let lists = servers.iter().map(async |server| {
            (
                server,
                self.list_pages(caller, server, request.clone(), agent)
                    .await,
            )
        });
        let mut items = Vec::new();
        let mut unavailable = Vec::new();
        for (server, list) in join_all(lists).await {
            match list {
                Ok(mut list) => {
                    let given = GivenPage {
                        from: None,
                        items: &list,
                        next: None,
                    };
                    self.audiences.got(caller, server, method, &given);
                    list.iter_mut().for_each(|item| expose(item, server));
                    items.extend(list);
                }
                // A server without prompts or resources says so with an error; that is no failure.
                Err(Failure::Relayed { .. }) => {}
                // Nobody was asked: an empty list would look as if every tool were gone.
                Err(Failure::Unrecorded) => return Err(Failure::Unrecorded),
                Err(_) => {
                    self.audiences.missed(caller, server, method);
                    unavailable.push(json_string(server.as_str()));
                }
            }
        }
        let mut result = Object::default();
        result.set(method.list_key().unwrap_or_default(), texts(&items));
        if !unavailable.is_empty() {
            let names = write_array(unavailable.iter().map(String::as_str));
            result.set(META, raw(format!("{{\"{UNAVAILABLE}\":{}}}", names.get())));
        }
        let modern = caller.era.is_modern();
        Ok(shape::result(method, result.to_json(), Era::Legacy, modern))
    }

    /// All pages of one server's list, as far as the agent may see it.
    pub(super) async fn list_pages(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Vec<Object>, Failure> {
        let (method, modern) = (request.method, caller.era.is_modern());
        let mut items = Vec::new();
        let mut cursor: Option<Json> = None;
        for _ in 0..MAX_PAGES {
            let mut request = request.clone();
            match cursor.take() {
                Some(cursor) => request.params.set("cursor", cursor),
                None => drop(request.params.remove("cursor")),
            }
            let (era, result) = self.fetch_list(caller, server, request, agent).await?;
            let page = read_page(method, &result, era, modern, |item| {
                self.may_see(caller, server, method, item)
            });
            let Some(page) = page else { break };
            items.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        Ok(items)
    }

    async fn fetch_list(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<(Era, Json), Failure> {
        let method = request.method;
        let wish = Wish {
            server: server.clone(),
            subject: Subject::Listing,
            request,
            purpose: String::new(),
            continues: None,
        };
        let (_, _, reply) = self.run(caller, wish, agent).await?.into_reply()?;
        match reply.outcome {
            Ok(result) => Ok((reply.era, result)),
            Err(error) => Err(Failure::Relayed {
                status: reply.status,
                error: shape::error(method, error, reply.era, caller.era.is_modern()),
            }),
        }
    }

    /// The servers of which an agent may see anything, by name.
    pub(super) fn visible_servers(&self, caller: &Caller) -> Vec<ServerName> {
        let at = self.clock.now();
        let servers = caller.permissions.servers().keys();
        servers
            .filter(|server| may_see_server(&caller.permissions, &caller.agent, server, at))
            .cloned()
            .collect()
    }

    fn may_see(&self, caller: &Caller, server: &ServerName, method: Method, item: &Object) -> bool {
        may_see_item(caller, server, method, item, self.clock.now())
    }
}

fn may_see_item(
    caller: &Caller,
    server: &ServerName,
    method: Method,
    item: &Object,
    at: Timestamp,
) -> bool {
    let text = |key| item.get_str(key);
    let (tool, prompt, uri) = match method {
        Method::ToolsList => (text("name"), None, None),
        Method::PromptsList => (None, text("name"), None),
        Method::ResourcesList => (None, None, text("uri")),
        Method::TemplatesList => (None, None, text("uriTemplate")),
        Method::Initialize
        | Method::Discover
        | Method::Ping
        | Method::SetLevel
        | Method::ToolsCall
        | Method::PromptsGet
        | Method::ResourcesRead
        | Method::Complete
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Listen
        | Method::TasksGet
        | Method::TasksUpdate
        | Method::TasksCancel
        | Method::TasksResult
        | Method::TasksList => return false,
    };
    let target = match (&tool, &prompt, &uri) {
        (Some(name), _, _) => Target::Tool(name),
        (_, Some(name), _) => Target::Prompt(name),
        (_, _, Some(uri)) => Target::Resource(uri),
        (None, None, None) => return false,
    };
    let question = Question {
        agent: &caller.agent,
        server,
        target,
        at,
    };
    is_granted(&caller.permissions, &question)
}

fn read_page(
    method: Method,
    result: &Json,
    era: Era,
    modern: bool,
    mut keep: impl FnMut(&Object) -> bool,
) -> Option<Page> {
    let mut fields = Object::parse(result.get()).ok()?;
    let items = fields.remove(method.list_key()?)?;
    let items = array_items(items.get())?
        .into_iter()
        .filter_map(|item| Object::parse(item.get()).ok());
    let items = items.filter(|item| keep(item)).map(|mut item| {
        shape::item(&mut item, era, modern);
        item
    });
    Some(Page {
        items: items.collect(),
        next: fields
            .remove("nextCursor")
            .filter(|cursor| cursor.get() != "null"),
    })
}

fn expose(item: &mut Object, server: &ServerName) {
    for key in ["uri", "uriTemplate"] {
        if let Some(uri) = item.get_str(key).map(|uri| exposed_uri(server, &uri)) {
            // A resource's `name` is for people; its URI is what it is called by.
            return item.set(key, raw(json_string(&uri)));
        }
    }
    if let Some(name) = item.get_str("name").map(|name| exposed(server, &name)) {
        item.set("name", raw(json_string(&name)));
    }
}

fn texts(items: &[Object]) -> Json {
    let items: Vec<String> = items.iter().map(Object::to_text).collect();
    write_array(items.iter().map(String::as_str))
}
