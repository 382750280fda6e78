//! Opens connections to HTTP servers.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::limits;

/// Connects, in bounded time from name lookup to the end of the TLS handshake.
#[derive(Debug, Clone)]
pub(super) struct Dial(HttpsConnector<HttpConnector>);

impl Dial {
    /// Trusts the roots of the system, or those we bring when it has none. Without a server to reach over TLS the
    /// roots of the system are not read.
    pub(super) fn new(needs_tls: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(limits::TCP_KEEP_ALIVE));
        let native = || HttpsConnectorBuilder::new().with_native_roots().ok();
        let builder = needs_tls.then(native).flatten();
        let builder = builder.unwrap_or_else(|| HttpsConnectorBuilder::new().with_webpki_roots());
        Self(builder.https_or_http().enable_http1().wrap_connector(tcp))
    }
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(limits::CONNECT, connecting).await {
                Ok(connected) => connected,
                Err(_) => {
                    Err(format!("no connection within {} s", limits::CONNECT.as_secs()).into())
                }
            }
        })
    }
}
