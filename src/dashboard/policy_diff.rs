//! What changed in effect? Two versions of the rules as `hayward diff` compares them, then line by line.

use std::time::Duration;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::filter::Back;
use crate::audit::read::{self, Cursor, PolicyText, Use};
use crate::config;
use crate::review::{Change, Effect, Past, Sign, diff};
use crate::types::Timestamp;

use super::BASE;
use super::failure::{Failure, html};
use super::figures::{Watch, count};
use super::frame::{Frame, Link};
use super::policies::short;
use super::policy::{Version, version};
use super::text_diff::{Differs, Mark, hunks};
use super::visible::visible;
use super::visit::{Visit, reading};

/// How long the comparison may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Differences that are shown, and lines.
const CHANGES: usize = 500;
const LINES: usize = 4_000;

/// Characters of one difference, and of a line.
const CHARACTERS: usize = 600;

/// `GET /policy/diff/{a}..{b}`.
pub(super) async fn page(Path(pair): Path<String>, visit: Visit) -> Result<Response, Failure> {
    let unknown = "Write two revisions with two dots between them, the older one first.";
    let (old, new) = pair.split_once("..").ok_or(Failure::Unknown(unknown))?;
    let since = Back::MONTH.before(visit.now);
    let (old, new, uses) = reading(&visit, async |db| {
        let rows = read::policies(db).await?;
        let old = version(db, &rows, old).await?;
        let new = version(db, &rows, new).await?;
        let uses = read::uses(db, since).await?;
        Ok((old, new, uses))
    })
    .await?;
    let (first, second) = (text_of(&old), text_of(&new));
    let meaning = match (first.clone(), second.clone()) {
        (Some(first), Some(second)) => Some(compare(first, second, uses, visit.now).await?),
        (None, _) | (_, None) => None,
    };
    let watch = visit.watch();
    let base = visit.filter.at(Cursor::Newest);
    let (changes, refused) = match meaning {
        Some(Ok(changes)) => (changes, None),
        Some(Err(which)) => (Vec::new(), Some(which)),
        None => (Vec::new(), None),
    };
    let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
    let (lines, more_lines) = lines(&first, &second);
    let is_kept = old.text.is_some() && new.text.is_some();
    Ok(html(&PolicyDiff {
        frame: visit.frame("policy"),
        all: format!("{BASE}/policy{base}"),
        summary: summary(&changes, is_kept, refused),
        is_kept,
        refused,
        more: changes.len().saturating_sub(CHANGES),
        changes: changes.iter().take(CHANGES).map(row).collect(),
        is_whole: [&old, &new]
            .iter()
            .filter_map(|version| version.text.as_ref())
            .all(|text| text.is_whole),
        old: side(&old, &base, watch),
        new: side(&new, &base, watch),
        lines,
        more_lines,
    }))
}

fn text_of(version: &Version) -> Option<String> {
    let text: Option<&PolicyText> = version.text.as_ref();
    text.map(|text| text.text.clone())
}

/// Compares two files as the command line does, without any variable of the environment; or says which one is not
/// understood.
async fn compare(
    old: String,
    new: String,
    uses: Vec<Use>,
    now: Timestamp,
) -> Result<Result<Vec<Change>, &'static str>, Failure> {
    let work = tokio::task::spawn_blocking(move || {
        let read = |text: &str, which| config::review("permissions.yaml", text).map_err(|_| which);
        let (old, new) = (read(&old, "older")?, read(&new, "newer")?);
        let mut past = Past::default();
        past.remember(uses);
        Ok(diff(&old, &new, &past, now))
    });
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(compared)) => Ok(compared),
        Ok(Err(error)) => {
            tracing::error!(%error, "two versions of the rules could not be compared");
            Err(Failure::TooSlow)
        }
        Err(_) => Err(Failure::TooSlow),
    }
}

