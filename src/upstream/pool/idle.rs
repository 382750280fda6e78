//! Connections of a pool that nobody has use for: ended after a while, or when room is needed.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::opening::locked;
use super::super::{UpstreamError, limits};
use super::{Entry, Pool, State, in_use, micros};

impl<K, V> Pool<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    /// Ends the idle connection that was used least recently when the pool is full. One that is only listened to goes
    /// when there is no other: whoever calls comes first, or those who listen would keep all others out.
    pub(super) fn make_room(&self, state: &mut State<K, V>) -> Result<(), UpstreamError> {
        if state.entries.len() < self.capacity {
            return Ok(());
        }
        let idle = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_idle())
            .min_by_key(|(_, entry)| {
                let last_us = entry.usage.last_us.load(Ordering::Acquire);
                (!self.is_spare(entry), last_us)
            })
            .map(|(key, _)| key.clone());
        let Some(key) = idle else {
            return Err(in_use(self.capacity));
        };
        self.end_entry(state.entries.remove(&key));
        Ok(())
    }

    /// Whether there is room for a connection that is only to listen: nobody else's may end for it.
    pub(in crate::upstream) fn has_room(&self) -> bool {
        let state = locked(&self.state);
        let mut entries = state.entries.values();
        state.entries.len() < self.capacity || entries.any(|entry| self.is_spare(entry))
    }

    pub(super) fn start_janitor(self: &Arc<Self>, state: &mut State<K, V>) {
        if std::mem::replace(&mut state.has_janitor, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(limits::IDLE_CHECK).await;
                let Some(pool) = pool.upgrade() else { return };
                if pool.end_idle() {
                    return;
                }
            }
        });
    }

    /// Ends what nobody used for long; `true` when nothing is left.
    pub(in crate::upstream) fn end_idle(&self) -> bool {
        let mut state = locked(&self.state);
        let now = micros(self.clock.monotonic());
        let is_old = |entry: &Entry<V>| {
            let idle = now.saturating_sub(entry.usage.last_us.load(Ordering::Acquire));
            self.is_spare(entry) && idle >= micros(limits::IDLE)
        };
        let keys: Vec<K> = state
            .entries
            .iter()
            .filter(|(_, entry)| is_old(entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.end_entry(state.entries.remove(&key));
        }
        state.has_janitor = !state.entries.is_empty();
        !state.has_janitor
    }

    /// Whether nobody calls on a connection, nor has other use for it.
    fn is_spare(&self, entry: &Entry<V>) -> bool {
        let is_kept = match entry.opening.peek() {
            Some(Ok(value)) => (self.keeps)(value),
            Some(Err(_)) | None => false,
        };
        entry.is_idle() && !is_kept
    }
}
