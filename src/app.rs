//! The composition root: opens the file, connects the rooms, listens, and takes it all down again in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::middleware::from_fn_with_state;
use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::audit::{self, Accessed, Fault, Head, Known, Redactor, SigningKey};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::dashboard::{Access, Dashboard, Remarks};
use crate::db::{Durability, Readers};
use crate::gateway::{Gateway, PolicyState, Setup, WriterTask};
use crate::http::{Guard, Limits};
use crate::types::{Connection, Network, Timestamp};
use crate::upstream::Upstreams;
use crate::{dashboard, db, http, telemetry};

mod aside;
mod findings;
mod reload;
pub mod socket;

pub use reload::{Reloaded, Source};

use aside::Aside;
use findings::warn_of_headers;
use reload::{Asker, Reloader, version};
use socket::OrderSocket;

/// How often refusals that were only counted are written down, and calls are given up whose agents did not come back
/// in time.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How long calls in flight may go on after the end was announced, whether their agents wait or hung up; then
/// they cost what they hold.
const CALLS_DRAIN: Duration = Duration::from_secs(20);

/// How long the writer may take to close the file.
const WRITER_DRAIN: Duration = Duration::from_secs(10);

/// Everything a gateway is started with.
#[derive(Debug)]
pub struct Settings {
    /// The policy file, read and checked.
    pub policy: Loaded,
    /// Rules that decide nothing and are only compared with.
    pub shadow: Option<Loaded>,
    /// The files of both, when changes of them are to be followed.
    pub source: Option<Source>,
    /// The database file.
    pub db: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What a commit survives.
    pub durability: Durability,
    /// Who may read the dashboard.
    pub access: Access,
    /// The networks of reverse proxies that are believed what they say of viewers.
    pub trusted_proxies: Vec<Network>,
    /// Which hosts and origins are ours.
    pub guard: Guard,
    /// What a listener takes.
    pub limits: Limits,
    /// Variables of this process, a handful of which child processes inherit.
    pub environment: BTreeMap<String, String>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The key that signs checkpoints of the log.
    pub signing_key: Option<SigningKey>,
    /// The file that checkpoints are exported to; best on another machine.
    pub checkpoints: Option<PathBuf>,
    /// Whether to start on a log that does not verify; it is written down.
    pub accept_mismatch: bool,
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; the port is filled in when any was asked for.
    pub address: SocketAddr,
    /// The end of the log when it started; worth noting elsewhere.
    pub head: Head,
    gateway: Arc<Gateway>,
    readers: Readers,
    pages: Pages,
    stop: CancellationToken,
    server: JoinHandle<()>,
    housekeeping: JoinHandle<()>,
    orders: JoinHandle<()>,
    /// What follows the policy files, and how it is asked to read them.
    reloads: Option<(Asker, JoinHandle<()>)>,
    writer: WriterTask,
}

/// What pages are made with.
#[derive(Debug)]
struct Pages {
    aside: Aside,
    readers: Readers,
    /// Reads ahead for them.
    warming: AbortOnDropHandle<()>,
}

impl Pages {
    /// Connections of their own, whose threads give way as those do that open them.
    async fn start(path: &Path, at: Timestamp) -> anyhow::Result<Self> {
        let aside = Aside::start().context("no thread for pages can be started")?;
        let path = path.to_owned();
        let readers = aside.run(async move { Readers::open_new(&path).await });
        let readers = readers.await.context("pages cannot be read")??;
        let ahead = readers.clone();
        let warming = aside.run(async move { read_ahead(&ahead, at).await });
        Ok(Self {
            aside,
            readers,
            warming,
        })
    }
}

async fn read_ahead(readers: &Readers, at: Timestamp) {
    match audit::read::warm(readers, at).await {
        Ok(rows) => tracing::debug!(rows, "what pages read most is in memory"),
        Err(error) => tracing::debug!(%error, "pages read for themselves what is not in memory"),
    }
}

