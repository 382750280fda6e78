//! The clients, and what to write where. Pure.

use serde_json::{Value, json};

/// Where a client is to be led.
#[derive(Debug)]
pub(super) struct Place {
    /// `https://gate.example/mcp/outline`.
    pub(super) url: String,
    /// What the client is to call it.
    name: String,
    /// The host with its port.
    host: String,
    /// Whether it is plain http to another machine.
    pub(super) is_plain: bool,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// Where it is written.
    pub(super) place: &'static str,
    pub(super) snippets: Vec<Snippet>,
    /// What to know about it.
    pub(super) notes: &'static [&'static str],
}

/// Something to copy.
#[derive(Debug)]
pub(super) struct Snippet {
    /// Unique on the page.
    pub(super) id: String,
    /// What it is, where a client has several.
    pub(super) title: &'static str,
    pub(super) text: String,
}

impl Place {
    /// The address of one server, or of all of them, under the address of the gateway.
    pub(super) fn new(base: &str, server: Option<&str>) -> Self {
        let host = base.split_once("://").map_or(base, |(_, host)| host);
        let is_here = ["127.", "localhost", "[::1]"]
            .iter()
            .any(|here| host.starts_with(here));
        Self {
            url: match server {
                Some(server) => format!("{base}/mcp/{server}"),
                None => format!("{base}/mcp"),
            },
            name: server.unwrap_or("hayward").into(),
            host: host.into(),
            is_plain: base.starts_with("http://") && !is_here,
        }
    }
}

/// All clients there are words for.
pub(super) fn all(place: &Place) -> Vec<Client> {
    vec![
        claude_code(place),
        claude_desktop(place),
        cursor(place),
        vs_code(place),
        codex(place),
        open_webui(place),
        libre_chat(place),
        openai_agents(place),
        lang_chain(place),
        python(place),
        curl(place),
    ]
}

fn client(
    (id, name): (&'static str, &'static str),
    place: &'static str,
    snippets: Vec<(&'static str, String)>,
    notes: &'static [&'static str],
) -> Client {
    let snippets = snippets.into_iter().enumerate();
    let snippets = snippets.map(|(at, (title, text))| Snippet {
        id: format!("{id}-{at}"),
        title,
        text,
    });
    Client {
        id,
        name,
        place,
        snippets: snippets.collect(),
        notes,
    }
}

/// A file in JSON: what stands before the servers, the key they stand under, and the keys of this one with their JSON.
/// Names and addresses have no character that JSON would escape.
fn file(place: &Place, before: &str, under: &str, entry: &[(&str, String)]) -> String {
    let lines = entry
        .iter()
        .map(|(key, json)| format!("      \"{key}\": {json}"));
    let lines: Vec<String> = lines.collect();
    let (name, lines) = (&place.name, lines.join(",\n"));
    format!("{{\n{before}  \"{under}\": {{\n    \"{name}\": {{\n{lines}\n    }}\n  }}\n}}")
}

/// A text in JSON.
fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// The one header, with the token as the client fills it in.
fn bearer(token: &str) -> String {
    format!("{{\"Authorization\": \"Bearer {token}\"}}")
}

fn claude_code(place: &Place) -> Client {
    let (url, name) = (&place.url, &place.name);
    let command = format!(
        "claude mcp add --transport http --scope user \\\n  --header \"Authorization: Bearer $HAYWARD_TOKEN\" \\\n  {name} {url}"
    );
    let entry = [
        ("type", text("http")),
        ("url", text(url)),
        ("headers", bearer("${HAYWARD_TOKEN}")),
    ];
    let file = file(place, "", "mcpServers", &entry);
    client(
        ("claude-code", "Claude Code"),
        "A command, or .mcp.json in a project",
        vec![
            ("Once, for yourself", command),
            ("In .mcp.json, to be committed", file),
        ],
        &[
            "Options go before the name. The command writes the token itself into your own settings; the file only \
             names the variable.",
            "Tools appear as mcp__NAME__TOOL.",
        ],
    )
}

fn claude_desktop(place: &Place) -> Client {
    let mut arguments = vec![
        "-y",
        "mcp-remote@0.15.1",
        place.url.as_str(),
        "--transport",
        "http-only",
        "--header",
        "Authorization:${HAYWARD_AUTHORIZATION}",
    ];
    if place.is_plain {
        arguments.push("--allow-http");
    }
    let arguments: Vec<String> = arguments.into_iter().map(text).collect();
    let entry = [
        ("command", text("npx")),
        ("args", format!("[{}]", arguments.join(", "))),
        (
            "env",
            r#"{"HAYWARD_AUTHORIZATION": "Bearer $HAYWARD_TOKEN"}"#.into(),
        ),
    ];
    let file = file(place, "", "mcpServers", &entry);
    client(
        ("claude-desktop", "Claude Desktop"),
        "claude_desktop_config.json, by way of mcp-remote",
        vec![("", file)],
        &[
            "The file reads no variables: write the token in place of $HAYWARD_TOKEN, and let nobody else read the file.",
            "No space after the colon of the header; some systems cut the argument there. Keep the version pinned.",
            "Connectors of the settings reach the gateway from the vendor's network, so a private address does not work there.",
        ],
    )
}

