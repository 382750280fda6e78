//! Which rules were in force when, and the files they stood in.

use std::fmt;
use std::time::Duration;

use sqlx::SqliteConnection;

use crate::audit::coarse::begins;
use crate::audit::rollups::QUARTER_US;
use crate::audit::{Counts, Kind};
use crate::db::DbError;
use crate::types::Timestamp;

use super::{Fresh, series_all};

/// Events that are looked at; every start of a gateway is one.
const EVENTS: i64 = 10_000;

/// The most rows that are told.
const MAX_ROWS: usize = 1_000;

/// A span of time in which the same rules decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRow {
    /// The sequence of the event with which it began.
    pub seq: i64,
    /// Since when.
    pub at: Timestamp,
    /// Until when; nothing for those that are in force.
    pub until: Option<Timestamp>,
    /// The revision, 64 hexadecimal digits.
    pub revision: String,
    /// The git commit the file was taken from, as far as it was known.
    pub commit: Option<String>,
    /// Whether [`policy_text`] has the file.
    pub text_kept: bool,
}

/// What is kept of a policy file. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// The text, with placeholders as they were written.
    pub text: String,
    /// Whether that is the file to the byte; if not, something that looked like a secret was taken out.
    pub is_whole: bool,
    /// The sequence of the event with which it was kept.
    pub seq: i64,
}

impl fmt::Debug for PolicyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyText(event {})", self.seq)
    }
}

const ROWS: &str = "SELECT seq, at_us, coalesce(meta ->> '$.policy', ''), meta ->> '$.commit',
        EXISTS (SELECT 1 FROM policy_file WHERE revision = meta ->> '$.policy')
    FROM event WHERE kind = 'policy' ORDER BY seq DESC LIMIT $1";

/// Which rules were in force when, newest first: starts of a gateway with the same file are one span. At most 1,000
/// spans, from the last 10,000 events about it; the oldest of them may have begun earlier.
///
/// # Errors
/// When SQLite refuses.
pub async fn policies(db: &mut SqliteConnection) -> Result<Vec<PolicyRow>, DbError> {
    let events: Vec<(i64, i64, String, Option<String>, bool)> =
        sqlx::query_as(ROWS).bind(EVENTS).fetch_all(db).await?;
    let mut rows: Vec<PolicyRow> = Vec::new();
    for (seq, at_us, revision, commit, text_kept) in events {
        let at = Timestamp::from_micros(at_us);
        if let Some(next) = rows.last_mut()
            && (&next.revision, &next.commit) == (&revision, &commit)
        {
            (next.seq, next.at) = (seq, at);
            continue;
        }
        if rows.len() >= MAX_ROWS {
            break;
        }
        let until = rows.last().map(|next| next.at);
        rows.push(PolicyRow {
            seq,
            at,
            until,
            revision,
            commit,
            text_kept,
        });
    }
    Ok(rows)
}

/// How many calls there were while each of these rules was in force; the rows come newest first and adjoin, as
/// [`policies`] gives them. What the newest `exactly` began is counted to the event, unless more than 5,000 events lie
/// between that and the quarter of an hour before; else each began with its quarter of an hour.
///
/// # Errors
/// When SQLite refuses.
pub async fn calls_under(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    rows: &[PolicyRow],
    exactly: usize,
    now: Timestamp,
) -> Result<Vec<Counts>, DbError> {
    // Nothing lies beyond the end, also within this quarter of an hour.
    let end = now.after(Duration::from_secs(900));
    let edges: Vec<Timestamp> = rows.iter().rev().map(|row| row.at).chain([end]).collect();
    let mut counts = series_all(db, fresh, &edges).await?;
    counts.reverse();
    let mut later = Counts::default();
    for (at, (row, counts)) in rows.iter().zip(&mut counts).enumerate() {
        let before = if at < exactly {
            since_quarter(db, row).await?.unwrap_or_default()
        } else {
            Counts::default()
        };
        let exact =
            |sum: i64, more: i64, less: i64| sum.saturating_add(more).saturating_sub(less).max(0);
        counts.admitted = exact(counts.admitted, later.admitted, before.admitted);
        counts.refused = exact(counts.refused, later.refused, before.refused);
        later = before;
    }
    Ok(counts)
}

/// Events that are read at once on the way back to the beginning of a quarter of an hour, and how often.
const BACK: i64 = 250;
const STEPS: i64 = 20;

/// The calls that were made in the same quarter of an hour before these rules came; `None` when that is too many events.
async fn since_quarter(
    db: &mut SqliteConnection,
    row: &PolicyRow,
) -> Result<Option<Counts>, DbError> {
    let begins = begins(row.at.micros(), QUARTER_US);
    let text = "SELECT seq, at_us, kind, coalesce(meta ->> '$.count', 1) FROM event
        WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
    let mut counts = Counts::default();
    let mut before = row.seq;
    for _ in 0..STEPS {
        let events: Vec<(i64, i64, String, i64)> = sqlx::query_as(text)
            .bind(before)
            .bind(BACK)
            .fetch_all(&mut *db)
            .await?;
        for (seq, at_us, kind, times) in &events {
            if *at_us < begins {
                return Ok(Some(counts));
            }
            before = *seq;
            if kind == Kind::Admitted.as_str() {
                counts.admitted = counts.admitted.saturating_add(1);
            } else if kind == Kind::Denied.as_str() {
                counts.refused = counts.refused.saturating_add(*times);
            }
        }
        if events.len() < usize::try_from(BACK).unwrap_or(usize::MAX) {
            return Ok(Some(counts));
        }
    }
    Ok(None)
}

