//! The servers behind the gateway, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::types::{Connection, Endpoint, ServerName};

use super::dial::Dial;
use super::{Upstream, limits};

/// Why a server's configuration cannot be used. No secret is in the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The URL is none.
    #[error("`{0}` is no http or https URL")]
    Url(String),
    /// The URL carries credentials, which would show up in logs along the way.
    #[error("`{0}` carries a user name or password: send credentials as a header")]
    Credentials(String),
    /// The name of a header is none.
    #[error("`{0}` is no header name")]
    HeaderName(String),
    /// The value of a header cannot be sent.
    #[error("the value of header `{0}` has characters that a header cannot carry")]
    HeaderValue(String),
    /// The header is for this gateway to set.
    #[error("the header `{0}` is set by the gateway and cannot be configured")]
    OwnHeader(String),
}

/// The servers behind the gateway.
#[derive(Debug)]
pub struct Upstreams {
    servers: BTreeMap<ServerName, Arc<Upstream>>,
    edition: u64,
}

impl Upstreams {
    /// Knows how to reach each server; reaches none yet. Of `environment`, the variables of this process, child
    /// processes inherit a handful.
    ///
    /// # Errors
    /// When a URL or a header cannot be used, with the name of the server.
    pub fn new(
        connections: BTreeMap<ServerName, Connection>,
        environment: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (ServerName, SetupError)> {
        let nobody = Self {
            servers: BTreeMap::new(),
            edition: 0,
        };
        nobody.reconfigured(connections, environment, clock)
    }

    /// The servers of a new configuration. Those whose connection is the same stay as they are, with their
    /// sessions and processes; those that are gone end theirs when the last call in flight is through.
    ///
    /// # Errors
    /// When a URL or a header cannot be used, with the name of the server.
    pub fn reconfigured(
        &self,
        connections: BTreeMap<ServerName, Connection>,
        environment: &BTreeMap<String, String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, (ServerName, SetupError)> {
        let dial = Dial::new(connections.values().any(may_need_tls));
        let edition = self.edition.saturating_add(1);
        let mut servers = BTreeMap::new();
        for (name, connection) in connections {
            let kept = self
                .servers
                .get(&name)
                .filter(|upstream| upstream.reaches(&connection));
            let upstream = match kept {
                Some(upstream) => upstream.clone(),
                None => {
                    let made = Upstream::new(&name, connection, environment, &dial, clock.clone());
                    let made = made.map_err(|error| (name.clone(), error))?;
                    Arc::new(made.since(edition))
                }
            };
            servers.insert(name, upstream);
        }
        Ok(Self { servers, edition })
    }

    /// How many configurations there were so far, this one included.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Whether another configuration reaches the same servers in the same way.
    pub fn is_same(&self, other: &Self) -> bool {
        let mut servers = self.servers.iter();
        self.servers.len() == other.servers.len()
            && servers.all(|(name, upstream)| {
                let there = other.get(name);
                there.is_some_and(|there| Arc::ptr_eq(there, upstream))
            })
    }

    /// Has those servers heard no more that another configuration reaches in another way, or not at all. Calls in
    /// flight go on; with the last of them, and this, their sessions and processes end.
    pub fn retire(&self, next: &Self) {
        for (name, upstream) in &self.servers {
            let stays = next.get(name).is_some_and(|now| Arc::ptr_eq(now, upstream));
            if !stays {
                upstream.retire();
            }
        }
    }

    /// The server with this name.
    pub fn get(&self, server: &ServerName) -> Option<&Arc<Upstream>> {
        self.servers.get(server)
    }

    /// All servers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ServerName, &Arc<Upstream>)> {
        self.servers.iter()
    }

    /// Ends all sessions and child processes, in bounded time. Nothing can be sent after that.
    pub async fn close(&self) {
        let closing = self.servers.values().map(|upstream| upstream.close());
        let _ = tokio::time::timeout(limits::CLOSE, futures_util::future::join_all(closing)).await;
    }
}

fn may_need_tls(connection: &Connection) -> bool {
    match &connection.endpoint {
        Endpoint::Http { url, .. } => !url.expose().expose().starts_with("http:"),
        Endpoint::Stdio { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, json, lane, legacy, result, tool_call};
    use super::*;
    use crate::clock::ManualClock;
    use crate::types::{EraChoice, Template, Timestamp};

    #[tokio::test]
    async fn a_server_that_stays_the_same_keeps_its_session_and_a_changed_one_ends_it() {
        let peer = legacy(|seen| json(200, "", &result(&seen.id(), "{}")));
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        assert!(bench.call().await.is_ok());
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
        let configure = |old: &Upstreams, value: &str| {
            let (name, upstream) = bench.upstreams.iter().next().unwrap();
            let mut connection = upstream.connection().clone();
            let headers = vec![("Authorization".to_owned(), Template::literal(value))];
            let url = Template::literal(&peer.url);
            connection.endpoint = Endpoint::Http { url, headers };
            let connections = BTreeMap::from([(name.clone(), connection)]);
            old.reconfigured(connections, &BTreeMap::new(), clock.clone())
                .unwrap()
        };
        let same = configure(&bench.upstreams, "Bearer ours");
        let name = "peer".parse().unwrap();
        assert!(Arc::ptr_eq(
            same.get(&name).unwrap(),
            bench.upstreams.get(&name).unwrap()
        ));
        let changed = configure(&same, "Bearer new");
        drop((same, bench.upstreams));
        peer.until(|peer| peer.seen().iter().any(|seen| seen.verb == "DELETE"))
            .await;
        let (sender, _receiver) = tokio::sync::mpsc::channel(1);
        let upstream = changed.get(&name).unwrap();
        assert!(
            upstream
                .send(&lane("a"), tool_call("{}"), &sender)
                .await
                .is_ok()
        );
        let call = peer.calls("tools/call").pop().unwrap();
        assert_eq!(call.header("authorization"), Some("Bearer new"));
    }
}
