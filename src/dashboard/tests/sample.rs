//! A temporary log with two days of made-up calls, and rules with one viewer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use tempfile::TempDir;

use crate::audit::{Behind, Chained, Entry, Head, Kind, Names, append};
use crate::clock::ManualClock;
use crate::dashboard::{Access, Dashboard, Recording, mount};
use crate::db::{DbError, Durability, LogId, Readers, WriteTx, Writer, open, params};
use crate::policy::{
    Agent, Capture, Parts, Permissions, Place, RefusalStyle, Token, UngrantedStyle, Viewer,
    ViewerScope,
};
use crate::types::{CallId, Network, Revision, Timestamp, TokenHash, Zone};

/// Friday, 20 November 2026, 15:20:00 in Berlin.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_795_184_400_000_000);
pub(super) const VIEWER: &str = "hwd_viewer";
pub(super) const AGENT: &str = "hwd_agent";

const LOG: LogId = LogId([7; 16]);

/// A log under construction.
pub(super) struct Sample {
    folder: Arc<TempDir>,
    writer: Writer,
    names: Names,
    head: Head,
    calls: u8,
    serial: u64,
    pub(super) clock: Arc<ManualClock>,
}

/// One call to write down.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) ago: Duration,
    pub(super) agent: &'static str,
    pub(super) server: &'static str,
    pub(super) tool: &'static str,
    pub(super) client: &'static str,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            ago: Duration::from_secs(60),
            agent: "clawd",
            server: "outline",
            tool: "search_documents",
            client: "claude-code 2.1.0",
        }
    }
}

