//! The binary as a child process, and the folder it works in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest wait for anything the binary does; nothing is measured by it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a policy file and room for a database.
#[derive(Debug)]
pub(super) struct Site {
    folder: TempDir,
    /// The same folder, as this process sees it.
    seen: PathBuf,
    /// The program and the arguments that start the binary in the surroundings it is to have; none for those of this
    /// process.
    starter: Vec<String>,
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// Standard output.
    pub(super) out: String,
    /// Standard error.
    pub(super) err: String,
}

impl Ended {
    /// Asserts the exit code and that each of these stands on standard error.
    pub(super) fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "`{word}` is missing\n{self:#?}");
        }
    }
}

impl Site {
    /// A new folder with these rules.
    pub(super) fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().into();
        Self::in_surroundings(policy, folder, seen, Vec::new())
    }

    /// A folder in which the binary is started by something else, and which this process may see elsewhere.
    pub(super) fn in_surroundings(
        policy: &str,
        folder: TempDir,
        seen: PathBuf,
        starter: Vec<String>,
    ) -> Self {
        let site = Self {
            folder,
            seen,
            starter,
        };
        site.write_policy(policy);
        site
    }

    /// A file in the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.seen.join(name)
    }

    /// The database.
    pub(super) fn db(&self) -> PathBuf {
        self.path("hayward.db")
    }

    /// The log for reading. Where it is seen through another process, SQLite does not find its way there: then it is a
    /// copy, of a file that nobody writes at the moment.
    pub(super) fn log(&self) -> PathBuf {
        if self.seen == self.folder.path() {
            return self.db();
        }
        let copy = self.folder.path().join("copy.db");
        for end in ["", "-wal"] {
            let (from, to) = (
                self.path(&format!("hayward.db{end}")),
                copy.with_extension(format!("db{end}")),
            );
            drop(std::fs::remove_file(&to));
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
        copy
    }

    /// Puts other rules in place.
    pub(super) fn write_policy(&self, policy: &str) {
        std::fs::write(self.path("permissions.yaml"), policy).unwrap();
    }

    /// Runs a command to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Ended {
        let mut child = self.command(arguments, &[]);
        let child = child.spawn().unwrap();
        let output = timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("the command ends").unwrap();
        Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command and leaves it to the test.
    pub(super) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments, &[]).spawn().unwrap()
    }

    /// Runs `serve` with defaults and expects it to give up by itself.
    pub(super) async fn serve_in_vain(&self, arguments: &[&str]) -> Ended {
        let defaults = ["serve", "--listen", "127.0.0.1:0"];
        let listens = arguments.contains(&"--listen");
        let defaults = if listens { &defaults[..1] } else { &defaults };
        self.run(&[defaults, arguments].concat()).await
    }

    /// Starts a gateway; it serves when this returns.
    pub(super) async fn serve(&self, arguments: &[&str]) -> Gateway {
        self.serve_with(arguments, &[]).await
    }

    /// Starts a gateway with variables.
    pub(super) async fn serve_with(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Gateway {
        let mut gateway = self.launch(arguments, variables);
        let line = gateway.line("listening on http://").await;
        let (_, address) = line.rsplit_once("http://").unwrap();
        gateway.address = address.parse().unwrap();
        gateway
    }

    /// Starts a gateway and does not wait for it.
    pub(super) fn launch(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Gateway {
        let defaults = ["serve", "--listen", "127.0.0.1:0"];
        let arguments = [&defaults, arguments].concat();
        let mut child = self.command(&arguments, variables).spawn().unwrap();
        let (lines, err) = watch::channel(String::new());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Gateway {
            reader: tokio::spawn(read_lines(stderr, lines)),
            child,
            err,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }

    /// The environment is empty, so that variables of whoever runs the tests change nothing.
    fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let binary = env!("CARGO_BIN_EXE_hayward");
        let mut command = match self.starter.split_first() {
            None => Command::new(binary),
            Some((program, before)) => {
                let mut command = Command::new(program);
                command.args(before).arg(binary);
                command
            }
        };
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

async fn read_lines(
    mut stderr: BufReader<tokio::process::ChildStderr>,
    lines: watch::Sender<String>,
) {
    let mut line = Vec::new();
    while stderr
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line).into_owned();
        lines.send_modify(|all| all.push_str(&text));
        line.clear();
    }
}

/// A gateway that was started.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
    reader: JoinHandle<()>,
    err: watch::Receiver<String>,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Gateway {
    /// Waits for a line with these words on standard error.
    pub(super) async fn line(&mut self, words: &str) -> String {
        let find = |all: &String| {
            all.lines()
                .find(|line| line.contains(words))
                .map(ToOwned::to_owned)
        };
        let waited = timeout(PATIENCE, self.err.wait_for(|all| find(all).is_some())).await;
        let found = waited.is_ok_and(|waited| waited.is_ok());
        let all = self.err.borrow().clone();
        assert!(found, "no line with `{words}` came:\n{all}");
        find(&all).unwrap()
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The base of its URLs.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a crash would.
    pub(super) async fn kill(mut self) -> Ended {
        self.child.start_kill().unwrap();
        self.ended().await
    }

    /// Asks it to end.
    pub(super) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Sends it a signal, by name.
    pub(super) async fn signal(&self, name: &str) {
        // Without `unsafe` there is no kill(2); the shell has it.
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", name, &pid])
            .status()
            .await;
        assert!(sent.unwrap().success());
    }

    /// Asks it to end and waits until it did.
    pub(super) async fn stop(self) -> Ended {
        self.terminate().await;
        self.ended().await
    }

    /// Waits until it ended.
    pub(super) async fn ended(mut self) -> Ended {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| {
            panic!("it does not end:\n{}", *self.err.borrow());
        });
        timeout(PATIENCE, self.reader).await.unwrap().unwrap();
        let mut out = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            stdout.read_to_string(&mut out).await.unwrap();
        }
        Ended {
            code: status.unwrap().code(),
            out,
            err: self.err.borrow().clone(),
        }
    }
}
