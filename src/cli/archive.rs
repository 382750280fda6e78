//! Archives of what was pruned, against the log that goes on after them.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use crate::audit::{Fault, Head, Known, SeamMaker, load_name_table, load_pruned, verify_exports};
use crate::db::Readers;

/// What archives prove.
#[derive(Debug)]
pub(super) struct Archived {
    /// Their last event.
    pub(super) head: Head,
    /// The last event that a checkpoint in them covers.
    pub(super) checkpoint: i64,
    /// How many checkpoints from elsewhere could be compared.
    pub(super) compared: usize,
    /// What is wrong.
    pub(super) faults: Vec<Fault>,
}

impl Default for Archived {
    fn default() -> Self {
        let (seq, hash) = (0, [0; 32]);
        Self {
            head: Head { seq, hash },
            checkpoint: 0,
            compared: 0,
            faults: Vec::new(),
        }
    }
}

/// Verifies archives, that the log goes on where they end, and, when they begin with its first event, that what
/// budgets had used there is what they add up to.
pub(super) async fn verify(
    readers: &Readers,
    files: &[PathBuf],
    known: &Known,
) -> anyhow::Result<Archived> {
    let mut db = readers.page().await?;
    let pruned = load_pruned(&mut db).await?;
    let pruned =
        pruned.context("nothing was pruned from this log, so there is no archive of it")?;
    let mut maker = SeamMaker::new(None, load_name_table(&mut db).await?);
    drop(db);
    let last = pruned.last;
    let mut known = Known {
        head: None,
        ..known.clone()
    };
    known.checkpoints.retain(|kept| kept.head.seq <= last.seq);
    let found = verify_exports(files, known, &mut |head, text| maker.event(head.seq, text))?;
    let mut faults = found.faults;
    let wrong = |what| Fault::Pruned {
        seq: last.seq,
        what,
    };
    if faults.is_empty() && found.head != last {
        faults.push(wrong("the archive does not end where the log goes on"));
    }
    if faults.is_empty() && found.before.seq == 0 {
        let seam = maker
            .finish()
            .map_err(|fault| anyhow!("the archive: {fault}"))?;
        if seam.to_json() != pruned.seam {
            faults.push(wrong(
                "what the log goes on with is not what the archive adds up to",
            ));
        }
    }
    Ok(Archived {
        head: found.head,
        checkpoint: found.checkpoint,
        compared: found.compared,
        faults,
    })
}
