//! One server behind the gateway, however it is reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tracing::Instrument;

use crate::clock::Clock;
use crate::protocol::Object;
use crate::types::{
    Connection, Contact, Endpoint, EraChoice, ServerName, ServerState, Template, Timestamp,
};

use super::child::Program;
use super::contacts::Contacts;
use super::dial::Dial;
use super::ears::Ears;
use super::http::Http;
use super::opening::locked;
use super::stdio::Stdio;
use super::wire::Wire;
use super::{
    Description, Era, Interests, Lane, Listening, News, Notice, Outgoing, Reply, SetupError,
    UpstreamError, limits,
};

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

/// One server behind the gateway.
#[derive(Debug)]
pub struct Upstream {
    name: ServerName,
    connection: Connection,
    transport: Transport,
    ears: Ears,
    contacts: Mutex<Contacts>,
    clock: Arc<dyn Clock>,
    edition: u64,
}

#[derive(Debug)]
enum Transport {
    Http(Box<Http>),
    Stdio(Arc<Stdio>),
}

impl Upstream {
    /// # Errors
    /// When a URL or a header cannot be used.
    pub(super) fn new(
        name: &ServerName,
        connection: Connection,
        environment: &BTreeMap<String, String>,
        dial: &Dial,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            name: name.clone(),
            transport: Transport::new(name, &connection, environment, dial, &clock)?,
            connection,
            ears: Ears::default(),
            contacts: Mutex::default(),
            clock,
            edition: 0,
        })
    }

    /// Notes with which configuration it came.
    pub(super) fn since(self, edition: u64) -> Self {
        Self { edition, ..self }
    }

    /// The number of the configuration it came with.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// The name of the server.
    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// How the server is reached.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether this is how the server is reached, secrets included.
    pub(super) fn reaches(&self, other: &Connection) -> bool {
        let ours = &self.connection;
        ours.era == other.era
            && ours.timeout == other.timeout
            && same_endpoint(&ours.endpoint, &other.endpoint)
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
        if let Ok(description) = &described {
            locked(&self.contacts).opened(description);
        }
        self.note(lane, described.as_ref().err());
        described
    }

    /// What is spoken to it for this lane; asks it only when nobody knows yet, and opens no session.
    ///
    /// # Errors
    /// `Unreachable` or `Refused`, as [`Upstream::describe`].
    pub async fn era(&self, lane: &Lane) -> Result<Era, UpstreamError> {
        let era = match &self.transport {
            Transport::Http(http) => http.era(lane).await,
            Transport::Stdio(stdio) => stdio.era(lane).await,
        };
        if let Err(error) = &era {
            self.note(lane, Some(error));
        }
        era
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
        let span = tracing::debug_span!("upstream", server = %self.name, agent = %lane.agent);
        let sending = async {
            match &self.transport {
                Transport::Http(http) => http.send(lane, request, notices).await,
                Transport::Stdio(stdio) => Box::pin(stdio.send(lane, request, notices)).await,
            }
        };
        let reply = sending.instrument(span).await;
        if let Ok(reply) = &reply {
            locked(&self.contacts).spoke(reply.era);
        }
        self.note(lane, reply.as_ref().err());
        reply
    }

    /// How many calls of one agent, of those that the server may ask about, it takes at once; the next waits.
    pub fn leases(&self) -> usize {
        match &self.transport {
            Transport::Http(_) => limits::LEASED_SESSIONS,
            Transport::Stdio(_) => limits::LEASED_PROCESSES,
        }
    }

    /// Opens an ear for news of this server; resolves when the server has agreed. News that the listener is too slow
    /// for are told when there is room, each list once.
    ///
    /// # Errors
    /// When the server cannot be asked, or gave no answer that could be read. A server that has no news for anyone is
    /// no error: it grants nothing.
    pub async fn listen(
        &self,
        lane: &Lane,
        interests: Interests,
        capabilities: Object,
        news: mpsc::Sender<News>,
    ) -> Result<Listening, UpstreamError> {
        let ear = self.ears.open(lane, interests, capabilities, news)?;
        // Whoever stops waiting for the server closes the ear as well.
        let open = ear.over.clone().drop_guard();
        let granted = match &self.transport {
            Transport::Http(http) => http.listen(lane, ear).await,
            Transport::Stdio(stdio) => stdio.listen(lane, ear).await,
        };
        self.note(lane, granted.as_ref().err());
        let granted = granted?;
        let _open = Some(open).filter(|_| !granted.is_empty());
        Ok(Listening { granted, _open })
    }

    /// Passes on that the agent's roots changed, on those connections of this lane that were told it has some. Opens
    /// none.
    pub async fn roots_changed(&self, lane: &Lane) {
        match &self.transport {
            Transport::Http(http) => http.roots_changed(lane).await,
            Transport::Stdio(stdio) => stdio.roots_changed(lane).await,
        }
    }

    /// The agent's session ended: forgets its connections, and ends them in the background. A child process is
    /// the agent's and not the session's, so it stays until it is idle.
    pub async fn end_session(&self, lane: &Lane) {
        self.ears.end(lane);
        match &self.transport {
            Transport::Http(http) => http.end_session(lane),
            Transport::Stdio(_) => {}
        }
    }

    /// What is known from the last contact.
    pub fn health(&self) -> Health {
        locked(&self.contacts).health()
    }

    /// What is known from all contacts, for people.
    pub fn state(&self) -> ServerState {
        let (transport, processes) = match &self.transport {
            Transport::Http(_) if self.connection.era == EraChoice::Sse => ("sse", None),
            Transport::Http(_) => ("http", None),
            Transport::Stdio(stdio) => ("stdio", Some(stdio.running())),
        };
        let contacts = locked(&self.contacts);
        let (answered, failed) = contacts.both();
        let (era, protocol) = contacts.spoken();
        ServerState {
            name: self.name.clone(),
            transport,
            contact: contacts.contact(),
            since: contacts.since(),
            answered,
            failed,
            era,
            protocol,
            processes,
        }
    }

    /// Ends what only listens. It would keep connections open that nobody calls on any more.
    pub(super) fn retire(&self) {
        self.ears.close();
    }

    pub(super) async fn close(&self) {
        self.ears.close();
        match &self.transport {
            Transport::Http(http) => http.close().await,
            Transport::Stdio(stdio) => stdio.close().await,
        }
    }

    fn note(&self, lane: &Lane, error: Option<&UpstreamError>) {
        let at = self.clock.now();
        let failure = match error {
            None | Some(UpstreamError::Rejected(_) | UpstreamError::TooLarge(_)) => None,
            Some(
                error @ (UpstreamError::Unreachable(_)
                | UpstreamError::Refused(_)
                | UpstreamError::TimedOut
                | UpstreamError::Broken(_)),
            ) => Some(error.to_string()),
        };
        let before = {
            let mut contacts = locked(&self.contacts);
            match failure.clone() {
                None => contacts.answered(at),
                Some(why) => contacts.failed(at, why),
            }
        };
        let (server, agent) = (&self.name, &lane.agent);
        match (before, failure) {
            (Contact::Down, None) => {
                tracing::info!(%server, %agent, "a server answers again")
            }
            (Contact::Down, Some(reason)) => {
                tracing::debug!(%server, %agent, reason, "a server still gives no answer");
            }
            (Contact::Unknown | Contact::Up, Some(reason)) => {
                tracing::warn!(%server, %agent, reason, "a server gives no answer")
            }
            (Contact::Unknown | Contact::Up, None) => {}
        }
    }
}

