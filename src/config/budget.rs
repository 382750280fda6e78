//! Budgets, wherever they stand: read once as drafts, made into rules for each place they apply to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::{BudgetRule, Each, Pattern, Place, Pool};
use crate::types::{Limit, PoolName, Window};

use super::fields::{Fields, Text, choice, did_you_mean, text};
use super::names::Known;
use super::node::{Entry, Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};
use super::tool::{self, tool_patterns};

const EACH: &[(&str, Each)] = &[
    ("agent", Each::Agent),
    ("tool", Each::Tool),
    ("agent+tool", Each::AgentAndTool),
];

/// The named pools: those that were understood, and all names, so that one mistake is reported once.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pub(super) rules: BTreeMap<PoolName, Pool>,
    pub(super) names: Known,
}

/// A budget as written, before it is known whom it belongs to.
#[derive(Debug, Clone)]
pub(super) enum Budget {
    /// One that everybody who names it shares.
    Pool(Pool),
    /// One of its own.
    Own(Own),
}

/// How much, of which tools, split how.
#[derive(Debug, Clone)]
pub(super) struct Own {
    place: Place,
    limit: Limit,
    tools: Vec<Pattern>,
    each: Each,
}

/// The rules of one place, whose identity begins with `scope`.
pub(super) fn rules(drafts: &[Budget], scope: &str) -> Vec<Arc<BudgetRule>> {
    let scope: Arc<str> = scope.into();
    let each = drafts.iter().map(|draft| match draft {
        Budget::Pool(pool) => Arc::clone(pool),
        Budget::Own(own) => Arc::new(own.rule(&scope)),
    });
    each.collect()
}

impl Own {
    fn rule(&self, scope: &Arc<str>) -> BudgetRule {
        BudgetRule {
            place: self.place.clone(),
            scope: Arc::clone(scope),
            limit: self.limit,
            tools: self.tools.clone(),
            each: self.each,
        }
    }

    /// What tells two budgets of one place apart; the limit does not.
    fn identity(&self) -> (Vec<&str>, Window, Each) {
        (tool::sorted(&self.tools), self.limit.window, self.each)
    }
}

/// Reads the pools at the top level.
pub(super) fn pools(section: &[Entry], findings: &mut Findings) -> Pools {
    let mut pools = Pools::default();
    for entry in section {
        let Some(name) = pools.names.enter::<PoolName>(entry, "pool", findings) else {
            continue;
        };
        let path = format!("budgets.{name}");
        let place = Place {
            path: path.as_str().into(),
            line: entry.key_span.line,
        };
        let subject = format!("pool `{name}`");
        if let Some(own) = pool(&entry.node, entry.key_span, &subject, place, findings) {
            pools.rules.insert(name, Arc::new(own.rule(&path.into())));
        }
    }
    pools
}

fn pool(
    node: &Node,
    key: Span,
    subject: &str,
    place: Place,
    findings: &mut Findings,
) -> Option<Own> {
    if let Value::Map(_) = node.value {
        let fields = Fields::open(node, subject, &["limit", "tools", "each"], findings)?;
        return own(&fields, node.span, place, findings);
    }
    let written = text(node, key, subject, findings)?;
    let limit = limit(written, findings)?;
    Some(Own {
        place,
        limit,
        tools: Vec::new(),
        each: Each::Shared,
    })
}

/// Reads `budgets:` of a server, agent or grant: one budget or a list of them.
pub(super) fn budgets(
    fields: &Fields<'_>,
    path: &str,
    pools: &Pools,
    findings: &mut Findings,
) -> Vec<Budget> {
    let Some(entry) = fields.entry("budgets") else {
        return Vec::new();
    };
    let items = match &entry.node.value {
        Value::List(items) => items.as_slice(),
        Value::Empty | Value::Broken => &[],
        Value::Text(_) | Value::Map(_) => std::slice::from_ref(&entry.node),
    };
    let mut seen = Seen::default();
    let numbered = items.iter().enumerate();
    let read = numbered.filter_map(|(index, item)| {
        let path: Arc<str> = format!("{path}.budgets[{index}]").into();
        let place = Place {
            path,
            line: item.span.line,
        };
        let budget = budget(item, place, pools, findings)?;
        seen.check(&budget, item.span, fields.subject(), findings);
        Some(budget)
    });
    read.collect()
}

