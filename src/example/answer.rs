//! What a server answers to one method, whatever the revision.

use serde_json::{Map, Value, json};

use super::server::{Arguments, Prompt, Server, Tool, text_content};
use crate::protocol::{Method, Object, code};

/// How many items of a list fit on a page; small, so that a list of notes takes two.
const PAGE: usize = 5;
/// How many completions are sent at most (MCP, completion).
const MAX_COMPLETIONS: usize = 100;

/// A result, and what may be told while it is made.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) result: Map<String, Value>,
    pub(super) steps: u32,
    pub(super) log: Option<String>,
}

impl Answer {
    /// An answer whose result is a JSON object.
    pub(super) fn of(result: Value) -> Self {
        debug_assert!(result.is_object(), "a result is an object");
        let Value::Object(result) = result else {
            return Self::default();
        };
        Self {
            result,
            ..Self::default()
        }
    }
}

/// A JSON-RPC error.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) message: String,
    pub(super) data: Option<Value>,
}

impl Refusal {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(super) fn with_data(self, data: Value) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        Self::new(
            code::METHOD_NOT_FOUND,
            format!("Method not found: {method}"),
        )
    }

    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// The error object.
    pub(super) fn to_value(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(error), Some(data)) = (error.as_object_mut(), &self.data) {
            error.insert("data".into(), data.clone());
        }
        error
    }
}

/// What the server can do, as `initialize` and `server/discover` tell it.
pub(super) fn capabilities(server: &Server) -> Value {
    let mut can = json!({"completions": {}, "logging": {}, "resources": {}, "tools": {}});
    if let (Some(can), false) = (can.as_object_mut(), server.prompts.is_empty()) {
        can.insert("prompts".into(), json!({}));
    }
    can
}

/// Answers a method that means the same in every revision.
pub(super) fn answer(server: &Server, method: Method, params: &Object) -> Result<Answer, Refusal> {
    match method {
        Method::ToolsList => page(
            method,
            params,
            server.tools.iter().map(describe_tool).collect(),
        ),
        Method::ToolsCall => call(server, params),
        Method::PromptsList if !server.prompts.is_empty() => {
            let prompts = server.prompts.iter().map(describe_prompt).collect();
            page(method, params, prompts)
        }
        Method::PromptsGet if !server.prompts.is_empty() => get_prompt(server, params),
        Method::ResourcesList => page(method, params, (server.resources)()),
        Method::TemplatesList => page(method, params, (server.templates)()),
        Method::ResourcesRead => read(server, params),
        Method::Complete => complete(server, params),
        Method::PromptsList
        | Method::PromptsGet
        | Method::Initialize
        | Method::Discover
        | Method::Ping
        | Method::SetLevel
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Listen
        | Method::TasksGet
        | Method::TasksUpdate
        | Method::TasksCancel
        | Method::TasksResult
        | Method::TasksList => Err(Refusal::unknown_method(method.as_str())),
    }
}

fn describe_tool(tool: &Tool) -> Value {
    let mut described = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": (tool.input)(),
        "annotations": {"readOnlyHint": true, "openWorldHint": false},
    });
    if let (Some(described), Some(output)) = (described.as_object_mut(), tool.output) {
        described.insert("outputSchema".into(), output());
    }
    described
}

fn describe_prompt(prompt: &Prompt) -> Value {
    json!({
        "name": prompt.name,
        "title": prompt.title,
        "description": prompt.description,
        "arguments": (prompt.arguments)(),
    })
}

/// One page of a list; the cursor is the number of the item it begins with.
fn page(method: Method, params: &Object, items: Vec<Value>) -> Result<Answer, Refusal> {
    let total = items.len();
    let start = match params.get("cursor") {
        None => 0,
        Some(_) => params
            .get_str("cursor")
            .and_then(|cursor| cursor.parse().ok())
            .filter(|start| (1..total).contains(start))
            .ok_or_else(|| Refusal::params("Unknown cursor"))?,
    };
    let items: Vec<Value> = items.into_iter().skip(start).take(PAGE).collect();
    let end = start + items.len();
    let mut result = Map::new();
    result.insert(
        method.list_key().unwrap_or("items").into(),
        Value::Array(items),
    );
    if end < total {
        result.insert("nextCursor".into(), end.to_string().into());
    }
    Ok(Answer {
        result,
        ..Answer::default()
    })
}