#[derive(Debug, Template)]
#[template(path = "policy_diff.html", whitespace = "minimize")]
struct PolicyDiff {
    frame: Frame,
    /// The list of versions.
    all: String,
    summary: String,
    is_kept: bool,
    is_whole: bool,
    /// Which of both is not understood.
    refused: Option<&'static str>,
    old: Side,
    new: Side,
    changes: Vec<Row>,
    more: usize,
    lines: Vec<Vec<TextLine>>,
    more_lines: bool,
}

/// One of both versions.
#[derive(Debug)]
struct Side {
    revision: Link,
    since: String,
    is_kept: bool,
}

fn side(version: &Version, base: &crate::audit::filter::Filter, watch: Watch<'_>) -> Side {
    let text = short(&version.revision);
    Side {
        revision: Link {
            href: format!("{BASE}/policy/{text}{base}"),
            text,
        },
        since: watch.tell_minutes(version.from).line(),
        is_kept: version.text.is_some(),
    }
}

#[derive(Debug)]
struct Row {
    about: String,
    sign: &'static str,
    what: String,
    detail: String,
    /// The shape of the effect, and its word.
    class: &'static str,
    effect: &'static str,
    high: Option<&'static str>,
}

fn row(change: &Change) -> Row {
    Row {
        about: visible(&change.about.to_string(), CHARACTERS),
        sign: match change.sign {
            Sign::Added => "new",
            Sign::Removed => "gone",
            Sign::Changed => "other",
        },
        what: visible(&change.what, CHARACTERS),
        detail: visible(&change.detail, CHARACTERS),
        class: match change.effect {
            Effect::Loosened => "failed",
            Effect::Tightened => "ok",
            Effect::Neutral => "released",
        },
        effect: change.effect.as_str(),
        high: change.high,
    }
}

/// A line of the text.
#[derive(Debug)]
pub(super) struct TextLine {
    pub(super) class: &'static str,
    pub(super) sign: char,
    pub(super) old: String,
    pub(super) new: String,
    pub(super) text: String,
}

/// The lines that differ, and whether some were left out.
pub(super) fn lines(old: &str, new: &str) -> (Vec<Vec<TextLine>>, bool) {
    let number = |number: Option<usize>| number.map(|n| n.to_string()).unwrap_or_default();
    let line = |differs: &Differs<'_>| {
        let (class, sign) = match differs.mark {
            Mark::Same => ("same", ' '),
            Mark::Added => ("add", '+'),
            Mark::Removed => ("del", '-'),
        };
        TextLine {
            class,
            sign,
            old: number(differs.old),
            new: number(differs.new),
            text: visible(differs.text, CHARACTERS),
        }
    };
    let mut left = LINES;
    let mut told = Vec::new();
    let hunks = hunks(old, new);
    let all: usize = hunks.iter().map(Vec::len).sum();
    for hunk in &hunks {
        let lines: Vec<TextLine> = hunk.iter().take(left).map(line).collect();
        left = left.saturating_sub(lines.len());
        if !lines.is_empty() {
            told.push(lines);
        }
    }
    (told, all > LINES)
}

/// `6 changes: 2 to look at twice, 2 loosened, 1 tightened.`
fn summary(changes: &[Change], is_kept: bool, refused: Option<&'static str>) -> String {
    if !is_kept {
        return "The text of one of these versions is not kept, so they cannot be compared.".into();
    }
    if let Some(which) = refused {
        return format!(
            "The {which} one is not understood by this version of the gateway; below are the lines."
        );
    }
    let of = |is: &dyn Fn(&Change) -> bool| changes.iter().filter(|change| is(change)).count();
    if changes.is_empty() {
        return "Nothing changes in who may use what.".into();
    }
    let parts = [
        (of(&|change| change.high.is_some()), "to look at twice"),
        (of(&|change| change.effect == Effect::Loosened), "loosened"),
        (
            of(&|change| change.effect == Effect::Tightened),
            "tightened",
        ),
        (of(&|change| change.effect == Effect::Neutral), "neutral"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let all = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let word = if all == 1 { "change" } else { "changes" };
    format!("{} {word}: {}.", count(all), parts.join(", "))
}
