//! The pages people read: what happened, what was refused and why, what is nearly used up.
//!
//! Read-only by construction: it holds reading connections and no writer, and no route but login and logout
//! takes anything but GET. It works without scripts, and trusts none of the text it shows.

mod access;
mod agent;
mod agents;
mod attribute;
mod budget;
mod budget_chart;
mod budget_row;
mod budgets;
mod call;
mod call_export;
mod call_row;
mod call_tail;
mod call_text;
mod calls;
mod changes;
mod chart;
mod connect;
mod counters;
mod denials;
mod failure;
mod figures;
mod filter;
mod filters;
mod frame;
mod headers;
mod help;
mod integrity;
mod label;
mod latency;
mod login;
mod look;
mod openapi;
mod overview;
mod pairs;
mod policies;
mod policy;
mod policy_diff;
mod reasons;
mod report;
mod scope;
mod server;
mod servers;
mod session;
mod slices;
#[cfg(test)]
mod tests;
mod text_diff;
mod tool;
mod twins;
mod unused;
mod values;
mod visible;
mod visit;
mod who;
mod whole;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Redirect;
use axum::routing::{MethodRouter, get, post};
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use crate::audit::Accessed;
use crate::clock::Clock;
use crate::db::Readers;
use crate::policy::Permissions;
use crate::types::{Network, ServerState};

use failure::Failure;
use login::Attempts;
use session::Signer;
use twins::Form;

pub use report::{Month, Report, gather};

/// Where the application puts these routes; every link begins with it.
pub const BASE: &str = "/audit";

/// How long a page may take, waiting for a connection included.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a page waits for its turn to read.
const TURN: Duration = Duration::from_secs(5);

/// The longest login form, in bytes.
const MAX_FORM: usize = 4_096;

/// Who may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever logs in with a viewer's token, or comes with a viewer's header through a trusted proxy.
    Viewers,
    /// Everybody who reaches the listener: `--open-dashboard`.
    Open,
}

/// The rules in force, asked for once a request.
pub type PermissionsInForce = Arc<dyn Fn() -> Arc<Permissions> + Send + Sync>;

/// What is to be said about the rules beside what stands in them.
#[derive(Debug, Clone, Default)]
pub struct Remarks {
    /// Why a file as it is now is not used; on top of every page.
    pub complaints: Vec<String>,
    /// What rules that are only compared with would have decided otherwise; on the overview.
    pub shadow: Option<String>,
}

/// What is to be said about the rules, asked for once a request.
pub type Remarking = Arc<dyn Fn() -> Remarks + Send + Sync>;

/// Writes down who did what with the dashboard, which itself holds no writer. Resolves to true once that is durable,
/// and to false when it cannot be written.
pub type Recording = Arc<dyn Fn(Accessed) -> BoxFuture<'static, bool> + Send + Sync>;

/// How the servers do, asked for once a request.
pub type Servers = Arc<dyn Fn() -> Vec<ServerState> + Send + Sync>;

/// What the pages are made from.
#[derive(Clone)]
pub struct Dashboard {
    readers: Readers,
    permissions: PermissionsInForce,
    remarks: Option<Remarking>,
    recording: Option<Recording>,
    news: Option<watch::Receiver<i64>>,
    servers: Option<Servers>,
    clock: Arc<dyn Clock>,
    access: Access,
    trusted_proxies: Arc<[Network]>,
    signer: Signer,
    attempts: Arc<Attempts>,
    /// Places for people who watch calls as they end, and for lists that are taken away.
    watchers: Arc<Semaphore>,
    /// Who reads now. However many look at pages, one processor is left for calls.
    turns: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    /// When the gateway stops, nobody watches any more.
    stop: CancellationToken,
}

impl Dashboard {
    /// `key` signs the cookies of viewers; with a new key everybody logs in again.
    pub fn new(
        readers: Readers,
        permissions: PermissionsInForce,
        clock: Arc<dyn Clock>,
        access: Access,
        key: [u8; 32],
    ) -> Self {
        Self {
            readers,
            permissions,
            remarks: None,
            recording: None,
            news: None,
            servers: None,
            clock,
            access,
            trusted_proxies: Arc::default(),
            signer: Signer::new(&key),
            attempts: Arc::default(),
            watchers: Arc::new(Semaphore::new(call_tail::WATCHERS)),
            turns: Arc::new(Semaphore::new(turns())),
            exports: Arc::new(Semaphore::new(call_export::EXPORTS)),
            stop: CancellationToken::new(),
        }
    }

    /// Sends nobody away before this is cancelled, and everybody who watches then.
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Says this about the rules, too.
    pub fn with_remarks(self, remarks: Remarking) -> Self {
        Self {
            remarks: Some(remarks),
            ..self
        }
    }

    /// Has it written down who logs in and out, and what is taken away.
    pub fn with_recording(self, recording: Recording) -> Self {
        Self {
            recording: Some(recording),
            ..self
        }
    }

    /// Believes the reverse proxies in these networks what they say of viewers in headers.
    pub fn behind(self, proxies: &[Network]) -> Self {
        Self {
            trusted_proxies: proxies.into(),
            ..self
        }
    }

