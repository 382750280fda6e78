//! `/mcp` and `/mcp/{server}`: one HTTP request in, one message handed to the gateway.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method as HttpMethod, Request, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};

use crate::gateway::{
    Addressee, AgentEra, AgentRequest, Answer, Caller, Door, Failure, Part, Scope, TokenProblem,
    client_name,
};
use crate::protocol::{
    CLIENT_INFO, META, Message, MessageError, Object, RequestId, Version, readable_id,
};

use tokio::sync::mpsc;

use super::classify::{Class, Hints, Unclear, classify};
use super::delivery::Takes;
use super::in_session::asking;
use super::resume::Owner;
use super::{Front, bearer, body, delivery, headers, refuse, respond};

/// The longest label a bare client may put on its requests, in bytes.
const MAX_LABEL: usize = 128;

/// `/mcp`: everything the agent was granted.
pub(super) async fn all(State(front): State<Front>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    front
        .handle(parts, body, None)
        .await
        .unwrap_or_else(|refusal| refusal)
}

/// `/mcp/{server}`: one server, its names untouched.
pub(super) async fn one(
    State(front): State<Front>,
    server: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    // A path that is no text names no server.
    let server = server.map_or_else(|_| parts.uri.path().to_owned(), |Path(server)| server);
    front
        .handle(parts, body, Some(&server))
        .await
        .unwrap_or_else(|refusal| refusal)
}

/// A request whose token is known, on an endpoint that is open to its agent.
pub(super) struct Visit {
    pub(super) caller: Caller,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    /// Whether the agent can take up a stream again: it came in a session of a revision that has that.
    pub(super) has_places: bool,
}

impl Front {
    async fn handle(
        &self,
        parts: Parts,
        body: Body,
        server: Option<&str>,
    ) -> Result<Response, Response> {
        let mut visit = self.admit(parts.headers, server).await?;
        match parts.method {
            HttpMethod::POST => {}
            HttpMethod::GET => return self.listen(&mut visit).await,
            HttpMethod::DELETE => return self.end_session(&mut visit).await,
            _ => return Err(refuse(&Door::MethodNotAllowed("POST, DELETE"))),
        }
        let message = self.read(&mut visit, body).await?;
        self.message(visit, message).await
    }

    /// Reads the body, which must be one message.
    pub(super) async fn read(&self, visit: &mut Visit, body: Body) -> Result<Message, Response> {
        if !is_json(&visit.headers) {
            return Err(self.turn_away(&visit.caller, Door::NotJsonType).await);
        }
        let body = match body::read(body).await {
            Ok(body) => body,
            Err(door) => return Err(self.turn_away(&visit.caller, door).await),
        };
        visit.caller.bytes_in = u64::try_from(body.len()).unwrap_or(u64::MAX);
        match Message::parse(&body) {
            Ok(message) => Ok(message),
            Err(error) => {
                let failure = match error {
                    MessageError::NotJson(why) => Failure::NotJson(why),
                    MessageError::NotAMessage(why) => Failure::NotAMessage(why),
                };
                let id = readable_id(&body);
                Err(self.fail(visit, id.as_ref(), "", failure).await)
            }
        }
    }

    /// Who comes to which endpoint; the token must be known and the endpoint open to its agent.
    pub(super) async fn admit(
        &self,
        headers: HeaderMap,
        server: Option<&str>,
    ) -> Result<Visit, Response> {
        let caller = self.caller(&headers).map_err(|door| refuse(&door))?;
        let opened = server
            .map(|name| self.gateway.open_server(&caller.agent, name))
            .transpose();
        match opened {
            Ok(server) => Ok(Visit {
                caller,
                scope: server.map_or(Scope::All, Scope::One),
                headers,
                has_places: false,
            }),
            Err(door) => Err(self.turn_away(&caller, door).await),
        }
    }

    /// Who sent this: the agent of its token.
    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Door> {
        let agent = bearer::token(headers).and_then(|token| {
            self.gateway
                .authenticate(token)
                .ok_or(TokenProblem::Unknown)
        });
        let agent = agent.map_err(|problem| {
            self.gateway.count_stranger();
            Door::Token(problem)
        })?;
        Ok(Caller {
            permissions: Arc::clone(self.gateway.permissions()),
            era: presumed_era(headers),
            client: None,
            session: None,
            bytes_in: 0,
            agent,
        })
    }

    async fn message(&self, visit: Visit, message: Message) -> Result<Response, Response> {
        match message {
            Message::Request { id, method, params } => {
                let visit = self.classified(visit, Some(&id), &method, &params).await?;
                self.request(visit, id, method, params).await
            }
            // Nothing this version does hangs on a notification; it is taken and dropped.
            Message::Notification { .. } => Ok(StatusCode::ACCEPTED.into_response()),
            Message::Response { id, outcome } => self.take_answer(visit, id, outcome).await,
        }
    }