fn cursor(place: &Place) -> Client {
    let entry = [
        ("url", text(&place.url)),
        ("headers", bearer("${env:HAYWARD_TOKEN}")),
    ];
    client(
        ("cursor", "Cursor"),
        "~/.cursor/mcp.json, or .cursor/mcp.json in a project",
        vec![("", file(place, "", "mcpServers", &entry))],
        &[
            "When the rules change, reload the server in the settings: the list of tools is not asked for again.",
        ],
    )
}

fn vs_code(place: &Place) -> Client {
    let entry = [
        ("type", text("http")),
        ("url", text(&place.url)),
        ("headers", bearer("${input:hayward-token}")),
    ];
    let inputs = "  \"inputs\": [\n    {\"id\": \"hayward-token\", \"type\": \"promptString\", \"description\": \"Gateway token\", \
                  \"password\": true}\n  ],\n";
    client(
        ("vs-code", "VS Code"),
        ".vscode/mcp.json, or the one of your profile",
        vec![("", file(place, inputs, "servers", &entry))],
        &[
            "It asks for the token once and keeps it with its secrets.",
            "A request carries 128 tools at most: with many servers, connect them one by one.",
        ],
    )
}

fn codex(place: &Place) -> Client {
    let (url, name) = (&place.url, &place.name);
    let file = format!(
        "[mcp_servers.\"{name}\"]\nurl = \"{url}\"\nenv_http_headers = {{ \"Authorization\" = \"HAYWARD_AUTHORIZATION\" }}\n\
         tool_timeout_sec = 300"
    );
    let variable = "export HAYWARD_AUTHORIZATION=\"Bearer $HAYWARD_TOKEN\"".to_owned();
    client(
        ("codex", "Codex CLI"),
        "~/.codex/config.toml, or .codex/config.toml in a project",
        vec![("In the file", file), ("Before it starts", variable)],
        &[
            "The key is env_http_headers; headers is ignored without a word.",
            "It gives a server 10 s to start and a tool 60 s, unless it is told otherwise. A call it gives up on is charged.",
        ],
    )
}

fn open_webui(place: &Place) -> Client {
    client(
        ("open-webui", "Open WebUI"),
        "Admin settings, External tools, + (0.6.31 or newer)",
        vec![(
            "The URL, with type MCP (Streamable HTTP) and auth Bearer",
            place.url.clone(),
        )],
        &[
            "With the type OpenAPI the page breaks; an empty key is sent as Bearer and nothing, and refused.",
            "One key serves all of its users: give each group a connection and a token of its own.",
            "From a container, use the name of the gateway's service instead of localhost.",
        ],
    )
}

fn libre_chat(place: &Place) -> Client {
    let (url, name, host) = (&place.url, &place.name, &place.host);
    let file = format!(
        "mcpSettings:\n  allowedAddresses: [\"{host}\"]\nmcpServers:\n  \"{name}\":\n    type: streamable-http\n    url: \"{url}\"\n    \
         headers:\n      Authorization: \"Bearer ${{HAYWARD_TOKEN}}\"\n    timeout: 300000"
    );
    client(
        ("librechat", "LibreChat"),
        "librechat.yaml",
        vec![("", file)],
        &["Private addresses are blocked unless they are listed. The timeout is in milliseconds."],
    )
}

fn openai_agents(place: &Place) -> Client {
    let (url, name) = (&place.url, &place.name);
    let code = format!(
        r#"import asyncio, os
from agents import Agent, Runner
from agents.mcp import MCPServerStreamableHttp

async def main():
    headers = {{"Authorization": f"Bearer {{os.environ['HAYWARD_TOKEN']}}"}}
    async with MCPServerStreamableHttp(
        name="{name}",
        params={{"url": "{url}", "headers": headers, "timeout": 30}},
        client_session_timeout_seconds=300,
        cache_tools_list=True,
    ) as server:
        agent = Agent(name="assistant", mcp_servers=[server])
        print((await Runner.run(agent, "Which tools do you have?")).final_output)

asyncio.run(main())"#
    );
    client(
        ("openai-agents", "OpenAI Agents SDK"),
        "Python, 0.24",
        vec![("", code)],
        &[
            "client_session_timeout_seconds is 5 by default, too short for images. A call that timed out is charged.",
            "Leave max_retry_attempts at 0: anything else repeats calls, and each repeat is charged.",
        ],
    )
}

