//! A server reached over HTTP, whichever era and transport it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::protocol::{Json, code};
use crate::types::{EraChoice, ServerName};

use super::codec::error_code;
use super::ears::Ear;
use super::era::{EraCell, Spoken, Verdict};
use super::keeper::Sources;
use super::legacy::{Legacy, not_in_time};
use super::listen_modern;
use super::modern;
use super::session::Choice;
use super::wire::{Sent, Wire};
use super::{Description, Era, Interests, Lane, Notice, Outgoing, Reply, UpstreamError, limits};

/// One server over HTTP.
#[derive(Debug)]
pub(super) struct Http {
    wire: Arc<Wire>,
    era: EraCell,
    /// Ids are never used twice towards one server, whichever session or connection carries them.
    ids: Arc<AtomicU64>,
    legacy: Arc<Legacy>,
    /// The same sessions, where it is modern and opens with `initialize` too.
    older: Arc<Legacy>,
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
        let legacy = Legacy::new(wire.clone(), ids.clone(), timeout, transport, clock);
        Self {
            older: Arc::new(legacy.beside_modern()),
            legacy: Arc::new(legacy),
            wire,
            era: EraCell::new(server, choice, clock),
            ids,
            timeout,
        }
    }

    pub(super) async fn describe(&self, lane: &Lane) -> Result<Arc<Description>, UpstreamError> {
        let (spoken, until) = self.spoken(lane).await?;
        match spoken {
            Spoken::Only(Era::Legacy) => self.noted(self.legacy.describe(lane, until).await),
            Spoken::Only(Era::Modern) => self.describe_modern().await,
            Spoken::Both => match self.older.describe(lane, until).await {
                Ok(description) => Ok(description),
                Err(_) => {
                    self.era.doubt_older();
                    self.describe_modern().await
                }
            },
        }
    }

    pub(super) async fn send(
        &self,
        lane: &Lane,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let (spoken, until) = self.spoken(lane).await?;
        let (legacy, opened) = match spoken {
            Spoken::Only(Era::Modern) => return self.send_modern(outgoing, notices).await,
            Spoken::Only(Era::Legacy) => {
                let opened = self.legacy.open(lane, &outgoing, until).await;
                (&self.legacy, self.noted(opened)?)
            }
            Spoken::Both => match self.older.open(lane, &outgoing, until).await {
                Ok(opened) => {
                    if !opened.lease.can_be_answered() {
                        self.era.doubt_older();
                    }
                    (&self.older, opened)
                }
                Err(_) => {
                    self.era.doubt_older();
                    return self.send_modern(outgoing, notices).await;
                }
            },
        };
        Box::pin(legacy.send(opened, outgoing, notices)).await
    }

    /// What is spoken to the server for a lane.
    pub(super) async fn era(&self, lane: &Lane) -> Result<Era, UpstreamError> {
        Ok(self.spoken(lane).await?.0.first())
    }

    pub(super) async fn listen(
        &self,
        lane: &Lane,
        ear: Arc<Ear>,
    ) -> Result<Interests, UpstreamError> {
        let (spoken, _) = self.spoken(lane).await?;
        match spoken {
            Spoken::Only(Era::Legacy) => self.noted(self.legacy.listen(lane, ear).await),
            Spoken::Only(Era::Modern) => self.listen_modern(ear).await,
            Spoken::Both => match self.older.source(lane).await {
                Ok(_) => self.older.listen(lane, ear).await,
                Err(_) => {
                    self.era.doubt_older();
                    self.listen_modern(ear).await
                }
            },
        }
    }

    async fn listen_modern(&self, ear: Arc<Ear>) -> Result<Interests, UpstreamError> {
        let (wire, ids) = (self.wire.clone(), self.ids.clone());
        let asking = move |subscription| {
            let id = ids.fetch_add(1, Ordering::Relaxed);
            modern::listen(wire.clone(), id, subscription).boxed()
        };
        listen_modern::listen(ear, Box::new(asking)).await
    }

    /// Finds out what to speak, and until when a session must be open. The first probe and a session are bounded
    /// each, and together by that.
    async fn spoken(&self, lane: &Lane) -> Result<(Spoken, Instant), UpstreamError> {
        let until = Instant::now() + limits::HANDSHAKE;
        let probing = self.era.era(|| self.discovery());
        let era = timeout_at(until, probing)
            .await
            .unwrap_or_else(|_| Err(not_in_time()))?;
        match self.era.spoken(era, lane, || self.older.probe()).await {
            // What is known to answer gets its time for a session of its own.
            Spoken::Both => Ok((Spoken::Both, Instant::now() + limits::HANDSHAKE)),
            only @ Spoken::Only(_) => Ok((only, until)),
        }
    }

    /// `initialize` was refused, so the verdict that led there has no ground.
    fn noted<T>(&self, answer: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        if let Err(UpstreamError::Refused(_)) = &answer {
            self.era.forget();
        }
        answer
    }

    async fn describe_modern(&self) -> Result<Arc<Description>, UpstreamError> {
        let verdict = self.era.verdict(|| self.discovery()).await?;
        let unknown = || UpstreamError::Refused("it does not answer `server/discover`".into());
        verdict.description.clone().ok_or_else(unknown)
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

    /// A modern server keeps nothing of an agent that could have changed.
    pub(super) async fn roots_changed(&self, lane: &Lane) {
        self.legacy.roots_changed(lane).await;
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