    /// Finds out how the agent speaks, and checks what its revision asks of every request.
    async fn classified(
        &self,
        mut visit: Visit,
        id: Option<&RequestId>,
        method: &str,
        params: &Object,
    ) -> Result<Visit, Response> {
        let class = match hints(&visit.headers) {
            Ok(hints) => classify(method, params, &hints),
            Err(failure) => Err(Unclear::Failure(failure)),
        };
        match class {
            Ok(Class::Modern) => {
                visit.caller.era = AgentEra::Modern;
                let meta = params.get_object(META).unwrap_or_default();
                visit.caller.client = meta
                    .get_object(CLIENT_INFO)
                    .and_then(|info| client_name(&info));
                match headers::check_equality(&visit.headers, method, params) {
                    Ok(()) => Ok(visit),
                    Err(failure) => Err(self.fail(&visit, id, method, failure).await),
                }
            }
            Ok(Class::InSession(session)) => match self.resume(&mut visit, &session) {
                Ok(()) => Ok(visit),
                Err(door) => Err(self.turn_away(&visit.caller, door).await),
            },
            Ok(Class::Opening) => Ok(visit),
            Ok(Class::Bare) => match label(&visit.headers) {
                Ok(label) => {
                    visit.caller.session = label;
                    Ok(visit)
                }
                Err(failure) => Err(self.fail(&visit, id, method, failure).await),
            },
            Err(Unclear::UnknownVersion(version)) => Err(self
                .turn_away(&visit.caller, Door::UnknownVersion(version))
                .await),
            Err(Unclear::Failure(failure)) => Err(self.fail(&visit, id, method, failure).await),
        }
    }

    async fn request(
        &self,
        visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
    ) -> Result<Response, Response> {
        match (method.as_str(), visit.caller.era) {
            ("initialize", AgentEra::Bare | AgentEra::Session(_)) => {
                return Ok(self.open_session(visit, &id, &params).await);
            }
            ("logging/setLevel", AgentEra::Session(_)) => {
                return Ok(respond(self.set_level(&visit, &id, &params).await));
            }
            ("logging/setLevel", AgentEra::Bare) => {
                return Err(self
                    .fail(
                        &visit,
                        Some(&id),
                        &method,
                        Failure::UnknownMethod(method.clone()),
                    )
                    .await);
            }
            _ => {}
        }
        let takes = self.takes(&visit);
        let parts = self.hand_over(visit, id, method, params, &takes);
        Ok(delivery::deliver(parts, takes).await)
    }

    /// What the agent takes for an answer to this request.
    fn takes(&self, visit: &Visit) -> Takes {
        if !delivery::takes_stream(&visit.headers) {
            return Takes::Json;
        }
        let session = visit.caller.session.as_ref().filter(|_| visit.has_places);
        Takes::Stream(session.map(|session| Owner {
            streams: Arc::clone(&self.streams),
            agent: visit.caller.agent.name.clone(),
            session: Arc::clone(session),
            id: self.gateway.name_stream(),
        }))
    }

    /// Gives a request to the gateway.
    pub(super) fn hand_over(
        &self,
        visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
        takes: &Takes,
    ) -> mpsc::Receiver<Part> {
        let modern = visit.caller.era.is_modern();
        let capabilities = self.capabilities(&visit, &params);
        let request = AgentRequest {
            id,
            log_level: self.log_level(&visit, &params),
            asking: asking(&visit.caller, takes.is_stream(), &capabilities),
            capabilities,
            method,
            params,
            param_headers: if modern {
                headers::param_headers(&visit.headers)
            } else {
                Vec::new()
            },
            scope: visit.scope,
            hangup_cancels: modern,
            stream: takes.owner().map(|owner| owner.id),
        };
        self.gateway.handle(visit.caller, request)
    }

    /// Writes a failed request down and says what is wrong with it.
    pub(super) async fn fail(
        &self,
        visit: &Visit,
        id: Option<&RequestId>,
        method: &str,
        failure: Failure,
    ) -> Response {
        respond(self.failed(visit, id, method, failure).await)
    }

    /// The same as a message.
    pub(super) async fn failed(
        &self,
        visit: &Visit,
        id: Option<&RequestId>,
        method: &str,
        failure: Failure,
    ) -> Answer {
        let failure = self.gateway.reject(&visit.caller, method, failure).await;
        failure.answer(&Addressee {
            id,
            modern: visit.caller.era.is_modern(),
            is_tool_call: method == "tools/call",
            style: visit.caller.agent.refusals,
        })
    }

    /// Writes down that a known agent is turned away, and says why.
    pub(super) async fn turn_away(&self, caller: &Caller, door: Door) -> Response {
        match self.gateway.note_door(caller, &door).await {
            Ok(()) => refuse(&door),
            Err(_) => respond(Failure::Unrecorded.answer(&Addressee {
                id: None,
                modern: caller.era.is_modern(),
                is_tool_call: false,
                style: caller.agent.refusals,
            })),
        }
    }
}

/// How an agent speaks, as far as a header tells before its message is read; the message decides.
fn presumed_era(headers: &HeaderMap) -> AgentEra {
    match headers.get("mcp-protocol-version") {
        Some(version) if version == Version::V2026_07_28.as_str() => AgentEra::Modern,
        Some(_) | None => AgentEra::Bare,
    }
}

pub(super) fn hints(headers: &HeaderMap) -> Result<Hints<'_>, Failure> {
    Ok(Hints {
        version: headers::single(headers, "mcp-protocol-version")?,
        session: headers::single(headers, "mcp-session-id")?,
    })
}

/// The label a bare client chose; it tells its own runs apart and identifies nobody.
fn label(headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
    let Some(label) = headers::single(headers, "x-session-id")? else {
        return Ok(None);
    };
    let fits =
        (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(Some(label.into()));
    }
    Err(Failure::NotAMessage(format!(
        "X-Session-ID must be 1 to {MAX_LABEL} visible ASCII characters"
    )))
}

/// JSON by its own word. What curl sends unasked is taken for an oversight: a token came with it, so no page
/// of a foreign origin can have sent it.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = kind
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    kind.eq_ignore_ascii_case("application/json")
        || kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}
