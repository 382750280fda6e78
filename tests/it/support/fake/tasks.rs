//! Tasks of the scripted server, in both eras. One of 2025-11-25 is known only in the session that made it, as with
//! the official Python SDK; lists hold those of everybody.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ANSWER, Body, Seen, State, error, json_answer, locked, ok, streamed};

const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";
const WHEN: &str = "2026-11-20T12:00:00Z";

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    id: String,
    session: Option<String>,
    status: &'static str,
    /// What the agent was asked, and answered.
    answer: Value,
}

/// Adds what the server says of tasks to what it can do.
pub(super) fn announce(capabilities: &mut Value, modern: bool) {
    if modern {
        capabilities["extensions"] = json!({EXTENSION: {"x": 1}, "com.example/other": {}});
    } else {
        capabilities["tasks"] = json!({"list": {}, "cancel": {},
            "requests": {"tools": {"call": {}}, "other": {}}});
    }
}

/// Answers a call that makes a task, and whatever is about one; `None` for all else.
pub(super) fn answer(
    state: &Arc<State>,
    id: &str,
    seen: &Seen,
    session: Option<&str>,
) -> Option<Response<Body>> {
    if seen.method == "tools/call" {
        return make(state, id, seen, session);
    }
    if seen.method == "tasks/list" && session.is_some() {
        let tasks = locked(&state.tasks);
        let tasks: Vec<Value> = tasks.iter().map(|task| shown(task, false)).collect();
        return Some(json_answer(
            200,
            &ok(id, &json!({"tasks": tasks}).to_string()),
        ));
    }
    let modern = session.is_none();
    let methods = match modern {
        true => ["tasks/get", "tasks/update", "tasks/cancel"],
        false => ["tasks/get", "tasks/result", "tasks/cancel"],
    };
    if !methods.contains(&seen.method.as_str()) {
        return None;
    }
    let wanted = seen.param("taskId");
    if modern && seen.header("mcp-name") != wanted.as_str() {
        return Some(json_answer(400, &error(id, -32020, "Mcp-Name differs")));
    }
    let mut tasks = locked(&state.tasks);
    let found = tasks
        .iter_mut()
        .find(|task| wanted == task.id.as_str() && task.session.as_deref() == session);
    let Some(task) = found else {
        return Some(json_answer(200, &error(id, -32602, "Task not found")));
    };
    let result = match seen.method.as_str() {
        "tasks/get" => shown(task, modern),
        "tasks/update" => {
            task.answer = seen.param("inputResponses");
            task.status = "completed";
            json!({"resultType": "complete"})
        }
        "tasks/cancel" => {
            task.status = "cancelled";
            match modern {
                true => json!({"resultType": "complete"}),
                false => shown(task, false),
            }
        }
        _ if task.status == "input_required" => {
            return Some(converse(state, id, task.id.clone()));
        }
        _ => outcome(task),
    };
    Some(json_answer(200, &ok(id, &result.to_string())))
}

fn make(state: &State, id: &str, seen: &Seen, session: Option<&str>) -> Option<Response<Body>> {
    let modern = session.is_none();
    let declared = &seen.param("_meta")["io.modelcontextprotocol/clientCapabilities"];
    let may = match modern {
        true => declared["extensions"][EXTENSION].is_object(),
        false => seen.param("task").is_object(),
    };
    let status = match seen.param("arguments")["do"].as_str() {
        Some("work") if may => "working",
        Some("ask_later") if may => "input_required",
        _ => return None,
    };
    let mut tasks = locked(&state.tasks);
    let task = Task {
        id: format!("own-task-{}", tasks.len()),
        session: session.map(String::from),
        status,
        answer: Value::Null,
    };
    let mut result = shown(&task, modern);
    if modern {
        result["resultType"] = "task".into();
        result.as_object_mut().unwrap().remove("inputRequests");
    } else {
        result = json!({"task": result});
    }
    tasks.push(task);
    Some(json_answer(200, &ok(id, &result.to_string())))
}

fn shown(task: &Task, modern: bool) -> Value {
    let mut shown =
        json!({"taskId": task.id, "status": task.status, "createdAt": WHEN, "lastUpdatedAt": WHEN});
    if !modern {
        shown["ttl"] = 60_000.into();
        return shown;
    }
    shown["resultType"] = "complete".into();
    shown["ttlMs"] = 60_000.into();
    if task.status == "input_required" {
        let question = json!({"method": "elicitation/create", "params": {"message": "your name?"}});
        shown["inputRequests"] = json!({"name": question});
    }
    if task.status == "completed" {
        shown["result"] = outcome(task);
    }
    shown
}

fn outcome(task: &Task) -> Value {
    json!({"content": [{"type": "text", "text": "done"}], "structuredContent": {"answer": task.answer},
        "_meta": {RELATED: {"taskId": task.id}}})
}

/// Asks the client on the stream of the request for the result, and answers with what it said.
fn converse(state: &Arc<State>, id: &str, task: String) -> Response<Body> {
    let (parts, body) = mpsc::channel(8);
    let (state, id) = (Arc::clone(state), id.to_string());
    tokio::spawn(async move {
        let say = async |message: &str| {
            let event = format!("event: message\ndata: {message}\n\n");
            // Whoever listened may have gone.
            drop(parts.send(Ok(Frame::data(Bytes::from(event)))).await);
        };
        let params = json!({"message": "your name?", "_meta": {RELATED: {"taskId": task}}});
        let question =
            json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
        say(&question.to_string()).await;
        let mut changed = state.changed.subscribe();
        let answer = loop {
            let asides = state.memory().asides.clone();
            if let Some(answer) = asides.iter().find(|seen| seen.method == ANSWER) {
                break serde_json::from_str::<Value>(&answer.body).unwrap();
            }
            changed.changed().await.unwrap();
        };
        let result = {
            let mut tasks = locked(&state.tasks);
            let task = tasks.iter_mut().find(|other| other.id == task).unwrap();
            task.answer = answer["result"].clone();
            task.status = "completed";
            outcome(task)
        };
        say(&ok(&id, &result.to_string())).await;
    });
    streamed("text/event-stream", body)
}
