//! A disk of a few megabytes that can be filled.
//!
//! A file system of its own, in a mount namespace that ends with the test; who may not make one gets a limit on the
//! size of files instead.

use std::io::Write;
use std::process::{Command as Blocking, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::gateway::{PATIENCE, Site};
use super::load::Load;

/// How the disk is kept small.
pub(super) struct SmallDisk {
    /// It has a tmpfs in its mount namespace and does nothing else. Without it, no file may grow beyond a size.
    holder: Option<Child>,
}

/// The size of the file system.
const SIZE: &str = "size=16m";
/// The size of a file where there is only that limit, in blocks of 512 bytes or 1 KiB, as the shell has it.
const BLOCKS: &str = "3000";

impl SmallDisk {
    /// A small disk and a place on it.
    pub(super) async fn new(rules: &str) -> (Self, Site) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let users: [&[&str]; 2] = [&["-m"], &["-r", "-m"]];
        for flags in users {
            let Some(holder) = hold(flags, &path).await else {
                continue;
            };
            let pid = holder.id().unwrap().to_string();
            let enter = ["nsenter", "-t", &pid, "-m"].into_iter();
            // Whoever is root in there only may not choose other groups.
            let user: &[&str] = if flags.contains(&"-r") {
                &["-U", "--preserve-credentials"]
            } else {
                &[]
            };
            let enter = enter.chain(user.iter().copied());
            let shell = ["--", "sh", "-c", "cd \"$0\" && exec \"$@\"", &path];
            let starter = enter.chain(shell).map(ToOwned::to_owned).collect();
            let seen = format!("/proc/{pid}/root{path}").into();
            eprintln!("a tmpfs of {SIZE}, by unshare {flags:?}");
            let site = Site::in_surroundings(rules, folder, seen, starter);
            let holder = Some(holder);
            return (Self { holder }, site);
        }
        eprintln!("no file system can be mounted here: a limit of {BLOCKS} blocks for each file");
        let script = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$@\"");
        let starter = ["sh", "-c", &script, "sh"].map(ToOwned::to_owned).to_vec();
        let site = Site::in_surroundings(rules, folder, path.into(), starter);
        (Self { holder: None }, site)
    }

    /// Leaves no byte of room.
    pub(super) async fn fill(&self, load: &Load) {
        if self.holder.is_none() {
            // The log itself grows until it may not any more.
            return load.until_health(503).await;
        }
        self.fill_but(&load.site, 0);
    }

    /// Leaves so many bytes of room. Says whether there is a file system that can be filled.
    pub(super) fn fill_but(&self, site: &Site, bytes: u64) -> bool {
        if self.holder.is_none() {
            return false;
        }
        let mut file = std::fs::File::create(site.path("filler")).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(bytes)).unwrap();
        true
    }

    /// Takes away what fills it.
    pub(super) fn make_room(&self, load: &Load) {
        if self.holder.is_some() {
            return std::fs::remove_file(load.site.path("filler")).unwrap();
        }
        let pid = load.gateway.pid().to_string();
        let raised = Blocking::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited:unlimited"])
            .status();
        assert!(raised.unwrap().success());
    }
}

/// Mounts a small file system over a folder, in a namespace of its own; `None` when that is not allowed here.
async fn hold(flags: &[&str], path: &str) -> Option<Child> {
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$0\" && echo mounted && exec sleep infinity";
    let mut holder = Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", script, path, SIZE])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut line = String::new();
    let mut said = BufReader::new(holder.stdout.take()?);
    let read = timeout(PATIENCE, said.read_line(&mut line)).await;
    read.expect("it is mounted or not").ok()?;
    (line == "mounted\n").then_some(holder)
}
