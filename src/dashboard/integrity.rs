//! Can I trust this log? What vouches for it, what happened to it, and how to check it without us.

use askama::Template;
use axum::response::Response;

use crate::audit::Kind;
use crate::audit::read::{self, Absence, RareEvent, Trust};
use crate::db::PageReader;
use crate::types::{Timestamp, hex, shown};

use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::frame::Frame;
use super::visit::{Visit, reading};

/// Rows of each list.
const ROWS: usize = 20;

/// Events of one kind that are read.
const EVENTS: u32 = 50;

/// What somebody should look at.
const NOTABLE: [Kind; 5] = [
    Kind::Accepted,
    Kind::Clock,
    Kind::Repaired,
    Kind::Refunded,
    Kind::Unfrozen,
];

/// What is no longer there.
const GONE: [Kind; 2] = [Kind::Pruned, Kind::Redacted];

/// What the database says.
#[derive(Debug, Default)]
struct Found {
    trust: Option<Trust>,
    absences: Vec<Absence>,
    notable: Vec<RareEvent>,
    gone: Vec<RareEvent>,
    exported: Option<RareEvent>,
}

/// `GET /integrity`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let found = reading(&visit, async |db| gather(db).await).await?;
    let watch = visit.watch();
    Ok(html(&Integrity {
        frame: visit.frame("integrity"),
        summary: summary(&found, watch),
        log: found
            .trust
            .as_ref()
            .map(|trust| log(trust, found.exported.as_ref(), watch)),
        commands: commands(&found),
        absences: found
            .absences
            .iter()
            .take(ROWS)
            .map(|absence| away(absence, watch))
            .collect(),
        notable: rows(&found.notable, watch),
        gone: rows(&found.gone, watch),
        most: ROWS,
    }))
}

async fn gather(db: &mut PageReader) -> Result<Found, Failure> {
    let exported = read::rare_events(db, &[Kind::Exported], 1).await?;
    Ok(Found {
        trust: read::trust(db).await?,
        absences: read::absences(db, EVENTS).await?,
        notable: read::rare_events(db, &NOTABLE, EVENTS).await?,
        gone: read::rare_events(db, &GONE, EVENTS).await?,
        exported: exported.into_iter().next(),
    })
}

#[derive(Debug, Template)]
#[template(path = "integrity.html", whitespace = "minimize")]
struct Integrity {
    frame: Frame,
    summary: String,
    log: Option<Log>,
    commands: Vec<Command>,
    absences: Vec<Away>,
    notable: Vec<Row>,
    gone: Vec<Row>,
    most: usize,
}

/// The log as a whole.
#[derive(Debug)]
struct Log {
    id: String,
    events: String,
    first: String,
    last: String,
    first_at: Option<When>,
    last_at: Option<When>,
    head: String,
    checkpoint: Option<Vouched>,
    exported: Option<Exported>,
    pruned: Option<(String, When)>,
}

/// The last checkpoint.
#[derive(Debug)]
struct Vouched {
    when: When,
    through: String,
    /// How many events it does not cover.
    since: String,
    key: Option<String>,
}

/// The last checkpoint that stands elsewhere.
#[derive(Debug)]
struct Exported {
    when: When,
    through: String,
    file: String,
}

fn log(trust: &Trust, exported: Option<&RareEvent>, watch: Watch<'_>) -> Log {
    let last = trust.extent.map_or(0, |extent| extent.last);
    Log {
        id: hex(&trust.log.0),
        events: count(trust.extent.map_or(0, |extent| extent.events())),
        first: count(trust.extent.map_or(0, |extent| extent.first)),
        last: count(last),
        first_at: trust.first_at.map(|at| watch.tell(at)),
        last_at: trust.newest.as_ref().map(|newest| watch.tell(newest.at)),
        head: trust
            .newest
            .as_ref()
            .map(|newest| newest.hash.clone())
            .unwrap_or_default(),
        checkpoint: trust.checkpoint.as_ref().map(|checkpoint| Vouched {
            when: watch.tell(checkpoint.at),
            through: count(checkpoint.through),
            since: count(last.saturating_sub(checkpoint.through)),
            key: checkpoint
                .key
                .as_deref()
                .map(|key| shown::name(key).to_string()),
        }),
        exported: exported.map(|event| Exported {
            when: watch.tell(event.at),
            through: count(event.number("exported").unwrap_or(0)),
            file: shown::sentence(event.text("file").unwrap_or_default()).to_string(),
        }),
        pruned: trust
            .cut
            .map(|cut| (count(cut.last), watch.tell(cut.until))),
    }
}

/// A command to copy.
#[derive(Debug)]
struct Command {
    id: &'static str,
    why: &'static str,
    text: String,
}

/// The commands of `docs/audit.md`, with what is known of this log filled in.
fn commands(found: &Found) -> Vec<Command> {
    let Some(trust) = &found.trust else {
        return Vec::new();
    };
    let id = hex(&trust.log.0);
    let signed = trust
        .checkpoint
        .as_ref()
        .and_then(|checkpoint| checkpoint.key.as_deref());
    // The key stands in the log; whoever checks has to know it from elsewhere.
    let key = match signed {
        Some(_) => " --public-key KEY",
        None => "",
    };
    let checkpoints = match found.exported {
        Some(_) => " --checkpoints FILE",
        None => "",
    };
    let mut commands = vec![
        Command {
            id: "verify",
            why: "The whole log, on this machine or on a copy of its file. Put the id, the key and the file of \
                checkpoints in from where you keep them, not from here: a log that vouches for itself proves little.",
            text: format!("hayward audit verify --log-id {id}{key}{checkpoints}"),
        },
        Command {
            id: "quick",
            why: "Only the last 10,000 events, the last checkpoints and the budgets, as every start does.",
            text: "hayward audit verify --quick".into(),
        },
        Command {
            id: "export",
            why: "Hand it over: an export with its manifest, and the check of it without the database.",
            text: format!(
                "hayward audit export --out log.jsonl\nhayward audit verify --export log.jsonl --log-id {id}{key}{checkpoints}"
            ),
        },
    ];
    if trust.cut.is_some() {
        commands.push(Command {
            id: "archives",
            why: "Across the place where the log was cut, with the archives of what was pruned.",
            text: format!(
                "hayward audit verify --archive DIR/hayward-*.jsonl --log-id {id}{key}{checkpoints}"
            ),
        });
    }
    commands
}

