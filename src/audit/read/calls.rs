//! One page of the list of calls.

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::audit::lookups::{CHUNK, Dimension, place};
use crate::db::DbError;
use crate::types::{CallId, Timestamp};

use super::found::{CHUNKS_AT_ONCE, Condition, Found};
use super::row::load;
use super::{CallRow, CallState, Extent, SCAN, at_of, extent, first_since, has_calls};

/// Calls on a page.
pub const CALLS_A_PAGE: i64 = 100;

/// Refusals that one page of refusals searches at most; an index finds them, however far apart they are.
const SCAN_REFUSALS: i64 = 20_000;

/// Calls out of the lookups that one page looks at; nearly always, all of them are what is asked for.
const CHECKED: usize = 20_000;

/// Of these in one statement.
const CHECKED_AT_ONCE: usize = 512;

/// Names that are compared with one that nobody knows.
const NAMES_COMPARED: i64 = 5_000;

/// Names alike enough to suggest one for the other (Jaro-Winkler, from 0 to 1).
const ALIKE: f64 = 0.8;

/// Values to keep and values to leave out. Nothing to keep means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picks {
    /// One of these.
    pub only: Vec<String>,
    /// None of these.
    pub not: Vec<String>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cursor {
    /// At the newest call.
    #[default]
    Newest,
    /// Just before this sequence number, going back.
    Before(i64),
    /// Just after this sequence number, going forward.
    After(i64),
}

/// Which calls are asked for. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Who called.
    pub agents: Picks,
    /// Which server.
    pub servers: Picks,
    /// Which tool.
    pub tools: Picks,
    /// Why refused.
    pub reasons: Picks,
    /// How it stands; `None` for any.
    pub states: Option<Vec<CallState>>,
    /// At this instant or later.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// This very call.
    pub call: Option<CallId>,
    /// Where the page begins.
    pub cursor: Cursor,
}

/// Where a search was broken off, and where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// The search came to events of this instant.
    pub at: Timestamp,
    /// Where the rest begins.
    pub rest: Cursor,
}

/// A name that stands nowhere in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// `agent`, `server` or `tool`.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// One that does, and looks like it.
    pub suggestion: Option<String>,
}

/// One page, newest first.
#[derive(Debug, Clone, Default)]
pub struct CallsPage {
    /// The calls.
    pub rows: Vec<CallRow>,
    /// The page of newer calls.
    pub newer: Option<Cursor>,
    /// The page of older calls.
    pub older: Option<Cursor>,
    /// Set when the search was broken off before the page was full.
    pub stopped: Option<Stopped>,
    /// Names that were asked for and stand nowhere.
    pub unknown: Vec<Unknown>,
    /// Whether nobody called yet, with whatever filter.
    pub no_calls_yet: bool,
}

/// Reads one page of calls.
///
/// # Errors
/// When SQLite refuses.
pub async fn calls(db: &mut SqliteConnection, wanted: &Wanted) -> Result<CallsPage, DbError> {
    let Some(extent) = extent(db).await? else {
        return Ok(CallsPage {
            no_calls_yet: true,
            ..CallsPage::default()
        });
    };
    let mut page = match wanted.call {
        Some(call) => one_call(db, call).await?,
        None => search(db, wanted, extent).await?,
    };
    if page.rows.is_empty() {
        page.unknown = unknown_names(db, wanted).await?;
        page.no_calls_yet = !has_calls(db, extent).await?;
    }
    Ok(page)
}

async fn one_call(db: &mut SqliteConnection, call: CallId) -> Result<CallsPage, DbError> {
    let text = "SELECT seq FROM event WHERE call_id = $1 AND (kind IN ('admitted', 'denied')) = 1";
    let seqs = sqlx::query_scalar(text)
        .bind(call.as_bytes().as_slice())
        .fetch_all(&mut *db)
        .await?;
    Ok(CallsPage {
        rows: load(db, &seqs).await?,
        ..CallsPage::default()
    })
}

/// Sequence numbers, both included; empty when the first is greater.
#[derive(Debug, Clone, Copy)]
struct Reach {
    low: i64,
    high: i64,
}

