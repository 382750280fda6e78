//! Why did this happen, exactly? One call, from its events.

use askama::Template;
use axum::Extension;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::filter::{Filter, Key, Period};
use crate::audit::read::{
    CallRow, CallState, KeptBody, PolicyText, WholeCall, neighbours, policy_text, revision_of,
    whole_call,
};
use crate::audit::{Accessed, BodyKind, Deed};
use crate::db::PageReader;
use crate::policy::ViewerScope;
use crate::types::{CallId, Peer, Timestamp, shown};

use super::BASE;
use super::call_row::{target, word};
use super::call_text::{curl, explain, sentence, test};
use super::failure::{Failure, html};
use super::figures::{When, count, size, span};
use super::frame::{Frame, Guest, Link};
use super::visit::{Visit, reading};

/// Lines of the policy file shown before and after the one that decided.
const AROUND: usize = 3;

/// `GET /calls/{id}`.
pub(super) async fn page(Path(id): Path<String>, visit: Visit) -> Result<Response, Failure> {
    show(&id, &visit, false).await
}

/// `GET /calls/{id}/bodies`: the same with what is kept of arguments and result. That somebody looks is written down
/// first; without that nothing is shown.
pub(super) async fn bodies(
    Path(id): Path<String>,
    peer: Option<Extension<Peer>>,
    visit: Visit,
) -> Result<Response, Failure> {
    let call: CallId = id.parse().map_err(|_| NO_CALL)?;
    if scopes(&visit).is_empty() {
        return Err(Failure::Hidden);
    }
    // What nobody could be shown is not written down.
    reading(&visit, async |db| gather(db, &visit, call, false).await).await?;
    let accessed = Accessed {
        viewer: visit.viewer(),
        of: Some(call),
        address: peer.map(|Extension(peer)| peer.0),
        ..Accessed::new(Deed::Body)
    };
    if !visit.dashboard.record(accessed).await {
        return Err(Failure::Unrecorded);
    }
    show(&id, &visit, true).await
}

const NO_CALL: Failure = Failure::Unknown(
    "No call in this log has this id. It may belong to another gateway, or be older than what is kept.",
);

/// Which bodies who looks may see; nobody does on a dashboard that is open to everybody.
fn scopes(visit: &Visit) -> Vec<BodyKind> {
    let Guest::Viewer(name, _) = &visit.guest else {
        return Vec::new();
    };
    let viewer = visit.permissions.viewers().get(name);
    let see = viewer.map_or(&[][..], |viewer| &viewer.see);
    let kinds = see.iter().filter_map(|scope| match scope {
        ViewerScope::Metadata => None,
        ViewerScope::Arguments => Some(BodyKind::Arguments),
        ViewerScope::Results => Some(BodyKind::Result),
    });
    kinds.collect()
}

/// What the log says, and what stands around it.
struct Found {
    call: WholeCall,
    near: Vec<CallRow>,
    /// The revision of the rules that decided, whole, and their text.
    rules: Option<(String, PolicyText)>,
}

async fn show(id: &str, visit: &Visit, is_open: bool) -> Result<Response, Failure> {
    let call: CallId = id.parse().map_err(|_| NO_CALL)?;
    let found = reading(visit, async |db| gather(db, visit, call, is_open).await).await?;
    let may_see = scopes(visit);
    Ok(html(&CallPage::new(visit, &found, &may_see, is_open)))
}

async fn gather(
    db: &mut PageReader,
    visit: &Visit,
    call: CallId,
    is_open: bool,
) -> Result<Found, Failure> {
    let call = whole_call(db, call, is_open).await?.ok_or(NO_CALL)?;
    if !visit.may_see(call.row.opening.agent.as_deref()) {
        return Err(NO_CALL);
    }
    let near = match &call.facts.session {
        Some(session) => neighbours(db, &call.row, session).await?,
        None => Vec::new(),
    };
    let digits = call.row.opening.policy.as_deref().unwrap_or_default();
    let rules = match revision_of(db, digits).await? {
        Some(revision) => {
            let text = policy_text(db, &revision).await?;
            text.map(|text| (revision, text))
        }
        None => None,
    };
    Ok(Found { call, near, rules })
}

