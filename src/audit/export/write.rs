//! The file of an export while it grows, and how it gets its name.
//!
//! ```text
//! NAME.plan            which events: written first, removed last
//! NAME.part            the events so far
//! NAME.manifest.json   written when all of them are on the disk
//! NAME                 the part, renamed
//! ```
//! A crash between any two of these steps leaves what [`Export::resume`] can finish.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::audit::checkpoint::read_signed;
use crate::audit::log::load_piece;
use crate::audit::row::{self, EventRow};
use crate::audit::{Checkpoint, Head, next_hash};
use crate::db::{DbError, Readers};
use crate::types::Timestamp;

use super::line::{add_line, read_line};
use super::source;
use super::{Form, Manifest, Plan, table};

/// Events that are read at once; with the longest text of one, what is held in memory.
const CHUNK: i64 = 1_000;

/// Bytes that go to the file at once.
const BUFFER: usize = 1 << 20;

/// The longest line that is taken for one when an export goes on.
const MAX_LINE: u64 = 64 << 20;

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database cannot be read.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A file cannot be read or written.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing is ever overwritten.
    #[error("`{0}` exists; choose another name or remove it")]
    Exists(PathBuf),
    /// An earlier export of this name was interrupted.
    #[error("`{0}` was begun and not finished; go on with --resume, or remove it and its plan")]
    Unfinished(PathBuf),
    /// There is nothing to go on with.
    #[error("`{0}`: there is no export to resume; leave out --resume")]
    NothingToResume(PathBuf),
    /// The plan that stands beside the part is none, or of another log.
    #[error("`{path}` is not the plan of an export of this log: {why}")]
    Plan {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An event is not what was written, or not there any more.
    #[error("event {0} is missing or is not what was written; `hayward audit verify` says more")]
    Broken(i64),
}

/// The names of the files.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The export itself.
    pub file: PathBuf,
    /// What describes it.
    pub manifest: PathBuf,
    part: PathBuf,
    plan: PathBuf,
}

impl Paths {
    /// Those that go with this name.
    pub fn of(file: &Path) -> Self {
        Self {
            file: file.into(),
            manifest: Self::manifest_of(file),
            part: file.with_added_extension("part"),
            plan: file.with_added_extension("plan"),
        }
    }

    /// Where the manifest of an export stands.
    pub fn manifest_of(file: &Path) -> PathBuf {
        file.with_added_extension("manifest.json")
    }

    /// Whether all of it is there.
    pub fn is_finished(&self) -> bool {
        self.file.exists() && self.manifest.exists() && !self.plan.exists()
    }

    /// Whether it was begun and not finished.
    pub fn is_begun(&self) -> bool {
        self.plan.exists()
    }

    /// The exports in a folder that were begun and not finished.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn unfinished_in(folder: &Path) -> Result<Vec<Self>, ExportError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(about(folder))? {
            let path = entry.map_err(about(folder))?.path();
            if path.extension().is_some_and(|end| end == "plan") {
                found.push(Self::of(&path.with_extension("")));
            }
        }
        Ok(found)
    }
}

fn about(path: &Path) -> impl Fn(io::Error) -> ExportError {
    |source| ExportError::File {
        path: path.into(),
        source,
    }
}

/// An export that is being written.
#[derive(Debug)]
pub struct Export {
    paths: Paths,
    plan: Plan,
    file: BufWriter<File>,
    sums: Sums,
    text: String,
}

/// What is known of the events so far; the same whether they were just written or found in the part.
#[derive(Debug)]
struct Sums {
    head: Head,
    sha256: Sha256,
    bytes: u64,
    from: Option<Timestamp>,
    to: Timestamp,
    checkpoints: Vec<Checkpoint>,
}

/// What an export needs to know of an event.
#[derive(Deserialize)]
struct Meta {
    at_us: i64,
    through: Option<i64>,
    key: Option<String>,
    signature: Option<String>,
}

impl Export {
    /// Begins one.
    ///
    /// # Errors
    /// When one of its files exists or cannot be made.
    pub fn begin(paths: Paths, plan: Plan) -> Result<Self, ExportError> {
        for finished in [&paths.file, &paths.manifest] {
            if finished.exists() {
                return Err(ExportError::Exists(finished.clone()));
            }
        }
        for unfinished in [&paths.part, &paths.plan] {
            if unfinished.exists() {
                return Err(ExportError::Unfinished(unfinished.clone()));
            }
        }
        write_whole(&paths.plan, plan.to_json().as_bytes())?;
        Self::open(paths, plan)
    }

