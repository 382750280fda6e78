//! One gateway with everything around it.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayward::app::{self, Reloaded, Running, Settings, Source};
use hayward::audit::{Head, verify};
use hayward::clock::ManualClock;
use hayward::config;
use hayward::dashboard::Access;
use hayward::db::{Durability, Readers};
use hayward::http::{Guard, Limits};
use hayward::policy::Permissions;
use hayward::types::{Network, Timestamp, TokenHash};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::fake::Script;
use super::{Client, Event, FakeUpstream, events, soon};

/// The origin of pages that may use the gateway.
pub(crate) const PAGE: &str = "https://pages.example";

/// 2026-11-20 12:00:00 UTC, a Friday.
const START_US: i64 = 1_795_176_000_000_000;

/// The token of an agent or a viewer.
pub(crate) fn token(name: &str) -> String {
    format!("hwd_the_secret_token_of_{name}")
}

/// What a world is made of. In the policy, `"@name"` stands for the URL of the server that was given this name,
/// and otherwise for the hash of the token of whoever has it.
#[derive(Debug)]
pub(crate) struct Builder {
    scripts: Vec<(&'static str, Option<Script>)>,
    limits: Limits,
    access: Access,
    trusted_proxies: Vec<Network>,
    follows: bool,
    shadow: Option<String>,
}

impl Builder {
    /// A server that runs.
    pub(crate) fn server(mut self, name: &'static str, script: Script) -> Self {
        self.scripts.push((name, Some(script)));
        self
    }

    /// A server that nobody answers for.
    pub(crate) fn dead_server(mut self, name: &'static str) -> Self {
        self.scripts.push((name, None));
        self
    }

    pub(crate) fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Reverse proxies here are believed.
    pub(crate) fn trusted_proxy(mut self, network: &str) -> Self {
        self.trusted_proxies.push(network.parse().unwrap());
        self
    }

    /// The rules stand in a file, and changes of it are followed.
    pub(crate) fn follows(mut self) -> Self {
        self.follows = true;
        self
    }

    /// The same, with a second file to compare with.
    pub(crate) fn shadow(self, policy: &str) -> Self {
        let shadow = Some(policy.into());
        Self { shadow, ..self }.follows()
    }

    pub(crate) async fn start(self, policy: &str) -> World {
        let mut fakes = BTreeMap::new();
        let mut urls = BTreeMap::new();
        let mut deaf = Vec::new();
        for (name, script) in self.scripts {
            let url = match script {
                Some(script) => {
                    let fake = script.start().await;
                    let url = fake.url();
                    fakes.insert(name, fake);
                    url
                }
                None => {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                    let url = format!("http://{}/mcp", socket.local_addr().unwrap());
                    deaf.push(socket);
                    url
                }
            };
            urls.insert(name, url);
        }
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(START_US)));
        let (limits, access) = (self.limits, self.access);
        let at = Surroundings {
            file: folder.path().join("hayward.db"),
            clock,
            urls,
            limits,
            access,
            trusted_proxies: self.trusted_proxies,
            folder: self.follows.then(|| folder.path().into()),
            shadow: self.shadow,
        };
        let (running, permissions) = at.start(policy).await;
        World {
            running: Some(running),
            permissions,
            fakes,
            at,
            folder,
            clients_leave: false,
            events_go: false,
            _deaf: deaf,
        }
    }
}

#[derive(Debug)]
struct Surroundings {
    file: PathBuf,
    clock: Arc<ManualClock>,
    urls: BTreeMap<&'static str, String>,
    limits: Limits,
    access: Access,
    trusted_proxies: Vec<Network>,
    /// Where the files of rules stand, when they are followed.
    folder: Option<PathBuf>,
    shadow: Option<String>,
}