async fn search(
    db: &mut SqliteConnection,
    wanted: &Wanted,
    extent: Extent,
) -> Result<CallsPage, DbError> {
    let reach = reach(db, wanted, extent).await?;
    let matching = Matching::prepare(db, wanted).await?;
    if matching.nothing {
        return Ok(CallsPage::default());
    }
    let conditions = matching.conditions(wanted);
    let found = Found::prepare(db, conditions, wanted.states.as_deref(), extent).await?;
    let search = Search { matching, found };
    match wanted.cursor {
        Cursor::Newest => back(db, &search, reach, None).await,
        Cursor::Before(seq) => back(db, &search, reach, Some(seq)).await,
        Cursor::After(seq) => match forward(db, &search, reach, seq).await? {
            Some(page) => Ok(page),
            // The newest page is always full, not what happens to be left of it.
            None => back(db, &search, reach, None).await,
        },
    }
}

async fn reach(
    db: &mut SqliteConnection,
    wanted: &Wanted,
    extent: Extent,
) -> Result<Reach, DbError> {
    let low = match wanted.from {
        Some(from) => first_since(db, extent, from).await?,
        None => extent.first,
    };
    let high = match wanted.to {
        Some(to) => first_since(db, extent, to).await?.saturating_sub(1),
        None => extent.last,
    };
    Ok(Reach { low, high })
}

async fn back(
    db: &mut SqliteConnection,
    search: &Search,
    reach: Reach,
    before: Option<i64>,
) -> Result<CallsPage, DbError> {
    let high = before.map_or(reach.high, |seq| reach.high.min(seq.saturating_sub(1)));
    let (mut seqs, low) = search.back(db, Reach { high, ..reach }).await?;
    let older = cut(&mut seqs).map(Cursor::Before);
    let stopped = if older.is_none() && low > reach.low {
        let at = at_of(db, low).await?;
        at.map(|at| Stopped {
            at,
            rest: Cursor::Before(low),
        })
    } else {
        None
    };
    let first = seqs.first().copied();
    Ok(CallsPage {
        newer: before.map(|seq| Cursor::After(first.unwrap_or(seq.saturating_sub(1)))),
        older,
        stopped,
        rows: load(db, &seqs).await?,
        ..CallsPage::default()
    })
}

/// The page after a call; `None` when that is the newest page.
async fn forward(
    db: &mut SqliteConnection,
    search: &Search,
    reach: Reach,
    after: i64,
) -> Result<Option<CallsPage>, DbError> {
    let low = reach.low.max(after.saturating_add(1));
    let (mut seqs, high) = search.forward(db, Reach { low, ..reach }).await?;
    let newer = cut(&mut seqs).map(Cursor::After);
    if newer.is_none() && high >= reach.high {
        return Ok(None);
    }
    let stopped = if newer.is_none() {
        let at = at_of(db, high).await?;
        at.map(|at| Stopped {
            at,
            rest: Cursor::After(high),
        })
    } else {
        None
    };
    let oldest = seqs.first().copied().unwrap_or(low);
    Ok(Some(CallsPage {
        newer,
        older: Some(Cursor::Before(oldest)),
        stopped,
        rows: load(db, &seqs).await?,
        ..CallsPage::default()
    }))
}

/// Takes away the one row more than a page that was asked for, and says where the next page begins.
fn cut(seqs: &mut Vec<i64>) -> Option<i64> {
    let page = usize::try_from(CALLS_A_PAGE).unwrap_or(usize::MAX);
    if seqs.len() <= page {
        return None;
    }
    seqs.truncate(page);
    seqs.last().copied()
}

/// The conditions, and the lookups as far as they help.
#[derive(Debug)]
struct Search {
    matching: Matching,
    found: Option<Found>,
}

impl Search {
    /// Calls of a reach, newest first, one more than a page; and the number down to which they are all of them.
    async fn back(
        &self,
        db: &mut SqliteConnection,
        reach: Reach,
    ) -> Result<(Vec<i64>, i64), DbError> {
        let Some(found) = &self.found else {
            let low = self.matching.floor(db, reach).await?;
            let seqs = self
                .matching
                .find(db, Reach { low, ..reach }, false)
                .await?;
            return Ok((seqs, low));
        };
        let low = reach.low.max(found.mark.saturating_add(1));
        let mut seqs = self
            .matching
            .find(db, Reach { low, ..reach }, false)
            .await?;
        let mut rest = Reach {
            high: reach.high.min(found.mark),
            ..reach
        };
        let (mut at_once, mut checked) = (1, 0_usize);
        while !is_full(&seqs) && rest.low <= rest.high {
            if checked >= CHECKED {
                return Ok((seqs, rest.high.saturating_add(1)));
            }
            let last = place(rest.high).0;
            let first = last.saturating_sub(at_once - 1).max(place(rest.low).0);
            let calls = found.calls(db, first, last).await?;
            let calls: Vec<i64> = calls.range(rest.low..=rest.high).rev().copied().collect();
            checked = checked.saturating_add(calls.len());
            self.matching.check(db, &calls, false, &mut seqs).await?;
            rest.high = first.saturating_mul(CHUNK).saturating_sub(1);
            at_once = at_once.saturating_mul(2).min(CHUNKS_AT_ONCE);
        }
        Ok((seqs, reach.low))
    }

