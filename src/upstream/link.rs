//! One child process that runs: many calls at once over its standard input and output.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufRead, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::protocol::{Message, Object, RequestId, notification, request};

use super::asking::{Question, Told};
use super::audience::Hearers;
use super::child::{Group, Program};
use super::codec::{Outcome, no_message, printable};
use super::deadline::Deadline;
use super::lines::{Line, Read, Ticket, read_line, write_lines};
use super::listener::{Listener, cancellation};
use super::opening::locked;
use super::pending::{Left, Pending};
use super::{UpstreamError, limits};

/// So many lines of one process that make no sense are warned of; the rest is for debugging.
const WARNINGS: u32 = 10;

/// Whose process it is, for our log.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) server: String,
    pub(super) agent: String,
}

/// A running process. Dropping it ends the process in the background.
#[derive(Debug)]
pub(super) struct Link {
    shared: Arc<Shared>,
    lines: mpsc::Sender<Line>,
    over: CancellationToken,
    stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    died_at: Mutex<Option<Duration>>,
    clock: Arc<dyn Clock>,
    label: Label,
}

impl Link {
    /// Starts the process.
    ///
    /// # Errors
    /// `Unreachable` when it cannot be started.
    pub(super) fn start(
        program: &Program,
        clock: Arc<dyn Clock>,
        label: Label,
    ) -> Result<Self, UpstreamError> {
        let spawned = program.spawn().map_err(|error| {
            UpstreamError::Unreachable(format!("the process cannot be started: {error}"))
        })?;
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            died_at: Mutex::default(),
            clock,
            label,
        });
        let (lines, queue) = mpsc::channel(limits::CHILD_QUEUE);
        let (stop, over) = (CancellationToken::new(), CancellationToken::new());
        let stdout = BufReader::with_capacity(64 * 1024, spawned.stdout);
        let tasks = Tasks {
            reader: tokio::spawn(shared.clone().read(stdout, lines.clone())),
            writer: tokio::spawn(write_lines(spawned.stdin, queue)),
            stderr: tokio::spawn(drain(BufReader::new(spawned.stderr), shared.label.clone())),
        };
        tokio::spawn(
            shared
                .clone()
                .supervise(spawned.group, tasks, stop.clone(), over.clone()),
        );
        Ok(Self {
            shared,
            lines,
            over,
            stop: stop.drop_guard(),
        })
    }

    /// Passes on what belongs to no call as well.
    pub(super) fn listened_by(&self, hearers: Hearers) {
        locked(&self.shared.pending).listened_by(hearers);
    }

    /// An id for the next call.
    pub(super) fn next_id(&self) -> u64 {
        locked(&self.shared.pending).next_id()
    }

    /// Sends a request and waits for its answer. When it is dropped or given up, the process is told.
    pub(super) async fn call(
        &self,
        id: u64,
        method: &str,
        params: &Object,
        listener: Listener,
        deadline: &mut Deadline,
    ) -> Result<Outcome, UpstreamError> {
        let params = Some(params).filter(|params| !params.is_empty());
        let message = request(&RequestId::number(id), method, params);
        let answer = locked(&self.shared.pending).expect(id, listener)?;
        let mut giving_up = GivingUp {
            link: self,
            id,
            ticket: Ticket::default(),
            is_over: false,
        };
        let line = Line::new(message, &giving_up.ticket);
        let asking = async {
            // A closed queue drops the line unwritten, and the call is failed with all others.
            let _ = self.lines.send(line).await;
            answer.await.unwrap_or(Err(UpstreamError::TimedOut))
        };
        let answered = deadline.bound(asking).await;
        let answered = answered.unwrap_or(Err(UpstreamError::TimedOut));
        giving_up.is_over = answered.is_ok();
        match answered {
            Err(error) if giving_up.ticket.withdraw() => {
                Err(UpstreamError::Unreachable(error.to_string()))
            }
            answered => answered,
        }
    }

    /// Sends a notification.
    pub(super) async fn tell(&self, method: &str) -> Result<(), UpstreamError> {
        let line = Line::new(notification(method, None), &Ticket::default());
        let gone = |_| UpstreamError::Unreachable("the process ended".into());
        self.lines.send(line).await.map_err(gone)
    }

    /// When the process ended, in running time; `None` while it runs.
    pub(super) fn died_at(&self) -> Option<Duration> {
        *locked(&self.shared.died_at)
    }

    /// Ends the process and waits until it is gone.
    pub(super) async fn end(self: Arc<Self>) {
        let over = self.over.clone();
        self.stop_now();
        over.cancelled().await;
    }

    fn stop_now(&self) {
        self.stop.token().cancel();
    }
}

struct Tasks {
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
    stderr: JoinHandle<()>,
}

