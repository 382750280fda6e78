//! The files of rules that gateways of a measurement serve.

use std::fmt::Write;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use super::target::TOKEN;

/// Agents, and grants, of the large file.
pub(super) const CROWD: usize = 1_000;

/// Servers of the large file that nobody calls here.
const OTHER_SERVERS: usize = 30;

/// Which revision a server is known to speak.
#[derive(Debug, Clone, Copy)]
pub(super) enum Era {
    /// 2026-07-28.
    Modern,
    /// `initialize`, without a session.
    Legacy,
}

/// The ordinary file: three agents, one server, two budgets on every call.
pub(super) fn ordinary(server: SocketAddr, era: Era) -> String {
    let era = match era {
        Era::Modern => "modern",
        Era::Legacy => "legacy",
    };
    let server = format!(
        "{{url: 'http://{server}/mcp', protocol: {era}, {}}}",
        budget("day")
    );
    of_servers(&[("bench", &server)])
}

/// The same with a second server, `slow`.
pub(super) fn with_slow(server: SocketAddr, slow: SocketAddr) -> String {
    let of = |server| {
        format!(
            "{{url: 'http://{server}/mcp', protocol: modern, {}}}",
            budget("day")
        )
    };
    of_servers(&[("bench", &of(server)), ("slow", &of(slow))])
}

/// The same with a server that the gateway starts as a child process: this program.
pub(super) fn with_command(program: &str) -> String {
    let server = format!(
        "{{command: '{program}', args: ['--stdio-server'], instances: shared, protocol: modern, {}}}",
        budget("day")
    );
    of_servers(&[("bench", &server)])
}

fn of_servers(servers: &[(&str, &str)]) -> String {
    let mut text = String::from("defaults: {timezone: UTC}\nservers:\n");
    for (name, server) in servers {
        line(&mut text, format_args!("  {name}: {server}"));
    }
    let names: Vec<_> = servers.iter().map(|(name, _)| *name).collect();
    text.push_str("agents:\n");
    for (agent, token) in [("a", TOKEN), ("b", "token-of-b"), ("c", "token-of-c")] {
        let (hash, names) = (hash(token), names.join(", "));
        line(
            &mut text,
            format_args!(
                "  {agent}: {{token_hash: '{hash}', servers: [{names}], {}}}",
                budget("month")
            ),
        );
    }
    text
}

/// So many agents with a grant of their own each, spread over many servers. The agent of the measurement is in
/// their middle and has two budgets on every call, as in the ordinary file.
pub(super) fn crowd(server: SocketAddr, agents: usize) -> String {
    let mut text = String::from("defaults: {timezone: UTC}\nservers:\n");
    line(
        &mut text,
        format_args!("  bench: {{url: 'http://{server}/mcp', protocol: modern}}"),
    );
    for number in 0..OTHER_SERVERS {
        line(
            &mut text,
            format_args!(
                "  server-{number:02}: {{url: 'http://localhost:9/mcp', protocol: modern}}"
            ),
        );
    }
    text.push_str("agents:\n");
    for number in 0..agents {
        let (other, token) = (number % OTHER_SERVERS, format!("token-of-{number}"));
        let (server, token) = if number == agents / 2 {
            ("bench".into(), TOKEN)
        } else {
            (format!("server-{other:02}"), token.as_str())
        };
        let hash = hash(token);
        line(
            &mut text,
            format_args!(
                "  agent-{number:03}: {{token_hash: '{hash}', {}, servers: \
                 [{{server: {server}, tools: [search, 'get_*', 'list_{other}_*'], {}}}]}}",
                budget("month"),
                budget("day"),
            ),
        );
    }
    text
}

fn budget(window: &str) -> String {
    format!("budgets: [1000000000/{window}]")
}

fn hash(token: &str) -> String {
    let digest = Sha256::digest(token);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

// Writing to a String cannot fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}