    /// Goes on with one that was interrupted. What its last moments left in disorder is written again.
    ///
    /// # Errors
    /// When there is none, it is of another log, or its files cannot be read and written.
    pub fn resume(paths: Paths) -> Result<Self, ExportError> {
        if !paths.plan.exists() {
            return Err(ExportError::NothingToResume(paths.file));
        }
        let text = fs::read_to_string(&paths.plan).map_err(about(&paths.plan))?;
        let plan = Plan::from_json(&text).map_err(|why| ExportError::Plan {
            path: paths.plan.clone(),
            why,
        })?;
        // It had got its name already.
        if paths.file.exists() && !paths.part.exists() {
            fs::rename(&paths.file, &paths.part).map_err(about(&paths.file))?;
        }
        Self::open(paths, plan)
    }

    fn open(paths: Paths, plan: Plan) -> Result<Self, ExportError> {
        let part = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&paths.part)
            .map_err(about(&paths.part))?;
        let sums = match plan.form {
            Form::Jsonl => Sums::of_part(&part, &plan),
            // A table says too little of an event to prove that it is the right one: it begins anew.
            Form::Csv => Ok(Sums::new(&plan)),
        };
        let sums = sums.map_err(about(&paths.part))?;
        let mut export = Self {
            file: BufWriter::with_capacity(BUFFER, part),
            paths,
            plan,
            sums,
            text: String::new(),
        };
        export.cut_to_sums()?;
        if plan.form == Form::Csv {
            table::add_head(&mut export.text);
            export.put()?;
        }
        Ok(export)
    }

    fn cut_to_sums(&mut self) -> Result<(), ExportError> {
        let part = self.file.get_mut();
        let cut = part.set_len(self.sums.bytes);
        let cut = cut.and_then(|()| part.seek(io::SeekFrom::Start(self.sums.bytes)));
        cut.map_err(about(&self.paths.part))?;
        Ok(())
    }

    /// Its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Which events it holds in the end.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How many events it holds so far.
    pub fn written(&self) -> i64 {
        self.sums.head.seq.saturating_sub(self.plan.before.seq)
    }

    fn add(&mut self, row: &EventRow<'_>) -> Result<(), ExportError> {
        let broken = ExportError::Broken(self.sums.head.seq.saturating_add(1));
        let Some(hash) = self.sums.fits(&self.plan, row.seq, &row.hash, row.meta) else {
            return Err(broken);
        };
        match self.plan.form {
            Form::Jsonl => add_line(&mut self.text, row.seq, &hash, row.meta),
            Form::Csv => table::add_row(&mut self.text, row.seq, &hash, row.meta),
        }
        if !self.sums.note(&self.plan, row.seq, hash, row.meta) {
            return Err(broken);
        }
        if self.text.len() >= BUFFER {
            self.put()?;
        }
        Ok(())
    }

    fn put(&mut self) -> Result<(), ExportError> {
        let text = std::mem::take(&mut self.text);
        self.sums.count(text.as_bytes());
        self.file
            .write_all(text.as_bytes())
            .map_err(about(&self.paths.part))?;
        self.text = text;
        self.text.clear();
        Ok(())
    }

    /// Makes it durable and gives it its name.
    fn finish(mut self) -> Result<Manifest, ExportError> {
        self.put()?;
        let at_part = about(&self.paths.part);
        let file = self.file.into_inner();
        let file = file.map_err(|error| at_part(error.into_error()))?;
        file.sync_all().map_err(&at_part)?;
        let manifest = Manifest {
            plan: self.plan,
            from: self.sums.from.unwrap_or(self.sums.to),
            to: self.sums.to,
            bytes: self.sums.bytes,
            sha256: self.sums.sha256.finalize().into(),
            checkpoints: self.sums.checkpoints,
        };
        write_whole(&self.paths.manifest, manifest.to_json().as_bytes())?;
        fs::rename(&self.paths.part, &self.paths.file).map_err(&at_part)?;
        sync_folder(&self.paths.file)?;
        fs::remove_file(&self.paths.plan).map_err(about(&self.paths.plan))?;
        Ok(manifest)
    }
}