    /// Hears the sequence of the last durable event whenever there are more.
    pub fn with_news(self, news: watch::Receiver<i64>) -> Self {
        Self {
            news: Some(news),
            ..self
        }
    }

    /// Says how the servers do, too.
    pub fn with_servers(self, servers: Servers) -> Self {
        Self {
            servers: Some(servers),
            ..self
        }
    }

    /// How the servers do, by name; none where nobody says so.
    pub fn servers(&self) -> Vec<ServerState> {
        let servers = self.servers.as_ref();
        servers.map(|servers| servers()).unwrap_or_default()
    }

    /// Tells the sequence of the last durable event, after each commit; nothing where nobody tells it to us.
    pub fn news(&self) -> Option<watch::Receiver<i64>> {
        self.news.clone()
    }

    /// Writes down what somebody did. Says whether that is durable; without a log to write to there is nothing to
    /// write down.
    async fn record(&self, accessed: Accessed) -> bool {
        match &self.recording {
            Some(recording) => recording(accessed).await,
            None => true,
        }
    }

    /// Waits until a page may read; it is let go with what is returned.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or(Failure::Busy)
    }

    fn remarks(&self) -> Remarks {
        self.remarks
            .as_ref()
            .map(|remarks| remarks())
            .unwrap_or_default()
    }

    fn permissions(&self) -> Arc<Permissions> {
        (self.permissions)()
    }
}

/// Pages that may read at once: one processor less than there are.
fn turns() -> usize {
    let processors = std::thread::available_parallelism();
    processors.map_or(1, |number| number.get().saturating_sub(1).max(1))
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// The pages that only who is let in may read.
fn pages() -> Vec<(&'static str, MethodRouter<Dashboard>)> {
    vec![
        ("/", get(overview::page)),
        ("/calls", get(calls::page)),
        ("/calls/tail", get(call_tail::tail)),
        ("/calls/{id}", get(call::page)),
        ("/calls/{id}/bodies", get(call::bodies)),
        ("/agents", get(agents::page)),
        ("/agents/{name}", get(agent::page)),
        ("/servers", get(servers::page)),
        ("/servers/{name}", get(server::page)),
        ("/servers/{name}/tools/{tool}", get(tool::page)),
        ("/budgets", get(budgets::page)),
        ("/budgets/{id}", get(budget::page)),
        ("/policy", get(policies::page)),
        ("/policy/{revision}", get(policy::page)),
        ("/policy/diff/{pair}", get(policy_diff::page)),
        ("/integrity", get(integrity::page)),
        ("/access", get(access::page)),
        ("/denials", get(denials::page)),
        ("/connect", get(connect::page)),
        ("/help", get(help::page)),
        ("/openapi.json", get(openapi::page)),
        ("/report", get(report::latest)),
        ("/report/{month}", get(report::page)),
    ]
}

/// The lists that have twins for programs, and what makes their rows.
fn lists() -> Vec<(&'static str, twins::Making)> {
    vec![
        ("/agents", agents::table),
        ("/servers", servers::table),
        ("/budgets", budgets::table),
        ("/policy", policies::table),
        ("/denials", denials::table),
        ("/access", access::table),
        ("/servers/{name}/tools", server::table),
    ]
}

/// The pages, to be nested at [`BASE`]; [`mount`] does.
pub fn router(dashboard: Dashboard) -> Router {
    let style = format!("/{}", *headers::STYLE_NAME);
    let script = format!("/{}", *headers::SCRIPT_NAME);
    let guarded = pages()
        .into_iter()
        .fold(Router::new(), |router, (path, page)| {
            router.route(path, page)
        });
    let guarded = Form::ALL.into_iter().fold(guarded, |router, form| {
        let export = async move |peer, visit| call_export::export(form, peer, visit).await;
        router.route(&format!("/calls.{}", form.suffix()), get(export))
    });
    let guarded = lists().into_iter().fold(guarded, |router, (path, making)| {
        twins::add(router, path, making)
    });
    Router::new()
        .merge(guarded.route_layer(from_fn_with_state(dashboard.clone(), login::guard)))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/look", get(look::choose))
        .route(&style, get(headers::style))
        .route(&script, get(headers::script))
        .route("/icon.svg", get(headers::icon))
        .fallback(failure::elsewhere)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        // Streams of events are not compressed: they would wait in its buffer.
        .layer(map_response(whole::note))
        .layer(CompressionLayer::new())
        .layer(map_response(whole::compress))
        .layer(map_response(headers::add))
        .with_state(dashboard)
}

/// The pages where they belong, and the ways people miss them: `/` and a slash too many lead to the overview.
pub fn mount(dashboard: Dashboard) -> Router {
    let to_overview = || async { Redirect::to(BASE) };
    let astray = Router::new()
        .route("/", get(to_overview))
        .route(&format!("{BASE}/"), get(to_overview))
        .layer(map_response(headers::add));
    Router::new().nest(BASE, router(dashboard)).merge(astray)
}

/// Reads for a page within the deadline; past it, the statement under way is stopped.
async fn within<T>(reading: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(DEADLINE, reading).await {
        Ok(read) => read,
        Err(_) => Err(Failure::TooSlow),
    }
}
