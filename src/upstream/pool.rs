//! Connections that remember something, one for each key: opened once however many ask, ended when idle.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Clock;

use super::UpstreamError;
use super::opening::{Opening, locked, open};

mod idle;

/// The connections of one server.
pub(super) struct Pool<K, V> {
    state: Mutex<State<K, V>>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    /// Told whenever a user is through.
    freed: Arc<Notify>,
    /// Ends what is taken out, without waiting.
    end: fn(Arc<V>),
    /// Whether a connection is of use though nobody calls on it.
    keeps: fn(&V) -> bool,
}

/// How many connections may be leased at once, and how long to wait for one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    pub(super) most: usize,
    pub(super) patience: Duration,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    is_closed: bool,
    has_janitor: bool,
}

struct Entry<V> {
    opening: Opening<V>,
    usage: Arc<Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    users: AtomicUsize,
    last_us: AtomicU64,
}

/// A connection in use; it is not ended before this is dropped.
pub(super) struct Lease<V> {
    value: Arc<V>,
    _using: Using,
}

struct Using {
    usage: Arc<Usage>,
    clock: Arc<dyn Clock>,
    freed: Arc<Notify>,
}

impl<K, V> Pool<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(
        capacity: usize,
        clock: Arc<dyn Clock>,
        end: fn(Arc<V>),
        keeps: fn(&V) -> bool,
    ) -> Arc<Self> {
        let state = State {
            entries: HashMap::new(),
            is_closed: false,
            has_janitor: false,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            capacity,
            clock,
            freed: Arc::default(),
            end,
            keeps,
        })
    }

    /// The connection of a key; `opening` runs only when there is none.
    pub(super) async fn get<F>(
        self: &Arc<Self>,
        key: &K,
        opening: impl FnOnce() -> F,
    ) -> Result<Lease<V>, UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        let (opening, using) = self.claim(&mut locked(&self.state), key, opening)?;
        self.opened(key, opening, using).await
    }

    async fn opened(
        &self,
        key: &K,
        opening: Opening<V>,
        using: Using,
    ) -> Result<Lease<V>, UpstreamError> {
        match opening.clone().await {
            Ok(value) => Ok(Lease {
                value,
                _using: using,
            }),
            Err(error) => {
                self.remove_if(key, |entry| entry.opening.ptr_eq(&opening));
                Err(error)
            }
        }
    }

    /// A new connection in the place of one that turned out to be dead, for the one who used that. Nobody comes in
    /// between; whoever shared it and was faster opened it for both.
    pub(super) async fn reopen<F>(
        self: &Arc<Self>,
        key: &K,
        dead: &Arc<V>,
        opening: impl FnOnce() -> F,
    ) -> Result<Lease<V>, UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        let (opening, using) = {
            let mut state = locked(&self.state);
            if state
                .entries
                .get(key)
                .is_some_and(|entry| entry.holds(dead))
            {
                state.entries.remove(key);
            }
            self.claim(&mut state, key, opening)?
        };
        self.opened(key, opening, using).await
    }

    /// A connection for one user alone: the lowest number that is free, or else a new one.
    pub(super) async fn lease<F>(
        self: &Arc<Self>,
        numbered: impl Fn(usize) -> K,
        turns: Turns,
        opening: impl Fn() -> F,
    ) -> Result<(K, Lease<V>), UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        let claiming = async {
            loop {
                // Listens before it looks, so that nothing that becomes free in between is missed.
                let freed = self.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if let Some(claimed) = self.claim_free(&numbered, turns.most, &opening)? {
                    return Ok(claimed);
                }
                freed.await;
            }
        };
        let claimed = tokio::time::timeout(turns.patience, claiming).await;
        let (key, opening, using) = claimed.unwrap_or_else(|_| Err(in_use(turns.most)))?;
        let lease = self.opened(&key, opening, using).await?;
        Ok((key, lease))
    }

    fn claim_free<F>(
        self: &Arc<Self>,
        numbered: &impl Fn(usize) -> K,
        most: usize,
        opening: impl FnOnce() -> F,
    ) -> Result<Option<(K, Opening<V>, Using)>, UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        let mut state = locked(&self.state);
        let (mut free, mut vacant) = (None, None);
        for key in (0..most).map(numbered) {
            match state.entries.get(&key) {
                Some(entry) if entry.is_idle() => {
                    free = Some(key);
                    break;
                }
                Some(_) => {}
                None => vacant = vacant.or(Some(key)),
            }
        }
        let Some(key) = free.or(vacant) else {
            return Ok(None);
        };
        let (opening, using) = self.claim(&mut state, &key, opening)?;
        Ok(Some((key, opening, using)))
    }

    fn claim<F>(
        self: &Arc<Self>,
        state: &mut State<K, V>,
        key: &K,
        opening: impl FnOnce() -> F,
    ) -> Result<(Opening<V>, Using), UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        if state.is_closed {
            return Err(UpstreamError::Unreachable("the gateway is stopping".into()));
        }
        // Whoever waited for an opening that failed may have left before it did.
        if state.entries.get(key).is_none_or(Entry::has_failed) {
            state.entries.remove(key);
            self.make_room(state)?;
            let entry = Entry {
                opening: open(opening()),
                usage: Arc::default(),
            };
            state.entries.insert(key.clone(), entry);
            self.start_janitor(state);
        }
        let entry = state.entries.get(key);
        let entry = entry.ok_or_else(|| UpstreamError::Unreachable("no connection".into()))?;
        let using = Using::start(entry, &self.clock, &self.freed);
        Ok((entry.opening.clone(), using))
    }

    /// Forgets a connection that turned out to be dead; `false` when it was already replaced.
    pub(super) fn discard(&self, key: &K, value: &Arc<V>) -> bool {
        self.remove_if(key, |entry| entry.holds(value)).is_some()
    }

    /// Takes connections out and ends them.
    pub(super) fn end_where(&self, is_meant: impl Fn(&K) -> bool) {
        let mut state = locked(&self.state);
        let keys: Vec<K> = state
            .entries
            .keys()
            .filter(|key| is_meant(key))
            .cloned()
            .collect();
        for key in keys {
            self.end_entry(state.entries.remove(&key));
        }
    }

    /// The connections that are open, of those with these keys.
    pub(super) fn open(&self, is_meant: impl Fn(&K) -> bool) -> Vec<(K, Arc<V>)> {
        let state = locked(&self.state);
        let meant = state.entries.iter().filter(|(key, _)| is_meant(key));
        let open = meant.filter_map(|(key, entry)| {
            let value = entry.opening.peek()?.as_ref().ok()?;
            Some((key.clone(), value.clone()))
        });
        open.collect()
    }

    /// Takes everything out; nothing is opened after that.
    pub(super) fn close(&self) -> Vec<Arc<V>> {
        let mut state = locked(&self.state);
        state.is_closed = true;
        state
            .entries
            .drain()
            .filter_map(|(_, entry)| entry.opening.peek()?.as_ref().ok().cloned())
            .collect()
    }

    fn remove_if(&self, key: &K, holds: impl FnOnce(&Entry<V>) -> bool) -> Option<Entry<V>> {
        let mut state = locked(&self.state);
        if holds(state.entries.get(key)?) {
            return state.entries.remove(key);
        }
        None
    }

    fn end_entry(&self, entry: Option<Entry<V>>) {
        if let Some(Some(Ok(value))) = entry.map(|entry| entry.opening.peek().cloned()) {
            (self.end)(value);
        }
    }
}