    /// The same upwards, oldest first.
    async fn forward(
        &self,
        db: &mut SqliteConnection,
        reach: Reach,
    ) -> Result<(Vec<i64>, i64), DbError> {
        let Some(found) = &self.found else {
            let high = reach.high.min(reach.low.saturating_add(SCAN));
            let seqs = self
                .matching
                .find(db, Reach { high, ..reach }, true)
                .await?;
            return Ok((seqs, high));
        };
        let mut seqs = Vec::new();
        let mut rest = Reach {
            high: reach.high.min(found.mark),
            ..reach
        };
        let (mut at_once, mut checked) = (1, 0_usize);
        while !is_full(&seqs) && rest.low <= rest.high {
            if checked >= CHECKED {
                return Ok((seqs, rest.low.saturating_sub(1)));
            }
            let first = place(rest.low).0;
            let last = first.saturating_add(at_once - 1).min(place(rest.high).0);
            let calls = found.calls(db, first, last).await?;
            let calls: Vec<i64> = calls.range(rest.low..=rest.high).copied().collect();
            checked = checked.saturating_add(calls.len());
            self.matching.check(db, &calls, true, &mut seqs).await?;
            rest.low = last.saturating_add(1).saturating_mul(CHUNK);
            at_once = at_once.saturating_mul(2).min(CHUNKS_AT_ONCE);
        }
        if !is_full(&seqs) {
            let low = reach.low.max(found.mark.saturating_add(1));
            seqs.extend(self.matching.find(db, Reach { low, ..reach }, true).await?);
        }
        Ok((seqs, reach.high))
    }
}

/// Whether there is one more than a page.
fn is_full(seqs: &[i64]) -> bool {
    i64::try_from(seqs.len()).is_ok_and(|found| found > CALLS_A_PAGE)
}

/// The conditions as the statement takes them: lists as JSON texts, `None` for no condition.
#[derive(Debug, Default)]
struct Matching {
    agents: Lists,
    servers: Lists,
    tools: Lists,
    reasons: [Option<String>; 2],
    states: Option<String>,
    only_refusals: bool,
    nothing: bool,
}

#[derive(Debug, Default)]
struct Lists {
    /// The numbers of the names, where there are conditions on them.
    only_found: Option<Vec<i64>>,
    not_found: Option<Vec<i64>>,
    only_ids: Option<String>,
    only: Option<String>,
    not_ids: Option<String>,
    not: Option<String>,
    none_known: bool,
}

impl Matching {
    async fn prepare(db: &mut SqliteConnection, wanted: &Wanted) -> Result<Self, DbError> {
        let agents = Lists::of(db, &wanted.agents).await?;
        let servers = Lists::of(db, &wanted.servers).await?;
        let tools = Lists::of(db, &wanted.tools).await?;
        let states = wanted.states.as_deref();
        let words = states.map(|states| states.iter().map(|state| state.as_str()));
        Ok(Self {
            // A tool that was only ever refused has no number: its name stands in the text of the event.
            nothing: agents.none_known || servers.none_known || states.is_some_and(<[_]>::is_empty),
            only_refusals: !wanted.reasons.only.is_empty()
                || states.is_some_and(|states| *states == [CallState::Denied]),
            reasons: [list(&wanted.reasons.only), list(&wanted.reasons.not)],
            states: words.map(|words| serde_json::Value::from_iter(words).to_string()),
            agents,
            servers,
            tools,
        })
    }

