//! One HTTP server: connections, the headers we send, and whether a request left us.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::types::Template;

use super::dial::Dial;
use super::{SetupError, UpstreamError, limits};

/// What frames a message, or says who it is for, is not for the configuration to say.
const OWN_HEADERS: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether the body of a request was handed to a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(super) fn happened(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// What a passed deadline means.
    pub(super) fn timed_out(&self) -> UpstreamError {
        if self.happened() {
            UpstreamError::TimedOut
        } else {
            UpstreamError::Unreachable("there was no connection within the deadline".into())
        }
    }
}

/// The way to one server.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client<Dial, Payload>,
    uri: Uri,
    /// Our credentials and whatever else is configured.
    headers: HeaderMap,
}

impl Wire {
    /// # Errors
    /// When the URL or a header cannot be used. The message never repeats a value.
    pub(super) fn new(
        url: &Template,
        headers: &[(String, Template)],
        dial: &Dial,
    ) -> Result<Self, SetupError> {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(limits::KEEP_ALIVE)
            .pool_max_idle_per_host(limits::KEEP_ALIVE_CONNECTIONS)
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(limits::HEAD)
            .build(dial.clone());
        Ok(Self {
            client,
            uri: read_url(url)?,
            headers: read_headers(headers)?,
        })
    }

    /// The way to another URL of the same server, with the same credentials.
    pub(super) fn at(&self, uri: Uri) -> Self {
        Self {
            client: self.client.clone(),
            uri,
            headers: self.headers.clone(),
        }
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Sends a message and waits for the head of the answer.
    ///
    /// # Errors
    /// `Unreachable` when the body was never handed to a connection, `Broken` otherwise.
    pub(super) async fn post(
        &self,
        body: Bytes,
        own: HeaderMap,
        sent: &Sent,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut request = self.request(
            Method::POST,
            own,
            Payload {
                bytes: Some(body),
                sent: sent.clone(),
            },
        );
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        self.exchange(request, sent).await
    }

    /// Asks for a stream of events.
    pub(super) async fn get(&self, own: HeaderMap) -> Result<Response<Incoming>, UpstreamError> {
        let mut request = self.request(Method::GET, own, Payload::none());
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.exchange(request, &Sent::default()).await
    }

    /// Ends what the headers name.
    pub(super) async fn delete(&self, own: HeaderMap) -> Result<Response<Incoming>, UpstreamError> {
        self.exchange(
            self.request(Method::DELETE, own, Payload::none()),
            &Sent::default(),
        )
        .await
    }

    fn request(&self, method: Method, own: HeaderMap, payload: Payload) -> Request<Payload> {
        let mut request = Request::new(payload);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let mut headers = self.headers.clone();
        headers.extend(own);
        *request.headers_mut() = headers;
        request
    }

    async fn exchange(
        &self,
        request: Request<Payload>,
        sent: &Sent,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.client.request(request).await.map_err(|error| {
            let why = innermost(&error);
            if sent.happened() {
                UpstreamError::Broken(why)
            } else {
                UpstreamError::Unreachable(why)
            }
        })
    }
}

/// The words of the first cause; the layers above it only say "client error".
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn read_url(url: &Template) -> Result<Uri, SetupError> {
    let exposed = url.expose();
    let uri: Uri = exposed
        .expose()
        .parse()
        .map_err(|_| SetupError::Url(url.masked()))?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri
        .authority()
        .filter(|_| is_http)
        .ok_or_else(|| SetupError::Url(url.masked()))?;
    if authority.as_str().contains('@') {
        return Err(SetupError::Credentials(url.masked()));
    }
    Ok(uri)
}

fn read_headers(headers: &[(String, Template)]) -> Result<HeaderMap, SetupError> {
    let mut map = HeaderMap::with_capacity(headers.len() + 6);
    for (name, value) in headers {
        let header: HeaderName = name
            .parse()
            .map_err(|_| SetupError::HeaderName(name.clone()))?;
        if OWN_HEADERS.contains(&header) || header.as_str().starts_with("mcp-") {
            return Err(SetupError::OwnHeader(name.clone()));
        }
        let mut value = HeaderValue::from_str(value.expose().expose())
            .map_err(|_| SetupError::HeaderValue(name.clone()))?;
        value.set_sensitive(true);
        map.insert(header, value);
    }
    Ok(map)
}

/// A body that tells when it was taken. Hyper takes it in the same step in which it starts to write a request,
/// and never before it has a connection, so "not taken" means that not one byte of the request left.
#[derive(Debug)]
pub(super) struct Payload {
    bytes: Option<Bytes>,
    sent: Sent,
}

impl Payload {
    fn none() -> Self {
        Self {
            bytes: None,
            sent: Sent::default(),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = self.bytes.take();
        if bytes.is_some() {
            self.sent.mark();
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Secret, TemplatePart};

    fn secret(text: &str) -> Template {
        Template::new(vec![TemplatePart::Secret {
            written: "${X}".into(),
            value: Secret::new(text.into()),
        }])
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_a_secret() {
        for url in ["ftp://x/", "x", "/mcp", "http://", "http://u:p@host/mcp"] {
            let error = read_url(&secret(url)).unwrap_err().to_string();
            assert!(
                error.contains("${X} (set)") && !error.contains("u:p"),
                "{error}"
            );
        }
        let refusal = |name: &str, value: &str| {
            read_headers(&[(name.into(), secret(value))])
                .unwrap_err()
                .to_string()
        };
        assert!(refusal("a b", "x").contains("`a b`"));
        assert!(refusal("Host", "x").contains("`Host`"));
        assert!(refusal("Mcp-Session-Id", "x").contains("`Mcp-Session-Id`"));
        let error = refusal("Authorization", "Bearer a\nb");
        assert!(
            error.contains("`Authorization`") && !error.contains("Bearer"),
            "{error}"
        );
    }

    #[test]
    fn configured_values_do_not_show() {
        let headers = read_headers(&[("Authorization".into(), secret("Bearer abc"))]).unwrap();
        assert!(!format!("{headers:?}").contains("abc"));
    }
}
