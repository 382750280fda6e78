//! A server of an earlier revision that asks its client in the middle of a request, and waits for the answers.

use std::collections::HashMap;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

use super::{Body, State, locked, ok, streamed, wait};

/// Questions that wait for their answers, by id.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: Mutex<HashMap<String, oneshot::Sender<Value>>>,
}

impl Questions {
    /// Takes an answer, if it is one to an open question.
    pub(super) fn answer(&self, answer: &Value) {
        let id = answer["id"].as_str().unwrap_or_default();
        if let Some(asked) = locked(&self.open).remove(id) {
            // Whoever asked may have given up.
            drop(asked.send(answer.clone()));
        }
    }
}

/// Asks what `rounds` says, `[[METHOD, ..], ..]`, one round after the other. The result is made of the answers, in
/// the order of the questions; a slow one has to be let go.
pub(super) fn push(
    state: &Arc<State>,
    id: &str,
    rounds: &Value,
    token: Value,
    is_slow: bool,
    result: impl FnOnce(Vec<Value>) -> Value + Send + 'static,
) -> Response<Body> {
    let rounds: Vec<Vec<String>> = serde_json::from_value(rounds.clone()).unwrap();
    let (state, id) = (Arc::clone(state), id.to_owned());
    let (parts, body) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut answers = Vec::new();
        for (number, methods) in rounds.iter().enumerate() {
            let mut said = String::new();
            if !token.is_null() {
                let params = json!({"progressToken": token, "progress": number + 1});
                let progress =
                    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                said += &event(&progress.to_string());
            }
            let mut waiting = Vec::new();
            for (index, method) in methods.iter().enumerate() {
                let (asked, answer) = oneshot::channel();
                let question = format!("{id}-{number}-{index}");
                locked(&state.questions.open).insert(question.clone(), asked);
                said += &event(&request(&question, method).to_string());
                waiting.push(answer);
            }
            if parts
                .send(Ok(Frame::data(Bytes::from(said))))
                .await
                .is_err()
            {
                return;
            }
            for answer in waiting {
                tokio::select! {
                    answer = answer => answers.push(answer.unwrap()),
                    () = parts.closed() => return,
                }
            }
        }
        if is_slow {
            tokio::select! {
                () = wait(&state) => {}
                () = parts.closed() => return,
            }
        }
        let answer = event(&ok(&id, &result(answers).to_string()));
        // Whoever called may have gone.
        drop(parts.send(Ok(Frame::data(Bytes::from(answer)))).await);
    });
    streamed("text/event-stream", body)
}

/// Asks for something, and gives its result without the answer as soon as it is let go on.
pub(super) fn push_and_go_on(state: &Arc<State>, id: &str, result: String) -> Response<Body> {
    let (state, id) = (Arc::clone(state), id.to_owned());
    let (parts, body) = mpsc::channel(8);
    tokio::spawn(async move {
        let question = event(&request("unheard", "roots/list").to_string());
        drop(parts.send(Ok(Frame::data(Bytes::from(question)))).await);
        wait(&state).await;
        let answer = event(&ok(&id, &result));
        drop(parts.send(Ok(Frame::data(Bytes::from(answer)))).await);
    });
    streamed("text/event-stream", body)
}

fn request(id: &str, method: &str) -> Value {
    let params = match method {
        "elicitation/create" => json!({"message": "your name?", "requestedSchema":
            {"type": "object", "properties": {"name": {"type": "string"}}}}),
        "sampling/createMessage" => json!({"messages": [], "maxTokens": 5}),
        _ => json!({}),
    };
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}
