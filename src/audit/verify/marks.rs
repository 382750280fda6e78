//! What checkpoints say about a log: those in it, and those that were exported. Pure.

use std::collections::BTreeMap;

use crate::db::LogId;
use crate::types::Timestamp;

use super::super::checkpoint::{EVERY, read_signed};
use super::super::{Checkpoint, Head, Kind, PublicKey};
use super::meta::Meta;
use super::{Fault, Known};

/// How late the last checkpoint of a log that is not closed may be.
const LATE: std::time::Duration = std::time::Duration::from_secs(120);

/// The checkpoints of one log on the way through it.
#[derive(Debug)]
pub(super) struct Marks {
    log: LogId,
    key: Option<PublicKey>,
    exported: BTreeMap<i64, Vec<Checkpoint>>,
    now: Option<Timestamp>,
    /// When the last one was taken.
    last: Option<Timestamp>,
    /// The last event that one covers.
    covered: i64,
    /// Whether the last event closes the log.
    is_closed: bool,
    is_stale: bool,
    /// Whether the gateway does not follow the wall clock, so that the time of the log says nothing about it.
    is_suspect: bool,
}

impl Marks {
    /// What to look for in a log, and what is wrong with what it is compared to.
    pub(super) fn new(log: LogId, known: Known) -> (Self, Vec<Fault>) {
        let ids = known.checkpoints.iter().map(|checkpoint| checkpoint.log);
        let other = known.log.into_iter().chain(ids).find(|meant| *meant != log);
        let mut faults: Vec<Fault> = other
            .map(|meant| Fault::OtherLog { meant })
            .into_iter()
            .collect();
        let mut exported: BTreeMap<i64, Vec<Checkpoint>> = BTreeMap::new();
        for checkpoint in known.checkpoints {
            let seq = checkpoint.head.seq;
            faults.extend(signature(&checkpoint, known.key, seq));
            exported.entry(seq).or_default().push(checkpoint);
        }
        let mut marks = Self {
            log,
            key: known.key,
            exported,
            now: known.now,
            last: None,
            covered: 0,
            is_closed: false,
            is_stale: false,
            is_suspect: false,
        };
        faults.extend(marks.compare(Head::empty(log)));
        (marks, faults)
    }

    /// One event whose text is what the chain says.
    pub(super) fn event(&mut self, before: Head, head: Head, meta: &Meta<'_>) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.compare(head).into_iter().collect();
        let at = Timestamp::from_micros(meta.at_us);
        self.is_closed = &*meta.kind == Kind::Stopped.as_str();
        let begins = &*meta.kind == Kind::Started.as_str();
        if begins || &*meta.kind == Kind::Clock.as_str() {
            self.is_suspect = meta.clock.as_deref() == Some("suspect");
        }
        // While nobody ran, or the machine slept, there was nobody to take one; the first thing after that is one.
        let takes_one = begins || meta.through.is_some();
        if !takes_one && !self.is_stale && self.last.is_some_and(|last| at > last.after(EVERY)) {
            self.is_stale = true;
            faults.push(Fault::Stale { seq: head.seq });
        }
        if let Some(through) = meta.through {
            self.last = Some(at);
            let said = meta.head.as_deref() == Some(&before.hex()) && through == before.seq;
            if !said {
                faults.push(Fault::Changed { seq: head.seq });
            }
            let doubt = self.doubt(before, at, head.seq, meta);
            if doubt.is_none() {
                self.covered = through;
            }
            faults.extend(doubt);
        }
        faults
    }

    /// The end of the log; `noted` is the event of the last checkpoint, as the file itself says. Whoever cuts the end off
    /// can change that too, and may not know that it is there.
    pub(super) fn end(&mut self, head: Head, noted: i64) -> Vec<Fault> {
        let exported = self.exported.keys().next_back().copied();
        let mut named = exported.into_iter().chain([noted]);
        let cut = named.find(|seq| *seq > head.seq);
        let late = |last: Timestamp| {
            self.now
                .is_some_and(|now| now > last.after(EVERY).after(LATE))
        };
        let can_tell = !self.is_closed && !self.is_stale && !self.is_suspect;
        let stale = can_tell && self.last.is_some_and(late);
        let cut = cut.map(|seq| Fault::CutOff { seq });
        let stale = stale.then_some(Fault::Stale { seq: head.seq });
        cut.into_iter().chain(stale).collect()
    }

    /// The last event that a checkpoint covers, signed as asked for.
    pub(super) fn covered(&self) -> i64 {
        self.covered
    }

    /// Compares with what was exported about this very event.
    pub(super) fn compare(&mut self, head: Head) -> Option<Fault> {
        let exported = self.exported.remove(&head.seq)?;
        let differs = exported.iter().any(|checkpoint| checkpoint.head != head);
        differs.then_some(Fault::Rewritten { seq: head.seq })
    }

    /// What is wrong with the signature of a checkpoint in the log.
    fn doubt(&self, head: Head, at: Timestamp, seq: i64, meta: &Meta<'_>) -> Option<Fault> {
        let signed = match (&meta.key, &meta.signature) {
            (None, None) => None,
            (key, signature) => {
                let key = key.as_deref().unwrap_or_default();
                match read_signed(key, signature.as_deref().unwrap_or_default()) {
                    Ok(signed) => Some(signed),
                    Err(_) => {
                        let what = "its signature is none";
                        return Some(Fault::NotSigned { seq, what });
                    }
                }
            }
        };
        let log = self.log;
        let checkpoint = Checkpoint {
            log,
            head,
            at,
            signed,
        };
        signature(&checkpoint, self.key, seq)
    }
}

fn signature(checkpoint: &Checkpoint, key: Option<PublicKey>, seq: i64) -> Option<Fault> {
    let by = checkpoint.signed.as_ref().map(|signed| signed.key);
    let what = match (key, by) {
        (Some(_), None) => "it is not signed",
        (Some(key), Some(by)) if by != key => "it is signed with another key",
        _ if !checkpoint.is_genuine() => "its signature does not fit",
        _ => return None,
    };
    Some(Fault::NotSigned { seq, what })
}