#[derive(Debug, Template)]
#[template(path = "call.html", whitespace = "minimize")]
struct CallPage {
    frame: Frame,
    id: String,
    sentence: String,
    when: When,
    class: &'static str,
    word: String,
    facts: Vec<Fact>,
    timing: Option<Timing>,
    decision: Option<Decision>,
    budgets: Vec<Counted>,
    bodies: Vec<BodyShown>,
    /// Where bodies are opened, when there are any that who looks may see.
    open: Option<String>,
    /// Why there are none to see, or some cannot be seen.
    bodies_told: &'static str,
    near: Vec<Near>,
    all_of_session: Option<String>,
    events: Vec<EventShown>,
    curl: Option<String>,
    test: Option<String>,
    explain: Option<String>,
}

#[derive(Debug)]
struct Fact {
    name: &'static str,
    text: String,
    href: Option<String>,
    note: &'static str,
}

/// Where the time went, of a bar 100 units wide.
#[derive(Debug)]
struct Timing {
    total: String,
    server: String,
    gateway: String,
    server_width: u64,
}

/// What decided.
#[derive(Debug)]
struct Decision {
    rule: String,
    line: u64,
    revision: String,
    /// The page of the file, at the line.
    href: Option<String>,
    /// The lines around, numbered; the one that decided is marked.
    lines: Vec<(usize, String, bool)>,
}

/// A budget of this call, before and after.
#[derive(Debug)]
struct Counted {
    name: String,
    limit: String,
    before: String,
    taken: String,
    charged: String,
}

#[derive(Debug)]
struct BodyShown {
    name: &'static str,
    text: String,
    note: String,
}

#[derive(Debug)]
struct Near {
    when: When,
    what: Link,
    class: &'static str,
    word: String,
    is_this: bool,
}

#[derive(Debug)]
struct EventShown {
    seq: String,
    when: When,
    kind: String,
    text: String,
    hash: String,
    previous: String,
}

impl CallPage {
    fn new(visit: &Visit, found: &Found, may_see: &[BodyKind], is_open: bool) -> Self {
        let (call, watch) = (&found.call, visit.watch());
        let row = &call.row;
        let id = row.call.map(|id| id.to_string()).unwrap_or_default();
        let seen = |body: &&KeptBody| may_see.contains(&body.kind);
        let can_open = !is_open && call.bodies.iter().any(|body| seen(&body));
        Self {
            frame: visit.frame("calls"),
            sentence: sentence(row),
            when: watch.tell(row.at),
            class: row.state.as_str(),
            word: word(row),
            facts: facts(call, &visit.filter),
            timing: timing(call),
            decision: decision(found, &visit.filter),
            budgets: counted(call),
            bodies: call
                .bodies
                .iter()
                .filter(seen)
                .filter_map(body_shown)
                .collect(),
            open: can_open.then(|| format!("{BASE}/calls/{id}/bodies{}", visit.filter)),
            bodies_told: bodies_told(call, may_see),
            near: near(found, visit),
            all_of_session: all_near(row, &visit.filter),
            events: events(call, visit),
            curl: curl(row, &call.bodies),
            test: test(row),
            explain: explain(row),
            id,
        }
    }
}

fn bodies_told(call: &WholeCall, may_see: &[BodyKind]) -> &'static str {
    if call.bodies.is_empty() {
        if call.row.state == CallState::Denied {
            return "Nothing is kept of the arguments of a call that was refused.";
        }
        return "Nothing is kept of arguments and result: `capture` in the rules says so for this agent or server, or \
            they were deleted since.";
    }
    if may_see.is_empty() {
        return "Something is kept of arguments or result. Who looks here may see only what happened, not what was said: \
            `see` of the viewer in the rules would have to name them.";
    }
    if call.bodies.iter().any(|body| !may_see.contains(&body.kind)) {
        return "There is more than the viewer may see by the rules.";
    }
    ""
}