impl Sample {
    pub(super) async fn empty() -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        writer.identity(LOG.0, NOW).await.unwrap();
        Self {
            folder,
            writer,
            names: Names::default(),
            head: Head::empty(LOG),
            calls: 0,
            serial: 0,
            clock: Arc::new(ManualClock::at(NOW)),
        }
    }

    pub(super) async fn write(&mut self, entries: Vec<(Timestamp, Entry)>) {
        let chained: Vec<_> = entries
            .iter()
            .map(|(at, entry)| Chained::after(&mut self.head, LOG, &mut self.names, entry, *at))
            .collect();
        let names = &mut self.names;
        self.writer
            .transact(|tx| append(tx, names, &chained))
            .unwrap();
    }

    /// Lists the calls that are open, as the ledger does.
    pub(super) async fn list_open(&mut self) {
        let open = "INSERT OR REPLACE INTO open_call SELECT call_id, seq FROM event AS o
            WHERE kind = 'admitted' AND NOT EXISTS (
                SELECT 1 FROM event AS c WHERE c.call_id = o.call_id AND c.seq > o.seq)";
        for text in ["DELETE FROM open_call", open] {
            self.writer.transact(|tx| tx.execute(text, ())).unwrap();
        }
    }

    /// Builds lookups and sums of all that was written and packs those of days that are over, as the writer does.
    pub(super) async fn build(&mut self) {
        let mut behind = Behind::load(self.writer.connection()).await.unwrap();
        while behind.waiting(&self.head) > 0 {
            let slice = behind.next(self.writer.connection(), 1_024).await.unwrap();
            let mark = self.writer.transact(|tx| slice.write(tx)).unwrap();
            behind.built(mark);
        }
        while behind.has_to_pack() {
            if let Some(piece) = behind.next_to_pack(self.writer.connection()).await.unwrap() {
                self.writer.transact(|tx| piece.write(tx)).unwrap();
            }
        }
    }

    fn next_call(&mut self, at: Timestamp) -> CallId {
        self.serial += 1;
        let mut random = [0; 10];
        random[2..]
            .copy_from_slice(&(self.serial.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes());
        CallId::new(at, random)
    }

    fn opening(&mut self, made: &Made, kind: Kind) -> (Timestamp, CallId, Entry) {
        let at = before(made.ago);
        let call = self.next_call(at);
        let mut entry = Entry::new(kind)
            .text("method", "tools/call")
            .text("policy", "9f2c41d07a3e")
            .text("client", made.client)
            .number("bytes_in", 180 + self.serial % 700);
        entry.call = Some(call);
        entry.agent = Some(made.agent.parse().unwrap());
        entry.server = Some(made.server.parse().unwrap());
        entry.tool = Some(made.tool.into());
        (at, call, entry)
    }

    /// A call that was let through, with its closing event unless it is still under way.
    pub(super) fn allowed(
        &mut self,
        made: &Made,
        closing: Option<(Kind, &'static str)>,
    ) -> Vec<(Timestamp, Entry)> {
        let (at, call, entry) = self.opening(made, Kind::Admitted);
        let rule = format!("agents.{}.servers[0]", made.agent);
        let entry = entry.text("rule", &rule).number("line", 12);
        let mut entries = vec![(at, entry)];
        if let Some((kind, outcome)) = closing {
            let latency = 2_000 + self.serial.wrapping_mul(7_919) % 900_000;
            let mut end = Entry::new(kind)
                .text("outcome", outcome)
                .number("latency_us", latency)
                .number(
                    "bytes_out",
                    300 + self.serial.wrapping_mul(104_729) % 90_000,
                );
            end.call = Some(call);
            entries.push((at.after(Duration::from_micros(latency)), end));
        }
        entries
    }

    pub(super) fn denied(
        &mut self,
        made: &Made,
        reason: &'static str,
        message: &str,
    ) -> Vec<(Timestamp, Entry)> {
        let (at, _, entry) = self.opening(made, Kind::Denied);
        let mut entry = entry.text("message", message);
        entry.reason = Some(reason.into());
        vec![(at, entry)]
    }

    /// Puts events of the gateway itself on top, which no page shows.
    pub(super) async fn bury(&mut self, events: i64) {
        let text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO event (seq, at_us, kind, meta, hash)
            SELECT ?2 + i, ?3, 'started', '{}', zeroblob(32) FROM n";
        let at = before(Duration::from_secs(30_000)).micros();
        let values = [events, self.head.seq, at];
        self.writer.transact(|tx| tx.execute(text, values)).unwrap();
    }

    pub(super) async fn budget(
        &mut self,
        key: &str,
        [limit, used, held]: [i64; 3],
        hours: [u64; 2],
    ) {
        self.calls += 1;
        let id = i64::from(self.calls);
        let counts = [limit, used, held];
        self.writer
            .transact(|tx| insert_budget(tx, id, key, counts, hours))
            .unwrap();
    }

    /// Connections that read this log.
    pub(super) async fn readers(&self) -> Readers {
        Readers::open(&self.folder.path().join("log.db"))
            .await
            .unwrap()
    }

    pub(super) async fn router(&self, access: Access) -> Router {
        self.router_with(access, permissions()).await
    }

    pub(super) async fn router_with(&self, access: Access, permissions: Permissions) -> Router {
        let dashboard = self.dashboard(access, permissions).await;
        // The folder stays as long as its pages.
        mount(dashboard).layer(Extension(Arc::clone(&self.folder)))
    }

    /// Pages for viewers, behind reverse proxies that are trusted.
    pub(super) async fn router_behind(
        &self,
        proxies: &[Network],
        permissions: Permissions,
    ) -> Router {
        let dashboard = self.dashboard(Access::Viewers, permissions).await;
        mount(dashboard.behind(proxies)).layer(Extension(Arc::clone(&self.folder)))
    }

    pub(super) async fn dashboard(&self, access: Access, permissions: Permissions) -> Dashboard {
        let readers = Readers::open(&self.folder.path().join("log.db"))
            .await
            .unwrap();
        let permissions = Arc::new(permissions);
        let in_force = Arc::new(move || Arc::clone(&permissions));
        Dashboard::new(readers, in_force, self.clock.clone(), access, [9; 32])
    }

    /// The pages for viewers, with what is done with them written down like this.
    pub(super) async fn recording_router(&self, recording: Recording) -> Router {
        let path = self.folder.path().join("log.db");
        let readers = Readers::open(&path).await.unwrap();
        let permissions = Arc::new(permissions());
        let in_force = Arc::new(move || Arc::clone(&permissions));
        let clock = self.clock.clone();
        let dashboard = Dashboard::new(readers, in_force, clock, Access::Viewers, [9; 32]);
        let dashboard = dashboard.with_recording(recording);
        mount(dashboard).layer(Extension(Arc::clone(&self.folder)))
    }

    /// Two days in which several agents did this and that.
    pub(super) async fn busy() -> Self {
        let mut sample = Self::empty().await;
        let mut entries = Vec::new();
        for minute in (1..2_880_u64).rev().step_by(4) {
            entries.extend(sample.some_call(minute));
        }
        entries.sort_by_key(|(at, _)| *at);
        sample.write(entries).await;
        let budgets: [(&str, [i64; 3], [u64; 2]); 6] = [
            (
                "agents.designer/images[blend,imagine] calls/day@Europe/Berlin",
                [2, 2, 0],
                [15, 9],
            ),
            (
                "servers.images calls/hour@Europe/Berlin",
                [10, 6, 1],
                [1, 1],
            ),
            (
                "budgets.image-team calls/month@Europe/Berlin each agent=clawd",
                [40, 31, 0],
                [471, 249],
            ),
            (
                "agents.clawd calls/day@Europe/Berlin",
                [500, 212, 0],
                [15, 9],
            ),
            (
                "roles.writer/outline calls/week@Europe/Berlin each agent=designer",
                [200, 12, 0],
                [111, 57],
            ),
            (
                "servers.github[create_issue] calls/day@Europe/Berlin each tool=create_issue",
                [5, 5, 0],
                [15, 9],
            ),
        ];
        for (key, counts, hours) in budgets {
            sample.budget(key, counts, hours).await;
        }
        sample
    }

    fn some_call(&mut self, minute: u64) -> Vec<(Timestamp, Entry)> {
        let dice = minute.wrapping_mul(2_654_435_761) >> 7;
        let daytime = (minute / 60 + 9) % 24 < 12;
        let kinds = [
            ("clawd", "outline", "search_documents", "claude-code 2.1.0"),
            ("clawd", "github", "list_issues", "claude-code 2.1.0"),
            ("designer", "images", "imagine", "cursor 1.9"),
            ("clawd", "outline", "get_document", "claude-code 2.1.0"),
            ("ci", "github", "create_issue", "mcp-python 2.0.4"),
            ("designer", "outline", "search_documents", "cursor 1.9"),
        ];
        let (agent, server, tool, client) = kinds[usize::try_from(dice % 6).unwrap()];
        let made = Made {
            ago: Duration::from_secs(minute * 60 + dice % 60),
            agent,
            server,
            tool,
            client,
        };
        let settled = |outcome| Some((Kind::Settled, outcome));
        match (dice >> 3) % 40 {
            _ if !daytime && !dice.is_multiple_of(5) => Vec::new(),
            0 => self.allowed(&made, settled("tool_error")),
            1 => self.allowed(&made, Some((Kind::Failed, "timed_out"))),
            2 => self.allowed(&made, Some((Kind::Released, "unreachable"))),
            3 if minute < 30 => self.allowed(&made, None),
            4..=7 if tool == "imagine" => self.denied(
                &made,
                "budget",
                "2 of 2 calls used today for images/imagine; a new day begins at 2026-11-21T00:00:00+01:00",
            ),
            4 => self.denied(
                &Made { tool: "delete_repository", server: "github", ..made },
                "not_granted",
                "there is no grant for github/delete_repository; ask whoever keeps permissions.yaml",
            ),
            _ => self.allowed(&made, settled("ok")),
        }
    }
}

fn insert_budget(
    tx: &mut WriteTx<'_>,
    id: i64,
    key: &str,
    [limit, used, held]: [i64; 3],
    hours: [u64; 2],
) -> Result<(), DbError> {
    let [began, ends] = hours.map(|hours| Duration::from_secs(hours * 3_600 - 20 * 60));
    let budget = "INSERT INTO budget (id, key) VALUES (?, ?)";
    tx.prepare(budget)?.change(params![id, key])?;
    let window = "INSERT INTO budget_window
        (budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held)
        VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)";
    let (began, ends) = (before(began).micros(), NOW.after(ends).micros());
    tx.prepare(window)?
        .change(params![id, began, ends, limit, used, held])
}

