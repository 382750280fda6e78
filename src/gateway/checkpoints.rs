//! When the writer takes a checkpoint, and how it gets to a file elsewhere.

use std::io::{Error, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::audit::{Checkpoint, EVENTS, EVERY, Entry, Head, Kind, SigningKey};
use crate::db::LogId;
use crate::types::Timestamp;

/// Checkpoints that wait for the file elsewhere; more are dropped, and the next one covers them.
const WAITING: usize = 64;

/// The pause before a line that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long the end of the gateway waits for the last line.
const LAST_LINE: Duration = Duration::from_secs(2);

/// Longer than any line, in bytes: how much of the end of the file is looked at.
const LAST_LINE_BYTES: u64 = 4_096;

/// What the writer knows about checkpoints.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    key: Option<SigningKey>,
    /// The sequence of the last one's event, and when it was taken.
    pub(super) last: (i64, Timestamp),
    /// The last event that the file elsewhere covers, as far as the log says.
    noted: i64,
    export: Option<Export>,
}

/// The way to the file elsewhere.
#[derive(Debug)]
struct Export {
    /// Without its folders, which are nobody's business.
    file: String,
    lines: mpsc::Sender<Checkpoint>,
    writing: JoinHandle<()>,
    /// The last event that the file covers.
    written: Arc<AtomicI64>,
}

impl Checkpoints {
    /// Signs with this key, and appends to this file.
    pub(super) fn new(key: Option<SigningKey>, file: Option<PathBuf>) -> Self {
        let export = file.map(|path| {
            let (lines, waiting) = mpsc::channel(WAITING);
            let written = Arc::new(AtomicI64::new(0));
            let name = path.file_name().unwrap_or_default();
            Export {
                file: name.to_string_lossy().into_owned(),
                lines,
                writing: tokio::spawn(append_all(path, waiting, Arc::clone(&written))),
                written,
            }
        });
        Self {
            key,
            export,
            ..Self::default()
        }
    }

    /// Whether it is time for one.
    pub(super) fn is_due(&self, head: Head, at: Timestamp) -> bool {
        let (seq, taken) = self.last;
        at >= taken.after(EVERY) || head.seq.saturating_sub(seq) >= EVENTS
    }

    pub(super) fn take(&self, log: LogId, head: Head, at: Timestamp) -> Checkpoint {
        Checkpoint::take(log, head, at, self.key.as_ref())
    }

    /// Hands one that is durable in the log to the file elsewhere.
    pub(super) fn written(&mut self, taken: Option<(i64, Checkpoint)>) {
        let Some((seq, taken)) = taken else { return };
        self.last = (seq, taken.at);
        if let Some(export) = &self.export
            && export.lines.try_send(taken).is_err()
        {
            tracing::error!("a checkpoint was not exported: the file elsewhere takes none");
        }
    }

    /// The event that says up to where the log stands in the file elsewhere, when that is news.
    pub(super) fn exported(&self) -> Option<(i64, Entry)> {
        let export = self.export.as_ref()?;
        let through = export.written.load(Ordering::Acquire);
        if through <= self.noted {
            return None;
        }
        let entry = Entry::new(Kind::Exported).json("exported", through.to_string());
        Some((through, entry.text("file", &export.file)))
    }

    /// The log says so now.
    pub(super) fn noted(&mut self, through: i64) {
        self.noted = self.noted.max(through);
    }

    /// Waits a little for the last line.
    pub(super) async fn close(&mut self) {
        let Some(Export { lines, writing, .. }) = self.export.take() else {
            return;
        };
        drop(lines);
        if timeout(LAST_LINE, writing).await.is_err() {
            tracing::error!("the last checkpoint was not exported in time");
        }
    }
}

/// Appends each line until it is durable.
async fn append_all(
    path: PathBuf,
    mut waiting: mpsc::Receiver<Checkpoint>,
    written: Arc<AtomicI64>,
) {
    while let Some(taken) = waiting.recv().await {
        let line = taken.to_line();
        let mut has_failed = false;
        while let Err(error) = append(&path, &line).await {
            if !has_failed {
                tracing::error!(path = %path.display(), %error, "a checkpoint cannot be exported yet");
            }
            has_failed = true;
            tokio::time::sleep(RETRY).await;
        }
        written.store(taken.head.seq, Ordering::Release);
    }
}

async fn append(path: &Path, line: &str) -> Result<(), Error> {
    let mut file: File = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .await?;
    mend(&mut file).await?;
    let before = file.metadata().await?.len();
    let written = async {
        file.write_all(format!("{line}\n").as_bytes()).await?;
        file.flush().await?;
        file.sync_data().await
    };
    let written = written.await;
    if written.is_err() {
        // Half a line would make the whole file unreadable.
        drop(file.set_len(before).await);
    }
    written
}

/// Whoever was killed in the middle of a line left half of one. It says nothing, and the next one covers more.
async fn mend(file: &mut File) -> Result<(), Error> {
    let length = file.metadata().await?.len();
    let from = length.saturating_sub(LAST_LINE_BYTES);
    file.seek(SeekFrom::Start(from)).await?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).await?;
    let rest = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(rest).unwrap_or_default();
    if rest.is_empty() {
        Ok(())
    } else if Checkpoint::from_line(line).is_ok() {
        file.write_all(b"\n").await
    } else {
        let rest = u64::try_from(rest.len()).unwrap_or(length);
        file.set_len(length.saturating_sub(rest)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: i64) -> String {
        let head = Head { seq, hash: [9; 32] };
        Checkpoint::take(LogId([3; 16]), head, Timestamp::from_micros(5), None).to_line()
    }

    #[tokio::test]
    async fn half_a_line_is_taken_off_and_a_whole_one_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.jsonl");
        let (one, two) = (line(1), line(2));
        for (before, after) in [
            (String::new(), format!("{two}\n")),
            (format!("{one}\n"), format!("{one}\n{two}\n")),
            (one.clone(), format!("{one}\n{two}\n")),
            (format!("{one}\n{{\"log\":\"03"), format!("{one}\n{two}\n")),
            ("{\"log\":\"03".to_owned(), format!("{two}\n")),
        ] {
            std::fs::write(&path, &before).unwrap();
            append(&path, &two).await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "{before}");
        }
    }
}
