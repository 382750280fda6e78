//! Writes a log as large as years of use make it: real events in their chain, with budgets, checkpoints, lookups
//! and sums, by the functions the gateway itself writes with. `hayward audit verify` proves it like any other.
//!
//! `cargo run --release --example fill -- FILE --events 10000000`

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use hayward::audit::{self, Behind, Chained, Checkpoint, EVENTS, EVERY, Entry, Head, Kind, Names};
use hayward::budget::{self, Books, Ending, Hold, LedgerRows};
use hayward::clock::{Clock, SystemClock};
use hayward::db::{self, Durability, LogId, Writer};
use hayward::policy::{Charge, Place, Refund};
use hayward::types::{BudgetKey, CallId, Timestamp, Zone};

/// Events in one transaction.
const BATCH: usize = 2_048;

/// Batches after which the write-ahead log is moved into the file.
const BATCHES: usize = 8;

/// Tools of one server.
const TOOLS_OF_A_SERVER: u64 = 10;

/// The server whose calls cost money.
const PAID_SERVER: u64 = 3;

#[derive(Debug, Parser)]
struct Arguments {
    /// The database to make; it must not exist
    file: PathBuf,
    /// Events to write, about two a call
    #[arg(long, default_value_t = 10_000_000)]
    events: i64,
    /// Agents, the first ones far busier than the last
    #[arg(long, default_value_t = 100)]
    agents: u64,
    /// Tools, ten a server, in the same way
    #[arg(long, default_value_t = 300)]
    tools: u64,
    /// Days over which the events are spread; the last one ends now
    #[arg(long, default_value_t = 365)]
    days: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        !arguments.file.exists(),
        "`{}` exists",
        arguments.file.display()
    );
    let mut log = Log::create(&arguments).await?;
    let ends = SystemClock::start().now();
    let span = Duration::from_secs(arguments.days * 86_400);
    let begins = Timestamp::from_micros(ends.micros() - i64::try_from(span.as_micros())?);
    log.mark(Entry::new(Kind::Started), begins);
    while log.head.seq < arguments.events {
        // What is done of the events is gone of the time.
        let done = span.as_micros() * u128::try_from(log.head.seq)?;
        let at = done / u128::try_from(arguments.events)?;
        log.call(begins.after(Duration::from_micros(u64::try_from(at)?)))?;
        if log.events.len() >= BATCH {
            log.write().await?;
        }
    }
    log.end(ends).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} events, head {}", log.head.seq, log.head.hex())?;
    Ok(())
}

/// The log and everything that is kept with it.
struct Log {
    database: Writer,
    id: LogId,
    head: Head,
    names: Names,
    books: Books,
    behind: Behind,
    dice: Dice,
    agents: u64,
    tools: u64,
    /// Calls under way, by the time they end.
    open: BinaryHeap<Reverse<(Timestamp, CallId)>>,
    ends: HashMap<CallId, (Entry, Hold)>,
    /// Calls that were opened since the last batch, with the sequence of their event.
    fresh: HashMap<CallId, i64>,
    events: Vec<Chained>,
    ledger: LedgerRows,
    taken: Option<(i64, Timestamp)>,
    last: (i64, Timestamp),
    now: Timestamp,
    batches: usize,
}

impl Log {
    async fn create(arguments: &Arguments) -> anyhow::Result<Self> {
        let mut database = db::open(&arguments.file, Durability::Process).await?;
        let id = database.identity([42; 16], Timestamp::default()).await?;
        Ok(Self {
            database,
            id,
            head: Head::empty(id),
            names: Names::default(),
            books: Books::default(),
            behind: Behind::default(),
            dice: Dice(1),
            agents: arguments.agents,
            tools: arguments.tools,
            open: BinaryHeap::new(),
            ends: HashMap::new(),
            fresh: HashMap::new(),
            events: Vec::new(),
            ledger: LedgerRows::default(),
            taken: None,
            last: (0, Timestamp::default()),
            now: Timestamp::default(),
            batches: 0,
        })
    }

    fn chain(&mut self, entry: &Entry) -> i64 {
        let event = Chained::after(&mut self.head, self.id, &mut self.names, entry, self.now);
        let seq = event.seq();
        self.events.push(event);
        seq
    }

