//! The official Rust SDK (`rmcp`) against MCP endpoints, on streamable HTTP.
//!
//! Reads calls from standard input, one JSON object a line, and makes them one after the other, each on a connection of
//! its own: lists every page of tools, calls one tool, looks for a text in the result, prints one line of JSON. Exit
//! status 0 when all of it worked, else 1. The bearer token comes from HAYWARD_TOKEN; without it none is sent.
//!
//!     echo '{"url": "http://…/mcp", "tool": "echo", "arguments": {"message": "hello"}, "expect": "hello"}' |
//!         smoke [--mode auto|legacy] [--seconds 30]
//!
//! A call with `input` has to ask for input (elicitation), however the revision carries that, and gets this answer.
//! When a server refuses, the report has the `code` of its error, or `tool_error`.
//!
//! `auto` opens with `server/discover` (2026-07-28), `legacy` with `initialize`, which is what rmcp does by default.

use std::error::Error;
use std::io::stdin;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationCapability, ErrorData, Implementation, JsonObject,
    ProtocolVersion,
};
use rmcp::service::{ClientInitializeError, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Everything that can go wrong; what it is, the report says in words.
type Failure = Box<dyn Error + Send + Sync>;

/// What one line of standard input asks for.
#[derive(Debug, Deserialize)]
struct Wanted {
    url: String,
    tool: String,
    #[serde(default)]
    arguments: JsonObject,
    expect: String,
    input: Option<Value>,
}

/// Whoever answers when a tool asks for input; stands for nobody without an answer.
#[derive(Debug)]
struct Person {
    answer: Option<Value>,
    asked: AtomicUsize,
}

impl ClientHandler for Person {
    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.clone().unwrap_or_default();
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(answer))
    }

    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        if self.answer.is_some() {
            capabilities.elicitation = Some(ElicitationCapability::new());
        }
        ClientConfig::new(capabilities, Implementation::new("smoke", "1"))
    }
}

type Client = RunningService<RoleClient, Person>;

async fn connect(
    wanted: &Wanted,
    lifecycle: ClientLifecycleMode,
) -> Result<Client, ClientInitializeError> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(wanted.url.as_str());
    if let Ok(token) = std::env::var("HAYWARD_TOKEN") {
        config = config.auth_header(token);
    }
    let person = Person {
        answer: wanted.input.clone(),
        asked: AtomicUsize::new(0),
    };
    person
        .serve_with_lifecycle(
            StreamableHttpClientTransport::from_config(config),
            lifecycle,
        )
        .await
}

/// Returns what there is to report beyond that it went well.
async fn exercise(wanted: &Wanted, lifecycle: ClientLifecycleMode) -> Result<Value, Failure> {
    let Wanted { tool, expect, .. } = wanted;
    let client = connect(wanted, lifecycle).await?;
    let names: Vec<_> = client
        .list_all_tools()
        .await?
        .into_iter()
        .map(|tool| tool.name)
        .collect();
    if !names.iter().any(|name| name == tool) {
        return Err(format!(
            "`{tool}` is not among the {} tools: {}",
            names.len(),
            names.join(", ")
        )
        .into());
    }
    let call = CallToolRequestParams::new(tool.clone()).with_arguments(wanted.arguments.clone());
    let result = client.call_tool(call).await?;
    let texts = result
        .content
        .iter()
        .filter_map(|block| block.as_text().map(|text| text.text.as_str()));
    let text = texts.collect::<Vec<_>>().join("\n");
    if result.is_error == Some(true) {
        return Err(Box::new(ToolError(format!("`{tool}` failed: {text}"))));
    }
    if !text.contains(expect) {
        return Err(format!("`{expect}` is not in the result: {text}").into());
    }
    if wanted.input.is_some() && client.service().asked.load(Ordering::Relaxed) == 0 {
        return Err(format!("`{tool}` asked for nothing").into());
    }
    let protocol = client
        .peer_info()
        .map(|info| info.protocol_version.to_string());
    client.cancel().await?;
    Ok(json!({"tools": names.len(), "protocol": protocol}))
}

/// The tool itself says that it failed.
#[derive(Debug)]
struct ToolError(String);

impl std::fmt::Display for ToolError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for ToolError {}

/// The code of an error that came from the server.
fn code(failure: &Failure) -> Option<Value> {
    if failure.is::<ToolError>() {
        return Some("tool_error".into());
    }
    match (failure.downcast_ref(), failure.downcast_ref()) {
        (Some(ServiceError::McpError(error)), _)
        | (_, Some(ClientInitializeError::JsonRpcError(error))) => Some(error.code.0.into()),
        _ => None,
    }
}

/// The value of an option, or what it is without it.
fn option(name: &str, otherwise: &str) -> String {
    let given = std::env::args()
        .skip_while(|argument| argument != name)
        .nth(1);
    given.unwrap_or_else(|| otherwise.to_owned())
}

fn lifecycle(mode: &str) -> Result<ClientLifecycleMode, Failure> {
    match mode {
        "auto" => Ok(ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        }),
        "legacy" => Ok(ClientLifecycleMode::Initialize),
        other => Err(format!("there is no mode `{other}`").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failure> {
    let mode = option("--mode", "auto");
    let seconds: u64 = option("--seconds", "30").parse()?;
    let mut status = ExitCode::SUCCESS;
    for line in stdin().lines() {
        let wanted: Wanted = serde_json::from_str(&line?)?;
        let started = Instant::now();
        let lifecycle = lifecycle(&mode)?;
        let result = timeout(Duration::from_secs(seconds), exercise(&wanted, lifecycle)).await;
        let result = result.unwrap_or_else(|_| Err(format!("not done within {seconds} s").into()));
        let mut report = json!({
            "client": "rmcp", "mode": mode, "url": wanted.url, "tool": wanted.tool,
            "ok": result.is_ok(), "ms": u64::try_from(started.elapsed().as_millis())?,
        });
        match result {
            Ok(more) => report.as_object_mut().into_iter().for_each(|report| {
                report.extend(more.as_object().cloned().unwrap_or_default());
            }),
            Err(failure) => {
                status = ExitCode::FAILURE;
                report["error"] = failure
                    .to_string()
                    .chars()
                    .take(500)
                    .collect::<String>()
                    .into();
                if let Some(code) = code(&failure) {
                    report["code"] = code;
                }
            }
        }
        println!("{report}");
    }
    Ok(status)
}
