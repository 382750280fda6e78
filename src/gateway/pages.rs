//! One page of a server's list: asked for, read, and what of it an agent may see.
//!
//! Every page that is asked of a server is a call of its own in the log. Items are kept or left out whole.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::{Question, Target, is_granted};
use crate::protocol::{Json, Method, Object, ParamHeaders, array_items};
use crate::types::{CallId, ServerName, Timestamp};
use crate::upstream::{Era, Outgoing};

use super::annotations::Annotated;
use super::definitions::Seen;
use super::listener::Listener;
use super::stages::{Caller, Replied, Subject, Wish};
use super::{Failure, Gateway, shape};

/// Pages asked of one server for one list on the common endpoint. A server with more, or with cursors that
/// run in a circle, is cut off there.
const MAX_PAGES: usize = 50;

/// Items taken of one server for one list on the common endpoint.
const MAX_ITEMS: usize = 10_000;

/// One page of one server's list, as far as its agent may see it.
#[derive(Debug)]
pub(super) struct Page {
    /// The call that brought it.
    pub(super) call: CallId,
    /// In whose shape it is.
    pub(super) era: Era,
    /// The whole result as the server wrote it; empty when it cannot be read.
    pub(super) fields: Object,
    /// The items in the shape of the agent's revision. What cannot be read cannot be filtered, so none of it is here.
    pub(super) items: Vec<Object>,
    /// What brings the next page.
    pub(super) next: Option<Json>,
    /// The tools the server listed, whoever may see them.
    definitions: Vec<Seen>,
}

/// All pages of one server's list, as far as its agent may see it.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) items: Vec<Object>,
    /// How long all of them stay as they are, in milliseconds; `None` when one does not say.
    pub(super) ttl: Option<u64>,
}

impl Gateway {
    /// All pages of one server's list.
    pub(super) async fn list_pages(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Pages, Failure> {
        let method = request.method;
        let mut pages = Pages {
            items: Vec::new(),
            ttl: Some(u64::MAX),
        };
        let mut cursor: Option<Json> = None;
        let mut definitions = Vec::new();
        for _ in 0..MAX_PAGES {
            let mut request = request.clone();
            match cursor.take() {
                Some(cursor) => request.params.set("cursor", cursor),
                None => drop(request.params.remove("cursor")),
            }
            let mut page = self.page(caller, server, request, agent).await?;
            definitions.append(&mut page.definitions);
            pages.ttl = pages.ttl.min(ttl(&page.fields));
            let room = MAX_ITEMS.saturating_sub(pages.items.len());
            pages.items.extend(page.items.into_iter().take(room));
            match page.next {
                Some(next) if pages.items.len() < MAX_ITEMS => cursor = Some(next),
                Some(_) => break,
                None => {
                    self.compare(caller, server, method, &definitions);
                    break;
                }
            }
        }
        self.catalog.keep(
            &caller.agent.name,
            server,
            method,
            &pages.items,
            self.clock.monotonic(),
        );
        Ok(pages)
    }

    /// One page of one server's list.
    pub(super) async fn page(
        &self,
        caller: &Arc<Caller>,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Page, Failure> {
        let (method, modern) = (request.method, caller.era.is_modern());
        let is_first = request.params.get("cursor").is_none();
        let wish = Wish {
            server: server.clone(),
            subject: Subject::Listing,
            request,
            purpose: String::new(),
            key: None,
            continues: None,
        };
        let Replied { call, reply, .. } = self.run(caller, wish, agent).await?.into_reply()?;
        let era = reply.era;
        let result = reply.outcome.map_err(|error| Failure::Relayed {
            status: reply.status,
            error: shape::error(method, error, era, modern),
            figures: None,
        })?;
        let fields = Object::parse(result.get()).unwrap_or_default();
        let next = fields
            .get("nextCursor")
            .filter(|cursor| cursor.get() != "null")
            .map(ToOwned::to_owned);
        let mut items = items(method, &fields);
        let is_whole = is_first && next.is_none();
        let definitions = self
            .see_definitions(caller, server, (method, era, call), &mut items)
            .await?;
        if is_whole {
            self.compare(caller, server, method, &definitions);
        }
        if method == Method::ToolsList && (modern || era == Era::Modern) {
            self.keep_annotations(caller, server, &fields, &mut items, is_whole);
        }
        let at = self.clock.now();
        items.retain(|item| may_see(caller, server, method, item, at));
        items
            .iter_mut()
            .for_each(|item| shape::item(item, era, modern));
        Ok(Page {
            call,
            era,
            fields,
            items,
            next,
            definitions,
        })
    }

    /// Remembers which arguments stand in headers, and leaves out the tools whose headers nobody could send.
    fn keep_annotations(
        &self,
        caller: &Caller,
        server: &ServerName,
        fields: &Object,
        items: &mut Vec<Object>,
        is_whole: bool,
    ) {
        let mut page = Annotated {
            tools: Vec::new(),
            is_public: fields.get_str("cacheScope").as_deref() == Some("public"),
            ttl: Duration::from_millis(ttl(fields).unwrap_or_default()),
            is_whole,
        };
        items.retain(|tool| {
            let params = tool
                .get("inputSchema")
                .map_or_else(|| Ok(ParamHeaders::default()), ParamHeaders::of_schema);
            let is_usable = params.is_ok();
            if let Some(name) = tool.get_str("name") {
                page.tools.push((name.into_owned(), params));
            }
            is_usable
        });
        let (agent, at) = (&caller.agent.name, self.clock.monotonic());
        for (tool, why) in self.annotations.keep(server, agent, &page, at) {
            tracing::warn!(%server, ?tool, %why, "a tool is left out, since nobody can call it over HTTP");
        }
    }
}

/// How long the server says a list stays as it is, in milliseconds.
pub(super) fn ttl(fields: &Object) -> Option<u64> {
    fields.get("ttlMs")?.get().parse().ok()
}

fn items(method: Method, fields: &Object) -> Vec<Object> {
    let items = method
        .list_key()
        .and_then(|key| array_items(fields.get(key)?.get()))
        .unwrap_or_default();
    let items = items.into_iter();
    items
        .filter_map(|item| Object::parse(item.get()).ok())
        .collect()
}

fn may_see(
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
        arguments: None,
        at,
        peer: caller.peer,
    };
    is_granted(&caller.permissions, &question)
}