    /// How far back one search goes.
    async fn floor(&self, db: &mut SqliteConnection, reach: Reach) -> Result<i64, DbError> {
        if !self.only_refusals {
            let far = reach.high.saturating_sub(SCAN).saturating_add(1);
            return Ok(reach.low.max(far));
        }
        let text = "SELECT seq FROM event WHERE kind = 'denied' AND seq BETWEEN $1 AND $2
            ORDER BY seq DESC LIMIT 1 OFFSET $3";
        let floor = sqlx::query_scalar(text)
            .bind(reach.low)
            .bind(reach.high)
            .bind(SCAN_REFUSALS)
            .fetch_optional(db)
            .await?;
        Ok(floor.unwrap_or(reach.low))
    }

    /// What lookups can tell of the conditions.
    fn conditions(&self, wanted: &Wanted) -> Vec<Condition> {
        let names = [
            (Dimension::Agent, &self.agents),
            (Dimension::Server, &self.servers),
            (Dimension::Tool, &self.tools),
        ];
        let names = names.into_iter().flat_map(|(dimension, lists)| {
            Condition::on_names(
                dimension,
                lists.only_found.as_deref(),
                lists.not_found.as_deref(),
            )
        });
        let reasons = &wanted.reasons;
        let reasons = Condition::on_words(Dimension::Reason, &reasons.only, &reasons.not);
        let states = wanted.states.as_deref().map(Condition::on_states);
        names.chain(reasons).chain(states).collect()
    }

    /// Keeps those of some calls that meet the conditions, up to one more than a page altogether.
    async fn check(
        &self,
        db: &mut SqliteConnection,
        calls: &[i64],
        upwards: bool,
        seqs: &mut Vec<i64>,
    ) -> Result<(), DbError> {
        for some in calls.chunks(CHECKED_AT_ONCE) {
            if is_full(seqs) {
                break;
            }
            let (low, high) = (some.iter().min(), some.iter().max());
            let Some((low, high)) = low.copied().zip(high.copied()) else {
                break;
            };
            let list = serde_json::Value::from(some).to_string();
            seqs.extend(
                self.among(db, Reach { low, high }, upwards, Some(list))
                    .await?,
            );
        }
        seqs.truncate(usize::try_from(CALLS_A_PAGE.saturating_add(1)).unwrap_or(usize::MAX));
        Ok(())
    }

    /// Finds one more than a page, in the order asked for.
    async fn find(
        &self,
        db: &mut SqliteConnection,
        reach: Reach,
        upwards: bool,
    ) -> Result<Vec<i64>, DbError> {
        self.among(db, reach, upwards, None).await
    }

    /// The same among some calls only, if there is a list of them.
    async fn among(
        &self,
        db: &mut SqliteConnection,
        reach: Reach,
        upwards: bool,
        list: Option<String>,
    ) -> Result<Vec<i64>, DbError> {
        // The text is put together from constants of this program alone.
        let mut query = sqlx::query_scalar(AssertSqlSafe(self.text(upwards, list.is_some())))
            .bind(reach.low)
            .bind(reach.high)
            .bind(CALLS_A_PAGE.saturating_add(1));
        for names in [&self.agents, &self.servers, &self.tools] {
            query = query
                .bind(&names.only_ids)
                .bind(&names.only)
                .bind(&names.not_ids)
                .bind(&names.not);
        }
        for reasons in &self.reasons {
            query = query.bind(reasons);
        }
        Ok(query.bind(&self.states).bind(list).fetch_all(db).await?)
    }

    fn text(&self, upwards: bool, has_list: bool) -> String {
        let kinds = if self.only_refusals {
            "o.kind = 'denied'"
        } else {
            "o.kind IN ('admitted', 'denied')"
        };
        let states = if self.states.is_some() { STATES } else { "" };
        let closing = if self.states.is_some() { CLOSING } else { "" };
        let order = if upwards { "ASC" } else { "DESC" };
        let from = if has_list { LISTED } else { "event AS o" };
        format!(
            "SELECT o.seq FROM {from} {closing} WHERE o.seq BETWEEN $1 AND $2 AND {kinds}
            {CONDITIONS} {states} ORDER BY o.seq {order} LIMIT $3"
        )
    }
}

const LISTED: &str = "json_each($19) AS listed CROSS JOIN event AS o ON o.seq = listed.value";

const CLOSING: &str = "LEFT JOIN event AS c
    ON c.call_id = o.call_id AND (c.kind IN ('admitted', 'denied')) = 0";

