//! Checks exports without the database: their bytes, their chain, how they join, and the checkpoints in them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::export::{Form, Manifest, Paths, read_line};
use super::super::{Head, next_hash};
use super::marks::Marks;
use super::meta::Meta;
use super::{Fault, Known};
use crate::db::LogId;

/// The longest line and the longest manifest that are read.
const MAX_LINE: u64 = 64 << 20;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Exports that were read to their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedExport {
    /// Of which log.
    pub log: LogId,
    /// The event before the first.
    pub before: Head,
    /// The last event.
    pub head: Head,
    /// The last event that a checkpoint in them covers, signed as asked for; 0 when there is none.
    pub checkpoint: i64,
    /// How many checkpoints from elsewhere could be compared.
    pub compared: usize,
    /// What is wrong; empty for sound exports.
    pub faults: Vec<Fault>,
}

/// Why exports cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableExport {
    /// A file cannot be read.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest cannot be understood.
    #[error("`{path}` is no manifest: {why}")]
    Manifest {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A table says too little to compute a chain from.
    #[error("`{0}` is a table, which cannot be verified; export the events as `jsonl`")]
    Table(PathBuf),
    /// There is nothing to check.
    #[error("name at least one export")]
    Nothing,
    /// What it was to be compared with is about other events.
    #[error("no checkpoint that was given is about the events of this export")]
    NothingToCompare,
}

/// Reads exports, which must join one another, and compares them with what is known from elsewhere. `each` gets every
/// event that fits, in order.
///
/// # Errors
/// When a file cannot be read or is no export. One that is wrong is not an error: see [`VerifiedExport::faults`].
pub fn verify_exports(
    files: &[PathBuf],
    known: Known,
    each: &mut dyn FnMut(Head, &str),
) -> Result<VerifiedExport, UnreadableExport> {
    let mut exports = Vec::new();
    for file in files {
        exports.push((file.as_path(), read_manifest(file)?));
    }
    exports.sort_by_key(|(_, manifest)| manifest.plan.before.seq);
    let Some((_, first)) = exports.first() else {
        return Err(UnreadableExport::Nothing);
    };
    let (log, before) = (first.plan.log, first.plan.before);
    let last = exports
        .last()
        .map_or(before.seq, |(_, last)| last.plan.last.seq);
    let compared = compared(&known, before.seq, last)?;
    let expected = known.head.filter(|hash| *hash != before.hash);
    let (mut marks, mut faults) = Marks::new(log, known);
    faults.extend(marks.compare(before));
    let mut check = Check {
        log,
        head: before,
        expected,
        marks,
        faults,
    };
    for (file, manifest) in &exports {
        // Past the first break nothing can be said about the chain any more.
        if !check.faults.is_empty() || !check.joins(manifest) {
            break;
        }
        check.file(file, manifest, each)?;
    }
    Ok(check.finish(before, compared))
}

/// How many checkpoints from elsewhere are about these events.
fn compared(known: &Known, before: i64, last: i64) -> Result<usize, UnreadableExport> {
    let about = |seq: i64| (before..=last).contains(&seq);
    let seqs = known
        .checkpoints
        .iter()
        .map(|checkpoint| checkpoint.head.seq);
    let compared = seqs.filter(|seq| about(*seq)).count();
    if compared == 0 && !known.checkpoints.is_empty() {
        return Err(UnreadableExport::NothingToCompare);
    }
    Ok(compared)
}

fn read_manifest(file: &Path) -> Result<Manifest, UnreadableExport> {
    let path = Paths::manifest_of(file);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_LINE).read_to_string(&mut text));
    read.map_err(about(&path))?;
    let manifest =
        Manifest::from_json(&text).map_err(|why| UnreadableExport::Manifest { path, why })?;
    match manifest.plan.form {
        Form::Jsonl => Ok(manifest),
        Form::Csv => Err(UnreadableExport::Table(file.into())),
    }
}

fn about(path: &Path) -> impl Fn(io::Error) -> UnreadableExport {
    |source| UnreadableExport::File {
        path: path.into(),
        source,
    }
}

struct Check {
    log: LogId,
    head: Head,
    expected: Option<[u8; 32]>,
    marks: Marks,
    faults: Vec<Fault>,
}

impl Check {
    /// Whether an export goes on where the one before it ended.
    fn joins(&mut self, manifest: &Manifest) -> bool {
        let plan = &manifest.plan;
        let due = self.head.seq.saturating_add(1);
        if plan.log != self.log {
            self.faults.push(Fault::OtherLog { meant: self.log });
        } else if plan.first() > due {
            self.faults.push(Fault::Missing { seq: due });
        } else if plan.before != self.head {
            let what = "the exports do not join: one begins before the other ends, or is chained to other events";
            self.faults.push(Fault::Export {
                seq: plan.first(),
                what,
            });
        }
        self.faults.is_empty()
    }

    fn file(
        &mut self,
        path: &Path,
        manifest: &Manifest,
        each: &mut dyn FnMut(Head, &str),
    ) -> Result<(), UnreadableExport> {
        let at_path = about(path);
        let file = File::open(path).map_err(&at_path)?;
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let (mut sha256, mut bytes) = (Sha256::new(), 0_u64);
        let mut line = Vec::new();
        let begun = self.faults.len();
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(&at_path)? == 0 {
                break;
            }
            sha256.update(&line);
            bytes = bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
            if !self.line(&line, each) {
                return Ok(());
            }
        }
        let last = manifest.plan.last;
        if self.head.seq < last.seq {
            let seq = self.head.seq.saturating_add(1);
            self.faults.push(Fault::Missing { seq });
        }
        let digest: [u8; 32] = sha256.finalize().into();
        let differs = self.head != last || bytes != manifest.bytes || digest != manifest.sha256;
        if differs && self.faults.len() == begun {
            let what = "the file is not the one that its manifest describes";
            self.faults.push(Fault::Export {
                seq: self.head.seq,
                what,
            });
        }
        Ok(())
    }

    /// One line; `false` when the chain breaks there.
    fn line(&mut self, line: &[u8], each: &mut dyn FnMut(Head, &str)) -> bool {
        let seq = self.head.seq.saturating_add(1);
        let text = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok());
        let Some(read) = text.and_then(read_line) else {
            self.faults.push(Fault::Changed { seq });
            return false;
        };
        if read.seq != seq {
            self.faults.push(Fault::Missing { seq });
            return false;
        }
        let hash = next_hash(self.log, seq, &self.head.hash, &read.meta);
        let meta = serde_json::from_str::<Meta<'_>>(&read.meta);
        let (true, Ok(meta)) = (read.hash == hash, meta) else {
            self.faults.push(Fault::Changed { seq });
            return false;
        };
        let before = std::mem::replace(&mut self.head, Head { seq, hash });
        if self.expected == Some(hash) {
            self.expected = None;
        }
        self.faults
            .extend(self.marks.event(before, self.head, &meta));
        each(self.head, &read.meta);
        true
    }

    fn finish(mut self, before: Head, compared: usize) -> VerifiedExport {
        if self.expected.is_some() && self.faults.is_empty() {
            self.faults.push(Fault::HeadNotFound);
        }
        VerifiedExport {
            log: self.log,
            before,
            head: self.head,
            checkpoint: self.marks.covered(),
            compared,
            faults: self.faults,
        }
    }
}