impl<V> Entry<V> {
    fn holds(&self, value: &Arc<V>) -> bool {
        matches!(self.opening.peek(), Some(Ok(current)) if Arc::ptr_eq(current, value))
    }

    fn has_failed(&self) -> bool {
        matches!(self.opening.peek(), Some(Err(_)))
    }

    /// Users are counted under the lock of the pool, so nobody can come in between.
    fn is_idle(&self) -> bool {
        self.usage.users.load(Ordering::Acquire) == 0
    }
}

impl Using {
    fn start<V>(entry: &Entry<V>, clock: &Arc<dyn Clock>, freed: &Arc<Notify>) -> Self {
        entry.usage.users.fetch_add(1, Ordering::AcqRel);
        let now = micros(clock.monotonic());
        entry.usage.last_us.store(now, Ordering::Release);
        Self {
            usage: entry.usage.clone(),
            clock: clock.clone(),
            freed: freed.clone(),
        }
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        let now = micros(self.clock.monotonic());
        self.usage.last_us.store(now, Ordering::Release);
        self.usage.users.fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_waiters();
    }
}

impl<V> Lease<V> {
    pub(super) fn shared(&self) -> &Arc<V> {
        &self.value
    }
}

impl<V> Deref for Lease<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

/// A server that left the configuration: its connections end when the last call is through.
impl<K, V> Drop for Pool<K, V> {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        for (_, entry) in state.entries.drain() {
            if let Some(Ok(value)) = entry.opening.peek() {
                (self.end)(value.clone());
            }
        }
    }
}

impl<K, V> fmt::Debug for Pool<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = locked(&self.state).entries.len();
        f.debug_struct("Pool").field("open", &open).finish()
    }
}