impl Shared {
    /// Sees a process through to its end, whichever way that comes.
    async fn supervise(
        self: Arc<Self>,
        mut group: Group,
        mut tasks: Tasks,
        stop: CancellationToken,
        over: CancellationToken,
    ) {
        let (why, is_read) = tokio::select! {
            () = group.ended() => ("the process ended", false),
            _ = &mut tasks.reader => ("the process closed its output", true),
            _ = &mut tasks.writer => ("the process takes no input", false),
            () = stop.cancelled() => ("the process was ended", false),
        };
        self.close(why);
        tasks.writer.abort();
        if is_read {
            locked(&self.pending).fail_all();
        }
        group.end().await;
        // What it wrote before it ended still counts.
        if !is_read {
            let _ = timeout(limits::CHILD_END, &mut tasks.reader).await;
        }
        locked(&self.pending).fail_all();
        tasks.reader.abort();
        tasks.stderr.abort();
        tracing::debug!(server = %self.label.server, agent = %self.label.agent, why, "a child process is gone");
        over.cancel();
    }

    fn close(&self, why: &str) {
        locked(&self.died_at).get_or_insert_with(|| self.clock.monotonic());
        locked(&self.pending).close(why);
    }

    /// Reads messages until the output is closed.
    async fn read(
        self: Arc<Self>,
        mut output: impl AsyncBufRead + Unpin,
        lines: mpsc::Sender<Line>,
    ) {
        let mut line = Vec::new();
        let mut warned = 0;
        loop {
            let left = match read_line(&mut output, &mut line, limits::ANSWER).await {
                Read::End => return,
                Read::Line if line.iter().all(u8::is_ascii_whitespace) => continue,
                Read::Line => self.take(&line),
                Read::TooLong => {
                    locked(&self.pending).fail_sole(UpstreamError::TooLarge(limits::ANSWER));
                    Left::Junk("too long".into())
                }
            };
            match left {
                Left::Nothing => {}
                // When the queue is full the server does not read, and would not read this either.
                Left::Reply(reply) => drop(lines.try_send(Line::new(reply, &Ticket::default()))),
                Left::Ask {
                    id,
                    method,
                    question,
                } => drop(tokio::spawn(carry_back(
                    id,
                    method,
                    question,
                    lines.clone(),
                ))),
                Left::Junk(why) => {
                    self.log_junk(&line, &why, warned < WARNINGS);
                    warned = warned.saturating_add(1);
                }
            }
            if line.capacity() > limits::ERROR_BODY {
                line = Vec::new();
            }
        }
    }

    fn take(&self, line: &[u8]) -> Left {
        let message = Message::parse(line);
        let mut pending = locked(&self.pending);
        let left = pending.route(message);
        // A server may log to its standard output what is JSON, but hardly what is JSON-RPC.
        if let Left::Junk(why) = &left
            && line.windows(9).any(|window| window == b"\"jsonrpc\"")
        {
            pending.fail_sole(UpstreamError::Broken(no_message(why)));
        }
        left
    }

    fn log_junk(&self, line: &[u8], why: &str, loud: bool) {
        let (server, agent) = (&self.label.server, &self.label.agent);
        let start = line
            .get(..line.len().min(4 * limits::LOG_LINE))
            .unwrap_or_default();
        let text = printable(&String::from_utf8_lossy(start), limits::LOG_LINE);
        if loud {
            tracing::warn!(%server, %agent, why, line = %text, "a child process wrote a line that is no message");
        } else {
            tracing::debug!(%server, %agent, why, line = %text, "a child process wrote a line that is no message");
        }
    }
}

/// Carries the answer to a question back, whenever the agent gives it.
async fn carry_back(
    id: RequestId,
    method: String,
    mut question: Question,
    lines: mpsc::Sender<Line>,
) {
    // A queue that is closed means that the process is gone, and with it the call that asked.
    let write = async |message| drop(lines.send(Line::new(message, &Ticket::default())).await);
    let answer = loop {
        match question.next(&id, &method).await {
            Told::Progress(message) => write(message).await,
            Told::Answer(message) => break message,
        }
    };
    drop(question);
    write(answer).await;
}

/// Reads what a process says on its standard error, so that it never waits for us, and logs it.
async fn drain(mut output: impl AsyncBufRead + Unpin, label: Label) {
    let mut line = Vec::new();
    while read_line(&mut output, &mut line, 4 * limits::LOG_LINE).await != Read::End {
        let text = printable(&String::from_utf8_lossy(&line), limits::LOG_LINE);
        tracing::debug!(server = %label.server, agent = %label.agent, line = %text, "stderr of a child process");
    }
}

/// Cancels a call that ends before its answer (MCP, base protocol, cancellation).
struct GivingUp<'a> {
    link: &'a Link,
    id: u64,
    ticket: Ticket,
    is_over: bool,
}

impl Drop for GivingUp<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        locked(&self.link.shared.pending).forget(self.id);
        if !self.ticket.withdraw() {
            let message = notification("notifications/cancelled", Some(&cancellation(self.id)));
            // A queue that is full will not be read in time either.
            drop(
                self.link
                    .lines
                    .try_send(Line::new(message, &Ticket::default())),
            );
        }
    }
}
