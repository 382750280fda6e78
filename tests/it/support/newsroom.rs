//! What the fake server says outside of requests: `subscriptions/listen` of 2026-07-28, and before it the stream
//! of a session with `resources/subscribe`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::FakeUpstream;
use super::fake::{ANSWER, Body, Seen, Speaks, State, empty, json_answer, locked, ok, streamed};

/// The key that names the request a message belongs to.
const TAG: &str = "io.modelcontextprotocol/subscriptionId";

/// Whoever hears what is said.
#[derive(Debug, Clone)]
pub(crate) struct Hearer {
    /// The request (2026-07-28), as it came.
    id: Option<String>,
    session: Option<String>,
    /// The filter, or what is subscribed to.
    pub(crate) filter: Value,
    out: mpsc::Sender<Result<Frame<Bytes>, io::Error>>,
}

impl Hearer {
    fn say(&self, mut message: Value) {
        if let Some(id) = &self.id {
            message["params"]["_meta"][TAG] = serde_json::from_str(id).unwrap();
        }
        let event = format!("event: message\ndata: {message}\n\n");
        self.out
            .try_send(Ok(Frame::data(Bytes::from(event))))
            .unwrap();
    }

    fn has(&self, uri: &str) -> bool {
        let uris = self.filter["resourceSubscriptions"].as_array();
        uris.is_some_and(|uris| uris.iter().any(|known| known == uri))
    }
}

pub(super) fn capabilities(state: &State) -> Value {
    let list = json!(state.tells.then_some(true));
    let mut all = json!({"tools": {}, "prompts": {}, "resources": {}});
    if state.tells {
        for kind in ["tools", "prompts", "resources"] {
            all[kind]["listChanged"] = list.clone();
        }
        all["resources"]["subscribe"] = true.into();
    }
    let more = if state.speaks == Speaks::Modern {
        "completions"
    } else {
        "logging"
    };
    all[more] = json!({});
    all
}

pub(super) fn is_aside(method: &str) -> bool {
    ["resources/subscribe", "resources/unsubscribe"].contains(&method)
}

/// The stream of a session.
pub(super) fn stand(state: &Arc<State>, session: Option<String>) -> Response<Body> {
    if session.is_none() {
        return empty(400);
    }
    open(state, None, session, json!({}))
}

/// The stream of a request.
pub(super) fn listen(state: &Arc<State>, id: &str, seen: &Seen) -> Response<Body> {
    let mut filter = seen.param("notifications");
    if let Some(uris) = filter["resourceSubscriptions"].as_array_mut() {
        uris.retain(|uri| uri != "note://gone");
    }
    open(state, Some(id.into()), None, filter)
}

fn open(
    state: &Arc<State>,
    id: Option<String>,
    session: Option<String>,
    filter: Value,
) -> Response<Body> {
    let (out, parts) = mpsc::channel(64);
    let hearer = Hearer {
        id,
        session,
        filter: filter.clone(),
        out: out.clone(),
    };
    if hearer.id.is_some() {
        let method = "notifications/subscriptions/acknowledged";
        hearer
            .say(json!({"jsonrpc": "2.0", "method": method, "params": {"notifications": filter}}));
    }
    state.remember(|memory| memory.hearers.push(hearer));
    let state = Arc::clone(state);
    tokio::spawn(async move {
        out.closed().await;
        state.remember(|memory| {
            memory
                .hearers
                .retain(|hearer| !hearer.out.same_channel(&out))
        });
    });
    streamed("text/event-stream", parts)
}

/// Notes what a session wants to hear of.
pub(super) fn subscribe(
    state: &State,
    id: &str,
    seen: Seen,
    session: Option<String>,
) -> Response<Body> {
    let uri = seen.param("uri");
    let wants = seen.method == "resources/subscribe";
    if uri == "note://gone" {
        let error = json!({"code": -32002, "message": "Resource not found"});
        let answer = json!({"jsonrpc": "2.0", "id": id.parse::<i64>().unwrap(), "error": error});
        state.remember(|memory| memory.asides.push(seen));
        return json_answer(200, &answer.to_string());
    }
    state.remember(|memory| {
        for hearer in &mut memory.hearers {
            if hearer.session == session {
                let uris = &mut hearer.filter["resourceSubscriptions"];
                let mut known = uris.as_array().cloned().unwrap_or_default();
                known.retain(|known| *known != uri);
                known.extend(wants.then(|| uri.clone()));
                *uris = known.into();
            }
        }
        memory.asides.push(seen);
    });
    json_answer(200, &ok(id, "{}"))
}

impl FakeUpstream {
    /// Has other tools from now on, and says nothing of it.
    pub(crate) fn set_tools<const N: usize>(&self, tools: [&str; N]) {
        *locked(&self.state.tools) = tools.map(String::from).to_vec();
    }

    /// Says that a list changed, to all who want to hear it.
    pub(crate) fn say_changed(&self, list: &str) {
        let key = format!("{list}ListChanged");
        let method = format!("notifications/{list}/list_changed");
        for hearer in self.hearers() {
            if hearer.session.is_some() || hearer.filter[&key] == true {
                hearer.say(json!({"jsonrpc": "2.0", "method": method}));
            }
        }
    }

    /// Says that a resource was updated, to all who want to hear it.
    pub(crate) fn say_updated(&self, uri: &str) {
        let method = "notifications/resources/updated";
        for hearer in self.hearers().iter().filter(|hearer| hearer.has(uri)) {
            let params = json!({"uri": uri, "title": "a note"});
            hearer.say(json!({"jsonrpc": "2.0", "method": method, "params": params}));
        }
    }

    /// Asks something outside of any call, on all streams of sessions.
    pub(crate) fn ask(&self, method: &str, params: &Value) {
        for hearer in self.hearers() {
            let id = "from-the-server";
            hearer.say(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        }
    }

    pub(crate) fn hearers(&self) -> Vec<Hearer> {
        self.state.memory().hearers.clone()
    }

    /// Waits until so many of its questions were answered.
    pub(crate) async fn until_answers(&self, number: usize) {
        let what = format!("{number} answers");
        self.until(&what, |memory| {
            let answers = memory.asides.iter();
            answers.filter(|seen| seen.method == ANSWER).count() >= number
        })
        .await;
    }

    /// Waits until so many hear it.
    pub(crate) async fn until_hearers(&self, number: usize) {
        let what = format!("{number} who hear");
        self.until(&what, |memory| memory.hearers.len() == number)
            .await;
    }

    /// Waits until somebody hears of this resource, or nobody any more.
    pub(crate) async fn until_heard(&self, uri: &str, is_heard: bool) {
        let what = format!("{uri} heard: {is_heard}");
        self.until(&what, |memory| {
            memory.hearers.iter().any(|hearer| hearer.has(uri)) == is_heard
        })
        .await;
    }
}
