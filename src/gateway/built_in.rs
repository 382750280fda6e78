//! The gateway's own server `hayward`: what an agent may know about itself. It reads and never changes anything; its
//! calls walk the line like those of any server, and cost nothing.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::db::Readers;
use crate::protocol::{Json, LATEST_LEGACY, Method, Object, code, to_raw};
use crate::upstream::{Description, Era, Outgoing, Reply};

use super::recorder::Recorder;
use super::seal::Sealer;
use super::stages::Caller;

mod budgets;
mod definitions;
mod recent;
mod whoami;

pub(super) use definitions::{items, named};

use definitions::tools;

/// Looks into the file at once. The pages for people have the same connections, and more of them than this.
const LOOKS: usize = 2;

/// Shown to whoever opens its endpoint.
const INSTRUCTIONS: &str = "What the gateway knows of you: `whoami` for what you may use, `budgets` for what is \
    left of it, `recent_calls` for what you did. All of it is free.";

/// The server.
#[derive(Debug)]
pub(super) struct BuiltIn {
    recorder: Recorder,
    readers: Readers,
    clock: Arc<dyn Clock>,
    /// Seals where a page of calls ended.
    sealer: Sealer,
    looks: Semaphore,
}

/// What a tool says: a value, or why there is none, in words for a model.
type Told = Result<Value, String>;

impl BuiltIn {
    pub(super) fn new(recorder: Recorder, readers: Readers, clock: Arc<dyn Clock>) -> Self {
        Self {
            recorder,
            readers,
            clock,
            sealer: Sealer::new(super::random()),
            looks: Semaphore::new(LOOKS),
        }
    }

    /// Answers an admitted request, as a server of an earlier revision would.
    pub(super) async fn answer(&self, caller: &Caller, request: &Outgoing) -> Reply {
        let outcome = match request.method {
            Method::ToolsList => Ok(to_raw(&json!({"tools": tools()}))),
            Method::ToolsCall => self.call(caller, &request.params).await,
            Method::Initialize
            | Method::Discover
            | Method::Ping
            | Method::SetLevel
            | Method::PromptsList
            | Method::PromptsGet
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
            | Method::Complete
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::Listen
            | Method::TasksGet
            | Method::TasksUpdate
            | Method::TasksCancel
            | Method::TasksResult
            | Method::TasksList => Err(error(code::METHOD_NOT_FOUND, "it has only tools")),
        };
        Reply {
            era: Era::Legacy,
            status: 200,
            outcome,
        }
    }

    async fn call(&self, caller: &Caller, params: &Object) -> Result<Json, Json> {
        let name = params.get_str("name").unwrap_or_default();
        let arguments = match params.get("arguments") {
            None => Some(Object::default()),
            Some(arguments) => Object::parse(arguments.get()).ok(),
        };
        let arguments = arguments.ok_or("`arguments` must be an object");
        let told = match (&*name, arguments) {
            ("whoami", Ok(given)) => {
                only(&given, &[]).map(|()| whoami::tell(caller, self.clock.now()))
            }
            ("budgets", Ok(given)) => match only(&given, &[]) {
                Ok(()) => self.budgets(caller).await,
                Err(why) => Err(why),
            },
            ("recent_calls", Ok(given)) => match only(&given, &["limit", "before"]) {
                Ok(()) => self.recent_calls(caller, &given).await,
                Err(why) => Err(why),
            },
            (_, Err(why)) => Err(why.into()),
            (unknown, Ok(_)) => {
                let words = format!("Unknown tool: {unknown}");
                return Err(error(code::INVALID_PARAMS, &words));
            }
        };
        Ok(result(told))
    }
}

/// What it says when its endpoint is opened.
pub(super) fn description() -> Description {
    let mut capabilities = Object::default();
    capabilities.set("tools", to_raw(&json!({})));
    let info = json!({
        "name": crate::types::BUILT_IN,
        "title": "Hayward",
        "version": env!("CARGO_PKG_VERSION"),
    });
    Description {
        era: Era::Legacy,
        version: LATEST_LEGACY,
        capabilities,
        server_info: Some(to_raw(&info)),
        instructions: Some(INSTRUCTIONS.into()),
    }
}

/// Nothing but these arguments is known.
fn only(arguments: &Object, known: &[&str]) -> Result<(), String> {
    match arguments.keys().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) if known.is_empty() => {
            Err(format!("there is no argument `{key}`, nor any other"))
        }
        Some(key) => {
            let known = known.join("` and `");
            Err(format!("there is no argument `{key}`: there are `{known}`"))
        }
    }
}

/// The value twice, as the revisions want it: structured, and as a text for clients that know no other.
fn result(told: Told) -> Json {
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    to_raw(&match told {
        Ok(value) => json!({"content": text(&value.to_string()), "structuredContent": value}),
        Err(why) => json!({"content": text(&why), "isError": true}),
    })
}

fn error(code: i32, message: &str) -> Json {
    to_raw(&json!({"code": code, "message": message}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_not_known_is_named() {
        let given = Object::parse(r#"{"limit":1,"since":2}"#).unwrap();
        assert_eq!(
            only(&given, &["limit", "before"]).unwrap_err(),
            "there is no argument `since`: there are `limit` and `before`"
        );
        assert!(only(&given, &["limit", "since"]).is_ok());
        assert!(only(&Object::default(), &[]).is_ok());
    }
}
