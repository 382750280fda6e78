//! Lists, as the agent may see them: of one server, or of all it was granted.
//!
//! On the common endpoint the lists of all servers are one.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::policy::may_see_server;
use crate::protocol::{Json, META, Object, json_string, raw, write_array};
use crate::types::ServerName;
use crate::upstream::{Era, Outgoing};

use super::listener::Listener;
use super::names::{exposed, exposed_uri};
use super::stages::Caller;
use super::{Failure, Gateway, Scope, shape};

/// The key under which a list names servers that could not be asked.
const UNAVAILABLE: &str = "dev.hayward/unavailable";

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
        let page = self.page(caller, server, request, agent).await?;
        let mut fields = page.fields;
        fields.set(method.list_key().unwrap_or_default(), texts(&page.items));
        let modern = caller.era.is_modern();
        Ok(shape::result(method, fields.to_json(), page.era, modern))
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
                    list.iter_mut().for_each(|item| expose(item, server));
                    items.extend(list);
                }
                // A server without prompts or resources says so with an error; that is no failure.
                Err(Failure::Relayed { .. }) => {}
                // Nobody was asked: an empty list would look as if every tool were gone.
                Err(Failure::Unrecorded) => return Err(Failure::Unrecorded),
                Err(_) => unavailable.push(json_string(server.as_str())),
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

    /// The servers of which an agent may see anything, by name.
    pub(super) fn visible_servers(&self, caller: &Caller) -> Vec<ServerName> {
        let at = self.clock.now();
        let servers = caller.permissions.servers().keys();
        servers
            .filter(|server| may_see_server(&caller.permissions, &caller.agent, server, at))
            .cloned()
            .collect()
    }
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