impl Surroundings {
    async fn start(&self, policy: &str) -> (Running, Permissions) {
        let text = self.fill_in(policy);
        let parse = |text: &str| {
            config::parse("permissions.yaml", text, &|_| None)
                .unwrap_or_else(|problems| panic!("{problems}\n{text}"))
        };
        let load = || {
            let mut policy = parse(&text);
            let beside = self.file.with_file_name("permissions.yaml");
            let lock = config::load_lock(&beside).unwrap();
            policy.permissions = policy.permissions.with_lock(lock);
            policy
        };
        let source = self.folder.as_ref().map(|folder| Source {
            policy: folder.join("permissions.yaml"),
            shadow: self.shadow.as_ref().map(|_| folder.join("shadow.yaml")),
            commit: None,
        });
        if source.is_some() {
            self.write("permissions.yaml", policy);
        }
        let shadow = self.shadow.as_ref().map(|shadow| {
            self.write("shadow.yaml", shadow);
            parse(&self.fill_in(shadow))
        });
        let settings = Settings {
            policy: load(),
            shadow,
            source,
            db: self.file.clone(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            durability: Durability::Process,
            access: self.access,
            trusted_proxies: self.trusted_proxies.clone(),
            guard: Guard::new(vec!["gateway.example".into()], vec![PAGE.into()]),
            limits: self.limits,
            environment: BTreeMap::new(),
            clock: self.clock.clone(),
            signing_key: None,
            checkpoints: None,
            accept_mismatch: false,
        };
        let running = soon("the start", app::start(settings)).await.unwrap();
        (running, load().permissions)
    }

    /// Puts a file in place in one step.
    fn write(&self, name: &str, policy: &str) {
        let folder = self.folder.as_ref().expect("rules are followed");
        let path = folder.join(name);
        let whole = path.with_extension("new");
        std::fs::write(&whole, self.fill_in(policy)).unwrap();
        std::fs::rename(whole, path).unwrap();
    }

    fn fill_in(&self, policy: &str) -> String {
        let mut parts = policy.split("\"@");
        let mut text = parts.next().unwrap().to_string();
        for part in parts {
            let (name, rest) = part.split_once('"').unwrap();
            let meant = match self.urls.get(name) {
                Some(url) => url.clone(),
                None => TokenHash::of(&token(name)).to_policy_form(),
            };
            text.push_str(&format!("\"{meant}\"{rest}"));
        }
        text
    }
}

/// A gateway that serves, with its servers and its file. It has to be stopped, which checks what must hold after
/// every test.
#[derive(Debug)]
pub(crate) struct World {
    running: Option<Running>,
    pub(crate) permissions: Permissions,
    fakes: BTreeMap<&'static str, FakeUpstream>,
    at: Surroundings,
    folder: TempDir,
    /// Clients of 2026-07-28 may leave while their call is on its way to the server.
    clients_leave: bool,
    /// Events are pruned, so that what servers were asked cannot be counted in the log any more.
    events_go: bool,
    /// Ports of servers that nobody answers for; held, so that the system gives them to nobody else.
    _deaf: Vec<TcpSocket>,
}

impl World {
    pub(crate) fn builder() -> Builder {
        Builder {
            scripts: Vec::new(),
            limits: Limits::default(),
            access: Access::Open,
            trusted_proxies: Vec::new(),
            follows: false,
            shadow: None,
        }
    }

    /// One agent `clawd` with one server `images` of the older era, and this under the server's entry.
    pub(crate) async fn small(rest_of_server: &str) -> Self {
        let builder = Self::builder().server("images", FakeUpstream::legacy());
        builder.start(&Self::small_policy(rest_of_server)).await
    }

