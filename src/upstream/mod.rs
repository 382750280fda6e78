//! Speaks MCP to the servers behind the gateway: streamable HTTP of both eras, and child processes.
//!
//! Knows nothing of grants, budgets or the log. Only `gateway::forward` calls [`Upstream::send`].

mod backoff;
mod child;
mod codec;
mod era;
mod exchange;
mod handshake;
mod http;
mod limits;
mod lines;
mod link;
mod listener;
mod modern;
mod pending;
mod pool;
mod reply;
mod session;
mod stdio;
mod wire;

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod stdio_tests;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::types::{Connection, Endpoint, ServerName, Timestamp};

pub use exchange::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError};

use self::http::Http;
use self::stdio::Stdio;
use child::Program;
use pool::locked;
use wire::{Dial, Wire};

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

/// What is known about a server from the last contact with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nobody has called it yet.
    Unknown,
    /// It answered.
    Up {
        /// When it last did.
        at: Timestamp,
    },
    /// The last contact failed.
    Down {
        /// When.
        at: Timestamp,
        /// Why, in words for people.
        reason: String,
    },
}

/// The servers behind the gateway.
#[derive(Debug)]
pub struct Upstreams {
    servers: BTreeMap<ServerName, Arc<Upstream>>,
}

/// One server behind the gateway.
#[derive(Debug)]
pub struct Upstream {
    name: ServerName,
    transport: Transport,
    health: Mutex<Health>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
enum Transport {
    Http(Box<Http>),
    Stdio(Box<Stdio>),
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
        let dial = Dial::new();
        let mut servers = BTreeMap::new();
        for (name, connection) in connections {
            let transport = Transport::new(&name, &connection, environment, &dial, &clock)
                .map_err(|error| (name.clone(), error))?;
            let upstream = Upstream {
                name: name.clone(),
                transport,
                health: Mutex::new(Health::Unknown),
                clock: clock.clone(),
            };
            servers.insert(name, Arc::new(upstream));
        }
        Ok(Self { servers })
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

impl Transport {
    fn new(
        name: &ServerName,
        connection: &Connection,
        environment: &BTreeMap<String, String>,
        dial: &Dial,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let (era, timeout) = (connection.era, connection.timeout);
        match &connection.endpoint {
            Endpoint::Http { url, headers } => {
                let wire = Wire::new(url, headers, dial)?;
                Ok(Self::Http(Box::new(Http::new(wire, era, timeout, clock))))
            }
            Endpoint::Stdio {
                command,
                args,
                env,
                cwd,
                instances,
            } => {
                let program = Program::new(command, args, env, cwd.clone(), environment);
                Ok(Self::Stdio(Box::new(Stdio::new(
                    name, program, *instances, era, timeout, clock,
                ))))
            }
        }
    }
}

impl Upstream {
    /// The name of the server.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// Opens the connection of this lane if needed, and says what the server is.
    ///
    /// # Errors
    /// `Unreachable` or `Refused`: whatever goes wrong here, no request of a call was sent.
    pub async fn describe(&self, lane: &Lane) -> Result<Arc<Description>, UpstreamError> {
        let described = match &self.transport {
            Transport::Http(http) => http.describe(lane).await,
            Transport::Stdio(stdio) => stdio.describe(lane).await,
        };
        self.note(lane, described.as_ref().err());
        described
    }

    /// Sends one request and returns its one answer; what the server says meanwhile goes to `notices`, and is
    /// dropped while that is full. Dropping the future cancels the request.
    ///
    /// # Errors
    /// Whatever went wrong; [`UpstreamError::nothing_sent`] says whether the server may have done the work.
    pub async fn send(
        &self,
        lane: &Lane,
        request: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let reply = match &self.transport {
            Transport::Http(http) => http.send(lane, request, notices).await,
            Transport::Stdio(stdio) => stdio.send(lane, request, notices).await,
        };
        self.note(lane, reply.as_ref().err());
        reply
    }

    /// The agent's session ended: forgets its connections, and ends them in the background. A child process is
    /// the agent's and not the session's, so it stays until it is idle.
    pub async fn end_session(&self, lane: &Lane) {
        match &self.transport {
            Transport::Http(http) => http.end_session(lane),
            Transport::Stdio(_) => {}
        }
    }

    /// What is known from the last contact.
    pub fn health(&self) -> Health {
        locked(&self.health).clone()
    }

    async fn close(&self) {
        match &self.transport {
            Transport::Http(http) => http.close().await,
            Transport::Stdio(stdio) => stdio.close().await,
        }
    }

    fn note(&self, lane: &Lane, error: Option<&UpstreamError>) {
        let at = self.clock.now();
        let health = match error {
            None | Some(UpstreamError::Rejected(_) | UpstreamError::TooLarge(_)) => {
                Health::Up { at }
            }
            Some(
                error @ (UpstreamError::Unreachable(_)
                | UpstreamError::Refused(_)
                | UpstreamError::TimedOut
                | UpstreamError::Broken(_)),
            ) => {
                tracing::warn!(server = %self.name, agent = %lane.agent, %error, "no answer from a server");
                Health::Down {
                    at,
                    reason: error.to_string(),
                }
            }
        };
        *locked(&self.health) = health;
    }
}
