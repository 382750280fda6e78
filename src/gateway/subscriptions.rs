//! What agents say about hearing: the stream of a session, `resources/subscribe` and `unsubscribe` in it, and
//! `subscriptions/listen` (2026-07-28).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::policy::{Question, Target, is_granted};
use crate::protocol::{
    Json, META, Method, Object, RequestId, SUBSCRIPTION_ID, array_items, notification, raw,
};
use crate::types::ServerName;
use crate::upstream::{Interests, List};

use super::audience::{Audience, Identity, MAX_SUBSCRIPTIONS, NewsStream};
use super::ears::{Change, Order};
use super::listener::Listener;
use super::stages::Caller;
use super::waiting::address;
use super::{Failure, Gateway, Scope};

/// The longest URI that can be subscribed to, in bytes.
const MAX_URI: usize = 8 * 1024;

/// How long a stream waits for one server before its agent is told what it will hear; one that takes longer is left
/// out.
const AGREE: Duration = Duration::from_secs(5);

/// What an agent wants to hear on one stream.
struct Filter {
    lists: Interests,
    uris: BTreeSet<String>,
}

impl Gateway {
    /// A session of an agent began.
    pub fn begin_session(&self, session: &Arc<str>, scope: &Scope) {
        self.audiences.begin(session, scope);
    }

    /// Opens the stream of a session, with what its client declared it can be asked. `None` when there is no such
    /// session any more.
    pub fn stand(self: &Arc<Self>, caller: Caller, capabilities: &Object) -> Option<NewsStream> {
        let audience = self.audiences.of_session(&caller)?;
        let identity = Identity {
            caller: Arc::new(caller),
            capabilities: super::requests::can_be_asked(capabilities),
        };
        let stream = audience.stand(&identity);
        for server in self.audible(&identity.caller, &audience.scope) {
            // What comes of it is the ear's to know: it tries again by itself.
            let (done, _) = oneshot::channel();
            let order = Order {
                change: Change::Tune,
                done,
            };
            drop(self.ear(&audience, &identity, &server).try_send(order));
        }
        self.reconsider(&audience);
        Some(stream)
    }

    pub(super) fn audible(&self, caller: &Caller, scope: &Scope) -> Vec<ServerName> {
        match scope {
            // The gateway's own has no news.
            Scope::One(server) if server.is_built_in() => Vec::new(),
            Scope::One(server) => vec![server.clone()],
            Scope::All => self.visible_servers(caller),
        }
    }

    /// Answers `resources/subscribe` and `resources/unsubscribe`.
    pub(super) async fn subscribe(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        scope: &Scope,
        method: Method,
        params: &Object,
        capabilities: &Object,
    ) -> Result<Json, Failure> {
        let found = self.named_resource(caller, scope, method, params);
        let (audience, asked, server, own) = match found {
            Ok(found) => found,
            Err(failure) => return Err(self.turn_away(caller, method.as_str(), failure).await),
        };
        let change = if method == Method::Subscribe {
            Change::Subscribe { own, asked }
        } else {
            Change::Unsubscribe { own }
        };
        let identity = Identity {
            caller: Arc::clone(caller),
            capabilities: capabilities.clone(),
        };
        self.order(&audience, &identity, &server, change).await?;
        Ok(raw("{}".into()))
    }

    fn named_resource(
        &self,
        caller: &Caller,
        scope: &Scope,
        method: Method,
        params: &Object,
    ) -> Result<(Arc<Audience>, String, ServerName, String), Failure> {
        let audience = self.audiences.of_session(caller);
        let audience = audience.ok_or_else(|| Failure::UnknownMethod(method.as_str().into()))?;
        let asked = super::requests::text_param(params, "uri")?;
        if asked.len() > MAX_URI {
            let why = format!("`uri` is longer than {MAX_URI} bytes");
            return Err(Failure::InvalidParams(why));
        }
        let (server, own) = self.resolve_resource(caller, scope, &asked)?;
        Ok((audience, asked, server, own))
    }

    async fn order(
        self: &Arc<Self>,
        audience: &Arc<Audience>,
        identity: &Identity,
        server: &ServerName,
        change: Change,
    ) -> Result<Interests, Failure> {
        let (done, outcome) = oneshot::channel();
        let ear = self.ear(audience, identity, server);
        self.reconsider(audience);
        // An ear takes no orders any more when what it was opened for has ended.
        let order = Order { change, done };
        ear.send(order).await.map_err(|_| Failure::Cancelled)?;
        outcome.await.map_err(|_| Failure::Cancelled)?
    }