pub(super) fn before(ago: Duration) -> Timestamp {
    Timestamp::from_micros(NOW.micros() - i64::try_from(ago.as_micros()).unwrap())
}

pub(super) fn parts() -> Parts {
    let place = |path: &str| Place {
        path: path.into(),
        line: 1,
    };
    let token = |text: &str| Token {
        hash: TokenHash::of(text),
        label: None,
        expires: None,
        place: place("token_hash"),
    };
    let agent = Agent {
        name: "clawd".parse().unwrap(),
        place: place("agents.clawd"),
        description: None,
        owner: None,
        tokens: vec![token(AGENT)],
        disabled: None,
        grants: Vec::new(),
        deny: Vec::new(),
        budgets: Vec::new(),
        rate: None,
        max_concurrent: None,
        from: None,
        refusals: RefusalStyle::ToolError,
        ungranted: UngrantedStyle::Explain,
        capture: Capture::default(),
    };
    let viewer = Viewer {
        name: "governance".parse().unwrap(),
        place: place("viewers.governance"),
        tokens: vec![token(VIEWER)],
        header: None,
        see: vec![ViewerScope::Metadata],
        agents: None,
    };
    Parts {
        revision: Revision::of(b"the rules"),
        zone: Zone::named("Europe/Berlin").unwrap(),
        servers: BTreeMap::new(),
        agents: BTreeMap::from([(agent.name.clone(), Arc::new(agent))]),
        pools: BTreeMap::new(),
        deny: Vec::new(),
        viewers: BTreeMap::from([(viewer.name.clone(), viewer)]),
    }
}

pub(super) fn permissions() -> Permissions {
    Permissions::new(parts())
}
