//! What can be heard of child processes: of a legacy one by all ears of its owner, of a modern one by the ear that
//! asked it to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::protocol::{Method, Object};

use super::super::codec::Outcome;
use super::super::deadline::Deadline;
use super::super::ears::Ear;
use super::super::era::Spoken;
use super::super::keeper::{self, Sources, full};
use super::super::listen_modern::{self, Subscription};
use super::super::listener::{Hearing, Listener};
use super::super::{Era, Interests, Lane, UpstreamError, limits};
use super::{Owner, Process, Stdio, ask};

impl Stdio {
    pub(in crate::upstream) async fn listen(
        self: &Arc<Self>,
        lane: &Lane,
        ear: Arc<Ear>,
    ) -> Result<Interests, UpstreamError> {
        match self.spoken(lane).await? {
            Spoken::Only(Era::Legacy) => self.noted(self.listen_legacy(lane, ear).await),
            Spoken::Only(Era::Modern) => self.listen_modern(ear).await,
            Spoken::Both => match self.source(&self.owner(Era::Legacy, lane)).await {
                Ok(_) => self.listen_legacy(lane, ear).await,
                Err(_) => {
                    self.era.doubt_older();
                    self.listen_modern(ear).await
                }
            },
        }
    }

    async fn listen_legacy(
        self: &Arc<Self>,
        lane: &Lane,
        ear: Arc<Ear>,
    ) -> Result<Interests, UpstreamError> {
        let owner = self.owner(Era::Legacy, lane);
        let audience = self.audiences.of(&owner);
        keeper::listen(self, &owner, audience, ear).await
    }

    async fn listen_modern(self: &Arc<Self>, ear: Arc<Ear>) -> Result<Interests, UpstreamError> {
        let stdio = self.clone();
        let asking = move |subscription| stdio.clone().subscribe(subscription).boxed();
        listen_modern::listen(ear, Box::new(asking)).await
    }

    /// One request to listen, which is over when the process says so. The process is in use as long.
    async fn subscribe(
        self: Arc<Self>,
        subscription: Arc<Subscription>,
    ) -> Result<Outcome, UpstreamError> {
        let process = self.process(Era::Modern, None, None).await?;
        let id = process.link.next_id();
        subscription.name(id);
        let params = subscription.params();
        let (nobody, _) = mpsc::channel(1);
        let hearing = Hearing::Own(subscription.clone());
        let listener = Listener::new(id, None, None, &nobody).hearing(hearing);
        subscription.sent.mark();
        let mut never = Deadline::after(Duration::MAX);
        let method = Method::Listen.as_str();
        let listening = process.link.call(id, method, &params, listener, &mut never);
        listening.await
    }
}

impl Sources for Stdio {
    type Whose = Owner;
    type Source = Process;

    async fn source(&self, owner: &Owner) -> Result<Arc<Process>, UpstreamError> {
        self.bury(Era::Legacy, owner);
        let mut open = self.processes.open(|seat| seat.whose == *owner);
        open.sort_by_key(|(seat, _)| seat.rank());
        if let Some((_, process)) = open.into_iter().next() {
            return Ok(process);
        }
        if !self.processes.has_room() {
            return Err(full());
        }
        let process = self.process(Era::Legacy, owner.clone(), None).await?;
        Ok(process.shared().clone())
    }

    async fn ask(
        &self,
        process: &Arc<Process>,
        method: Method,
        params: Object,
    ) -> Result<Outcome, UpstreamError> {
        ask(&process.link, method, &params, limits::ACKNOWLEDGE).await
    }

    fn offered(process: &Process) -> Option<&Object> {
        let description = process.description.as_ref()?;
        Some(&description.capabilities)
    }

    fn is_over(process: &Process) -> bool {
        process.link.died_at().is_some()
    }
}