    /// Answers `subscriptions/listen`: the answer comes when the stream is at its end.
    pub(super) async fn listen(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        scope: &Scope,
        id: &RequestId,
        params: &Object,
        agent: &Listener,
    ) -> Result<Json, Failure> {
        let opened = Filter::read(params).and_then(|filter| {
            let lists = filter.lists.clone();
            let agent = &caller.agent.name;
            Ok((filter, self.audiences.listen(agent, scope, id, lists)?))
        });
        let (filter, open) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                let method = Method::Listen.as_str();
                return Err(self.turn_away(caller, method, failure).await);
            }
        };
        let telling = self.tell(caller, &open.audience, filter, agent);
        tokio::select! {
            () = telling => Ok(end(id)),
            () = agent.gone() => Err(Failure::Cancelled),
        }
    }

    /// Tells an agent what it will hear, and then what is heard, until there is nothing more to hear.
    async fn tell(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        audience: &Arc<Audience>,
        filter: Filter,
        agent: &Listener,
    ) {
        let identity = Identity {
            caller: Arc::clone(caller),
            // What a server asks outside of a call cannot be asked in this revision.
            capabilities: Object::default(),
        };
        let mut stream = audience.stand(&identity);
        let agreeing = self.agree(&identity, audience, filter);
        let Some(agreed) = audience.ended.run_until_cancelled(agreeing).await else {
            return;
        };
        let hears_nothing = agreed.is_empty();
        let mut message = Some(acknowledgement(agreed, audience));
        while let Some(text) = message {
            let sending = agent.say(text);
            match audience.ended.run_until_cancelled(sending).await {
                Some(true) if !hears_nothing => message = stream.next().await,
                Some(_) | None => return,
            }
        }
    }

    /// Asks the servers; returns what of the filter they agreed to.
    async fn agree(
        self: &Arc<Self>,
        identity: &Identity,
        audience: &Arc<Audience>,
        filter: Filter,
    ) -> Map<String, Value> {
        let caller = &identity.caller;
        for asked in &filter.uris {
            self.want(caller, audience, asked);
        }
        let servers = self.audible(caller, &audience.scope);
        let tuning = servers.iter().map(async |server| {
            let tuning = self.order(audience, identity, server, Change::Tune);
            timeout(AGREE, tuning).await.ok()?.ok()
        });
        let granted: Vec<Interests> = join_all(tuning)
            .await
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        let mut agreed = Map::new();
        for (list, key) in LISTS {
            if granted.iter().any(|granted| wants(granted, list)) {
                agreed.insert(key.into(), true.into());
            }
        }
        let mut uris = Vec::new();
        for (server, subscribed) in audience.subscriptions() {
            let at = servers.iter().position(|name| *name == server);
            let granted = at.and_then(|at| granted.get(at));
            for (own, asked) in subscribed {
                if granted.is_some_and(|granted| granted.uris.contains(&own)) {
                    uris.push(Value::from(asked));
                } else {
                    audience.unsubscribe(&server, &own);
                }
            }
        }
        if !uris.is_empty() {
            agreed.insert(URIS.into(), uris.into());
        }
        agreed
    }

    /// Subscribes to a resource that there may be for this agent.
    fn want(&self, caller: &Caller, audience: &Audience, asked: &str) {
        let Ok((server, own)) = self.resolve_resource(caller, &audience.scope, asked) else {
            return;
        };
        let question = Question {
            agent: &caller.agent,
            server: &server,
            target: Target::Resource(&own),
            arguments: None,
            at: self.clock.now(),
            peer: caller.peer,
        };
        if is_granted(&caller.permissions, &question) {
            // There is room for all that a filter can hold.
            drop(audience.subscribe(&server, &own, asked));
        }
    }

    /// Tells all streams that this is the end.
    pub fn end_streams(&self) {
        self.audiences.close();
    }

    /// Resolves when streams have to end.
    pub async fn streams_end(&self) {
        self.audiences.closed().await;
    }
}

/// Keys of a filter (MCP 2026-07-28, subscriptions).
const LISTS: [(List, &str); 3] = [
    (List::Tools, "toolsListChanged"),
    (List::Prompts, "promptsListChanged"),
    (List::Resources, "resourcesListChanged"),
];
const URIS: &str = "resourceSubscriptions";

impl Filter {
    fn read(params: &Object) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::InvalidParams(format!("`notifications{what}"));
        let filter = params
            .get_object("notifications")
            .ok_or_else(|| wrong("` must be an object"))?;
        let mut wanted = [false; LISTS.len()];
        for (wanted, (_, key)) in wanted.iter_mut().zip(LISTS) {
            *wanted = match filter.get(key).map(|value| value.get()) {
                Some("true") => true,
                Some("false") | None => false,
                Some(_) => return Err(wrong(&format!(".{key}` must be a boolean"))),
            };
        }
        let [tools, prompts, resources] = wanted;
        let mut uris = BTreeSet::new();
        if let Some(list) = filter.get(URIS) {
            let must = || wrong(&format!(".{URIS}` must be a list of strings"));
            for uri in array_items(list.get()).ok_or_else(must)? {
                let uri: String = serde_json::from_str(uri.get()).map_err(|_| must())?;
                if uri.len() <= MAX_URI {
                    uris.insert(uri);
                }
            }
        }
        if uris.len() > MAX_SUBSCRIPTIONS {
            let too_many = format!(".{URIS}` has more than {MAX_SUBSCRIPTIONS} entries");
            return Err(wrong(&too_many));
        }
        let lists = Interests {
            tools,
            prompts,
            resources,
            uris: BTreeSet::new(),
        };
        Ok(Self { lists, uris })
    }
}

fn wants(interests: &Interests, list: List) -> bool {
    match list {
        List::Tools => interests.tools,
        List::Prompts => interests.prompts,
        List::Resources => interests.resources,
    }
}

fn acknowledgement(agreed: Map<String, Value>, audience: &Audience) -> String {
    let mut params = Object::default();
    params.set("notifications", crate::protocol::to_raw(&agreed.into()));
    address(&mut params, audience.tag.as_ref());
    notification("notifications/subscriptions/acknowledged", Some(&params))
}

/// The end of a stream that the gateway closes: an empty result.
fn end(id: &RequestId) -> Json {
    let id = id.as_json();
    raw(format!(
        "{{\"resultType\":\"complete\",\"{META}\":{{\"{SUBSCRIPTION_ID}\":{id}}}}}"
    ))
}
