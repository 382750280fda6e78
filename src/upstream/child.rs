//! Starts a server as a child process and ends it, with whatever processes it started itself.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::types::Template;

use super::limits;

/// What a child process inherits of our environment; tokens and passwords in it are not for servers to read.
const INHERITED: [&str; 7] = ["HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER"];
/// SIGTERM (POSIX.1, signal.h).
const TERMINATE: i32 = 15;

/// A command line. Nothing an agent says ever gets into it.
#[derive(Debug)]
pub(super) struct Program {
    command: String,
    args: Vec<Template>,
    env: Vec<(String, Template)>,
    inherited: BTreeMap<String, String>,
    cwd: Option<PathBuf>,
}

/// A process that runs, with its three pipes.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) group: Group,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// The group of processes that a child leads.
#[derive(Debug)]
pub(super) struct Group {
    leader: Box<dyn ChildWrapper>,
    is_over: bool,
}

impl Program {
    pub(super) fn new(
        command: &str,
        args: &[Template],
        env: &[(String, Template)],
        cwd: Option<PathBuf>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let inherited = INHERITED.iter().filter_map(|name| {
            let value = environment.get(*name)?;
            Some(((*name).to_owned(), value.clone()))
        });
        Self {
            command: command.into(),
            args: args.to_vec(),
            env: env.to_vec(),
            inherited: inherited.collect(),
            cwd,
        }
    }

    /// Starts the process: no shell, an argument is an argument.
    pub(super) fn spawn(&self) -> io::Result<Spawned> {
        let mut wrap = CommandWrap::with_new(&self.command, |command| {
            command.env_clear().envs(&self.inherited);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            for argument in &self.args {
                command.arg(argument.expose().expose());
            }
            for (name, value) in &self.env {
                command.env(name, value.expose().expose());
            }
            if let Some(cwd) = &self.cwd {
                command.current_dir(cwd);
            }
        });
        wrap.wrap(ProcessGroup::leader()).wrap(KillOnDrop);
        let mut leader = wrap.spawn()?;
        let pipes = (
            leader.stdin().take(),
            leader.stdout().take(),
            leader.stderr().take(),
        );
        let group = Group {
            leader,
            is_over: false,
        };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::Error::other("a pipe to the process is missing"));
        };
        Ok(Spawned {
            group,
            stdin,
            stdout,
            stderr,
        })
    }
}

impl Group {
    /// Waits until the leader ended; what it started and left behind is killed then.
    pub(super) async fn ended(&mut self) {
        // An error means that there is no such child any more.
        let _ = self.leader.wait().await;
        let _ = self.leader.start_kill();
        self.is_over = true;
    }

    /// Ends the group. Its standard input must be closed already, which is the polite way to say so.
    pub(super) async fn end(mut self) {
        if self.is_over {
            return;
        }
        if timeout(limits::CHILD_END, self.ended()).await.is_ok() {
            return;
        }
        let _ = self.leader.signal(TERMINATE);
        if timeout(limits::CHILD_END, self.ended()).await.is_ok() {
            return;
        }
        let _ = self.leader.start_kill();
        let _ = timeout(limits::CHILD_END, self.ended()).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.leader.start_kill();
        }
    }
}
