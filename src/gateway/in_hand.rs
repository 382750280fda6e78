//! Requests of sessions that are in hand, by the ids their clients gave them: what a client can cancel.
//!
//! Ids are a client's own, so they mean something only within its session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::protocol::RequestId;

/// All requests of sessions in hand. Their number is that of all requests in hand, which is bounded.
#[derive(Debug, Default)]
pub(super) struct InHand {
    by_session: Mutex<HashMap<Arc<str>, OfSession>>,
}

/// What cancels the requests of one session, by id.
type OfSession = HashMap<String, CancellationToken>;

/// The place of one request, until it is dropped.
#[derive(Debug)]
pub struct Place {
    in_hand: Arc<InHand>,
    session: Arc<str>,
    key: String,
    cancelled: CancellationToken,
}

impl InHand {
    /// Takes a request in hand; `None` when the session has one of this id.
    pub(super) fn enter(self: &Arc<Self>, session: &Arc<str>, id: &RequestId) -> Option<Place> {
        let (key, cancelled) = (id.key(), CancellationToken::new());
        let mut by_session = self.lock();
        let of_session = by_session.entry(Arc::clone(session)).or_default();
        if of_session.contains_key(&key) {
            return None;
        }
        of_session.insert(key.clone(), cancelled.clone());
        Some(Place {
            in_hand: Arc::clone(self),
            session: Arc::clone(session),
            key,
            cancelled,
        })
    }

    /// Cancels the request of this session with this id, if it is in hand.
    pub(super) fn cancel(&self, session: &str, id: &RequestId) {
        let by_session = self.lock();
        let cancelled = by_session
            .get(session)
            .and_then(|of_session| of_session.get(&id.key()));
        if let Some(cancelled) = cancelled {
            cancelled.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, OfSession>> {
        self.by_session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Told when the request is cancelled.
    pub(super) fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_session = self.in_hand.lock();
        if let Some(of_session) = by_session.get_mut(&self.session) {
            of_session.remove(&self.key);
            if of_session.is_empty() {
                by_session.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::raw;

    fn id(text: &str) -> RequestId {
        RequestId::read(&raw(text.into())).unwrap()
    }

    #[test]
    fn a_request_is_cancelled_by_its_own_id_from_its_own_session_and_no_other() {
        let in_hand = Arc::new(InHand::default());
        let (one, two): (Arc<str>, Arc<str>) = ("s1".into(), "s2".into());
        let number = in_hand.enter(&one, &id("1")).unwrap();
        let text = in_hand.enter(&one, &id("\"1\"")).unwrap();
        let other = in_hand.enter(&two, &id("1")).unwrap();
        in_hand.cancel("s1", &id("2"));
        in_hand.cancel("s3", &id("1"));
        in_hand.cancel("s1", &id("\"\\u0031\""));
        let cancelled = [&number, &text, &other].map(|place| place.cancelled().is_cancelled());
        assert_eq!(cancelled, [false, true, false]);
        drop((number, text, other));
        assert!(in_hand.lock().is_empty());
    }

    #[test]
    fn an_id_is_taken_until_its_request_is_over() {
        let in_hand = Arc::new(InHand::default());
        let session: Arc<str> = "s".into();
        let first = in_hand.enter(&session, &id("\"a\"")).unwrap();
        assert!(in_hand.enter(&session, &id("\"\\u0061\"")).is_none());
        drop(first);
        assert!(in_hand.enter(&session, &id("\"a\"")).is_some());
    }
}
