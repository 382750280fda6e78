//! What the gateway says about itself: to `initialize`, and to `server/discover`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::protocol::{Json, LATEST_LEGACY, Object, SERVER_INFO, Version, to_raw};
use crate::types::ServerName;
use crate::upstream::{Description, Era, Lane, List};

use super::stages::{AgentEra, Caller};
use super::tasks::Dialect;
use super::{Gateway, Scope};

/// How long an opening waits for one server; one that takes longer is left out of what is announced.
const WAIT: Duration = Duration::from_secs(3);

/// Texts of third parties that are shown to a model, all servers together, in characters.
const MAX_INSTRUCTIONS: usize = 8_000;

/// The longest name of a client that a session remembers, in characters.
const MAX_CLIENT: usize = 200;

/// Capabilities that cross the gateway in this version.
const CAPABILITIES: [&str; 5] = ["tools", "prompts", "resources", "completions", "logging"];

/// The answer to `initialize`.
#[derive(Debug)]
pub struct Opened {
    /// The version agreed on.
    pub version: Version,
    /// Name and version of the client, as it says.
    pub client: Option<String>,
    /// The result to send.
    pub result: Json,
}

impl Gateway {
    /// Answers `initialize`; it never fails on the version.
    pub async fn initialize(&self, caller: &Caller, scope: &Scope, params: &Object) -> Opened {
        let asked = params
            .get_str("protocolVersion")
            .and_then(|version| version.parse::<Version>().ok());
        let version = asked
            .filter(|version| !version.is_modern())
            .unwrap_or(LATEST_LEGACY);
        // The session is only being opened, and its calls take what this opens at servers.
        let lane = Lane {
            prefers: Some(Era::Legacy),
            ..caller.lane()
        };
        let dialect = Dialect::of(AgentEra::Session(version));
        let mut result = self.announcement(caller, scope, &lane, dialect).await;
        result.insert("protocolVersion".into(), version.as_str().into());
        Opened {
            version,
            client: params
                .get_object("clientInfo")
                .and_then(|info| client_name(&info)),
            result: to_raw(&Value::Object(result)),
        }
    }

    /// Answers `server/discover` (2026-07-28).
    pub(super) async fn discover(&self, caller: &Caller, scope: &Scope) -> Json {
        let dialect = Dialect::of(caller.era);
        let mut result = self
            .announcement(caller, scope, &caller.lane(), dialect)
            .await;
        let info = result.remove("serverInfo");
        result.insert("_meta".into(), json!({SERVER_INFO: info}));
        result.insert("resultType".into(), "complete".into());
        result.insert(
            "supportedVersions".into(),
            json!([Version::V2026_07_28.as_str()]),
        );
        result.insert("ttlMs".into(), 0.into());
        result.insert("cacheScope".into(), "private".into());
        to_raw(&Value::Object(result))
    }

    async fn announcement(
        &self,
        caller: &Caller,
        scope: &Scope,
        lane: &Lane,
        dialect: Option<Dialect>,
    ) -> Map<String, Value> {
        let servers = match scope {
            Scope::One(server) => vec![server.clone()],
            Scope::All => self.visible_servers(caller),
        };
        let asked = servers
            .iter()
            .map(|server| timeout(WAIT, self.forwarder.describe(server, lane)));
        let known: Vec<(&ServerName, Arc<Description>)> = servers
            .iter()
            .zip(join_all(asked).await)
            .filter_map(|(server, answer)| Some((server, answer.ok()?.ok()?)))
            .collect();
        let mut announced = Map::new();
        let mut capabilities = capabilities(&known);
        if let (Scope::One(_), Some(dialect), [(_, server)]) = (scope, dialect, known.as_slice())
            && let Some((key, offer)) = dialect.offer(server)
            && let Ok(offer) = serde_json::from_str(offer.get())
        {
            capabilities.insert(key.into(), offer);
        }
        announced.insert("capabilities".into(), Value::Object(capabilities));
        announced.insert("serverInfo".into(), server_info(scope, &known));
        if let Some(text) = instructions(scope, &known) {
            announced.insert("instructions".into(), text.into());
        }
        announced
    }
}

/// Name and version as one word, from a `clientInfo`.
pub(crate) fn client_name(info: &Object) -> Option<String> {
    let name = info.get_str("name")?;
    let version = info.get_str("version");
    let whole = version.map_or_else(|| name.to_string(), |version| format!("{name} {version}"));
    Some(whole.chars().take(MAX_CLIENT).collect())
}

/// What any of the servers can do; tools always, since a server that is down now may have some later.
fn capabilities(known: &[(&ServerName, Arc<Description>)]) -> Map<String, Value> {
    let any = |can: &dyn Fn(&Description) -> bool| known.iter().any(|(_, server)| can(server));
    let mut announced = Map::new();
    for capability in CAPABILITIES {
        if capability != "tools" && !any(&|server| server.capabilities.get(capability).is_some()) {
            continue;
        }
        let mut details = Map::new();
        let list = LISTS
            .into_iter()
            .find(|list| list_name(*list) == capability);
        if list.is_some_and(|list| any(&|server| tells(server, list))) {
            details.insert("listChanged".into(), true.into());
        }
        if list == Some(List::Resources) && any(&subscribes) {
            details.insert("subscribe".into(), true.into());
        }
        announced.insert(capability.into(), details.into());
    }
    announced
}

const LISTS: [List; 3] = [List::Tools, List::Prompts, List::Resources];

fn list_name(list: List) -> &'static str {
    match list {
        List::Tools => "tools",
        List::Prompts => "prompts",
        List::Resources => "resources",
    }
}

/// Whether a server tells when this list changes.
pub(super) fn tells(server: &Description, list: List) -> bool {
    has(server, list_name(list), "listChanged")
}

/// Whether a server tells when a resource changes.
pub(super) fn subscribes(server: &Description) -> bool {
    has(server, "resources", "subscribe")
}

fn has(server: &Description, capability: &str, detail: &str) -> bool {
    let details = server.capabilities.get_object(capability);
    details.is_some_and(|details| {
        details
            .get(detail)
            .is_some_and(|value| value.get() == "true")
    })
}

fn server_info(scope: &Scope, known: &[(&ServerName, Arc<Description>)]) -> Value {
    let own = || json!({"name": "hayward", "version": env!("CARGO_PKG_VERSION")});
    let theirs = || {
        let (_, server) = known.first()?;
        serde_json::from_str(server.server_info.as_ref()?.get()).ok()
    };
    match scope {
        Scope::All => own(),
        Scope::One(_) => theirs().unwrap_or_else(own),
    }
}

fn instructions(scope: &Scope, known: &[(&ServerName, Arc<Description>)]) -> Option<String> {
    let texts = known
        .iter()
        .filter_map(|(name, server)| Some((name, server.instructions.as_deref()?)));
    let texts = texts.map(|(name, text)| match scope {
        Scope::One(_) => text.to_string(),
        Scope::All => format!("# {name}\n\n{text}"),
    });
    let all = texts.collect::<Vec<String>>().join("\n\n");
    (!all.is_empty()).then(|| all.chars().take(MAX_INSTRUCTIONS).collect())
}
