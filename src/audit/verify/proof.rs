//! A log that is read to its end and can be read on from there: for who must know all of it and has the file for a
//! moment only.

use std::fmt;

use sqlx::SqliteConnection;

use super::check::{Check, Piece};
use super::ledger::Asked;
use super::{Difference, Fault, Known, source};
use crate::audit::load_pruned;
use crate::audit::log::load_piece;
use crate::db::{DbError, read_identity};

/// Events in one piece.
const PIECE: i64 = 2_048;

/// A log on the way through it.
pub struct Proof(Check);

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({})", self.0.last())
    }
}

impl Proof {
    /// Before the first event.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn begin(db: &mut SqliteConnection) -> Result<Self, DbError> {
        let log = read_identity(db).await?;
        Ok(Self(Check::new(log, Known::default())))
    }

    /// Reads to the end, or to the first break.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(&mut self, db: &mut SqliteConnection) -> Result<(), DbError> {
        let check = &mut self.0;
        check.piece(Piece::Names(source::load_names(db).await?));
        if let Some(pruned) = load_pruned(db)
            .await?
            .filter(|pruned| pruned.last.seq > check.last())
        {
            check.piece(Piece::Pruned(Box::new(pruned)));
        }
        while let Some((_, events)) = load_piece(db, check.last(), i64::MAX, PIECE).await? {
            if !check.piece(Piece::Events(events)) {
                break;
            }
            // Names that came up meanwhile.
            check.piece(Piece::Names(source::load_names(db).await?));
        }
        Ok(())
    }

    /// What is wrong with the events themselves, as far as they were read.
    pub fn faults(&self) -> &[Fault] {
        self.0.faults()
    }

    /// Where the tables of the ledger are not what the events add up to. Only of a log that was read to its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn differences(&self, db: &mut SqliteConnection) -> Result<Vec<Difference>, DbError> {
        Ok(self
            .0
            .differences(source::load_ledger(db, Asked::All).await?))
    }
}