fn facts(call: &WholeCall, filter: &Filter) -> Vec<Fact> {
    let (opening, closing) = (&call.row.opening, call.row.closing.as_ref());
    let facts = &call.facts;
    let picked = |key, value: &Option<String>| {
        let value = value.as_deref()?;
        let of = filter.time_only().with(key, value);
        Some((shown::name(value).to_string(), format!("{BASE}/calls{of}")))
    };
    let linked = |name, link: Option<(String, String)>| {
        link.map(|(text, href)| Fact {
            name,
            text,
            href: Some(href),
            note: "",
        })
    };
    let noted = |name, text: Option<String>, note| {
        text.map(|text| Fact {
            name,
            text,
            href: None,
            note,
        })
    };
    let plain = |name, text: Option<String>| noted(name, text, "");
    let said = |text: &Option<String>| text.as_deref().map(|text| shown::name(text).to_string());
    let spoke = match (&facts.version, &facts.era) {
        (Some(version), _) => Some(shown::name(version).to_string()),
        (None, Some(era)) => Some(spoken(era)),
        (None, None) => None,
    };
    let continues = facts.continues.as_deref().map(|id| {
        let id = shown::name(id).to_string();
        (id.clone(), format!("{BASE}/calls/{id}{filter}"))
    });
    let all = [
        linked("Agent", picked(Key::Agent, &opening.agent)),
        linked("Server", picked(Key::Server, &opening.server)),
        linked("Tool", picked(Key::Tool, &opening.tool)),
        plain("Method", said(&opening.method)),
        plain("Asked for", said(&opening.target)),
        linked("Refused because", picked(Key::Reason, &opening.reason)),
        plain(
            "Times",
            opening.count.filter(|n| *n > 1).map(|n| n.to_string()),
        ),
        plain("Protocol", spoke),
        noted("Client", said(&opening.client), "as it calls itself"),
        noted("Session", said(&facts.session), "as the agent calls it"),
        linked("Goes on with", continues),
        plain("Idempotency key", said(&facts.idempotency_key)),
        plain("Request", opening.bytes_in.map(size)),
        plain(
            "Answer",
            closing.and_then(|closing| closing.bytes_out).map(size),
        ),
        plain("Error", closing.and_then(|closing| said(&closing.error))),
    ];
    all.into_iter().flatten().collect()
}

fn spoken(era: &str) -> String {
    match era {
        "bare" => "no handshake".into(),
        "modern" => "2026-07-28".into(),
        other => shown::name(other).to_string(),
    }
}

/// The log keeps when a call was let through, when its end was written, and how long the server took.
fn timing(call: &WholeCall) -> Option<Timing> {
    let closing = call.row.closing.as_ref()?;
    let server = closing.latency_us?;
    let closed = call.events.get(1)?;
    let total = closed.at.since(call.row.at).as_micros();
    let total = u64::try_from(total).ok()?.max(server);
    Some(Timing {
        total: span(total),
        server: span(server),
        gateway: span(total.saturating_sub(server)),
        server_width: server.saturating_mul(100).checked_div(total).unwrap_or(100),
    })
}

fn decision(found: &Found, filter: &Filter) -> Option<Decision> {
    let opening = &found.call.row.opening;
    let rule = opening.rule.as_deref()?;
    let line = opening.line.unwrap_or(0);
    let at = usize::try_from(line).ok().filter(|line| *line > 0);
    let lines = found.rules.as_ref().zip(at).map(|((_, text), at)| {
        let numbered = text.text.lines().enumerate().map(|(n, line)| (n + 1, line));
        let around = numbered.filter(|(n, _)| n.abs_diff(at) <= AROUND);
        let shown = around.map(|(n, line)| (n, shown::sentence(line).to_string(), n == at));
        shown.collect()
    });
    Some(Decision {
        rule: shown::name(rule).to_string(),
        line,
        revision: shown::name(opening.policy.as_deref().unwrap_or("unknown")).to_string(),
        href: found
            .rules
            .as_ref()
            .map(|(revision, _)| format!("{BASE}/policy/{revision}{filter}#L{line}")),
        lines: lines.unwrap_or_default(),
    })
}