    /// An event that says what the end of the chain is.
    fn mark(&mut self, entry: Entry, at: Timestamp) {
        self.now = self.now.max(at);
        let taken = Checkpoint::take(self.id, self.head, self.now, None);
        let seq = self.chain(&taken.in_entry(entry));
        self.last = (seq, self.now);
        self.taken = Some(self.last);
    }

    /// Goes on to an instant: what ended until then ends, and a checkpoint is taken when one is due.
    fn go_on(&mut self, at: Timestamp) {
        while let Some(Reverse((ends, call))) = self.open.peek().copied()
            && ends <= at
        {
            self.open.pop();
            self.step(ends);
            self.close(call);
        }
        self.step(at);
    }

    fn step(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        let (seq, taken) = self.last;
        if self.now >= taken.after(EVERY) || self.head.seq - seq >= EVENTS {
            self.mark(Entry::new(Kind::Checkpoint), self.now);
        }
    }

    /// One call, let through or refused.
    fn call(&mut self, at: Timestamp) -> anyhow::Result<()> {
        self.go_on(at);
        let (agent, tool) = (self.dice.skewed(self.agents), self.dice.skewed(self.tools));
        let server = tool / TOOLS_OF_A_SERVER;
        let call = CallId::new(self.now, self.dice.bytes());
        let mut entry = Entry::new(Kind::Denied)
            .text("method", "tools/call")
            .text("policy", "9f2c41d07a3e")
            .text("era", "session")
            .text("version", "2025-11-25")
            .text("client", "claude-code 2.1.0")
            .number("bytes_in", 180 + self.dice.below(700));
        entry.call = Some(call);
        entry.agent = Some(format!("agent-{agent:03}").parse()?);
        entry.server = Some(format!("server-{server:02}").parse()?);
        entry.tool = Some(format!("tool_{tool:03}"));
        let rule = format!("agents.agent-{agent:03}.servers[0]");
        let entry = entry.text("rule", &rule).number("line", 12 + agent);
        let reason = match self.dice.below(100) {
            0 => Some("not_granted"),
            1 => Some("denied_rule"),
            2..=4 => Some("budget"),
            _ => None,
        };
        match reason {
            Some(reason) => {
                let mut entry = entry.text("message", "no; ask whoever keeps permissions.yaml");
                entry.reason = Some(reason.into());
                self.chain(&entry);
            }
            None => self.admit(entry, call, [agent, server])?,
        }
        Ok(())
    }

    fn admit(
        &mut self,
        entry: Entry,
        call: CallId,
        [agent, server]: [u64; 2],
    ) -> anyhow::Result<()> {
        let mut charges = vec![
            charge(
                &format!("agents.agent-{agent:03} calls/day@UTC"),
                "1000000/day",
                1,
            )?,
            charge(
                &format!("servers.server-{server:02} calls/month@UTC"),
                "10000000/month",
                1,
            )?,
        ];
        if server == PAID_SERVER {
            // Half a cent and up; the agent and the server pay it out of one purse each.
            let micros = 5_000 + 1_000 * self.dice.below(40);
            charges.push(charge(
                &format!("agents.agent-{agent:03} USD/month@UTC"),
                "1000000 USD/month",
                micros,
            )?);
            charges.push(charge(
                &format!("servers.server-{server:02} USD/month@UTC"),
                "10000000 USD/month",
                micros,
            )?);
        }
        let hold = self.books.reserve(call, &charges, &Zone::utc(), self.now);
        let hold = hold.map_err(|shortage| anyhow::anyhow!("no room: {shortage:?}"))?;
        let held = hold.held().iter().map(|held| {
            serde_json::json!({
                "key": held.key.as_str(), "window": held.starts.micros(), "amount": held.amount,
                "limit": held.after.limit, "used": held.after.used, "held": held.after.held,
            })
        });
        let held: Vec<_> = held.collect();
        let mut end = Entry::new(Kind::Settled);
        end.agent = entry.agent.clone();
        end.server = entry.server.clone();
        end.tool = entry.tool.clone();
        end.call = Some(call);
        let admitted = Entry {
            kind: Kind::Admitted,
            ..entry
        };
        let admitted = admitted.json("budgets", serde_json::Value::from(held).to_string());
        let seq = self.chain(&admitted);
        self.fresh.insert(call, seq);
        self.ends.insert(call, (end, hold));
        let micros = 2_000 + self.dice.skewed(4_000) * 1_000;
        let ends = self.now.after(Duration::from_micros(micros));
        self.open.push(Reverse((ends, call)));
        Ok(())
    }