/// A time in which no gateway wrote.
#[derive(Debug)]
struct Away {
    from: When,
    to: When,
    length: String,
    is_orderly: bool,
}

fn away(absence: &Absence, watch: Watch<'_>) -> Away {
    Away {
        from: watch.tell(absence.from),
        to: watch.tell(absence.to),
        length: length(absence.from, absence.to),
        is_orderly: absence.is_orderly,
    }
}

/// How long it was, roughly: `40 s`, `12 min`, `9 h`, `3 days`.
fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.since(from).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Something that happened.
#[derive(Debug)]
struct Row {
    seq: String,
    when: When,
    class: &'static str,
    what: &'static str,
    detail: String,
    by: String,
    why: String,
}

fn rows(events: &[RareEvent], watch: Watch<'_>) -> Vec<Row> {
    let events = events.iter().take(ROWS);
    events.map(|event| row(event, watch)).collect()
}

fn row(event: &RareEvent, watch: Watch<'_>) -> Row {
    let (class, what) = said(event);
    let text = |name| shown::sentence(event.text(name).unwrap_or_default()).to_string();
    Row {
        seq: count(event.seq),
        when: watch.tell(event.at),
        class,
        what,
        detail: detail(event, watch),
        by: text("by"),
        why: text("why"),
    }
}

/// What happened, with its shape.
fn said(event: &RareEvent) -> (&'static str, &'static str) {
    let is = |kind| event.kind == kind;
    if is(Kind::Clock) {
        return match event.text("clock") {
            Some("suspect") => ("failed", "the clock jumped and is not followed"),
            Some("accepted") => ("error", "a jump of the clock was accepted"),
            _ => ("ok", "the clock is followed again"),
        };
    }
    if is(Kind::Accepted) {
        ("failed", "a log that does not verify was accepted")
    } else if is(Kind::Repaired) {
        ("error", "counts were put right after the events")
    } else if is(Kind::Refunded) {
        ("released", "a call was refunded")
    } else if is(Kind::Unfrozen) {
        ("released", "a frozen budget may be used again")
    } else if is(Kind::Redacted) {
        ("abandoned", "arguments or results were deleted")
    } else if event.text("until").is_some() {
        ("abandoned", "events were pruned into an archive")
    } else {
        (
            "abandoned",
            "arguments and results that were too old were deleted",
        )
    }
}

/// What exactly, in words.
fn detail(event: &RareEvent, watch: Watch<'_>) -> String {
    let at = |name: &str| event.number(name).map(Timestamp::from_micros);
    let text = |name: &str| {
        let text = event.text(name);
        text.map(|text| shown::sentence(text).to_string())
    };
    if event.kind == Kind::Pruned
        && let (Some(first), Some(last)) = (event.number("first"), event.number("last"))
    {
        return format!("events {} to {}", count(first), count(last));
    }
    if let Some(wall) = at("wall_us") {
        return format!("it showed {}", watch.tell(wall).line());
    }
    if let Some(before) = at("before_us") {
        return format!("from before {}", watch.tell(before).line());
    }
    if let Some(counts) = event
        .meta
        .get("counts")
        .and_then(|counts| counts.as_array())
    {
        let number = i64::try_from(counts.len()).unwrap_or(i64::MAX);
        return format!("{} counts", count(number));
    }
    let named = ["mismatch", "redacts", "refunds"].into_iter();
    named.filter_map(text).next().unwrap_or_default()
}

fn summary(found: &Found, watch: Watch<'_>) -> String {
    let Some(trust) = &found.trust else {
        return String::new();
    };
    let Some(extent) = trust.extent else {
        return "This log is empty.".into();
    };
    let events = count(extent.events());
    let vouched = match (&trust.checkpoint, &found.exported) {
        (_, Some(exported)) => format!(
            "What came before {} can be checked against a checkpoint that left this machine.",
            watch.tell_minutes(exported.at).line()
        ),
        (Some(checkpoint), None) => {
            let kind = match checkpoint.key {
                Some(_) => "signed",
                None => "unsigned",
            };
            format!(
                "The last checkpoint was taken {} ago and is {kind}; none was exported, so a rollback would not show.",
                length(checkpoint.at, watch.now)
            )
        }
        (None, None) => {
            "It has no checkpoint yet; whoever can write the file could compute all of it anew."
                .into()
        }
    };
    format!("{events} events are chained, each to the one before. {vouched}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_roughly() {
        let table = [
            (0, "0 s"),
            (119, "119 s"),
            (125, "2 min"),
            (7_200, "2 h"),
            (400_000, "4 days"),
        ];
        for (seconds, told) in table {
            let to = Timestamp::from_micros(seconds * 1_000_000);
            assert_eq!(length(Timestamp::default(), to), told);
        }
    }
}
