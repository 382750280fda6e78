//! `hayward audit query`: calls of the log, with the words of the dashboard's filter.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use jiff::tz::TimeZone;

use super::args::{LogFile, TimeSpan};
use super::rows::{Format, Rows};
use super::{Exit, Failure, Screen};
use crate::audit::filter::{Back, Filter, Period, instant};
use crate::audit::read::{CallRow, CallState, CallsPage, calls, ended_since, newest};
use crate::clock::{Clock, SystemClock};
use crate::db::Readers;
use crate::types::{Timestamp, Zone, shown};

/// Pause between two looks at the end of the log.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Calls that one answer holds at most; `export` has no such limit.
const MOST_CALLS: u16 = 10_000;

/// What can be asked, for the help.
const WORDS: &str = "\
Words:
  agent=NAME server=NAME tool=NAME reason=WORD   a word that repeats means `or`, different words mean `and`
  decision=WORD   allowed, denied, ok, error, failed, open, released or abandoned
  call=ID         this very call
  A minus before a word leaves these out: `-agent=NAME`, after `--`, or with --not.
Times:
  7d, 24h, 30m, a day (2026-11-21), a time (2026-11-21T09:00) or an instant (2026-11-21T09:00:00Z)";

/// Flags of `hayward audit query`.
#[derive(Debug, Clone, Args)]
#[command(after_help = WORDS)]
pub struct QueryArguments {
    /// Which calls, in the words of the dashboard's addresses: `agent=clawd decision=denied`
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Leave out the calls that this word is about; may be repeated
    #[arg(long, value_name = "WORD")]
    pub not: Vec<String>,
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// Which part of it.
    #[command(flatten)]
    pub span: TimeSpan,
    /// How the answer is written
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        env = "HAYWARD_FORMAT",
        default_value = "table"
    )]
    pub format: Format,
    /// The newest so many calls, the newest last
    #[arg(long, value_name = "COUNT", env = "HAYWARD_LIMIT", default_value = "100",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_CALLS)))]
    pub limit: u16,
    /// Go on with calls as they end, until the gateway stops
    #[arg(long, env = "HAYWARD_FOLLOW", value_parser = clap::builder::BoolishValueParser::new())]
    pub follow: bool,
}

/// Prints the calls that are asked for.
pub(super) async fn query(
    arguments: &QueryArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let zone = arguments.span.tz.clone().unwrap_or_else(local_zone);
    let now = SystemClock::start().now();
    let filter = filter(arguments, &zone, now).map_err(Failure::usage)?;
    let readers = Readers::open(&arguments.log.db).await?;
    let printed = print(&readers, arguments, &filter, (zone, now), screen).await;
    readers.close().await;
    match printed {
        Ok(()) => Ok(Exit::Yes),
        // Whoever reads has seen enough: `| head`.
        Err(error) if is_hung_up(&error) => Ok(Exit::Yes),
        Err(error) => Err(error.into()),
    }
}

