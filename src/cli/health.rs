//! `hayward health`: ask a running gateway how it is. For people, and for a container's health check.

use std::io;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use clap::builder::BoolishValueParser;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::{Exit, Failure, Screen, plain};

/// How long the whole question may take.
const DEADLINE: Duration = Duration::from_secs(3);
/// The longest answer read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Flags of `hayward health`.
#[derive(Debug, Clone, Args)]
pub struct HealthArguments {
    /// Where the gateway is
    #[arg(long, value_name = "URL", env = "HAYWARD_URL", default_value = "http://127.0.0.1:3100", value_parser = gateway_url)]
    pub url: Uri,
    /// Also fail while the gateway is starting or about to stop
    #[arg(long, env = "HAYWARD_READY", value_parser = BoolishValueParser::new())]
    pub ready: bool,
}

/// What a gateway says of itself.
#[derive(Debug, Deserialize)]
struct Report {
    status: String,
    #[serde(default)]
    agents: u64,
    #[serde(default)]
    servers: u64,
    /// False while it takes no calls; not said by a gateway that always takes them.
    #[serde(default = "yes")]
    ready: bool,
    /// What is wrong.
    reason: Option<String>,
}

fn yes() -> bool {
    true
}

/// Asks and prints one line.
pub(super) async fn run(arguments: &HealthArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let url = &arguments.url;
    let (status, body) = tokio::time::timeout(DEADLINE, get(url))
        .await
        .with_context(|| format!("`{url}` does not answer within {} s", DEADLINE.as_secs()))?
        .map_err(|error| explain(error, url))?;
    let (exit, line) = judge(status, &body, arguments.ready)
        .with_context(|| format!("`{url}` does not answer like a Hayward gateway"))?;
    screen.answer(&line)?;
    Ok(exit)
}

async fn get(url: &Uri) -> anyhow::Result<(StatusCode, Bytes)> {
    let bundled = || HttpsConnectorBuilder::new().with_webpki_roots();
    let trusting = match url.scheme_str() {
        // The roots of the system, so that a private authority is known too.
        Some("https") => HttpsConnectorBuilder::new()
            .with_native_roots()
            .unwrap_or_else(|_| bundled()),
        _ => bundled(),
    };
    let connector = trusting.https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let answer = client.get(url.clone()).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error))?;
    Ok((status, body.to_bytes()))
}

/// Says what to do about the usual reason.
fn explain(error: anyhow::Error, url: &Uri) -> anyhow::Error {
    let refused = error.chain().any(|cause| {
        let cause = cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    });
    if refused {
        return anyhow::anyhow!(
            "nothing listens at `{url}`: start `hayward serve`, or say with --url where it is"
        );
    }
    error.context(format!("cannot reach `{url}`"))
}

/// Reads an answer: how the command ends, and the line to print.
fn judge(status: StatusCode, body: &[u8], ready: bool) -> anyhow::Result<(Exit, String)> {
    let Ok(report) = serde_json::from_slice::<Report>(body) else {
        bail!("it says {status} and no health report; is the URL right?");
    };
    let is_healthy = status == StatusCode::OK && report.status == "healthy";
    if is_healthy && (report.ready || !ready) {
        let (agents, servers) = (report.agents, report.servers);
        return Ok((
            Exit::Yes,
            format!("healthy (agents: {agents}, servers: {servers})"),
        ));
    }
    let mut line = match (is_healthy, report.status.as_str()) {
        (true, _) => "not ready".into(),
        (false, "healthy") => format!("healthy, with HTTP {status}"),
        (false, other) => plain(other),
    };
    if let Some(reason) = &report.reason {
        line = format!("{line}: {}", plain(reason));
    }
    Ok((Exit::Environment, line))
}

/// The URL of the health page of the gateway at `text`.
fn gateway_url(text: &str) -> Result<Uri, &'static str> {
    let wrong = "write the address of the gateway, such as http://127.0.0.1:3100";
    let base = text.trim_end_matches('/').trim_end_matches("/health");
    let url: Uri = format!("{base}/health").parse().map_err(|_| wrong)?;
    let fits = matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none();
    fits.then_some(url).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::cli::screen::tests::paper_screen;

    #[test]
    fn the_url_is_that_of_the_health_page() {
        for (text, url) in [
            ("http://127.0.0.1:3100", "http://127.0.0.1:3100/health"),
            ("http://127.0.0.1:3100/", "http://127.0.0.1:3100/health"),
            ("https://x/gate/health", "https://x/gate/health"),
        ] {
            assert_eq!(gateway_url(text).unwrap().to_string(), url);
        }
        for wrong in ["", "127.0.0.1:3100", "ftp://x", "http://", "http://x/?a=b"] {
            assert!(gateway_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_is_judged_by_its_status_and_its_words() {
        let judge = |status: u16, body: &str, ready: bool| {
            let (exit, line) = judge(
                StatusCode::from_u16(status).unwrap(),
                body.as_bytes(),
                ready,
            )
            .unwrap();
            (exit.code(), line)
        };
        let healthy = r#"{"status":"healthy","agents":3,"servers":2}"#;
        assert_eq!(
            judge(200, healthy, true),
            (0, "healthy (agents: 3, servers: 2)".into())
        );
        assert_eq!(
            judge(503, healthy, false),
            (4, "healthy, with HTTP 503 Service Unavailable".into())
        );
        let starting = r#"{"status":"healthy","ready":false}"#;
        assert_eq!(judge(200, starting, false).0, 0);
        assert_eq!(judge(200, starting, true), (4, "not ready".into()));
        let ill = r#"{"status":"unhealthy","reason":"the log cannot be written; \u001b[2J"}"#;
        assert_eq!(
            judge(503, ill, false),
            (4, "unhealthy: the log cannot be written; �[2J".into())
        );
    }

    async fn ask(url: &str) -> (Result<Exit, Failure>, String) {
        let (mut screen, out, _) = paper_screen();
        let arguments = HealthArguments {
            url: gateway_url(url).unwrap(),
            ready: false,
        };
        (run(&arguments, &mut screen).await, out.text())
    }

    /// Answers one connection with `text` and returns where.
    async fn answering(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut question = [0; 1_024];
            let read = socket.read(&mut question).await.unwrap();
            assert!(question[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            socket.write_all(text.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn a_gateway_that_answers_is_reported_in_one_line() {
        let url = answering("HTTP/1.1 200 OK\r\ncontent-length: 43\r\n\r\n{\"status\":\"healthy\",\"agents\":1,\"servers\":4}").await;
        let (exit, line) = ask(&url).await;
        assert_eq!(exit.unwrap(), Exit::Yes);
        assert_eq!(line, "healthy (agents: 1, servers: 4)\n");
    }

    #[tokio::test]
    async fn something_else_that_answers_is_told_apart() {
        let url = answering("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno").await;
        let failure = ask(&url).await.0.unwrap_err();
        let text = format!("{:#}", failure.error);
        assert!(
            text.contains("does not answer like a Hayward gateway"),
            "{text}"
        );
        assert!(text.contains("404 Not Found"), "{text}");
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = ask(&url).await.0.unwrap_err();
        assert_eq!(failure.exit, Exit::Environment);
        let text = format!("{:#}", failure.error);
        assert!(
            text.starts_with(&format!("nothing listens at `{url}/health`: start")),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_never_answers_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let failure = ask(&url).await.0.unwrap_err();
        let text = format!("{:#}", failure.error);
        assert!(text.contains("does not answer within 3 s"), "{text}");
    }
}
