//! `hayward budget show`: every count with what is used, held and left, and when its window ends.

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::args::LogFile;
use super::budget::unit_of;
use super::{Exit, Failure, Screen, plain};
use crate::budget::{CountAt, counts_at};
use crate::clock::{Clock, SystemClock};
use crate::db::Readers;
use crate::types::{AgentName, BudgetKey, Timestamp, Zone};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Columns, for people; their form may change.
    #[default]
    Table,
    /// One JSON object, for programs.
    Json,
}

/// Flags of `hayward budget show`.
#[derive(Debug, Clone, Args)]
pub struct ShowArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// Only counts that are this agent's own
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// The windows of this instant, such as 2026-11-20T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<Timestamp>,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// The answer as JSON. Stable: what stands here is what scripts read.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    at: String,
    budgets: Vec<Line<'a>>,
}

/// One count. Amounts are in its unit.
#[derive(Debug, Serialize)]
struct Line<'a> {
    budget: &'a str,
    unit: String,
    limit: Value,
    used: Value,
    held: Value,
    left: Value,
    overrun: Value,
    frozen: bool,
    window_starts_at: String,
    /// None when it never ends.
    window_ends_at: Option<String>,
}

/// Reads the counts and prints them.
pub(super) async fn run(arguments: &ShowArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let at = arguments.at.unwrap_or_else(|| SystemClock::start().now());
    let readers = Readers::open(&arguments.log.db).await?;
    let counts = async {
        let mut db = readers.pool().acquire().await?;
        counts_at(&mut db, at).await
    };
    let counts = counts.await;
    readers.close().await;
    let mut counts = counts?;
    if let Some(agent) = &arguments.agent {
        counts.retain(|count| is_of(&count.key, agent.as_str()));
    }
    match arguments.format {
        Format::Table => table(&counts, at, screen)?,
        Format::Json => screen.answer(&json(&counts, at)?)?,
    }
    Ok(Exit::Yes)
}

/// Whether a count is one agent's own: it stands in its rules, or is split for it.
fn is_of(key: &BudgetKey, agent: &str) -> bool {
    let parts = key.parts();
    let place = parts.family.strip_prefix("agents.");
    let own = place.is_some_and(|place| place.split('/').next() == Some(agent));
    own || parts.agent == Some(agent)
}

fn json(counts: &[CountAt], at: Timestamp) -> Result<String, serde_json::Error> {
    let budgets = counts.iter().map(|count| {
        let unit = unit_of(count.key.as_str());
        Line {
            budget: count.key.as_str(),
            unit: unit.word().to_owned(),
            limit: unit.json(count.limit),
            used: unit.json(count.used),
            held: unit.json(count.held),
            left: unit.json(count.left()),
            overrun: unit.json(count.overrun),
            frozen: count.is_frozen,
            window_starts_at: count.span.starts.rfc3339_utc(),
            window_ends_at: (!count.span.never_ends()).then(|| count.span.ends.rfc3339_utc()),
        }
    });
    serde_json::to_string(&Answer {
        at: at.rfc3339_utc(),
        budgets: budgets.collect(),
    })
}

fn table(counts: &[CountAt], at: Timestamp, screen: &mut Screen) -> Result<(), Failure> {
    if counts.is_empty() {
        screen.say(&format!(
            "nothing was taken of any budget in its window of {}",
            at.rfc3339(&Zone::utc())
        ));
        return Ok(());
    }
    let mut rows =
        vec![["LEFT", "LIMIT", "USED", "HELD", "UNIT", "UNTIL", "BUDGET"].map(String::from)];
    rows.extend(counts.iter().map(row));
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let widths = rows.iter().filter_map(|row| row.get(column));
        widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    for [left, limit, used, held, unit, until, budget] in rows {
        let [a, b, c, d, e, f, _] = widths;
        screen.answer(&format!(
            "{left:>a$}  {limit:>b$}  {used:>c$}  {held:>d$}  {unit:<e$}  {until:<f$}  {budget}"
        ))?;
    }
    Ok(())
}

fn row(count: &CountAt) -> [String; 7] {
    let unit = unit_of(count.key.as_str());
    let left = match count.is_frozen {
        true => "frozen".into(),
        false => unit.number(count.left()),
    };
    [
        left,
        unit.number(count.limit),
        unit.number(count.used),
        unit.number(count.held),
        plain(unit.word()),
        until(count),
        plain(count.key.as_str()),
    ]
}