fn in_use(most: usize) -> UpstreamError {
    UpstreamError::Unreachable(format!("all {most} connections to it are in use"))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::limits;
    use super::*;
    use crate::clock::ManualClock;
    use crate::types::Timestamp;

    /// Counts how often it was ended, from a number that may say that it is kept.
    type Thing = AtomicUsize;
    const KEPT: usize = 100;

    fn pool(capacity: usize) -> (Arc<Pool<u8, Thing>>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
        let end = |thing: Arc<Thing>| {
            thing.fetch_add(1, Ordering::SeqCst);
        };
        let keeps = |thing: &Thing| thing.load(Ordering::SeqCst) == KEPT;
        (Pool::new(capacity, clock.clone(), end, keeps), clock)
    }

    async fn thing() -> Result<Thing, UpstreamError> {
        Ok(Thing::default())
    }

    fn ended(thing: &Arc<Thing>) -> usize {
        thing.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_opening_and_its_failure() {
        let (pool, _) = pool(4);
        let opened = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (pool, opened) = (pool.clone(), opened.clone());
            async move {
                let opening = || async move {
                    opened.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Err::<Thing, _>(UpstreamError::Refused("no".into()))
                };
                pool.get(&1, opening).await.is_err()
            }
        };
        assert_eq!(tokio::join!(ask(), ask(), ask()), (true, true, true));
        assert_eq!(opened.load(Ordering::SeqCst), 1);
        assert!(pool.get(&1, thing).await.is_ok());
    }

    #[tokio::test]
    async fn a_full_pool_ends_the_one_idle_longest_and_never_one_in_use() {
        let (pool, clock) = pool(2);
        let first = pool.get(&1, thing).await.unwrap();
        let second = pool.get(&2, thing).await.unwrap();
        assert!(matches!(
            pool.get(&3, thing).await,
            Err(UpstreamError::Unreachable(_))
        ));
        let kept = first.shared().clone();
        let gone = second.shared().clone();
        drop(second);
        clock.advance(Duration::from_secs(1));
        drop(first);
        let third = pool.get(&3, thing).await.unwrap();
        assert_eq!((ended(&kept), ended(&gone)), (0, 1));
        drop(third);
    }

    #[tokio::test]
    async fn a_connection_that_is_only_listened_to_makes_room_for_a_call_when_no_other_can() {
        let (pool, clock) = pool(2);
        let kept = pool.get(&1, thing).await.unwrap().shared().clone();
        kept.store(KEPT, Ordering::SeqCst);
        clock.advance(Duration::from_secs(1));
        let spare = pool.get(&2, thing).await.unwrap().shared().clone();
        assert!(pool.has_room());
        let third = pool.get(&3, thing).await.unwrap();
        assert_eq!((ended(&kept), ended(&spare)), (KEPT, 1));
        assert!(!pool.has_room(), "for one that is only to listen");
        let _fourth = pool.get(&4, thing).await.unwrap();
        assert_eq!(ended(&kept), KEPT + 1);
        assert!(pool.get(&5, thing).await.is_err(), "all are in use");
        drop(third);
    }

    async fn lease(
        pool: &Arc<Pool<u8, Thing>>,
        most: usize,
    ) -> Result<(u8, Lease<Thing>), UpstreamError> {
        let numbered = |number| u8::try_from(number).unwrap();
        let patience = Duration::from_secs(5);
        pool.lease(numbered, Turns { most, patience }, thing).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_for_one_alone_and_the_lowest_free_number_is_next() {
        let (pool, _) = pool(9);
        let first = lease(&pool, 2).await.unwrap();
        let second = lease(&pool, 2).await.unwrap();
        assert_eq!((first.0, second.0), (0, 1));
        assert!(matches!(
            lease(&pool, 2).await,
            Err(UpstreamError::Unreachable(_))
        ));
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { lease(&pool, 2).await.unwrap().0 }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), 0);
        drop(second);
        assert_eq!(lease(&pool, 2).await.unwrap().0, 0);
    }

    #[tokio::test]
    async fn idle_connections_are_ended_and_used_ones_are_not() {
        let (pool, clock) = pool(4);
        let idle = pool.get(&1, thing).await.unwrap().shared().clone();
        let used = pool.get(&2, thing).await.unwrap();
        clock.advance(limits::IDLE);
        assert!(!pool.end_idle());
        assert_eq!((ended(&idle), ended(used.shared())), (1, 0));
        drop(used);
        clock.advance(limits::IDLE);
        assert!(pool.end_idle());
    }

    #[tokio::test]
    async fn a_dropped_pool_ends_what_it_held() {
        let (pool, _) = pool(4);
        let held = pool.get(&1, thing).await.unwrap().shared().clone();
        drop(pool);
        assert_eq!(ended(&held), 1);
    }

    #[tokio::test]
    async fn only_the_dead_connection_is_discarded_and_nothing_opens_after_the_close() {
        let (pool, _) = pool(4);
        let old = pool.get(&1, thing).await.unwrap().shared().clone();
        assert!(pool.discard(&1, &old));
        let new = pool.get(&1, thing).await.unwrap().shared().clone();
        assert!(!pool.discard(&1, &old));
        assert_eq!(pool.close().len(), 1);
        assert!(pool.get(&1, thing).await.is_err());
        assert_eq!(ended(&new), 0);
    }
}
