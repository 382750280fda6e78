//! Orders of an operator when no gateway runs: the file is opened for one of them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::audit::{self, Redactor, SigningKey};
use crate::clock::Clock;
use crate::db::{DbError, Durability, Writer as Database};

use super::checkpoints::Checkpoints;
use super::operator::{Instruction, Order, Outcome, Refused, obey};
use super::recorder::{QUEUE, Recorder};
use super::writer::Writer;
use super::{random, started};

/// The file of a gateway that does not run.
#[derive(Debug)]
pub struct Alone {
    /// The file of ledger and log.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The key that signs checkpoints.
    pub signing_key: Option<SigningKey>,
    /// The file that checkpoints are exported to.
    pub checkpoints: Option<PathBuf>,
}

/// Why the file of a gateway that does not run cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// It cannot be read or written.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Without the key its log would end unsigned.
    #[error(
        "the checkpoints of this log are signed; name the key with --signing-key, or start the gateway and ask it"
    )]
    NoKey,
    /// The writer failed.
    #[error("the writer failed: {0}")]
    Writer(#[from] tokio::task::JoinError),
}

impl Alone {
    /// Does what a gateway would that is started, carries out one order, and ends: so the log says from when to
    /// when somebody had the file, and has its checkpoints. No policy comes into force.
    ///
    /// # Errors
    /// When the file cannot be used. What comes of the order itself is in the result.
    pub async fn obey(
        mut self,
        instruction: Instruction,
    ) -> Result<Result<Outcome, Refused>, AloneError> {
        let file = self.database.path().to_path_buf();
        let is_signed = audit::is_signed(self.database.connection()).await?;
        if is_signed && self.signing_key.is_none() {
            return Err(AloneError::NoKey);
        }
        let opened = started(Durability::Power).text("for", instruction.order.word());
        let checkpoints = Checkpoints::new(self.signing_key, self.checkpoints);
        let (database, clock, first) = (self.database, self.clock, vec![opened]);
        let writer = match instruction.order {
            Order::Refund { .. }
            | Order::Unfreeze { .. }
            | Order::RedactCall { .. }
            | Order::RedactBefore { .. }
            | Order::Prune(_)
            | Order::PruneBodies { .. }
            | Order::AcceptTime { .. } => {
                Writer::start(database, clock, random(), first, checkpoints).await?
            }
            // Closing calls may wait until it is sure which are open.
            Order::Repair { .. } => {
                Writer::start_unswept(database, clock, random(), first, checkpoints).await?
            }
        };
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (closings, closing_queue) = mpsc::unbounded_channel();
        // Nothing of an agent or a server goes through here.
        let redactor = Arc::new(Redactor::new(Vec::new()));
        let recorder = Recorder::new(jobs, closings, writer.health(), redactor);
        let writing = tokio::spawn(writer.run(job_queue, closing_queue));
        let done = obey(&recorder, &file, instruction).await;
        drop(recorder);
        writing.await??;
        Ok(done)
    }
}
