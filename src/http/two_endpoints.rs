//! The transport of 2024-11-05: a stream that is opened with GET, and an address to post messages to, which the
//! first event of the stream names. Everything for the client comes on that one stream.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Method as HttpMethod, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::gateway::{AgentEra, Answer, Caller, Door, NewsStream, Part};
use crate::protocol::{Message, Object, Posted, RequestId, Version, write_event};
use crate::types::hex;

use super::classify::{Unclear, session_alone};
use super::delivery::{KEEP_ALIVE, stream_of};
use super::mcp::{Visit, hints};
use super::session::Session;
use super::standing::STILL_HERE;
use super::{Front, refuse, respond};

/// Where messages are posted.
pub(super) const MESSAGES: &str = "/messages";

/// Events that wait for a slow client; then its requests wait.
const EVENTS: usize = 256;

/// `/sse`: everything the agent was granted.
pub(super) async fn all(State(front): State<Front>, request: Request<Body>) -> Response {
    front
        .open_stream(request, None)
        .await
        .unwrap_or_else(|refusal| refusal)
}

/// `/sse/{server}`: one server.
pub(super) async fn one(
    State(front): State<Front>,
    Path(server): Path<String>,
    request: Request<Body>,
) -> Response {
    front
        .open_stream(request, Some(&server))
        .await
        .unwrap_or_else(|refusal| refusal)
}

/// Names the stream that a message belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct To {
    session: String,
}

/// A message for the server, posted beside the stream.
pub(super) async fn message(
    State(front): State<Front>,
    to: Result<Query<To>, QueryRejection>,
    request: Request<Body>,
) -> Response {
    let to = to.map(|Query(to)| to.session).unwrap_or_default();
    front
        .post(request, &to)
        .await
        .unwrap_or_else(|refusal| refusal)
}

impl Front {
    async fn open_stream(
        &self,
        request: Request<Body>,
        server: Option<&str>,
    ) -> Result<Response, Response> {
        let (parts, _) = request.into_parts();
        let visit = self.admit(parts.headers, &parts.extensions, server).await?;
        if parts.method != HttpMethod::GET {
            return Err(refuse(&Door::MethodNotAllowed("GET")));
        }
        let id: Arc<str> = hex(&crate::gateway::random::<16>()).into();
        let (events, waiting) = mpsc::channel(EVENTS);
        let session = Session {
            agent: visit.caller.agent.name.clone(),
            scope: visit.scope,
            version: Version::V2024_11_05,
            client: None,
            log_level: None,
            capabilities: Object::default(),
            stream: Some(events),
        };
        let open = OpenStream {
            front: self.clone(),
            caller: visit.caller,
            id: Arc::clone(&id),
        };
        self.gateway.begin_session(&id, &session.scope);
        for (id, ended) in self.sessions.open(id, session) {
            self.forget(id, ended.agent).await;
        }
        // A relative address: clients refuse to post to another origin than the stream's.
        let first = format!("event: endpoint\ndata: {MESSAGES}?session={}\n\n", open.id);
        Ok(stream_of(stream::unfold(
            (Some(first), waiting, open),
            next_event,
        )))
    }

    async fn post(&self, request: Request<Body>, id: &str) -> Result<Response, Response> {
        let (parts, body) = request.into_parts();
        let mut visit = self.admit(parts.headers, &parts.extensions, None).await?;
        if parts.method != HttpMethod::POST {
            return Err(refuse(&Door::MethodNotAllowed("POST")));
        }
        let Some((id, session)) = self.sessions.find_stream(id, &visit.caller.agent.name) else {
            return Err(self.turn_away(&visit.caller, Door::UnknownSession).await);
        };
        let Some(events) = session.stream else {
            return Err(self.turn_away(&visit.caller, Door::UnknownSession).await);
        };
        visit.caller.era = AgentEra::Session(session.version);
        visit.caller.client = session.client;
        visit.caller.session = Some(Arc::clone(&id));
        visit.scope = session.scope;
        let version = hints(&visit.headers)
            .map_err(Unclear::Failure)
            .and_then(|hints| session_alone(&hints));
        if let Err(unclear) = version {
            return Err(self.unclear(&visit, None, "", unclear).await);
        }
        let message = match self.read(&mut visit, body).await? {
            Posted::One(message) => message,
            Posted::Batch(elements) => {
                for one in self.take_elements(&visit, elements, true).await? {
                    tokio::spawn(pump(one.parts, events.clone()));
                }
                return Ok(StatusCode::ACCEPTED.into_response());
            }
        };
        match message {
            Message::Request { id, method, params } => {
                self.stream_answer(visit, id, method, params, events)
                    .await?;
            }
            Message::Response {
                id: Some(to),
                outcome,
            } => {
                // An answer that comes too late finds nobody; the client cannot know.
                self.gateway.answer_ask(&id, &to, outcome);
            }
            Message::Notification { method, params } => {
                self.hear_session(&visit, &method, params);
            }
            Message::Response { id: None, .. } => {}
        }
        Ok(StatusCode::ACCEPTED.into_response())
    }

