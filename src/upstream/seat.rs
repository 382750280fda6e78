//! Whose a connection to a legacy server is, and who may use it at the same time.

use std::hash::Hash;
use std::sync::Arc;

use super::UpstreamError;
use super::asking::Declared;
use super::pool::{Lease, Pool, Turns};

/// The place of one connection among those of a server.
///
/// A server that asks the client something does not always say for which call: not on the GET stream of a
/// session, not on the one stream of the old transport, not on the output of a process. With two calls in flight
/// the question of one would reach the agent, and the log, as that of the other. So a connection that was opened
/// with something to ask for is leased to one call at a time, and calls that come meanwhile get connections of
/// their own, up to a limit. The lowest free one is taken, so that an agent that calls one thing after the other
/// stays on one connection, with whatever the server remembers there. Requests that concern tasks share one more,
/// since a server may know a task only where it was made; what it asks there belongs to the call that waits for the
/// result. All others share the one connection of their lane: it was opened with nothing to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Seat<W> {
    pub(super) whose: W,
    leased: Option<([u8; 32], Place)>,
}

/// Which of the connections with one declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// One of those that are leased, counted from 0.
    Leased(usize),
    /// The one for tasks.
    Tasks,
}

/// A connection in use, and its place.
pub(super) struct Seated<W, V> {
    pub(super) seat: Seat<W>,
    pub(super) lease: Lease<V>,
}

impl<W> Seat<W> {
    /// The connection that the calls of a lane share.
    pub(super) fn shared(whose: W) -> Self {
        Self {
            whose,
            leased: None,
        }
    }

    /// Where the calls of a lane go: on the lowest connection for one call alone, or on the shared one.
    pub(super) fn rank(&self) -> impl Ord + use<W> {
        let (digest, number) = match self.leased {
            Some((digest, Place::Leased(number))) => (digest, number),
            Some((digest, Place::Tasks)) => (digest, usize::MAX),
            None => Default::default(),
        };
        (self.leased.is_none(), number, digest)
    }
}

impl<W, V> Pool<Seat<W>, V>
where
    W: Eq + Hash + Clone + Send + 'static,
    V: Send + Sync + 'static,
{
    /// The connection for one call; `opening` runs when there is none.
    pub(super) async fn seat<F>(
        self: &Arc<Self>,
        whose: &W,
        declared: Option<&Declared>,
        turns: Turns,
        opening: impl Fn() -> F,
    ) -> Result<Seated<W, V>, UpstreamError>
    where
        F: Future<Output = Result<V, UpstreamError>> + Send + 'static,
    {
        let (seat, lease) = match declared {
            None => {
                let seat = Seat::shared(whose.clone());
                let lease = self.get(&seat, opening).await?;
                (seat, lease)
            }
            Some(declared) if declared.for_tasks => {
                let seat = Seat {
                    whose: whose.clone(),
                    leased: Some((declared.digest(), Place::Tasks)),
                };
                let lease = self.get(&seat, opening).await?;
                (seat, lease)
            }
            Some(declared) => {
                let leased = declared.digest();
                let numbered = |number| Seat {
                    whose: whose.clone(),
                    leased: Some((leased, Place::Leased(number))),
                };
                self.lease(numbered, turns, opening).await?
            }
        };
        Ok(Seated { seat, lease })
    }
}
