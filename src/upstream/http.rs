//! A server reached over HTTP, whichever era and transport it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::protocol::{Json, code};
use crate::types::{EraChoice, ServerName};

use super::codec::error_code;
use super::era::{EraCell, Verdict};
use super::legacy::{Legacy, not_in_time};
use super::modern;
use super::session::Choice;
use super::wire::{Sent, Wire};
use super::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError, limits};

/// One server over HTTP.
#[derive(Debug)]
pub(super) struct Http {
    wire: Arc<Wire>,
    era: EraCell,
    /// Ids are never used twice towards one server, whichever session or connection carries them.
    ids: Arc<AtomicU64>,
    legacy: Legacy,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(
        server: &ServerName,
        wire: Wire,
        choice: EraChoice,
        timeout: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let transport = match choice {
            EraChoice::Sse => Choice::Sse,
            EraChoice::Auto | EraChoice::Modern | EraChoice::Legacy => {
                Choice::Either(AtomicBool::new(false))
            }
        };
        let (wire, ids) = (Arc::new(wire), Arc::new(AtomicU64::new(1)));
        Self {
            legacy: Legacy::new(wire.clone(), ids.clone(), timeout, transport, clock),
            wire,
            era: EraCell::new(server, choice, clock.clone()),
            ids,
            timeout,
        }
    }

    pub(super) async fn describe(&self, lane: &Lane) -> Result<Arc<Description>, UpstreamError> {
        let until = Instant::now() + limits::HANDSHAKE;
        match self.era(until).await? {
            Era::Legacy => self.noted(self.legacy.describe(lane, until).await),
            Era::Modern => {
                let verdict = self.era.verdict(|| self.discovery()).await?;
                let unknown =
                    || UpstreamError::Refused("it does not answer `server/discover`".into());
                verdict.description.clone().ok_or_else(unknown)
            }
        }
    }

    pub(super) async fn send(
        &self,
        lane: &Lane,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let until = Instant::now() + limits::HANDSHAKE;
        match self.era(until).await? {
            Era::Legacy => self.noted(self.legacy.send(lane, outgoing, notices, until).await),
            Era::Modern => self.send_modern(outgoing, notices).await,
        }
    }

    /// What is spoken to the server.
    pub(super) async fn spoken(&self) -> Result<Era, UpstreamError> {
        self.era(Instant::now() + limits::HANDSHAKE).await
    }

    /// Finds out how to speak to the server. Probe and session are bounded each; `until` bounds the two together.
    async fn era(&self, until: Instant) -> Result<Era, UpstreamError> {
        let probing = self.era.era(|| self.discovery());
        timeout_at(until, probing)
            .await
            .unwrap_or_else(|_| Err(not_in_time()))
    }

    /// `initialize` was refused, so the verdict that led there has no ground.
    fn noted<T>(&self, answer: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        if let Err(UpstreamError::Refused(_)) = &answer {
            self.era.forget();
        }
        answer
    }

    async fn send_modern(
        &self,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let sent = Sent::default();
        let calling = modern::call(&self.wire, self.next_id(), outgoing, notices, &sent);
        let reply = match tokio::time::timeout(self.timeout, calling).await {
            Ok(reply) => reply,
            Err(_) => return Err(sent.timed_out()),
        };
        if sounds_legacy(&reply) {
            self.era.doubt();
        }
        reply
    }

    fn discovery(&self) -> impl Future<Output = Result<Verdict, UpstreamError>> + Send + use<> {
        modern::discover(self.wire.clone(), self.next_id())
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn end_session(&self, lane: &Lane) {
        self.legacy.end_session(lane);
    }

    pub(super) async fn close(&self) {
        self.legacy.close().await;
    }
}

/// What a server that went back to an earlier revision would answer to a modern call.
fn sounds_legacy(reply: &Result<Reply, UpstreamError>) -> bool {
    match reply {
        Err(UpstreamError::Rejected(status)) => matches!(status, 400 | 404 | 405 | 406),
        Ok(Reply {
            status,
            outcome: Err(error),
            ..
        }) if *status >= 400 => speaks_of_version(error),
        Ok(_) | Err(_) => false,
    }
}

fn speaks_of_version(error: &Json) -> bool {
    let known = [
        code::UNSUPPORTED_VERSION,
        code::INVALID_REQUEST,
        code::METHOD_NOT_FOUND,
    ];
    // The SDKs answer a request without a session with -32000.
    error_code(error).is_some_and(|code| known.contains(&code) || code == -32000)
}
