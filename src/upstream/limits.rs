//! How much a server may send, how long it may take, how many connections it may hold.

use std::time::Duration;

/// The longest wait for a connection, name lookup and TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// The longest opening of an HTTP server: probe, or `initialize`.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest opening of a child process. `npx` and `uvx` fetch the program first: with the ten seconds of
/// HTTP a cold start would be killed, started again, and killed again for ever.
pub(super) const CHILD_HANDSHAKE: Duration = Duration::from_secs(30);
/// The longest wait for the first word of an old transport: the URL that takes messages.
pub(super) const ENDPOINT: Duration = Duration::from_secs(5);
/// A child process that says nothing to `server/discover` for so long is taken for a legacy one.
pub(super) const CHILD_PROBE: Duration = Duration::from_secs(5);
/// A modern server that says nothing to `initialize` for so long is spoken to as that.
pub(super) const SECOND_PROBE: Duration = Duration::from_secs(5);
/// The longest call, whatever is configured.
pub(super) const CALL: Duration = Duration::from_secs(24 * 3_600);
/// The longest wait for a side message: a cancellation, an answer to a ping, the end of a session.
pub(super) const SIDE: Duration = Duration::from_secs(5);

/// Idle connections are given up before common servers give them up (Node.js and uvicorn after 5 s): a request
/// written to a connection that is just being closed there is lost, and may have been read.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The system asks after so long without a word whether the other end of a connection is still there: on a stream of
/// news silence is no sign of anything.
pub(super) const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Idle connections kept for one server.
pub(super) const KEEP_ALIVE_CONNECTIONS: usize = 64;

/// The largest JSON answer, and the largest line of a child process, in bytes.
pub(super) const ANSWER: usize = 16 * 1024 * 1024;
/// The largest event of a stream, in bytes.
pub(super) const EVENT: usize = 16 * 1024 * 1024;
/// The largest stream of events, in bytes.
pub(super) const STREAM: usize = 64 * 1024 * 1024;
/// The largest body of an answer with an error status, in bytes.
pub(super) const ERROR_BODY: usize = 1024 * 1024;
/// The largest head of an answer, in bytes.
pub(super) const HEAD: usize = 256 * 1024;
/// What is read of a stream after its answer, so that the connection can be used again.
pub(super) const AFTERTHOUGHT: usize = 64 * 1024;
/// The longest id of an event that is passed on, in bytes; it comes back to us in a header.
pub(super) const EVENT_ID: usize = 1024;
/// Requests of a server during one call that are answered; it gets silence after that.
pub(super) const COUNTER_REQUESTS: usize = 32;
/// Questions of a server to the agent that are open at once in one call; more are refused.
pub(super) const OPEN_ASKS: usize = 16;
/// How long the deadline of one call stands still, at most, while its agent is asked something: people answer.
pub(super) const ASK: Duration = Duration::from_secs(600);
/// The pause before a stream that ended early is taken up again (MCP 2025-11-25, transports, resumability);
/// doubles each time, up to the last. How often is for the deadline of the call to say.
pub(super) const RESUME_FIRST: Duration = Duration::from_millis(250);
/// The shortest pause, whatever the server says.
pub(super) const RESUME_LEAST: Duration = Duration::from_millis(50);
/// The longest pause before a stream is taken up again, when the server does not say how long to wait.
pub(super) const RESUME_LAST: Duration = Duration::from_secs(2);

/// Sessions towards one server.
pub(super) const SESSIONS: usize = 256;
/// Processes of one server.
pub(super) const PROCESSES: usize = 64;
/// Sessions that one agent with something to ask for uses at once; its next call waits for one of them.
pub(super) const LEASED_SESSIONS: usize = 16;
/// Processes that one agent with something to ask for uses at once; its next call waits for one of them.
pub(super) const LEASED_PROCESSES: usize = 4;
/// The longest wait for the head of a session's own stream; calls go on without it.
pub(super) const STREAM_HEAD: Duration = Duration::from_secs(2);
/// The longest pause before a session's own stream is opened again.
pub(super) const REOPEN_LAST: Duration = Duration::from_secs(30);
/// Ears that are open towards one server: one for each connection of an agent that there can be.
pub(super) const EARS: usize = 4_096;
/// Ears of one lane that are open towards one server: one for each stream that an agent without sessions may have.
pub(super) const LANE_EARS: usize = 64;
/// Resources that one ear wants to hear of; a server is not asked for more.
pub(super) const EAR_URIS: usize = 256;
/// The largest parameters of an update that wait for a slow listener, in bytes; of larger ones the `uri` is kept.
pub(super) const NEWS: usize = 64 * 1024;
/// The longest wait until a server agreed to what an ear wants to hear.
pub(super) const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// Subscriptions of resources that are asked for at the same time on one connection.
pub(super) const SUBSCRIBING: usize = 16;
/// A session or process that nobody used for so long is ended, but not while an ear listens to it.
pub(super) const IDLE: Duration = Duration::from_secs(600);
/// How often idle sessions and processes are looked for.
pub(super) const IDLE_CHECK: Duration = Duration::from_secs(30);

/// A legacy verdict works for ever on a server that has moved on, so it is checked again after an hour.
pub(super) const VERDICT: Duration = Duration::from_secs(3_600);
/// The pause between two checks of a verdict that could not be confirmed.
pub(super) const VERDICT_RETRY: Duration = Duration::from_secs(60);

/// The pause before a process that ended is started again; doubles with every failure.
pub(super) const RESTART_FIRST: Duration = Duration::from_millis(250);
/// The longest pause between two starts.
pub(super) const RESTART_LAST: Duration = Duration::from_secs(30);
/// The longest write to a child process. One that reads nothing for so long is stuck, and is ended.
pub(super) const CHILD_WRITE: Duration = Duration::from_secs(10);
/// Messages that wait to be written to one child process.
pub(super) const CHILD_QUEUE: usize = 64;
/// How long a child process may take to end by itself, and again after SIGTERM.
pub(super) const CHILD_END: Duration = Duration::from_secs(2);
/// The longest line of a child process that is shown in our log, in characters.
pub(super) const LOG_LINE: usize = 200;
/// The longest piece of a server's own words in one of our errors, in characters.
pub(super) const QUOTE: usize = 120;
/// The longest ending of all connections.
pub(super) const CLOSE: Duration = Duration::from_secs(8);
