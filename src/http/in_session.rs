//! What belongs to a session: opening and ending it, what was agreed on in it, and answers to questions that
//! servers put to its client.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::gateway::{AgentEra, Answer, Asking, Caller, Door, Failure};
use crate::protocol::{
    CLIENT_CAPABILITIES, Json, LOG_LEVEL, LogLevel, META, Object, RequestId, raw,
};
use crate::types::{AgentName, hex};

use super::classify::{Unclear, session_alone};
use super::delivery::takes_stream;
use super::mcp::{Visit, hints};
use super::session::Session;
use super::{Front, delivery, headers, refuse, respond};

/// The header that names the last event an agent got on a stream.
const LAST_EVENT: &str = "last-event-id";

impl Front {
    /// Hands an agent's answer to the server that asked.
    pub(super) async fn take_answer(
        &self,
        mut visit: Visit,
        id: Option<RequestId>,
        outcome: Result<Json, Json>,
    ) -> Result<Response, Response> {
        let session = hints(&visit.headers)
            .map_err(Unclear::Failure)
            .and_then(|hints| session_alone(&hints));
        let session = match session {
            Ok(session) => session,
            Err(unclear) => return Err(self.unclear(&visit, None, "", unclear).await),
        };
        if let Some(session) = &session
            && let Err(door) = self.resume(&mut visit, session)
        {
            return Err(self.turn_away(&visit.caller, door).await);
        }
        let taken = session
            .zip(id)
            .is_some_and(|(session, id)| self.gateway.answer_ask(&session, &id, outcome));
        if taken {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        Err(self.fail(&visit, None, "", Failure::NothingAsked).await)
    }

    pub(super) fn resume(&self, visit: &mut Visit, id: &str) -> Result<(), Door> {
        let found = self
            .sessions
            .find(id, &visit.caller.agent.name, &visit.scope);
        let (id, session) = found.ok_or(Door::UnknownSession)?;
        visit.caller.era = AgentEra::Session(session.version);
        visit.caller.client = session.client;
        visit.caller.session = Some(id);
        visit.has_places = session.version.has_places() && session.stream.is_none();
        Ok(())
    }

    /// Ends what hangs on a session that is over.
    pub(super) async fn forget(&self, id: Arc<str>, agent: AgentName) {
        self.streams.forget_session(&agent, &id);
        self.gateway.end_session(agent, id).await;
    }

    /// A GET in a session: it takes up a stream where it left off, or opens the session's own.
    pub(super) async fn listen(&self, mut visit: Visit) -> Result<Response, Response> {
        match headers::single(&visit.headers, LAST_EVENT) {
            Ok(None) => self.stand(visit).await,
            Ok(Some(_)) | Err(_) => self.take_up(&mut visit).await,
        }
    }

    /// Sends what a stream said after the event that the agent names, and goes on with it.
    async fn take_up(&self, visit: &mut Visit) -> Result<Response, Response> {
        let session = hints(&visit.headers)
            .map_err(Unclear::Failure)
            .and_then(|hints| session_alone(&hints));
        let session = match session {
            Ok(Some(session)) if takes_stream(&visit.headers) => session,
            // Named a revision that knows no other method than POST, or none of the streams there are.
            Ok(_) | Err(Unclear::Failure(_)) => {
                return Err(refuse(&Door::MethodNotAllowed("POST, DELETE")));
            }
            Err(unclear) => return Err(self.unclear(visit, None, "", unclear).await),
        };
        if let Err(door) = self.resume(visit, &session) {
            return Err(self.turn_away(&visit.caller, door).await);
        }
        let place = match headers::single(&visit.headers, LAST_EVENT) {
            Ok(Some(id)) => self.gateway.find_place(&visit.caller, &visit.scope, id),
            Ok(None) | Err(_) => None,
        };
        let agent = &visit.caller.agent.name;
        let reader = place.and_then(|place| {
            self.streams
                .take_up(agent, &session, place.stream, place.number)
        });
        match reader {
            Some(reader) => Ok(delivery::resumed(reader)),
            None => Err(self.turn_away(&visit.caller, Door::UnknownPlace).await),
        }
    }

    pub(super) async fn open_session(
        &self,
        mut visit: Visit,
        id: &RequestId,
        params: &Object,
    ) -> Response {
        let session_id: Arc<str> = hex(&crate::gateway::random::<16>()).into();
        visit.caller.session = Some(Arc::clone(&session_id));
        let opened = self
            .gateway
            .initialize(&visit.caller, &visit.scope, params)
            .await;
        let session = Session {
            agent: visit.caller.agent.name.clone(),
            scope: visit.scope,
            version: opened.version,
            client: opened.client,
            log_level: None,
            capabilities: params.get_object("capabilities").unwrap_or_default(),
            stream: None,
        };
        self.gateway.begin_session(&session_id, &session.scope);
        let ended = self.sessions.open(Arc::clone(&session_id), session);
        for (id, session) in ended {
            self.forget(id, session.agent).await;
        }
        let mut response = respond(Answer::result(id, &opened.result));
        if let Ok(value) = session_id.parse() {
            response.headers_mut().insert("mcp-session-id", value);
        }
        response
    }

    /// Answers `logging/setLevel`. Servers are told when the next request of the session comes to them.
    pub(super) async fn set_level(&self, visit: &Visit, id: &RequestId, params: &Object) -> Answer {
        let level = params
            .get_str("level")
            .and_then(|level| level.parse::<LogLevel>().ok());
        if let (Some(level), Some(session)) = (level, &visit.caller.session) {
            self.sessions.set_level(session, level);
            return Answer::result(id, &raw("{}".into()));
        }
        let failure = Failure::InvalidParams("`level` must be one of the eight log levels".into());
        self.failed(visit, Some(id), "logging/setLevel", failure)
            .await
    }

    pub(super) async fn end_session(&self, visit: &mut Visit) -> Result<Response, Response> {
        let hints = match hints(&visit.headers) {
            Ok(hints) => hints,
            Err(failure) => return Err(self.fail(visit, None, "", failure).await),
        };
        let id = match session_alone(&hints) {
            Ok(Some(id)) => id,
            Ok(None) => return Err(refuse(&Door::MissingSession)),
            // Named a revision that knows no other method than POST.
            Err(Unclear::Failure(_)) => {
                return Err(refuse(&Door::MethodNotAllowed("POST, DELETE")));
            }
            Err(unclear) => return Err(self.unclear(visit, None, "", unclear).await),
        };
        if let Err(door) = self.resume(visit, &id) {
            return Err(self.turn_away(&visit.caller, door).await);
        }
        self.sessions.close(&id);
        self.forget(id.into(), visit.caller.agent.name.clone())
            .await;
        Ok(StatusCode::OK.into_response())
    }

    pub(super) fn log_level(&self, visit: &Visit, params: &Object) -> Option<LogLevel> {
        match visit.caller.era {
            AgentEra::Bare => None,
            AgentEra::Modern => params.get_object(META)?.get_str(LOG_LEVEL)?.parse().ok(),
            AgentEra::Session(_) => {
                // Servers of these revisions may log unasked.
                Some(self.session(visit)?.log_level.unwrap_or(LogLevel::Info))
            }
        }
    }

    /// The level that was set for the session of a request.
    pub(super) fn session_level(&self, visit: &Visit) -> Option<LogLevel> {
        match visit.caller.era {
            AgentEra::Session(_) => self.session(visit)?.log_level,
            AgentEra::Bare | AgentEra::Modern => None,
        }
    }

    /// What the agent declared it can do: with the request, or when it opened its session.
    pub(super) fn capabilities(&self, visit: &Visit, params: &Object) -> Object {
        let declared = match visit.caller.era {
            AgentEra::Bare => None,
            AgentEra::Modern => params
                .get_object(META)
                .and_then(|meta| meta.get_object(CLIENT_CAPABILITIES)),
            AgentEra::Session(_) => self.session(visit).map(|session| session.capabilities),
        };
        declared.unwrap_or_default()
    }

    pub(super) fn session(&self, visit: &Visit) -> Option<Session> {
        let id = visit.caller.session.as_deref()?;
        Some(
            self.sessions
                .find(id, &visit.caller.agent.name, &visit.scope)?
                .1,
        )
    }
}

/// How an agent can be asked something while its request is open.
pub(super) fn asking(caller: &Caller, streams: bool, declared: &Object) -> Asking {
    match (caller.era, &caller.session) {
        (AgentEra::Modern, _) => Asking::Retry,
        (AgentEra::Session(_), Some(session)) if streams => Asking::Push {
            session: Arc::clone(session),
            declared: declared.clone(),
        },
        (AgentEra::Session(_) | AgentEra::Bare, _) => Asking::No,
    }
}