fn same_endpoint(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (
            Endpoint::Http { url, headers },
            Endpoint::Http {
                url: other_url,
                headers: other_headers,
            },
        ) => same(url, other_url) && same_values(headers, other_headers),
        (
            Endpoint::Stdio {
                command,
                args,
                env,
                cwd,
                instances,
            },
            Endpoint::Stdio {
                command: other_command,
                args: other_args,
                env: other_env,
                cwd: other_cwd,
                instances: other_instances,
            },
        ) => {
            (command, cwd, instances) == (other_command, other_cwd, other_instances)
                && args.len() == other_args.len()
                && args
                    .iter()
                    .zip(other_args)
                    .all(|(one, other)| same(one, other))
                && same_values(env, other_env)
        }
        (Endpoint::Http { .. }, Endpoint::Stdio { .. })
        | (Endpoint::Stdio { .. }, Endpoint::Http { .. }) => false,
    }
}

fn same_values(one: &[(String, Template)], other: &[(String, Template)]) -> bool {
    let pairs = || one.iter().zip(other);
    one.len() == other.len()
        && pairs().all(|(one, other)| one.0 == other.0 && same(&one.1, &other.1))
}

fn same(one: &Template, other: &Template) -> bool {
    one.expose().expose() == other.expose().expose()
}

impl Transport {
    fn new(
        name: &ServerName,
        connection: &Connection,
        environment: &BTreeMap<String, String>,
        dial: &Dial,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let (era, timeout) = (connection.era, connection.timeout.min(limits::CALL));
        match &connection.endpoint {
            Endpoint::Http { url, headers } => {
                let wire = Wire::new(url, headers, dial)?;
                Ok(Self::Http(Box::new(Http::new(
                    name, wire, era, timeout, clock,
                ))))
            }
            Endpoint::Stdio {
                command,
                args,
                env,
                cwd,
                instances,
            } => {
                let program = Program::new(command, args, env, cwd.clone(), environment);
                Ok(Self::Stdio(Arc::new(Stdio::new(
                    name, program, *instances, era, timeout, clock,
                ))))
            }
        }
    }
}
