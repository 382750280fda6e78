//! Lists, as the agent may see them: of one server, or of all it was granted.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::policy::may_see_server;
use crate::protocol::{Json, Object, write_array};
use crate::types::ServerName;
use crate::upstream::Outgoing;

use super::known::GivenPage;
use super::listener::Listener;
use super::stages::Caller;
use super::{Failure, Gateway, Scope, shape};

impl Gateway {
    /// Answers a list request.
    pub(super) async fn list(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        mut request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let cursor = match self.take_cursor(caller, scope, method, &mut request.params) {
            Ok(cursor) => cursor,
            Err(failure) => return Err(self.turn_away(caller, method.as_str(), failure).await),
        };
        match scope {
            Scope::One(server) => {
                if let Some(own) = cursor {
                    Self::set_own_cursor(&mut request.params, own);
                }
                self.list_one(caller, scope, server, request, agent).await
            }
            Scope::All => self.list_all(caller, request, cursor, agent).await,
        }
    }

    async fn list_one(
        &self,
        caller: &Arc<Caller>,
        scope: &Scope,
        server: &ServerName,
        request: Outgoing,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let method = request.method;
        let from = request.params.get("cursor").map(ToOwned::to_owned);
        let page = self.page(caller, server, request, agent).await?;
        let given = GivenPage {
            from: from.as_deref().map(RawValue::get),
            items: &page.items,
            next: page.next.as_deref().map(RawValue::get),
        };
        self.audiences.got(caller, server, method, &given);
        let mut fields = page.fields;
        fields.set(method.list_key().unwrap_or_default(), texts(&page.items));
        if let Some(next) = &page.next {
            self.seal_next(caller, scope, method, page.call, (&mut fields, next));
        }
        let modern = caller.era.is_modern();
        Ok(shape::result(method, fields.to_json(), page.era, modern))
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

pub(super) fn texts(items: &[Object]) -> Json {
    let items: Vec<String> = items.iter().map(Object::to_text).collect();
    write_array(items.iter().map(String::as_str))
}