/// Copies the events of an export that are not in it yet, and finishes it. `progress` hears how many there are.
///
/// # Errors
/// When an event is not what was written, or a file cannot be read or written.
pub async fn copy(
    readers: &Readers,
    mut export: Export,
    mut progress: impl FnMut(i64),
) -> Result<Manifest, ExportError> {
    let last = export.plan.last;
    let now_there = source::head_at(&mut *readers.page().await?, export.plan.log, last.seq).await?;
    if now_there != last {
        return Err(ExportError::Broken(last.seq));
    }
    while export.sums.head.seq < last.seq {
        let span = (export.sums.head.seq, last.seq);
        let broken = || ExportError::Broken(span.0.saturating_add(1));
        let piece = load_piece(&mut *readers.page().await?, span.0, span.1, CHUNK).await?;
        let (_, piece) = piece.ok_or_else(broken)?;
        for row in row::all(&piece).ok_or_else(broken)? {
            export.add(&row)?;
        }
        progress(export.written());
    }
    if export.sums.head != last {
        return Err(ExportError::Broken(last.seq));
    }
    export.finish()
}

impl Sums {
    fn new(plan: &Plan) -> Self {
        Self {
            head: plan.before,
            sha256: Sha256::new(),
            bytes: 0,
            from: None,
            to: Timestamp::default(),
            checkpoints: Vec::new(),
        }
    }

    /// What a part holds that is as it must be: whole lines that continue the chain.
    fn of_part(part: &File, plan: &Plan) -> io::Result<Self> {
        let mut sums = Self::new(plan);
        let mut reader = BufReader::with_capacity(BUFFER, part);
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
            if sums.head.seq >= plan.last.seq || !sums.take_line(plan, &line) {
                return Ok(sums);
            }
        }
    }

    fn take_line(&mut self, plan: &Plan, line: &[u8]) -> bool {
        let text = line
            .strip_suffix(b"\n")
            .and_then(|line| std::str::from_utf8(line).ok());
        let Some(read) = text.and_then(read_line) else {
            return false;
        };
        let Some(hash) = self.fits(plan, read.seq, &read.hash, &read.meta) else {
            return false;
        };
        // Written otherwise than we write it, it would make another file.
        let mut again = String::with_capacity(line.len());
        add_line(&mut again, read.seq, &hash, &read.meta);
        if again.as_bytes() != line || !self.note(plan, read.seq, hash, &read.meta) {
            return false;
        }
        self.count(line);
        true
    }

    /// The hash of an event, when it is the next one of the chain.
    fn fits(&self, plan: &Plan, seq: i64, stored: &[u8], meta: &str) -> Option<[u8; 32]> {
        let hash = next_hash(plan.log, seq, &self.head.hash, meta);
        (seq == self.head.seq.saturating_add(1) && stored == hash).then_some(hash)
    }

    /// Notes an event that fits; `false` when its text says nothing that can be understood.
    fn note(&mut self, plan: &Plan, seq: i64, hash: [u8; 32], meta: &str) -> bool {
        // Only what may be a checkpoint is read as a whole; there are many events.
        let at = match at_of(meta) {
            Some(at) if !meta.contains("\"through\":") => at,
            _ => {
                let Ok(read) = serde_json::from_str::<Meta>(meta) else {
                    return false;
                };
                self.checkpoints.extend(read.checkpoint(plan, self.head));
                Timestamp::from_micros(read.at_us)
            }
        };
        self.from = self.from.or(Some(at));
        self.to = at;
        self.head = Head { seq, hash };
        true
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        let more = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(more);
    }
}

/// The instant, which every version writes first.
fn at_of(meta: &str) -> Option<Timestamp> {
    let rest = meta.strip_prefix("{\"at_us\":")?;
    let (at, _) = rest.split_once(',')?;
    at.parse().ok().map(Timestamp::from_micros)
}

impl Meta {
    fn checkpoint(&self, plan: &Plan, head: Head) -> Option<Checkpoint> {
        self.through.filter(|through| *through == head.seq)?;
        let signed = self.key.as_deref().zip(self.signature.as_deref());
        Some(Checkpoint {
            log: plan.log,
            head,
            at: Timestamp::from_micros(self.at_us),
            signed: signed.and_then(|(key, signature)| read_signed(key, signature).ok()),
        })
    }
}

/// Writes a small file so that it is there whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let fresh = path.with_added_extension("new");
    let written = File::create(&fresh).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(about(&fresh))?;
    fs::rename(&fresh, path).map_err(about(path))?;
    sync_folder(path)
}

/// Makes the names in the folder of a file durable.
fn sync_folder(path: &Path) -> Result<(), ExportError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(about(folder))
}