fn counted(call: &WholeCall) -> Vec<Counted> {
    let costs = call.row.closing.as_ref().map(|closing| &closing.costs);
    let held = call.facts.budgets.iter().map(|held| {
        let cost = costs.and_then(|costs| costs.iter().find(|cost| cost.key == held.key));
        Counted {
            name: shown::name(&held.key).to_string(),
            limit: amount(held.limit),
            before: amount(
                held.used
                    .saturating_add(held.held)
                    .saturating_sub(held.amount),
            ),
            taken: amount(held.amount),
            charged: cost.map_or("not settled".into(), |cost| amount(cost.charged)),
        }
    });
    let refused = call.facts.budget.as_deref().map(|key| Counted {
        name: shown::name(key).to_string(),
        limit: call.facts.limit.map(amount).unwrap_or_default(),
        before: call
            .facts
            .used
            .map(|used| amount(used.saturating_add(call.facts.held.unwrap_or(0))))
            .unwrap_or_default(),
        taken: "no room".into(),
        charged: "0".into(),
    });
    held.chain(refused).collect()
}

fn amount(amount: u64) -> String {
    count(i64::try_from(amount).unwrap_or(i64::MAX))
}

fn body_shown(body: &KeptBody) -> Option<BodyShown> {
    let text = body.text.as_deref()?;
    let cut = if body.is_truncated {
        "; only its beginning is kept"
    } else {
        ""
    };
    Some(BodyShown {
        name: match body.kind {
            BodyKind::Arguments => "Arguments",
            BodyKind::Result => "Result",
        },
        text: shown::whole(text).to_string(),
        note: format!("{} as it came{cut}", size(body.full_bytes)),
    })
}

fn near(found: &Found, visit: &Visit) -> Vec<Near> {
    let mut rows: Vec<_> = found.near.iter().chain([&found.call.row]).collect();
    if rows.len() == 1 {
        return Vec::new();
    }
    rows.sort_by_key(|row| row.seq);
    let rows = rows.into_iter().map(|row| Near {
        when: visit.watch().tell(row.at),
        what: Link {
            href: match row.call {
                Some(id) => format!("{BASE}/calls/{id}{}", visit.filter),
                None => format!("{BASE}/calls{}", visit.filter),
            },
            text: target(row),
        },
        class: row.state.as_str(),
        word: word(row),
        is_this: row.seq == found.call.row.seq,
    });
    rows.collect()
}

/// The calls of the same agent in the hour around this one.
fn all_near(row: &CallRow, filter: &Filter) -> Option<String> {
    const HALF: i64 = 1_800_000_000;
    let agent = row.opening.agent.as_deref()?;
    let at = |by: i64| Some(Timestamp::from_micros(row.at.micros().saturating_add(by)));
    let around = Period::Between {
        from: at(-HALF),
        to: at(HALF),
    };
    let filter = filter.time_only().with(Key::Agent, agent).during(around);
    Some(format!("{BASE}/calls{filter}"))
}

fn events(call: &WholeCall, visit: &Visit) -> Vec<EventShown> {
    let shown = call.events.iter().map(|event| EventShown {
        seq: count(event.seq),
        when: visit.watch().tell(event.at),
        kind: event.kind.clone(),
        text: shown::whole(&event.text).to_string(),
        hash: event.hash.clone(),
        previous: event.previous.clone().unwrap_or_else(|| "none".into()),
    });
    shown.collect()
}