fn budget(node: &Node, place: Place, pools: &Pools, findings: &mut Findings) -> Option<Budget> {
    if let Value::Map(_) = node.value {
        let known = ["limit", "tools", "each", "pool"];
        let fields = Fields::open(node, "a budget", &known, findings)?;
        if fields.entry("pool").is_some() {
            return named(&fields, node.span, pools, findings);
        }
        return own(&fields, node.span, place, findings).map(Budget::Own);
    }
    let written = text(node, node.span, "a budget", findings)?;
    if looks_like_limit(written.text) && !pools.names.contains(written.text) {
        let limit = limit(written, findings)?;
        return Some(Budget::Own(Own {
            place,
            limit,
            tools: Vec::new(),
            each: Each::Shared,
        }));
    }
    pool_named(written, pools, findings)
}

/// `{pool: name}`, which takes everything else from the pool.
fn named(
    fields: &Fields<'_>,
    span: Span,
    pools: &Pools,
    findings: &mut Findings,
) -> Option<Budget> {
    if ["limit", "tools", "each"]
        .iter()
        .any(|key| fields.entry(key).is_some())
    {
        let title = "a budget names a pool or sets a limit of its own, not both";
        let note = "limit, tools and each of a pool stand under `budgets` at the top level";
        findings.add(Finding::new(Code::Shape, span, title).note(note));
        return None;
    }
    let name = fields.text("pool", findings)?;
    pool_named(name, pools, findings)
}

fn pool_named(name: Text<'_>, pools: &Pools, findings: &mut Findings) -> Option<Budget> {
    if pools.names.contains(name.text) {
        return pools
            .rules
            .get(name.text)
            .map(|pool| Budget::Pool(Arc::clone(pool)));
    }
    let title = format!("pool {} is not defined", quote(name.text));
    let finding = Finding::new(Code::UnknownName, name.span, title)
        .label("no pool with this name")
        .note("a limit is written as `2/day`; pools stand under `budgets` at the top level");
    findings.add(did_you_mean(finding, name, pools.names.iter()));
    None
}

fn own(fields: &Fields<'_>, span: Span, place: Place, findings: &mut Findings) -> Option<Own> {
    if fields.entry("limit").is_none() {
        let title = format!("{} has no `limit`", fields.subject());
        findings.add(Finding::new(Code::BadAmount, span, title).note("such as `limit: 2/day`"));
    }
    let limit = fields
        .text("limit", findings)
        .and_then(|text| limit(text, findings));
    let tools = tool_patterns(fields, findings);
    let each = match fields.entry("each") {
        None => Some(Each::Shared),
        Some(_) => choice(fields.text("each", findings), EACH, findings),
    };
    let tools = match tools {
        Some(Some(tools)) if tools.is_empty() => {
            let title = format!("{} counts no tool at all", fields.subject());
            let note = "name the tools, or leave `tools` away to count all of them";
            findings.add(Finding::new(Code::BadAmount, span, title).note(note));
            return None;
        }
        other => other?.unwrap_or_default(),
    };
    Some(Own {
        place,
        limit: limit?,
        tools,
        each: each?,
    })
}

fn looks_like_limit(text: &str) -> bool {
    text.contains(['/', ' ']) || text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

fn limit(text: Text<'_>, findings: &mut Findings) -> Option<Limit> {
    match text.text.parse::<Limit>() {
        Ok(limit) => Some(limit),
        Err(error) => {
            let finding = if is_of_a_later_version(text.text) {
                let title = format!("{} does not count calls", quote(text.text));
                Finding::new(Code::BadAmount, text.span, title).note(ONLY_CALLS)
            } else {
                let title = format!("{} is not a budget", quote(text.text));
                Finding::new(Code::BadAmount, text.span, title).note(error.to_string())
            };
            findings.add(finding);
            None
        }
    }
}

const ONLY_CALLS: &str =
    "this version counts calls, such as `2/day`, `10/24h` or `100 total`; no costs";

/// `40 USD/month`.
fn is_of_a_later_version(text: &str) -> bool {
    let count = text.split_once('/').map_or(text, |(count, _)| count);
    count.trim().contains(' ')
}

/// Which budgets one place has so far.
#[derive(Default)]
struct Seen(HashMap<String, Span>);

impl Seen {
    fn check(&mut self, budget: &Budget, span: Span, subject: &str, findings: &mut Findings) {
        let identity = match budget {
            Budget::Pool(pool) => pool.scope.to_string(),
            Budget::Own(own) => format!("{:?}", own.identity()),
        };
        let Some(first) = self.0.insert(identity, span) else {
            return;
        };
        let title = format!("{subject} has the same budget twice");
        let finding = Finding::new(Code::SameBudget, span, title)
            .label("same tools, window and `each`")
            .context(first, "first here")
            .note("two limits of one count contradict each other: keep the one that is meant");
        findings.add(finding);
    }
}