/// Starts a gateway. It serves when this returns.
///
/// # Errors
/// When the port is taken, the database cannot be used, or a server's settings cannot.
pub async fn start(settings: Settings) -> anyhow::Result<Running> {
    let Settings {
        policy,
        shadow,
        source,
        db: path,
        listen,
        durability,
        access,
        trusted_proxies,
        guard,
        limits,
        environment,
        clock,
        signing_key,
        checkpoints,
        accept_mismatch,
    } = settings;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; is another program using the port?")
    })?;
    let address = listener.local_addr()?;
    let redactor = redactor(&policy);
    let upstreams = Upstreams::new(policy.connections, &environment, Arc::clone(&clock));
    let upstreams = upstreams.map_err(|(server, error)| anyhow!("server `{server}`: {error}"))?;
    let upstreams = Arc::new(upstreams);
    let database = db::open(&path, durability).await?;
    let readers = Readers::open_new(&path).await?;
    let accepted = check(&readers, accept_mismatch).await?;
    let shadow = shadow.map(|shadow| Arc::new(shadow.permissions));
    let revisions = (version(&policy.permissions), shadow.as_deref().map(version));
    let (gateway, writer, head) = Gateway::start(Setup {
        permissions: Arc::new(policy.permissions),
        commit: source
            .as_ref()
            .and_then(|source| source.commit(revisions.0.0, revisions.0.0)),
        text: policy.text,
        shadow,
        upstreams,
        database,
        readers: readers.clone(),
        durability,
        clock: Arc::clone(&clock),
        signing_key,
        checkpoints,
        redactor,
        accepted,
    })
    .await?;
    warn_of_headers(&gateway.permissions(), &trusted_proxies);
    let trusted_proxies: Arc<[Network]> = trusted_proxies.into();
    let stop = CancellationToken::new();
    let pages = Pages::start(&path, clock.now()).await?;
    let dashboard = dashboard(&gateway, &pages.readers, access, Arc::clone(&clock))
        .behind(&trusted_proxies)
        .until(stop.clone());
    let dashboard =
        dashboard::mount(dashboard).layer(from_fn_with_state(pages.aside.handle(), aside::answer));
    let routes = http::router(Arc::clone(&gateway), clock)
        .merge(dashboard)
        .layer(from_fn_with_state(Arc::new(guard), http::guard));
    let followed = source.filter(|source| {
        let can_be = source.can_be_followed();
        if !can_be {
            tracing::warn!(
                "the rules do not come from a file that can be read again: changes need a restart"
            );
        }
        can_be
    });
    let reloads = followed.map(|source| {
        let at = Arc::clone(&gateway);
        let (reloader, asker) = Reloader::new(at, source, environment, trusted_proxies, revisions);
        (asker, tokio::spawn(reloader.run(stop.clone())))
    });
    Ok(Running {
        address,
        head,
        server: tokio::spawn(http::serve(listener, routes, limits, stop.clone())),
        housekeeping: tokio::spawn(keep_house(Arc::clone(&gateway), stop.clone())),
        orders: tokio::spawn(take_orders(
            order_socket(&path),
            Arc::clone(&gateway),
            stop.clone(),
        )),
        reloads,
        gateway,
        readers,
        pages,
        stop,
        writer,
    })
}

/// Knows the secrets of the servers, and keeps them out of the log of this process as well.
fn redactor(policy: &Loaded) -> Arc<Redactor> {
    let secrets = policy.connections.values().flat_map(Connection::secrets);
    let redactor = Arc::new(Redactor::new(secrets.collect()));
    let lines = Arc::clone(&redactor);
    telemetry::clean_with(move |line| lines.text(line).into_owned());
    redactor
}

/// Looks whether the end of the log and the ledger are what was written. Returns what is wrong and was accepted.
async fn check(readers: &Readers, accept: bool) -> anyhow::Result<Option<String>> {
    let found = audit::verify_quickly(readers, Known::default()).await?;
    let faults = found.map(|found| found.faults).unwrap_or_default();
    // That a checkpoint came late is worth knowing and no reason to stand still.
    let faults = faults
        .into_iter()
        .filter(|fault| !matches!(fault, Fault::Stale { .. }));
    let faults: Vec<Fault> = faults.collect();
    let Some(first) = faults.first() else {
        return Ok(None);
    };
    if accept {
        tracing::warn!(%first, "the log does not verify; --accept-mismatch goes on all the same");
        return Ok(Some(first.to_string()));
    }
    let more = match faults.len() {
        1 => String::new(),
        many => format!(" (and {} more)", many.saturating_sub(1)),
    };
    Err(anyhow!(
        "the log is not what was written: {first}{more}; `hayward audit verify` checks all of it. Put a backup in \
         place, have counts put right with `hayward budget verify --repair`, or start with --accept-mismatch, which is \
         written down"
    ))
}

