//! What can be heard on the sessions of a server of 2025-11-25 or before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::protocol::{Method, Object, RequestId, request};

use super::super::codec::Outcome;
use super::super::ears::Ear;
use super::super::keeper::{self, Sources, full};
use super::super::listener::{Hearing, Listener};
use super::super::session::{Called, Session};
use super::super::wire::Sent;
use super::super::{Interests, Lane, UpstreamError, limits};
use super::Legacy;

impl Legacy {
    /// Lets an ear listen to all sessions of its lane, those that open later as well.
    pub(in crate::upstream) async fn listen(
        self: &Arc<Self>,
        lane: &Lane,
        ear: Arc<Ear>,
    ) -> Result<Interests, UpstreamError> {
        let audience = self.audiences.of(lane);
        keeper::listen(self, lane, audience, ear).await
    }
}

impl Sources for Legacy {
    type Whose = Lane;
    type Source = Session;

    async fn source(&self, lane: &Lane) -> Result<Arc<Session>, UpstreamError> {
        let mut open = self.sessions.open(|seat| seat.whose == *lane);
        open.sort_by_key(|(seat, _)| seat.rank());
        for (seat, session) in open {
            if !session.is_over() {
                return Ok(session);
            }
            self.sessions.discard(&seat, &session);
        }
        if !self.sessions.has_room() {
            return Err(full());
        }
        let opened = self.session(lane, None, Instant::now() + limits::HANDSHAKE);
        Ok(opened.await?.lease.shared().clone())
    }

    async fn ask(
        &self,
        session: &Arc<Session>,
        method: Method,
        params: Object,
    ) -> Result<Outcome, UpstreamError> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (nobody, _) = mpsc::channel(1);
        let mut listener =
            Listener::new(id, None, None, &nobody).hearing(Hearing::Lane(session.audience.clone()));
        let body = request(&RequestId::number(id), method.as_str(), Some(&params));
        let sent = Sent::default();
        match session.call(id, body.into(), &mut listener, &sent).await? {
            Called::Answered { outcome, .. } => Ok(outcome),
            Called::SessionGone(_) => {
                session.lose();
                Err(UpstreamError::Rejected(404))
            }
        }
    }

    /// Without a session a server says news to nobody.
    fn offered(session: &Session) -> Option<&Object> {
        let capabilities = &session.description.capabilities;
        Some(capabilities).filter(|_| session.can_be_answered())
    }

    fn is_over(session: &Session) -> bool {
        session.is_over()
    }
}