    /// The rules of that.
    pub(crate) fn small_policy(rest_of_server: &str) -> String {
        format!(
            "servers: {{images: {{url: \"@images\", {rest_of_server}}}}}
agents: {{clawd: {{token_hash: \"@clawd\", servers: [\"*\"]}}}}"
        )
    }

    /// Rules as the gateway reads them, with its servers and tokens in their places.
    pub(crate) fn filled(&self, policy: &str) -> String {
        self.at.fill_in(policy)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// A client with the token of this agent.
    pub(crate) fn agent(&self, name: &str) -> Client {
        Client::new(self.address(), Some(token(name)))
    }

    /// A client without a token.
    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.address(), None)
    }

    pub(crate) fn server(&self, name: &str) -> &FakeUpstream {
        &self.fakes[name]
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.at.clock
    }

    /// Moves the clock to just so much before an instant written as RFC 3339.
    pub(crate) fn set_clock(&self, before: Duration, instant: &str) {
        let instant: jiff::Timestamp = instant.parse().unwrap();
        let micros = instant.as_microsecond() - i64::try_from(before.as_micros()).unwrap();
        self.at.clock.set(Timestamp::from_micros(micros));
    }

    /// From now on clients of 2026-07-28 may leave at any moment, which cancels their calls: nobody knows then whether
    /// the server read them.
    pub(crate) fn let_clients_leave(&mut self) {
        self.clients_leave = true;
    }

    /// From now on events may be pruned.
    pub(crate) fn let_events_go(&mut self) {
        self.events_go = true;
    }

    pub(crate) fn file(&self) -> &Path {
        &self.at.file
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        events(&self.at.file).await
    }

    /// Waits until so many calls were refused, one by one or counted.
    pub(crate) async fn until_denied(&self, number: i64) {
        let readers = Readers::open(&self.at.file).await.unwrap();
        let denied = "SELECT (SELECT count(*) FROM event WHERE kind = 'denied')
            + (SELECT coalesce(sum(times), 0) FROM repeat)";
        soon("so many are refused", async {
            loop {
                let denied: i64 = sqlx::query_scalar(denied)
                    .fetch_one(readers.pool())
                    .await
                    .unwrap();
                if denied >= number {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        readers.close().await;
    }

    /// What one budget counts in the window of the last call.
    pub(crate) async fn used(&self, key: &str) -> i64 {
        let readers = Readers::open(&self.at.file).await.unwrap();
        let used = "SELECT used FROM budget_window JOIN budget ON id = budget_id
            WHERE key LIKE $1 || '%' ORDER BY starts_at_us DESC LIMIT 1";
        let used: Option<i64> = sqlx::query_scalar(used)
            .bind(key)
            .fetch_optional(readers.pool())
            .await
            .unwrap();
        readers.close().await;
        used.unwrap_or_else(|| panic!("no budget begins with {key}"))
    }

    /// Puts other rules in place and has them read.
    pub(crate) async fn reload(&self, policy: &str) -> Reloaded {
        self.write("permissions.yaml", policy);
        self.read_rules().await
    }

    /// Puts other rules in place and leaves it to the gateway to find them.
    pub(crate) fn write(&self, name: &str, policy: &str) {
        self.at.write(name, policy);
    }

    /// Has the rules read.
    pub(crate) async fn read_rules(&self) -> Reloaded {
        let running = self.running.as_ref().unwrap();
        soon("the rules are read", running.reload()).await.unwrap()
    }

    /// A file or a folder beside the database.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `/health` says.
    pub(crate) async fn health(&self) -> serde_json::Value {
        self.stranger().get("/health").send().await.json()
    }

    /// Waits until `/health` says so.
    pub(crate) async fn until_health(
        &self,
        what: &str,
        is_so: impl Fn(&serde_json::Value) -> bool,
    ) {
        soon(what, async {
            while !is_so(&self.health().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Stops the gateway and starts it again on the same file, with these rules.
    pub(crate) async fn restart(&mut self, policy: &str) {
        self.halt().await;
        self.go_on(policy).await;
    }

    /// Puts a `tools.lock` in place for the next start; `None` takes it away.
    pub(crate) fn set_lock(&self, text: Option<&str>) {
        let path = self.at.file.with_file_name("tools.lock");
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }

    /// Starts a gateway that was halted again, with these rules.
    pub(crate) async fn go_on(&mut self, policy: &str) {
        let (running, permissions) = self.at.start(policy).await;
        self.running = Some(running);
        self.permissions = permissions;
    }

    /// Stops the gateway in order, checks what must hold after every test, and leaves the folder with the file.
    pub(crate) async fn stop(mut self) -> Stopped {
        let head = self.halt().await;
        Stopped {
            head,
            file: self.at.file.clone(),
            _folder: std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()),
        }
    }

    /// Stops the gateway, so that its file can be worked on.
    pub(crate) async fn halt(&mut self) -> Head {
        let running = self.running.take().unwrap();
        let head = soon("the stop", running.stop()).await.unwrap();
        assert_sound(&self.at.file, head).await;
        if !self.events_go {
            self.assert_nothing_passed_unrecorded().await;
        }
        self.assert_no_token_is_kept();
        head
    }

    /// INVARIANT: what servers were asked is what was admitted, less what the log says never reached them. What was
    /// cancelled while it was on its way may have reached them.
    async fn assert_nothing_passed_unrecorded(&self) {
        let events = self.events().await;
        let of_kind = |kind: &'static str| events.iter().filter(move |event| event.kind == kind);
        let released: HashSet<&str> = of_kind("released")
            .map(|event| event.text("call"))
            .collect();
        let cancelled: HashSet<&str> = of_kind("failed")
            .filter(|event| self.clients_leave && event.text("outcome") == "cancelled")
            .map(|event| event.text("call"))
            .collect();
        for (name, fake) in &self.fakes {
            // At an older server an ear is part of the connection: the stream is no request, and what is subscribed
            // on it once serves all ears.
            let is_request = |event: &&Event| {
                let hears = [
                    "subscriptions/listen",
                    "resources/subscribe",
                    "resources/unsubscribe",
                ];
                fake.is_modern() || !hears.contains(&event.text("method"))
            };
            let sent = of_kind("admitted").filter(is_request).filter(|event| {
                event.text("server") == *name && !released.contains(event.text("call"))
            });
            let (perhaps, surely): (Vec<&Event>, Vec<&Event>) =
                sent.partition(|event| cancelled.contains(event.text("call")));
            let reached = fake.requests().len();
            assert!(
                (surely.len()..=surely.len() + perhaps.len()).contains(&reached),
                "{reached} requests at `{name}` are the admitted calls, {} and {} cancelled",
                surely.len(),
                perhaps.len()
            );
        }
    }

    fn assert_no_token_is_kept(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let secret = token("");
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "a token stands in {}", path.display());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let forgotten = self.running.is_some() && !std::thread::panicking();
        assert!(!forgotten, "a test ends with `world.stop()`");
    }
}

/// What is left of a world.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) head: Head,
    pub(crate) file: PathBuf,
    _folder: TempDir,
}

async fn assert_sound(file: &Path, head: Head) {
    let readers = Readers::open(file).await.unwrap();
    let verified = verify(&readers, Some(head.hash), |_| ()).await.unwrap();
    assert_eq!(verified.faults, [], "the log verifies");
    assert_eq!(verified.head, head, "the head is the one the gateway named");
    assert_eq!(verified.open_calls, 0, "every call is closed");
    for left in [
        "SELECT count(*) FROM open_call",
        "SELECT count(*) FROM hold",
        "SELECT count(*) FROM budget_window WHERE held <> 0",
    ] {
        let left_over: i64 = sqlx::query_scalar(left)
            .fetch_one(readers.pool())
            .await
            .unwrap();
        assert_eq!(left_over, 0, "{left}");
    }
    readers.close().await;
}
