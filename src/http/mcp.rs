//! `/mcp` and `/mcp/{server}`: one HTTP request in, one message handed to the gateway.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Extensions, HeaderMap, Method as HttpMethod, Request, header, request::Parts};
use axum::response::Response;

use crate::gateway::{
    Addressee, AgentEra, AgentRequest, Answer, Caller, Door, Failure, Part, Scope, StreamId,
    TokenProblem, Unanswered, client_name,
};
use crate::protocol::{
    CLIENT_INFO, META, Message, MessageError, Object, Posted, RequestId, Version, readable_id,
};
use crate::types::Peer;

use tokio::sync::mpsc;

use super::batch::ready;
use super::classify::{Class, Hints, Unclear, classify, is_claimed};
use super::in_session::asking;
use super::resume::Owner;
use super::{Front, bearer, body, delivery, headers, refuse, refuse_to, refuse_unread, respond};

/// The longest label a bare client may put on its requests, in bytes.
const MAX_LABEL: usize = 128;

/// The header with the key of a call (`draft-ietf-httpapi-idempotency-key-header`).
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

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
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) caller: Caller,
    pub(super) scope: Scope,
    pub(super) headers: HeaderMap,
    /// Whether the agent can take up a stream again: it came in a session of a revision that has that.
    pub(super) has_places: bool,
    /// The stream of its one request, when that can be taken up again.
    pub(super) stream: Option<StreamId>,
}

impl Front {
    async fn handle(
        &self,
        parts: Parts,
        body: Body,
        server: Option<&str>,
    ) -> Result<Response, Response> {
        let mut visit = self.admit(parts.headers, &parts.extensions, server).await?;
        match parts.method {
            HttpMethod::POST => {}
            HttpMethod::GET => return self.listen(visit).await,
            HttpMethod::DELETE => return self.end_session(&mut visit).await,
            _ => return Err(refuse(&Door::MethodNotAllowed("POST, DELETE"))),
        }
        match self.read(&mut visit, body).await? {
            Posted::One(message) => self.message(visit, message).await,
            Posted::Batch(elements) => self.batch(visit, elements).await,
        }
    }

    /// Reads the body.
    pub(super) async fn read(&self, visit: &mut Visit, body: Body) -> Result<Posted, Response> {
        if !is_json(&visit.headers) {
            return Err(self.turn_away(&visit.caller, Door::NotJsonType).await);
        }
        let body = match body::read(body).await {
            Ok(body) => body,
            Err(door) => return Err(self.turn_away(&visit.caller, door).await),
        };
        visit.caller.bytes_in = u64::try_from(body.len()).unwrap_or(u64::MAX);
        match Posted::parse(&body) {
            Ok(posted) => Ok(posted),
            Err(error) => {
                let id = readable_id(&body);
                Err(self.fail(visit, id.as_ref(), "", failure_of(error)).await)
            }
        }
    }

    /// Who comes to which endpoint; the token must be known and the endpoint open to its agent.
    pub(super) async fn admit(
        &self,
        headers: HeaderMap,
        extensions: &Extensions,
        server: Option<&str>,
    ) -> Result<Visit, Response> {
        let caller = self.caller(&headers, extensions);
        let caller = caller.map_err(|door| refuse_unread(&door, &headers))?;
        if let Err(door) = check_address(&caller) {
            return Err(self.turn_away(&caller, door).await);
        }
        let opened = server
            .map(|name| self.gateway.open_server(&caller, name))
            .transpose();
        match opened {
            Ok(server) => Ok(Visit {
                caller,
                scope: server.map_or(Scope::All, Scope::One),
                headers,
                has_places: false,
                stream: None,
            }),
            Err(door) => Err(self.turn_away(&caller, door).await),
        }
    }