fn call(server: &Server, params: &Object) -> Result<Answer, Refusal> {
    let name = required(params, "name")?;
    let tool = server.tools.iter().find(|tool| tool.name == name);
    let tool = tool.ok_or_else(|| Refusal::params(format!("Unknown tool: {name}")))?;
    let arguments = arguments(params)?;
    let output = match (tool.run)(&arguments) {
        Ok(output) => output,
        Err(sentence) => {
            let content = [text_content(&sentence)];
            return Ok(Answer::of(json!({"content": content, "isError": true})));
        }
    };
    let mut result = Map::from_iter([("content".into(), Value::Array(output.content))]);
    if let Some(structured) = output.structured {
        result.insert("structuredContent".into(), structured);
    }
    Ok(Answer {
        result,
        steps: output.steps,
        log: Some(output.log),
    })
}

fn get_prompt(server: &Server, params: &Object) -> Result<Answer, Refusal> {
    let name = required(params, "name")?;
    let prompt = server.prompts.iter().find(|prompt| prompt.name == name);
    let prompt = prompt.ok_or_else(|| Refusal::params(format!("Unknown prompt: {name}")))?;
    let messages = (prompt.get)(&arguments(params)?).map_err(Refusal::params)?;
    Ok(Answer::of(
        json!({"description": prompt.description, "messages": messages}),
    ))
}

fn read(server: &Server, params: &Object) -> Result<Answer, Refusal> {
    let uri = required(params, "uri")?;
    let contents = (server.read)(&uri).ok_or_else(|| {
        Refusal::new(
            code::RESOURCE_NOT_FOUND,
            format!("Resource not found: {uri}"),
        )
        .with_data(json!({"uri": uri}))
    })?;
    Ok(Answer::of(json!({"contents": [contents]})))
}

fn complete(server: &Server, params: &Object) -> Result<Answer, Refusal> {
    let reference = params.get_object("ref").unwrap_or_default();
    let named = reference
        .get_str("name")
        .or_else(|| reference.get_str("uri"));
    let argument = params.get_object("argument").unwrap_or_default();
    let (Some(named), Some(argument_name), Some(begun)) =
        (named, argument.get_str("name"), argument.get_str("value"))
    else {
        return Err(Refusal::params(
            "`ref` and `argument` must name what is to be completed",
        ));
    };
    let values = (server.complete)(&named, &argument_name).ok_or_else(|| {
        Refusal::params(format!(
            "Nothing to complete: `{named}` has no argument `{argument_name}`"
        ))
    })?;
    let fitting = values
        .into_iter()
        .filter(|value| value.starts_with(&*begun));
    let fitting: Vec<String> = fitting.collect();
    let (total, sent) = (
        fitting.len(),
        fitting.get(..MAX_COMPLETIONS).unwrap_or(&fitting),
    );
    let completion = json!({"values": sent, "total": total, "hasMore": total > sent.len()});
    Ok(Answer::of(json!({"completion": completion})))
}

fn required(params: &Object, key: &str) -> Result<String, Refusal> {
    let text = params.get_str(key).map(|text| text.into_owned());
    text.ok_or_else(|| Refusal::params(format!("`{key}` must be a string")))
}

fn arguments(params: &Object) -> Result<Arguments, Refusal> {
    let Some(arguments) = params.get("arguments") else {
        return Ok(Arguments::default());
    };
    Object::parse(arguments.get())
        .map(Arguments::new)
        .map_err(|error| Refusal::params(format!("`arguments` must be an object: {error}")))
}