    async fn stream_answer(
        &self,
        visit: Visit,
        id: RequestId,
        method: String,
        params: Object,
        events: mpsc::Sender<String>,
    ) -> Result<(), Response> {
        match method.as_str() {
            "initialize" => {
                let opened = self
                    .gateway
                    .initialize(&visit.caller, &visit.scope, &params)
                    .await;
                let capabilities = params.get_object("capabilities").unwrap_or_default();
                let mut caller = visit.caller;
                caller.era = AgentEra::Session(opened.version);
                caller.client.clone_from(&opened.client);
                if let Some(session) = &caller.session {
                    let (version, client) = (opened.version, opened.client);
                    let declared = capabilities.clone();
                    self.sessions.agree(session, version, client, declared);
                }
                drop(events.send(Answer::result(&id, &opened.result).body).await);
                if let Some(news) = self.gateway.stand(caller, &capabilities) {
                    tokio::spawn(pump_news(news, events));
                }
            }
            _ => {
                let parts = self.begin(visit, id, method, params, true).await;
                tokio::spawn(pump(parts.map_err(respond)?, events));
            }
        }
        Ok(())
    }
}

/// Puts what a request yields onto the stream, until its answer is there or the client gone.
async fn pump(mut parts: mpsc::Receiver<Part>, events: mpsc::Sender<String>) {
    while let Some(part) = parts.recv().await {
        let (text, last) = match part {
            Part::Notice(text) => (text, false),
            Part::Answer(answer) => (answer.body, true),
            Part::NoAnswer(_) => return,
            // Streams of this transport cannot be taken up again.
            Part::Event(_) | Part::Retry(_) | Part::Closed => continue,
        };
        if events.send(text).await.is_err() || last {
            return;
        }
    }
}

/// Puts what is heard outside of requests onto the stream, until one of the two ends.
async fn pump_news(mut news: NewsStream, events: mpsc::Sender<String>) {
    while let Some(message) = news.next().await {
        if events.send(message).await.is_err() {
            return;
        }
    }
}

/// Ends the session when the client's stream ends.
struct OpenStream {
    front: Front,
    caller: Caller,
    id: Arc<str>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.front.sessions.close(&self.id);
        let (gateway, agent, id) = (
            Arc::clone(&self.front.gateway),
            self.caller.agent.name.clone(),
            Arc::clone(&self.id),
        );
        tokio::spawn(async move { gateway.end_session(agent, id).await });
    }
}

type Streaming = (Option<String>, mpsc::Receiver<String>, OpenStream);

async fn next_event(
    (first, mut waiting, open): Streaming,
) -> Option<(Result<Bytes, Infallible>, Streaming)> {
    let text = match first {
        Some(first) => first,
        None => match timeout(KEEP_ALIVE, open.next(&mut waiting)).await {
            Ok(Some(text)) => write_event(&text),
            Ok(None) => return None,
            Err(_) => {
                open.front.sessions.touch(&open.id);
                STILL_HERE.into()
            }
        },
    };
    Some((Ok(text.into()), (None, waiting, open)))
}

impl OpenStream {
    /// The next message; `None` at the end. A gateway that ends, or one whose rules know the client's token no more,
    /// takes no more of this client, and the stream is at its end when the last answer is on it.
    async fn next(&self, waiting: &mut mpsc::Receiver<String>) -> Option<String> {
        tokio::select! {
            biased;
            message = waiting.recv() => return message,
            () = self.front.gateway.streams_end() => {}
            () = self.front.gateway.loses_token(&self.caller) => {}
        }
        self.front.sessions.close(&self.id);
        waiting.recv().await
    }
}
