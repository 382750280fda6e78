//! Proves the log from its content: the chain, the columns beside it, the pairing of calls, the ledger.
//!
//! Reads only, and trusts no stored hash: everything is computed again. One thread reads ([`source`]), another
//! computes ([`check`]), and each thing that is checked has a file of its own.

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::db::{DbError, LogId, Readers, read_identity};
use crate::types::Timestamp;

use super::chain::Head;
use super::{Checkpoint, PublicKey, load_pruned};

mod bodies;
mod calls;
mod check;
mod columns;
mod derived;
mod export;
mod fault;
mod ledger;
mod marks;
mod meta;
mod proof;
mod quick;
mod refunds;
mod seam;
mod source;
mod texts;

pub use export::{UnreadableExport, VerifiedExport, verify_exports};
pub use fault::Fault;
pub use ledger::{Difference, Sums};
pub use proof::Proof;
pub use quick::verify_quickly;
pub use seam::{Carried, Seam, SeamMaker, Total, sha256_of};

use check::Check;

/// Pieces that were read and not checked yet.
const PIECES: usize = 2;

/// A log that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub log: LogId,
    /// The last event that was pruned, where it begins; 0 when none was.
    pub pruned: i64,
    /// Its head.
    pub head: Head,
    /// Calls that are in flight, or were when the gateway stopped.
    pub open_calls: usize,
    /// The last event that a checkpoint covers, signed as asked for; 0 when there is none.
    pub checkpoint: i64,
    /// What is wrong, the first hundred things of it; empty for a sound log.
    pub faults: Vec<Fault>,
}

/// What is known about a log from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A head that must be in it.
    pub head: Option<[u8; 32]>,
    /// Its id.
    pub log: Option<LogId>,
    /// The key its checkpoints are signed with.
    pub key: Option<PublicKey>,
    /// Checkpoints that were exported.
    pub checkpoints: Vec<Checkpoint>,
    /// The time: a log that is not closed must have a checkpoint of the last hour.
    pub now: Option<Timestamp>,
}

/// Reads a log from its first event to its last; `expected` is a head kept elsewhere that must be in it.
///
/// # Errors
/// When the file cannot be read. A log that is wrong is not an error: see [`Verified::faults`].
pub async fn verify(
    readers: &Readers,
    expected: Option<[u8; 32]>,
    progress: impl FnMut(i64),
) -> Result<Verified, DbError> {
    let known = Known {
        head: expected,
        ..Known::default()
    };
    verify_against(readers, known, progress).await
}

/// The same against all that is known from elsewhere.
///
/// # Errors
/// When the file cannot be read.
pub async fn verify_against(
    readers: &Readers,
    known: Known,
    mut progress: impl FnMut(i64),
) -> Result<Verified, DbError> {
    loop {
        let cut = cut(readers).await?;
        let verified = verify_once(readers, known.clone(), &mut progress).await?;
        // What was pruned while it was read is missing and not missed.
        if verified.faults.is_empty() || self::cut(readers).await? == cut {
            return Ok(verified);
        }
    }
}

/// The last event that was pruned.
async fn cut(readers: &Readers) -> Result<i64, DbError> {
    let mut connection = readers.pool().acquire().await?;
    let pruned = load_pruned(&mut connection).await?;
    Ok(pruned.map_or(0, |pruned| pruned.last.seq))
}

async fn verify_once(
    readers: &Readers,
    known: Known,
    progress: impl FnMut(i64),
) -> Result<Verified, DbError> {
    let mut connection = readers.pool().acquire().await?;
    let log = read_identity(&mut connection).await?;
    let mut check = Check::new(log, known);
    let (pieces, mut waiting) = mpsc::channel(PIECES);
    let checking = spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            if !check.piece(piece) {
                break;
            }
        }
        check.finish()
    });
    let read = source::read(&mut connection, &pieces, progress).await;
    drop(pieces);
    let verified = checking.await.map_err(|_| sqlx::Error::WorkerCrashed)?;
    read?;
    Ok(verified)
}