    fn close(&mut self, call: CallId) {
        let Some((end, hold)) = self.ends.remove(&call) else {
            return;
        };
        let done = Ending::Answered(Vec::new());
        let (kind, outcome, ending) = match self.dice.below(1_000) {
            0..=19 => (Kind::Settled, "tool_error", done),
            20..=29 => (Kind::Failed, "timed_out", Ending::Unclear),
            30..=32 => (Kind::Released, "unreachable", Ending::Unsent),
            _ => (Kind::Settled, "ok", done),
        };
        let charged = self.books.close(&hold, &ending);
        let charged = charged.into_iter().flatten().map(|charged| {
            serde_json::json!({
                "key": charged.key.as_str(), "window": charged.starts.micros(),
                "charged": charged.charged, "released": charged.released,
            })
        });
        let charged: Vec<_> = charged.collect();
        let end = Entry { kind, ..end }
            .text("outcome", outcome)
            .number("status", 200)
            .number("bytes_out", 300 + self.dice.below(90_000))
            .number("latency_us", 2_000 + self.dice.below(900_000))
            .json("budgets", serde_json::Value::from(charged).to_string());
        self.chain(&end);
        // The ledger never hears of a call that opens and closes in one batch; with a real caller there is none.
        if self.fresh.remove(&call).is_none() {
            self.ledger.close(&hold, None);
        }
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        for (call, seq) in std::mem::take(&mut self.fresh) {
            if let Some((_, hold)) = self.ends.get(&call) {
                self.ledger.admit(hold, seq);
            }
        }
        let taken = self.taken.take();
        let (names, books) = (&mut self.names, &mut self.books);
        self.database.transact(|tx| {
            audit::append(tx, names, &self.events)?;
            if let Some(taken) = taken {
                audit::write_checkpoint(tx, taken)?;
            }
            budget::write(tx, books, &self.ledger)
        })?;
        self.behind.note(std::mem::take(&mut self.events));
        while self.behind.waiting(&self.head) > 0 {
            let slice = self.behind.next(self.database.connection(), 1_024).await?;
            let mark = self.database.transact(|tx| slice.write(tx))?;
            self.behind.built(mark);
        }
        while self.behind.has_to_pack() {
            let next = self.behind.next_to_pack(self.database.connection());
            if let Some(piece) = next.await? {
                self.database.transact(|tx| piece.write(tx))?;
            }
        }
        self.ledger = LedgerRows::default();
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES) {
            self.books.forget_ended(self.now);
            self.database.checkpoint()?;
        }
        Ok(())
    }

    async fn end(&mut self, at: Timestamp) -> anyhow::Result<()> {
        self.go_on(at.after(Duration::from_secs(60)));
        self.mark(Entry::new(Kind::Stopped), self.now);
        self.write().await?;
        self.database.checkpoint()?;
        Ok(())
    }
}

fn charge(key: &str, limit: &str, amount: u64) -> anyhow::Result<Charge> {
    Ok(Charge {
        key: BudgetKey::new(key),
        limit: limit.parse()?,
        amount,
        reported: None,
        refund: Refund::default(),
        place: Place {
            path: key.into(),
            line: 1,
        },
    })
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // Numerical Recipes' multiplier; the high bits are good enough for choosing.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Below `end`, the small ones far more often.
    fn skewed(&mut self, end: u64) -> u64 {
        let (one, other) = (self.below(end), self.below(end));
        one * other / end.max(1)
    }

    fn bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        let (high, low) = bytes.split_at_mut(2);
        let [a, b, ..] = self.next().to_le_bytes();
        high.copy_from_slice(&[a, b]);
        let wide = self.next() << 31 | self.next();
        low.copy_from_slice(&wide.to_be_bytes());
        bytes
    }
}