fn is_hung_up(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

async fn print(
    readers: &Readers,
    arguments: &QueryArguments,
    filter: &Filter,
    (zone, now): (Zone, Timestamp),
    screen: &mut Screen,
) -> anyhow::Result<()> {
    // Taken before the list, so that nothing ends unseen between the two.
    let end = newest(&mut *readers.page().await?).await?;
    let found = newest_calls(readers, arguments, filter, now, screen).await?;
    let mut rows = Rows::new(arguments.format, zone);
    rows.fit(&found);
    if let Some(line) = rows.head() {
        screen.answer(&line)?;
    }
    for row in found.iter().rev() {
        screen.answer(&rows.row(row))?;
    }
    if arguments.follow {
        let end = end.map_or(0, |end| end.seq);
        let listed = found.iter().map(|row| (row.seq, row.state)).collect();
        follow(readers, filter, (end, listed), &mut rows, screen).await?;
    }
    if let Some(line) = rows.foot() {
        screen.answer(line)?;
    }
    Ok(())
}

/// The newest calls that fit, newest first. A page searches only so far; the search goes on behind it.
async fn newest_calls(
    readers: &Readers,
    arguments: &QueryArguments,
    filter: &Filter,
    now: Timestamp,
    screen: &mut Screen,
) -> anyhow::Result<Vec<CallRow>> {
    let limit = usize::from(arguments.limit);
    let mut found = Vec::new();
    let mut filter = filter.clone();
    loop {
        let page = calls(&mut *readers.page().await?, &filter.wanted(now)).await?;
        hint(&page, screen);
        found.extend(page.rows);
        let rest = page.older.or(page.stopped.map(|stopped| stopped.rest));
        match rest {
            Some(rest) if found.len() < limit => filter = filter.at(rest),
            Some(_) | None => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}

fn hint(page: &CallsPage, screen: &mut Screen) {
    for unknown in &page.unknown {
        let (what, name) = (unknown.what, shown::name(&unknown.name));
        let meant = unknown.suggestion.as_deref().map(shown::name);
        screen.say(&match meant {
            Some(meant) => format!("no {what} `{name}` stands in the log; there is `{meant}`"),
            None => format!("no {what} `{name}` stands in the log"),
        });
    }
}

/// Writes calls as they end. What was listed already in the same state is left out.
async fn follow(
    readers: &Readers,
    filter: &Filter,
    (mut seq, listed): (i64, HashSet<(i64, CallState)>),
    rows: &mut Rows,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let clock = SystemClock::start();
    loop {
        let ended = ended_since(&mut *readers.page().await?, seq).await?;
        let now = clock.now();
        for row in &ended.rows {
            if filter.keeps(row, now) && !listed.contains(&(row.seq, row.state)) {
                screen.answer(&rows.row(row))?;
            }
        }
        seq = ended.seq;
        if ended.is_closed && !ended.has_more {
            return Ok(());
        }
        if !ended.has_more {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn filter(arguments: &QueryArguments, zone: &Zone, now: Timestamp) -> anyhow::Result<Filter> {
    if arguments.follow && arguments.format == Format::Json {
        return Err(anyhow!(
            "an array has an end: use `--format jsonl` with --follow"
        ));
    }
    let mut filter = Filter::default();
    let left_out = arguments.not.iter().map(|word| format!("-{word}"));
    for word in arguments.words.iter().cloned().chain(left_out) {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| anyhow!("`{word}` is no condition; write `agent=clawd`"))?;
        if ["before", "after"].contains(&key) {
            return Err(anyhow!(
                "`{word}`: pages are for the dashboard; use --limit, --since and --until"
            ));
        }
        let added = filter.add(key, value, zone);
        added.map_err(|why| anyhow!("`{word}`: {why}"))?;
    }
    let from = arguments
        .span
        .since
        .as_deref()
        .map(|text| time(text, zone, now))
        .transpose()?;
    let to = arguments
        .span
        .until
        .as_deref()
        .map(|text| time(text, zone, now))
        .transpose()?;
    if from.is_some() || to.is_some() {
        filter.period = Period::Between { from, to };
    }
    Ok(filter)
}

/// A time as people write it: how long ago, a day, or an instant.
pub(super) fn time(text: &str, zone: &Zone, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(back) = text.parse::<Back>() {
        return Ok(back.before(now));
    }
    instant(text, zone).ok_or_else(|| {
        anyhow!("`{text}` is no time; write 7d, 24h, 2026-11-21, 2026-11-21T09:00 or an instant with its offset")
    })
}

/// The zone of this machine; UTC where it has none with a name.
pub(super) fn local_zone() -> Zone {
    let system = TimeZone::try_system().ok();
    let name = system.as_ref().and_then(TimeZone::iana_name);
    name.and_then(|name| Zone::named(name).ok())
        .unwrap_or_else(Zone::utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_how_long_ago_or_when() {
        let now = Timestamp::from_micros(1_795_215_600_000_000);
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let at = |text| time(text, &berlin, now).unwrap().rfc3339_utc();
        assert_eq!(at("1h"), "2026-11-20T22:00:00.000000Z");
        assert_eq!(at("2026-11-20"), "2026-11-19T23:00:00.000000Z");
        assert_eq!(at("2026-11-20T09:00Z"), "2026-11-20T09:00:00.000000Z");
        let error = time("soon", &berlin, now).unwrap_err().to_string();
        assert!(error.contains("`soon`"), "{error}");
    }
}
