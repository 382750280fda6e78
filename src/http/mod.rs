//! The front door for agents: routes, tokens, sessions, and how each era's requests come in and go out.
//!
//! Decides nothing about who may do what; that is `gateway`'s.

mod batch;
mod bearer;
mod body;
mod classify;
mod cors;
mod delivery;
mod guard;
mod headers;
mod in_session;
mod kept;
mod listener;
mod mcp;
mod notices;
mod patience;
mod resume;
mod session;
mod standing;
mod two_endpoints;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};

use crate::clock::Clock;
use crate::gateway::{Answer, Door, Gateway, RateLimit, TokenProblem, Unanswered};

pub use guard::{Guard, guard};
pub use listener::{Limits, serve};

use resume::Streams;
use session::Sessions;

/// Paths where clients look for an authorization server. They must get a small JSON 404: with anything else
/// some clients start OAuth and drop the token they were given.
const OAUTH_PATHS: [&str; 7] = [
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/{*path}",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/authorize",
    "/token",
    "/register",
];

/// What there is of the budgets of a call, and what is left (draft-ietf-httpapi-ratelimit-headers).
const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT_HEADER: HeaderName = HeaderName::from_static("ratelimit");

/// What every handler shares.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    gateway: Arc<Gateway>,
    sessions: Arc<Sessions>,
    streams: Arc<Streams>,
}

/// The routes of agents, `/health`, and a plain no for everything else.
pub fn router(gateway: Arc<Gateway>, clock: Arc<dyn Clock>) -> Router {
    let front = Front {
        gateway,
        sessions: Arc::new(Sessions::new(Arc::clone(&clock))),
        streams: Arc::new(Streams::new(clock)),
    };
    let routes = Router::new()
        .route("/mcp", any(mcp::all))
        .route("/mcp/", any(mcp::all))
        .route("/mcp/{server}", any(mcp::one))
        .route("/mcp/{server}/", any(mcp::one))
        .route("/sse", any(two_endpoints::all))
        .route("/sse/", any(two_endpoints::all))
        .route("/sse/{server}", any(two_endpoints::one))
        .route("/sse/{server}/", any(two_endpoints::one))
        .route("/messages", any(two_endpoints::message))
        .route("/messages/", any(two_endpoints::message))
        .route("/health", get(health))
        .fallback(not_found);
    let routes = OAUTH_PATHS
        .into_iter()
        .fold(routes, |routes, path| routes.route(path, any(not_found)));
    routes.with_state(front)
}

async fn health(State(front): State<Front>) -> Response {
    let permissions = front.gateway.permissions();
    let (agents, servers) = (permissions.agents().len(), permissions.servers().len());
    let rules = front.gateway.policy_state().to_members();
    if front.gateway.is_recording() {
        // Scripts compare the beginning of this text; it keeps its order.
        let body =
            format!("{{\"status\":\"healthy\",\"agents\":{agents},\"servers\":{servers},{rules}}}");
        return json(StatusCode::OK, body);
    }
    let reason = "the log cannot be written; calls are refused until it can";
    let body = format!(
        "{{\"status\":\"unhealthy\",\"agents\":{agents},\"servers\":{servers},\"reason\":\"{reason}\",{rules}}}"
    );
    json(StatusCode::SERVICE_UNAVAILABLE, body)
}

async fn not_found() -> Response {
    refuse(&Door::NotFound)
}

/// The answer to what is no message: there is none behind another method than POST, or at an address where nothing
/// is.
fn refuse(door: &Door) -> Response {
    refuse_to(door, Unanswered::Nothing)
}

/// The answer to a message that was not read. Whether its sender is of 2026-07-28, its header says.
fn refuse_unread(door: &Door, headers: &HeaderMap) -> Response {
    let to = if mcp::presumed_era(headers).is_modern() {
        Unanswered::Nothing
    } else {
        Unanswered::Unread
    };
    refuse_to(door, to)
}

/// The answer to a request that gets no further than the door.
fn refuse_to(door: &Door, to: Unanswered<'_>) -> Response {
    let mut response = respond(door.answer(to));
    let headers = response.headers_mut();
    if let Door::Token(problem) = door {
        let challenge = if *problem == TokenProblem::Missing {
            "Bearer realm=\"hayward\""
        } else {
            "Bearer realm=\"hayward\", error=\"invalid_token\""
        };
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    if let Door::MethodNotAllowed(allowed) = door {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// One message as an HTTP response.
fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, answer.body);
    if let Some(RateLimit { policy, left }) = &answer.rate_limit {
        let headers = response.headers_mut();
        for (name, value) in [(POLICY_HEADER, policy), (LEFT_HEADER, left)] {
            // What cannot stand in a header is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