const CONDITIONS: &str = "
    AND ($4 IS NULL OR CASE WHEN o.agent_id IS NULL
        THEN o.meta ->> 'agent' IN (SELECT value FROM json_each($5))
        ELSE o.agent_id IN (SELECT value FROM json_each($4)) END)
    AND ($6 IS NULL OR NOT coalesce(CASE WHEN o.agent_id IS NULL
        THEN o.meta ->> 'agent' IN (SELECT value FROM json_each($7))
        ELSE o.agent_id IN (SELECT value FROM json_each($6)) END, FALSE))
    AND ($8 IS NULL OR CASE WHEN o.server_id IS NULL
        THEN o.meta ->> 'server' IN (SELECT value FROM json_each($9))
        ELSE o.server_id IN (SELECT value FROM json_each($8)) END)
    AND ($10 IS NULL OR NOT coalesce(CASE WHEN o.server_id IS NULL
        THEN o.meta ->> 'server' IN (SELECT value FROM json_each($11))
        ELSE o.server_id IN (SELECT value FROM json_each($10)) END, FALSE))
    AND ($12 IS NULL OR CASE WHEN o.tool_id IS NULL
        THEN o.meta ->> 'tool' IN (SELECT value FROM json_each($13))
        ELSE o.tool_id IN (SELECT value FROM json_each($12)) END)
    AND ($14 IS NULL OR NOT coalesce(CASE WHEN o.tool_id IS NULL
        THEN o.meta ->> 'tool' IN (SELECT value FROM json_each($15))
        ELSE o.tool_id IN (SELECT value FROM json_each($14)) END, FALSE))
    AND ($16 IS NULL OR o.reason IN (SELECT value FROM json_each($16)))
    AND ($17 IS NULL OR NOT coalesce(o.reason IN (SELECT value FROM json_each($17)), FALSE))";

const STATES: &str = "
    AND CASE WHEN o.kind = 'denied' THEN 'denied' WHEN c.seq IS NULL THEN 'open'
        WHEN c.kind <> 'settled' THEN c.kind
        WHEN coalesce(c.meta ->> 'outcome', 'ok') = 'ok' THEN 'ok' ELSE 'error' END
        IN (SELECT value FROM json_each($18))";

impl Lists {
    async fn of(db: &mut SqliteConnection, picks: &Picks) -> Result<Self, DbError> {
        let only = ids(db, &picks.only).await?;
        let not = ids(db, &picks.not).await?;
        let json = |ids: &Vec<i64>| serde_json::Value::from(ids.as_slice()).to_string();
        Ok(Self {
            none_known: only.as_ref().is_some_and(Vec::is_empty),
            only_ids: only.as_ref().map(json),
            only: list(&picks.only),
            not_ids: not.as_ref().map(json),
            not: list(&picks.not),
            only_found: only,
            not_found: not,
        })
    }
}

fn list(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| serde_json::Value::from(texts).to_string())
}

async fn ids(db: &mut SqliteConnection, names: &[String]) -> Result<Option<Vec<i64>>, DbError> {
    let Some(names) = list(names) else {
        return Ok(None);
    };
    let text = "SELECT id FROM name WHERE text IN (SELECT value FROM json_each($1))";
    let ids = sqlx::query_scalar(text).bind(names).fetch_all(db).await?;
    Ok(Some(ids))
}

async fn unknown_names(
    db: &mut SqliteConnection,
    wanted: &Wanted,
) -> Result<Vec<Unknown>, DbError> {
    let asked = [
        ("agent", &wanted.agents.only),
        ("server", &wanted.servers.only),
        ("tool", &wanted.tools.only),
    ];
    let mut unknown = Vec::new();
    for (what, names) in asked {
        for name in names {
            if ids(db, std::slice::from_ref(name)).await? == Some(Vec::new()) {
                unknown.push(Unknown {
                    what,
                    name: name.clone(),
                    suggestion: suggestion(db, name).await?,
                });
            }
        }
    }
    Ok(unknown)
}

async fn suggestion(db: &mut SqliteConnection, name: &str) -> Result<Option<String>, DbError> {
    let known: Vec<String> = sqlx::query_scalar("SELECT text FROM name ORDER BY id DESC LIMIT $1")
        .bind(NAMES_COMPARED)
        .fetch_all(db)
        .await?;
    let scored = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, &known), known));
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other));
    Ok(best
        .filter(|(score, _)| *score >= ALIKE)
        .map(|(_, known)| known))
}