/// When the window ends, on the clocks its budget goes by.
fn until(count: &CountAt) -> String {
    if count.span.never_ends() {
        return "-".into();
    }
    let (_, zone) = count.key.parts().window.split_once('@').unwrap_or_default();
    let zone = Zone::named(zone).unwrap_or_else(|_| Zone::utc());
    count.span.ends.rfc3339(&zone)
}

/// An instant with its offset (RFC 3339).
pub(super) fn instant(text: &str) -> Result<Timestamp, String> {
    let instant = text.parse::<jiff::Timestamp>();
    let instant =
        instant.map_err(|_| "write an instant with its offset, such as 2026-11-20T12:00:00Z")?;
    Ok(Timestamp::from_jiff(instant))
}

#[cfg(test)]
mod tests {
    use super::super::screen::tests::paper_screen;
    use super::*;
    use crate::budget::Span;

    const NOON: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

    fn counts() -> Vec<CountAt> {
        let count = |key: &str, used, held, ends| CountAt {
            key: BudgetKey::new(key),
            limit: 10,
            used,
            held,
            overrun: 0,
            is_frozen: false,
            span: Span {
                starts: Timestamp::from_micros(0),
                ends: Timestamp::from_micros(ends),
            },
        };
        vec![
            CountAt {
                limit: 40_000_000,
                overrun: 1,
                is_frozen: true,
                ..count("agents.clawd USD/total", 12_500_000, 1, i64::MAX)
            },
            count(
                "servers.images calls/day@Europe/Berlin each agent=clawd",
                3,
                1,
                1_795_215_600_000_000,
            ),
        ]
    }

    #[test]
    fn a_count_is_an_agents_own_by_its_place_or_its_split() {
        for (key, expected) in [
            ("agents.clawd calls/day@UTC", true),
            ("agents.clawd/images[imagine] calls/day@UTC", true),
            ("agents.clawd[imagine] calls/day@UTC each tool=x", true),
            ("agents.clawdia calls/day@UTC", false),
            ("servers.images calls/day@UTC each agent=clawd", true),
            ("servers.images calls/day@UTC each agent=clawd tool=x", true),
            (
                "servers.images calls/day@UTC each tool=x each agent=clawd",
                false,
            ),
            ("servers.images calls/day@UTC", false),
            ("servers.clawd calls/day@UTC", false),
        ] {
            let key = BudgetKey::new(key);
            assert_eq!(is_of(&key, "clawd"), expected, "{key}");
        }
    }

    #[test]
    fn the_table_says_what_is_left_and_until_when() {
        let (mut screen, out, _) = paper_screen();
        table(&counts(), NOON, &mut screen).unwrap();
        insta::assert_snapshot!(out.text(), @r"
          LEFT  LIMIT  USED      HELD  UNIT   UNTIL                      BUDGET
        frozen     40  12.5  0.000001  USD    -                          agents.clawd USD/total
             6     10     3         1  calls  2026-11-21T00:00:00+01:00  servers.images calls/day@Europe/Berlin each agent=clawd
        ");
    }

    #[test]
    fn the_json_is_what_scripts_read() {
        insta::assert_snapshot!(json(&counts(), NOON).unwrap(), @r#"{"at":"2026-11-20T12:00:00.000000Z","budgets":[{"budget":"agents.clawd USD/total","unit":"USD","limit":40,"used":12.5,"held":1e-6,"left":0,"overrun":1e-6,"frozen":true,"window_starts_at":"1970-01-01T00:00:00.000000Z","window_ends_at":null},{"budget":"servers.images calls/day@Europe/Berlin each agent=clawd","unit":"calls","limit":10,"used":3,"held":1,"left":6,"overrun":0,"frozen":false,"window_starts_at":"1970-01-01T00:00:00.000000Z","window_ends_at":"2026-11-20T23:00:00.000000Z"}]}"#);
    }

    #[test]
    fn an_instant_needs_its_offset() {
        assert_eq!(instant("2026-11-20T13:00:00+01:00"), Ok(NOON));
        for wrong in ["2026-11-20", "2026-11-20T12:00:00", "now", ""] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
