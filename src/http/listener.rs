//! Takes connections and serves them with hyper's own builder: only there are the timers really installed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::types::Peer;

use super::patience::Patient;

/// What one listener takes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// The longest the head of a request may take, also the longest a connection may be silent between two.
    pub header_time: Duration,
    /// Bytes of all headers together.
    pub header_bytes: usize,
    /// Headers of one request.
    pub headers: usize,
    /// The longest a client may take nothing of what is sent to it.
    pub write_time: Duration,
    /// How long open requests may go on after the end was announced.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            header_time: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            headers: 100,
            write_time: Duration::from_secs(60),
            drain: Duration::from_secs(20),
        }
    }
}

/// Pause after an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections until `stop`, then lets open requests finish. No connection is left when this returns.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let builder = builder(&limits);
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let stream = Patient::new(with_nodelay(stream), limits.write_time);
        let connection = graceful.watch(connection(
            &builder,
            stream,
            Peer(address.ip()),
            routes.clone(),
        ));
        let cut = cut.clone();
        connections.spawn(async move {
            // Clients that break off or send no HTTP are everyday.
            if let Some(Err(error)) = cut.run_until_cancelled(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some connections were still open at the end and are cut");
    }
    // Whoever reads nothing or never finishes a head must not keep the gateway from ending in order.
    cut.cancel();
    connections.close();
    connections.wait().await;
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.headers);
    builder
}

/// Answers are small and whole; waiting to fill a packet only adds delay.
fn with_nodelay(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has no TCP_NODELAY");
    }
    stream
}

fn connection(
    builder: &http1::Builder,
    stream: Patient<TcpStream>,
    peer: Peer,
    routes: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + use<> {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let routes = routes.clone();
        async move {
            routes
                .oneshot(request.map(Body::new))
                .await
                .map_err(|never: Infallible| never)
        }
    });
    builder.serve_connection(TokioIo::new(stream), service)
}
