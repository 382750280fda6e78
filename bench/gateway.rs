//! The gateway that is measured, as a child process with audit and budgets.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::child;

/// The longest start and the longest end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest check of a log with years of use in it.
const VERIFYING: Duration = Duration::from_secs(600);

/// A gateway to start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    /// Its program.
    pub(super) binary: &'a Path,
    /// What it goes by.
    pub(super) rules: &'a str,
    /// What its commits survive: `process` or `power`.
    pub(super) durability: &'a str,
    /// The database it goes on with; without one it begins a new one.
    pub(super) file: Option<&'a Path>,
}

/// A gateway that serves.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Where it listens.
    pub(super) address: SocketAddr,
    child: Child,
    /// Reads its log to the end, so that it never waits for a reader; returns the first error in it.
    log: JoinHandle<Option<String>>,
    binary: PathBuf,
    folder: TempDir,
    file: PathBuf,
}

/// `hayward` in the folder of builds that this program is in.
pub(super) fn beside_this_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let builds = own.parent().and_then(Path::parent);
    let binary = builds
        .context("this program is in no folder")?
        .join("hayward");
    ensure!(binary.exists(), "`{}` is not built yet", binary.display());
    Ok(binary)
}

impl Gateway {
    /// Starts one.
    pub(super) async fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = match plan.file {
            Some(file) => file.canonicalize()?,
            None => folder.path().join("hayward.db"),
        };
        fs::write(folder.path().join("permissions.yaml"), plan.rules)?;
        let listen = ["serve", "--listen", "127.0.0.1:0"];
        let mut child = Command::new(plan.binary)
            .args(listen)
            .args(["--durability", plan.durability, "--db"])
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let address = timeout(PATIENCE, address(&mut lines)).await??;
        Ok(Self {
            address,
            child,
            log: tokio::spawn(first_error(lines)),
            binary: plan.binary.into(),
            folder,
            file,
        })
    }

    /// Processor time so far, of the whole process.
    pub(super) fn cpu(&self) -> Option<Duration> {
        child::cpu(self.child.id()?)
    }

    /// Memory in use now, in bytes.
    pub(super) fn resident(&self) -> Option<u64> {
        child::resident(self.child.id()?)
    }

    /// Ends it and checks that what it wrote is sound.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.end().await?;
        let verifying = Command::new(&self.binary)
            .args(["audit", "verify", "--db"])
            .arg(&self.file)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .status();
        let verified = timeout(VERIFYING, verifying).await??;
        ensure!(verified.success(), "the log does not verify");
        Ok(())
    }

    /// Ends it in order.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        child::ask_to_end(self.child.id().context("the gateway ended by itself")?)?;
        let error = timeout(PATIENCE, &mut self.log).await??;
        ensure!(
            error.is_none(),
            "the gateway says: {}",
            error.unwrap_or_default()
        );
        let ended = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(ended.success(), "the gateway ended with {ended}");
        Ok(())
    }
}

async fn first_error(mut lines: Lines<BufReader<ChildStderr>>) -> Option<String> {
    let mut error = None;
    while let Ok(Some(line)) = lines.next_line().await {
        if error.is_none() && line.contains("ERROR") {
            error = Some(line);
        }
    }
    error
}

async fn address(lines: &mut Lines<BufReader<ChildStderr>>) -> anyhow::Result<SocketAddr> {
    let mut said = String::new();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, address)) = line.split_once("listening on http://") {
            return Ok(address.parse()?);
        }
        said.push_str(&line);
        said.push('\n');
    }
    bail!("the gateway does not start:\n{said}");
}
