//! When the writer takes a checkpoint, and how it gets to a file elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::audit::{Checkpoint, EVENTS, EVERY, Head, SigningKey};
use crate::db::LogId;
use crate::types::Timestamp;

/// Checkpoints that wait for the file elsewhere; more are dropped, and the next one covers them.
const WAITING: usize = 64;

/// The pause before a line that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// How long the end of the gateway waits for the last line.
const LAST_LINE: Duration = Duration::from_secs(2);

/// What the writer knows about checkpoints.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    key: Option<SigningKey>,
    /// The sequence of the last one's event, and when it was taken.
    pub(super) last: (i64, Timestamp),
    export: Option<(mpsc::Sender<Checkpoint>, JoinHandle<()>)>,
}

impl Checkpoints {
    /// Signs with this key, and appends to this file.
    pub(super) fn new(key: Option<SigningKey>, file: Option<PathBuf>) -> Self {
        let export = file.map(|file| {
            let (lines, waiting) = mpsc::channel(WAITING);
            (lines, tokio::spawn(append_all(file, waiting)))
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
        if let Some((lines, _)) = &self.export
            && lines.try_send(taken).is_err()
        {
            tracing::error!("a checkpoint was not exported: the file elsewhere takes none");
        }
    }

    /// Waits a little for the last line.
    pub(super) async fn close(&mut self) {
        let Some((lines, writing)) = self.export.take() else {
            return;
        };
        drop(lines);
        if timeout(LAST_LINE, writing).await.is_err() {
            tracing::error!("the last checkpoint was not exported in time");
        }
    }
}

/// Appends each line until it is durable.
async fn append_all(path: PathBuf, mut waiting: mpsc::Receiver<Checkpoint>) {
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
    }
}

async fn append(path: &PathBuf, line: &str) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .await?;
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