    /// Who sent this: the agent of its token.
    fn caller(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Door> {
        let caller = bearer::token(headers).and_then(|token| {
            self.gateway
                .authenticate(token, presumed_era(headers))
                .ok_or(TokenProblem::Unknown)
        });
        let mut caller = caller.map_err(|problem| {
            self.gateway.count_stranger();
            Door::Token(problem)
        })?;
        caller.peer = extensions.get::<Peer>().map(|Peer(address)| *address);
        Ok(caller)
    }

    async fn message(&self, visit: Visit, message: Message) -> Result<Response, Response> {
        match message {
            Message::Request { id, method, params } => {
                let visit = self.classified(visit, Some(&id), &method, &params).await?;
                self.request(visit, id, method, params).await
            }
            Message::Notification { method, params } => {
                self.take_notice(visit, &method, params).await
            }
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
        if is_claimed(params) {
            visit.caller.era = AgentEra::Modern;
        }
        let class = match hints(&visit.headers) {
            Ok(hints) => classify(method, params, &hints),
            Err(failure) => Err(Unclear::Failure(failure)),
        };
        match class {
            Ok(Class::Modern) => {
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
                Err(door) => Err(self.turn_away_request(&visit.caller, id, door).await),
            },
            Ok(Class::Opening) => Ok(visit),
            Ok(Class::Bare) => match label(&visit.headers) {
                Ok(label) => {
                    visit.caller.session = label;
                    Ok(visit)
                }
                Err(failure) => Err(self.fail(&visit, id, method, failure).await),
            },
            Err(unclear) => Err(self.unclear(&visit, id, method, unclear).await),
        }
    }

    /// Says why a message cannot be treated at all.
    pub(super) async fn unclear(
        &self,
        visit: &Visit,
        id: Option<&RequestId>,
        method: &str,
        unclear: Unclear,
    ) -> Response {
        match unclear {
            Unclear::UnknownVersion(version) => {
                let door = Door::UnknownVersion(version);
                self.turn_away_request(&visit.caller, id, door).await
            }
            Unclear::Failure(failure) => self.fail(visit, id, method, failure).await,
        }
    }

    async fn request(
        &self,
        mut visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
    ) -> Result<Response, Response> {
        if method == "initialize" && !visit.caller.era.is_modern() {
            return Ok(self.open_session(visit, &id, &params).await);
        }
        let streams = delivery::takes_stream(&visit.headers);
        if !streams && method == "subscriptions/listen" && visit.caller.era.is_modern() {
            let failure = Failure::NeedsStream;
            return Err(self.fail(&visit, Some(&id), &method, failure).await);
        }
        let owner = self.owner(&visit).filter(|_| streams);
        visit.stream = owner.as_ref().map(|owner| owner.id);
        match self.begin(visit, id, method, params, streams).await {
            Ok(parts) => Ok(delivery::deliver(parts, streams, owner).await),
            Err(answer) => Err(respond(answer)),
        }
    }

    /// Whose the stream of a request is, when it can be taken up again.
    fn owner(&self, visit: &Visit) -> Option<Owner> {
        let session = visit.caller.session.as_ref().filter(|_| visit.has_places)?;
        Some(Owner {
            streams: Arc::clone(&self.streams),
            agent: visit.caller.agent.name.clone(),
            session: Arc::clone(session),
            id: self.gateway.name_stream(),
        })
    }

    /// Starts on a request other than `initialize`. A failure concerns the POST and not what else its session has
    /// in hand.
    pub(super) async fn begin(
        &self,
        visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
        streams: bool,
    ) -> Result<mpsc::Receiver<Part>, Answer> {
        let answer = match (method.as_str(), visit.caller.era) {
            ("logging/setLevel", AgentEra::Session(_)) => {
                self.set_level(&visit, &id, &params).await
            }
            ("logging/setLevel", AgentEra::Bare) => {
                let failure = Failure::UnknownMethod(method.clone());
                self.failed(&visit, Some(&id), &method, failure).await
            }
            _ => return self.hand_over(visit, id, method, params, streams).await,
        };
        Ok(ready(Part::Answer(answer)))
    }

    /// Gives a request to the gateway.
    async fn hand_over(
        &self,
        visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
        streams: bool,
    ) -> Result<mpsc::Receiver<Part>, Answer> {
        let idempotency_key = match headers::single(&visit.headers, IDEMPOTENCY_KEY) {
            Ok(key) => key.map(str::to_owned),
            // Nothing but a call of a tool has a use for it.
            Err(_) if method != "tools/call" => None,
            Err(failure) => return Err(self.failed(&visit, Some(&id), &method, failure).await),
        };
        let place = match self.gateway.place(&visit.caller, &id) {
            Ok(place) => place,
            Err(failure) => return Err(self.failed(&visit, Some(&id), &method, failure).await),
        };
        let modern = visit.caller.era.is_modern();
        let capabilities = self.capabilities(&visit, &params);
        let request = AgentRequest {
            id,
            log_level: self.log_level(&visit, &params),
            session_level: self.session_level(&visit),
            asking: asking(&visit.caller, streams, &capabilities),
            capabilities,
            method,
            params,
            idempotency_key,
            param_headers: if modern {
                // Those that cannot be read were refused when the request was classified.
                headers::param_headers(&visit.headers).unwrap_or_default()
            } else {
                Vec::new()
            },
            scope: visit.scope,
            hangup_cancels: modern,
            place,
            stream: visit.stream,
        };
        Ok(self.gateway.handle(visit.caller, request))
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

    /// Writes down that a known agent is turned away before its message was read, and says why.
    pub(super) async fn turn_away(&self, caller: &Caller, door: Door) -> Response {
        self.turn_away_request(caller, None, door).await
    }

    /// Writes down that a known agent is turned away, and says why.
    pub(super) async fn turn_away_request(
        &self,
        caller: &Caller,
        id: Option<&RequestId>,
        door: Door,
    ) -> Response {
        let to = match id {
            Some(id) => Unanswered::Request(id),
            None if caller.era.is_modern() => Unanswered::Nothing,
            None => Unanswered::Unread,
        };
        match self.gateway.note_door(caller, &door).await {
            Ok(()) => refuse_to(&door, to),
            Err(_) => respond(Failure::Unrecorded.answer(&Addressee {
                id,
                modern: caller.era.is_modern(),
                is_tool_call: false,
                style: caller.agent.refusals,
            })),
        }
    }
}

/// What to say of a body that is no message.
pub(super) fn failure_of(error: MessageError) -> Failure {
    match error {
        MessageError::NotJson(why) => Failure::NotJson(why),
        MessageError::NotAMessage(why) => Failure::NotAMessage(why),
    }
}

/// Whether the agent may be used from where this came from. What is not known is not the right place.
fn check_address(caller: &Caller) -> Result<(), Door> {
    let agent = &caller.agent;
    let fits = match caller.peer {
        Some(peer) => agent.may_come_from(peer),
        None => agent.from.is_none(),
    };
    if fits {
        return Ok(());
    }
    let known = caller.peer.map(|peer| peer.to_canonical().to_string());
    Err(Door::Address {
        agent: agent.name.clone(),
        address: known.unwrap_or_else(|| "an unknown address".into()),
    })
}

/// How an agent speaks, as far as a header tells before its message is read; the message decides.
pub(super) fn presumed_era(headers: &HeaderMap) -> AgentEra {
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
pub(super) fn label(headers: &HeaderMap) -> Result<Option<Arc<str>>, Failure> {
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
