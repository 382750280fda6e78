//! Calls a server of 2026-07-28: no session, everything about the request is in the request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

use crate::protocol::{Method, Object, PARAM_PREFIX, RequestId, Version, request, to_header};

use super::codec::{Outcome, prepare};
use super::era::Verdict;
use super::handshake::{Probed, as_opening, discover_params, judge};
use super::listen_modern::Subscription;
use super::listener::{Hearing, Listener};
use super::reply::{Ending, read_reply};
use super::wire::{Sent, Wire};
use super::{Era, EventId, Notice, Outgoing, Reply, UpstreamError, limits};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// One call, without a deadline.
pub(super) async fn call(
    wire: &Wire,
    id: u64,
    outgoing: Outgoing,
    notices: &mpsc::Sender<Notice>,
    sent: &Sent,
) -> Result<Reply, UpstreamError> {
    let mut headers = headers(outgoing.method, &outgoing.params);
    add_param_headers(&mut headers, &outgoing.param_headers);
    let (method, level) = (outgoing.method, outgoing.log_level);
    let missed = outgoing.missed.clone();
    let prepared = prepare(outgoing, Era::Modern, id);
    let mut listener = Listener::new(id, prepared.agent_token, level, notices).counting(missed);
    let body = request(
        &RequestId::number(id),
        method.as_str(),
        Some(&prepared.params),
    );
    exchange(wire, id, body.into(), headers, &mut listener, sent).await
}

/// One request to listen, which is over when the server says so.
pub(super) async fn listen(
    wire: Arc<Wire>,
    id: u64,
    subscription: Arc<Subscription>,
) -> Result<Outcome, UpstreamError> {
    subscription.name(id);
    let params = subscription.params();
    let headers = headers(Method::Listen, &params);
    let body = request(
        &RequestId::number(id),
        Method::Listen.as_str(),
        Some(&params),
    );
    let (nobody, _) = mpsc::channel(1);
    let mut listener =
        Listener::new(id, None, None, &nobody).hearing(Hearing::Own(subscription.clone()));
    let sent = &subscription.sent;
    let reply = exchange(&wire, id, body.into(), headers, &mut listener, sent).await?;
    Ok(reply.outcome)
}

async fn exchange(
    wire: &Wire,
    id: u64,
    body: Bytes,
    headers: HeaderMap,
    listener: &mut Listener,
    sent: &Sent,
) -> Result<Reply, UpstreamError> {
    let response = wire.post(body, headers, sent).await?;
    // Nothing can be answered on a modern stream, and nothing may be asked on it.
    let mut ignore = |_: RequestId, _: &str, _: Object, _: Option<EventId>| Ok(());
    match read_reply(response, id, listener, &mut ignore, None).await? {
        Ending::Answered { status, outcome } => Ok(Reply {
            era: Era::Modern,
            status,
            outcome,
        }),
        Ending::Cut { .. } => Err(UpstreamError::Broken(
            "the stream ended without an answer".into(),
        )),
    }
}

fn headers(method: Method, params: &Object) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        VERSION,
        HeaderValue::from_static(Version::V2026_07_28.as_str()),
    );
    headers.insert(METHOD, HeaderValue::from_static(method.as_str()));
    let name = method.name_key().and_then(|key| params.get_str(key));
    if let Some(Ok(name)) = name.map(|name| HeaderValue::from_str(&to_header(&name))) {
        headers.insert(NAME, name);
    }
    headers
}

/// Passes `Mcp-Param-*` on and nothing else, whatever the list holds.
fn add_param_headers(headers: &mut HeaderMap, params: &[(String, String)]) {
    for (name, value) in params {
        let name: Result<HeaderName, _> = name.parse();
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value))
            && name.as_str().starts_with(PARAM_PREFIX)
        {
            headers.insert(name, value);
        }
    }
}

/// Asks a server what it is (MCP 2026-07-28, versioning).
///
/// # Errors
/// When the server cannot be reached or does not let us in, which says nothing about its era; and when it speaks
/// only versions that we do not.
pub(super) async fn discover(wire: Arc<Wire>, id: u64) -> Result<Verdict, UpstreamError> {
    const WHAT: &str = "`server/discover`";
    let (nobody, _) = mpsc::channel(1);
    let mut listener = Listener::new(id, None, None, &nobody);
    let params = discover_params();
    let body = request(
        &RequestId::number(id),
        Method::Discover.as_str(),
        Some(&params),
    );
    let headers = headers(Method::Discover, &params);
    let sent = Sent::default();
    let asking = exchange(&wire, id, body.into(), headers, &mut listener, &sent);
    let answer = tokio::time::timeout(limits::HANDSHAKE, asking).await;
    let outcome = match answer.unwrap_or(Err(UpstreamError::TimedOut)) {
        Ok(Reply { status, .. }) if is_no_evidence(status) => {
            return Err(as_opening(UpstreamError::Rejected(status), WHAT));
        }
        Ok(reply) => reply.outcome,
        Err(UpstreamError::Rejected(status)) if !is_no_evidence(status) => return Ok(legacy()),
        Err(error) => return Err(as_opening(error, WHAT)),
    };
    match judge(&outcome) {
        Probed::Modern(description) => Ok(Verdict {
            era: Era::Modern,
            description: Some(Arc::new(description)),
        }),
        Probed::Legacy => Ok(legacy()),
        Probed::Unknown(versions) => Err(UpstreamError::Refused(format!(
            "it speaks only protocol versions we do not: {versions}"
        ))),
    }
}

/// Refused credentials and overload say nothing about the era.
pub(super) fn is_no_evidence(status: u16) -> bool {
    matches!(status, 401 | 403 | 408 | 429 | 500..)
}

fn legacy() -> Verdict {
    Verdict {
        era: Era::Legacy,
        description: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_repeat_method_and_name_and_pass_only_param_headers() {
        let params = Object::parse(r#"{"name":"grüße"}"#).unwrap();
        let mut headers = headers(Method::ToolsCall, &params);
        let given = [
            ("Mcp-Param-City", "Rom"),
            ("Authorization", "Bearer x"),
            ("Mcp-Param-Bad", "a\nb"),
        ];
        add_param_headers(
            &mut headers,
            &given.map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let mut shown: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "mcp-method: tools/call",
                "mcp-name: =?base64?Z3LDvMOfZQ==?=",
                "mcp-param-city: Rom",
                "mcp-protocol-version: 2026-07-28"
            ]
        );
    }
}