/// The dashboard, and what it asks the gateway.
fn dashboard(
    gateway: &Arc<Gateway>,
    readers: &Readers,
    access: Access,
    clock: Arc<dyn Clock>,
) -> Dashboard {
    let in_force = Arc::clone(gateway);
    let permissions = Arc::new(move || in_force.permissions());
    let key = crate::gateway::random();
    let pages = Dashboard::new(readers.clone(), permissions, clock, access, key);
    let (rules, log, servers) = (
        Arc::clone(gateway),
        Arc::clone(gateway),
        Arc::clone(gateway),
    );
    pages
        .with_remarks(Arc::new(move || remarks(&rules.policy_state())))
        .with_recording(Arc::new(move |accessed| {
            record(Arc::clone(&log), accessed).boxed()
        }))
        .with_news(gateway.news())
        .with_servers(Arc::new(move || servers.server_states()))
}

/// Says whether it is written down now that somebody used the pages.
async fn record(gateway: Arc<Gateway>, accessed: Accessed) -> bool {
    let recorded = gateway.note_accessed(&accessed).await;
    if let Err(error) = &recorded {
        let what = accessed.what.as_str();
        tracing::warn!(what, %error, "somebody used the dashboard, which is not written down");
    }
    recorded.is_ok()
}

/// What the pages say about the rules.
fn remarks(state: &PolicyState) -> Remarks {
    let shadow = state.shadow.as_ref();
    let complaints = [
        state.live.complaint.clone(),
        shadow.and_then(|(file, _)| file.complaint.clone()),
    ];
    Remarks {
        complaints: complaints.into_iter().flatten().collect(),
        shadow: shadow.map(|(file, differences)| {
            format!(
                "Shadow rules {}: of {} decisions compared since the start, {} calls that went through would have been \
                 refused, and {} that were refused would have gone through.",
                file.revision.short(),
                differences.compared,
                differences.would_deny,
                differences.would_allow
            )
        }),
    }
}

/// Without a socket the gateway does its work all the same: some file systems know none.
fn order_socket(db: &Path) -> Option<OrderSocket> {
    let socket = OrderSocket::bind(db);
    let socket = socket.inspect_err(|error| {
        let path = socket::path_of(db);
        tracing::warn!(path = %path.display(), %error, "this gateway takes no orders while it runs");
    });
    socket.ok()
}

async fn take_orders(socket: Option<OrderSocket>, gateway: Arc<Gateway>, stop: CancellationToken) {
    if let Some(socket) = socket {
        socket.serve(gateway, stop).await;
    }
}

async fn keep_house(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut every = interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                gateway.end_expired();
                gateway.note_counted().await;
            }
        }
    }
}

impl Running {
    /// Resolves when the writer of the log has failed: no call can be let through any more.
    pub async fn writer_gone(&self) {
        self.gateway.writer_gone().await;
    }

    /// Reads the policy files anew and puts what changed in force; `None` where they are not followed.
    pub async fn reload(&self) -> Option<Reloaded> {
        let (asker, _) = self.reloads.as_ref()?;
        asker.ask().await
    }

    /// Has the policy files read anew, in a moment. Says whether they are followed.
    pub fn ask_reload(&self) -> bool {
        match &self.reloads {
            Some((asker, _)) => {
                asker.ask_and_go();
                true
            }
            None => false,
        }
    }

    /// Stops taking requests, lets those in flight finish, notes the stop and closes the file. Returns the
    /// head of the log.
    ///
    /// # Errors
    /// When the last events could not be written; the next start closes what is open.
    pub async fn stop(self) -> anyhow::Result<Head> {
        let Self {
            gateway,
            readers,
            pages,
            stop,
            server,
            housekeeping,
            orders,
            reloads,
            writer,
            ..
        } = self;
        stop.cancel();
        gateway.end_streams();
        let announced = Instant::now();
        server.await.context("the listener failed")?;
        housekeeping.await.context("the housekeeping failed")?;
        orders.await.context("the taking of orders failed")?;
        if let Some((asker, following)) = reloads {
            drop(asker);
            following.await.context("following the rules failed")?;
        }
        gateway
            .drain(CALLS_DRAIN.saturating_sub(announced.elapsed()))
            .await;
        gateway.note_counted().await;
        let upstreams = gateway.upstreams();
        // Before the writer: whoever closes the file last moves the write-ahead log into it, and readers cannot.
        drop(pages.warming);
        pages.readers.close().await;
        readers.close().await;
        drop(gateway);
        let written = timeout(WRITER_DRAIN, writer).await;
        upstreams.close().await;
        let head = written
            .context("the log could not be closed in time")?
            .context("the writer failed")??;
        Ok(head)
    }
}

#[cfg(test)]
mod tests;
