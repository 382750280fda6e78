//! The release gateway as a child process, with audit, two budgets and a fresh database.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::Era;
use super::load::TOKEN;

/// The longest start and the longest end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ticks a second in /proc (`USER_HZ`, proc_pid_stat(5)); 100 on every Linux in use.
const TICKS: u64 = 100;

/// A gateway that serves.
#[derive(Debug)]
pub(super) struct Gateway {
    /// Where it listens.
    pub(super) address: SocketAddr,
    child: Child,
    /// Kept open, so that its log does not break.
    lines: Lines<BufReader<ChildStderr>>,
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
    /// Starts one before this server.
    pub(super) async fn start(
        binary: &Path,
        server: SocketAddr,
        durability: &str,
        era: Era,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = match file {
            Some(file) => file.canonicalize()?,
            None => folder.path().join("hayward.db"),
        };
        fs::write(folder.path().join("permissions.yaml"), rules(server, era))?;
        let mut child = Command::new(binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--durability",
                durability,
                "--db",
            ])
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
            lines,
            binary: binary.into(),
            folder,
            file,
        })
    }

    /// Processor time so far, of the whole process.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // The name may hold spaces; the fields after it are counted from 3 (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(14 - 3);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis((user + system) * 1_000 / TICKS))
    }

    /// Ends it and checks that what it wrote is sound.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("the gateway ended by itself")?;
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$0\"", &pid.to_string()])
            .status()
            .await?;
        ensure!(asked.success(), "the gateway cannot be told to stop");
        while let Some(line) = timeout(PATIENCE, self.lines.next_line()).await?? {
            ensure!(!line.contains("ERROR"), "the gateway says: {line}");
        }
        let ended = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(ended.success(), "the gateway ended with {ended}");
        let verified = Command::new(&self.binary)
            .args(["audit", "verify", "--db"])
            .arg(&self.file)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .status()
            .await?;
        ensure!(verified.success(), "the log does not verify");
        Ok(())
    }
}

fn rules(server: SocketAddr, era: Era) -> String {
    let digest = Sha256::digest(TOKEN);
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let era = match era {
        Era::Modern => "modern",
        Era::Legacy => "legacy",
    };
    format!(
        "defaults: {{timezone: UTC}}
servers:
  bench: {{url: 'http://{server}/mcp', protocol: {era}, budgets: [1000000000/day]}}
agents:
  a: {{token_hash: 'sha256:{hash}', servers: [bench], budgets: [1000000000/month]}}
"
    )
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