/// The text of a policy file, by the digits of its revision; `None` when it is not kept: it came into force before
/// texts were, or is larger than 1 MiB.
///
/// # Errors
/// When SQLite refuses.
pub async fn policy_text(
    db: &mut SqliteConnection,
    revision: &str,
) -> Result<Option<PolicyText>, DbError> {
    let text = "SELECT text, is_whole, seq FROM policy_file WHERE revision = $1";
    let found: Option<(String, bool, i64)> = sqlx::query_as(text)
        .bind(revision)
        .fetch_optional(db)
        .await?;
    Ok(found.map(|(text, is_whole, seq)| PolicyText {
        text,
        is_whole,
        seq,
    }))
}

/// The whole revision of a kept policy file by the first digits of it; `None` when none or several begin so.
///
/// # Errors
/// When SQLite refuses.
pub async fn revision_of(
    db: &mut SqliteConnection,
    digits: &str,
) -> Result<Option<String>, DbError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let text =
        "SELECT revision FROM policy_file WHERE revision >= $1 AND revision < $1 || 'g' LIMIT 2";
    let found: Vec<String> = sqlx::query_scalar(text)
        .bind(digits.to_ascii_lowercase())
        .fetch_all(db)
        .await?;
    Ok(match <[String; 1]>::try_from(found) {
        Ok([only]) => Some(only),
        Err(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Chained, Entry, Head, Names, append};
    use crate::db::{Durability, LogId, open};
    use crate::types::{CallId, RulesText};

    const LOG: LogId = LogId([7; 16]);

    #[tokio::test]
    async fn calls_count_for_the_rules_that_decided_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let (mut head, mut names) = (Head::empty(LOG), Names::default());
        let call = |n: u8| {
            let mut entry = Entry::new(Kind::Admitted);
            entry.call = Some(CallId::new(Timestamp::default(), [n; 10]));
            entry.agent = Some("clawd".parse().unwrap());
            entry
        };
        let refusals = |times: u64| {
            let mut entry = Entry::new(Kind::Denied).number("count", times);
            entry.reason = Some("budget".into());
            entry
        };
        let policy = |name: &str| Entry::new(Kind::Policy).text("policy", name);
        // Two changes within one quarter of an hour, and one long after.
        let minute = 60_000_000;
        let entries = [
            (0, policy("a")),
            (1, call(1)),
            (16, call(2)),
            (17, policy("b")),
            (18, refusals(7)),
            (19, policy("c")),
            (20, call(3)),
            (70, call(4)),
            (71, policy("d")),
            (72, call(5)),
        ];
        let mut events = Vec::new();
        for (at, entry) in &entries {
            let at = Timestamp::from_micros(at * minute);
            events.push(Chained::after(&mut head, LOG, &mut names, entry, at));
        }
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let db = writer.connection();
        let rows = policies(db).await.unwrap();
        let extent = crate::audit::read::extent(db).await.unwrap().unwrap();
        let fresh = Fresh::load(db, extent).await.unwrap();
        let now = Timestamp::from_micros(73 * minute);
        for (exactly, expected) in [
            (9, [(1, 0), (2, 0), (0, 7), (2, 0)]),
            (1, [(1, 0), (3, 7), (0, 0), (1, 0)]),
            (0, [(2, 0), (2, 7), (0, 0), (1, 0)]),
        ] {
            let counts = calls_under(db, &fresh, &rows, exactly, now).await.unwrap();
            let told: Vec<_> = counts.iter().map(|c| (c.admitted, c.refused)).collect();
            assert_eq!(told, expected, "{exactly}");
        }
    }

    #[tokio::test]
    async fn starts_with_the_same_rules_are_one_span_and_each_text_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let (mut head, mut names) = (Head::empty(LOG), Names::default());
        let rules = |text: &str, commit: &str| {
            let rules = RulesText::new(text, text);
            let revision = rules.revision().to_string();
            let entry = Entry::new(Kind::Policy).text("policy", &revision);
            entry.text("commit", commit).with_rules(rules)
        };
        let large = "#".repeat(1024 * 1024 + 1);
        let entries = [
            rules("a", "1"),
            rules("a", "1"),
            rules("b", "2"),
            Entry::new(Kind::Started),
            rules("a", "3"),
            rules(&large, "3"),
        ];
        let mut events = Vec::new();
        for (second, entry) in (0..).zip(&entries) {
            let at = Timestamp::from_micros(second);
            events.push(Chained::after(&mut head, LOG, &mut names, entry, at));
        }
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let db = writer.connection();
        let rows = policies(db).await.unwrap();
        let told = rows.iter().map(|row| {
            let until = row.until.map(Timestamp::micros);
            (row.seq, until, row.commit.as_deref(), row.text_kept)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (6, None, Some("3"), false),
                (5, Some(5), Some("3"), true),
                (3, Some(4), Some("2"), true),
                (1, Some(2), Some("1"), true),
            ]
        );
        let kept = policy_text(db, &rows[1].revision).await.unwrap().unwrap();
        assert_eq!((&*kept.text, kept.is_whole, kept.seq), ("a", true, 1));
        assert_eq!(policy_text(db, &rows[0].revision).await.unwrap(), None);
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {ROWS}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan).fetch_all(db).await.unwrap();
        let by_index = |(_, _, _, step): &(i64, i64, i64, String)| step.contains("event_policy");
        assert!(plan.iter().any(by_index), "{plan:?}");
    }
}