fn lang_chain(place: &Place) -> Client {
    let (url, name) = (&place.url, &place.name);
    let code = format!(
        r#"import asyncio, os
from langchain_mcp_adapters.client import MultiServerMCPClient

async def main():
    headers = {{"Authorization": f"Bearer {{os.environ['HAYWARD_TOKEN']}}"}}
    client = MultiServerMCPClient({{"{name}": {{"transport": "http", "url": "{url}", "headers": headers}}}})
    print([tool.name for tool in await client.get_tools()])

asyncio.run(main())"#
    );
    client(
        ("langchain", "LangChain"),
        "Python, langchain-mcp-adapters 0.3",
        vec![("", code)],
        &[
            "From LangChain 1.4 on, langchain.mcp.MCPAdapter takes the same url and headers under mcpServers.",
        ],
    )
}

fn python(place: &Place) -> Client {
    let url = &place.url;
    let modern = format!(
        r#"import asyncio, os, httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

async def main():
    auth = {{"Authorization": f"Bearer {{os.environ['HAYWARD_TOKEN']}}"}}
    async with httpx2.AsyncClient(headers=auth, timeout=httpx2.Timeout(30, read=300)) as http:
        async with Client(streamable_http_client("{url}", http_client=http)) as mcp:
            print(await mcp.list_tools())

asyncio.run(main())"#
    );
    let legacy = format!(
        r#"import asyncio, os
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

async def main():
    auth = {{"Authorization": f"Bearer {{os.environ['HAYWARD_TOKEN']}}"}}
    async with streamablehttp_client("{url}", headers=auth) as (read, write, _):
        async with ClientSession(read, write) as mcp:
            await mcp.initialize()
            print(await mcp.list_tools())

asyncio.run(main())"#
    );
    client(
        ("python", "Python SDK"),
        "The package mcp",
        vec![("mcp 2", modern), ("mcp 1", legacy)],
        &[
            "Version 2 takes no headers of its own and waits 5 s unless the HTTP client says otherwise.",
            "Slim images need SSL_CERT_FILE for https.",
        ],
    )
}

fn curl(place: &Place) -> Client {
    let url = &place.url;
    let head = format!(
        "curl -sS {url} \\\n  -H \"Authorization: Bearer $HAYWARD_TOKEN\" -H 'Content-Type: application/json' \\\n  \
         -H 'Accept: application/json, text/event-stream'"
    );
    let meta = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "curl", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": meta});
    let modern = format!(
        "{head} \\\n  -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/list' \\\n  -d '{list}'"
    );
    let open = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "curl", "version": "0"}}});
    let opened = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let plain = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    let session = "-H \"Mcp-Session-Id: $SESSION\" -H 'MCP-Protocol-Version: 2025-11-25'";
    let legacy = format!(
        "SESSION=$({head} \\\n  -o /dev/null -D - -d '{open}' | tr -d '\\r' | sed -n 's/^mcp-session-id: //Ip')\n\
         {head} \\\n  {session} \\\n  -d '{opened}'\n\
         {head} \\\n  {session} \\\n  -d '{plain}'"
    );
    client(
        ("curl", "curl"),
        "A shell",
        vec![
            ("Revision 2026-07-28, one request", modern),
            ("Earlier revisions, with a session", legacy),
        ],
        &["Headers must say what the body says, or the request is refused as header_mismatch."],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_order_and_name_the_server_the_address_and_the_variable() {
        for (base, server) in [
            ("https://gate.example", None),
            ("http://gate.example:3100", Some("images.v2")),
        ] {
            let place = Place::new(base, server);
            let mut files = 0;
            for client in all(&place) {
                let snippets = client.snippets.iter();
                for json in snippets
                    .map(|it| &it.text)
                    .filter(|text| text.starts_with('{'))
                {
                    let read: Value = serde_json::from_str(json).unwrap();
                    let servers = read.get("mcpServers").or(read.get("servers")).unwrap();
                    let entry = &servers[server.unwrap_or("hayward")];
                    assert!(entry.to_string().contains(&place.url), "{json}");
                    files += 1;
                }
                let whole: String = client.snippets.iter().map(|it| it.text.as_str()).collect();
                assert!(whole.contains(&place.url), "{}", client.name);
                assert!(
                    whole.contains("TOKEN") || whole.contains("token") || client.id == "open-webui"
                );
            }
            assert_eq!(files, 4);
            assert_eq!(place.is_plain, base.starts_with("http:"));
        }
        assert!(!Place::new("http://127.0.0.1:3100", None).is_plain);
    }
}
