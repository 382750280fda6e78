//! Budgets, wherever they stand: read once as drafts, made into rules for each place they apply to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::policy::{BudgetRule, Each, Pattern, Place, Pool, Refund};
use crate::types::{Limit, PoolName, Unit, Window};

use super::cost::amount;
use super::fields::{Fields, Text, choice, did_you_mean, text};
use super::keys;
use super::names::Known;
use super::node::{Entry, Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};
use super::tool::{self, tool_patterns};

const EACH: &[(&str, Each)] = &[
    ("agent", Each::Agent),
    ("tool", Each::Tool),
    ("agent+tool", Each::AgentAndTool),
];

/// Adds a word of `refund` to what the others said.
type AddRefund = fn(&mut Refund);

/// What gives back what was held, by the words of the file.
const REFUNDS: &[(&str, AddRefund)] = &[
    // Always so: where not one byte was sent, nothing can have cost anything.
    ("unreachable", |_| {}),
    ("rejected", |refund| refund.rejected = true),
    ("tool_error", |refund| refund.tool_error = true),
];

/// The longest name of an argument, in characters.
const MAX_ARGUMENT: usize = 64;

/// The named pools: those that were understood, and all names, so that one mistake is reported once.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pub(super) rules: BTreeMap<PoolName, Pool>,
    pub(super) names: Known,
}

/// A budget as written, before it is known whom it belongs to.
#[derive(Debug, Clone)]
pub(super) enum Budget {
    /// One that everybody who names it shares, and where it is named.
    Pool(Pool, Span),
    /// One of its own.
    Own(Own),
}

/// How much, of which tools, split how.
#[derive(Debug, Clone)]
pub(super) struct Own {
    place: Place,
    span: Span,
    limit: Limit,
    tools: Vec<Pattern>,
    each: Each,
    max_cost: Option<u64>,
    refund: Refund,
}

impl Budget {
    /// How much.
    pub(super) fn limit(&self) -> &Limit {
        match self {
            Self::Pool(pool, _) => &pool.limit,
            Self::Own(own) => &own.limit,
        }
    }

    /// Where it is written.
    pub(super) fn span(&self) -> Span {
        match self {
            Self::Pool(_, span) => *span,
            Self::Own(own) => own.span,
        }
    }
}

/// Whether two places, of the same name, have a budget of their own that would be the same count.
pub(super) fn any_same(one: &[Budget], two: &[Budget]) -> bool {
    let own = |budget: &Budget| match budget {
        Budget::Own(own) => Some(format!("{:?}", own.identity())),
        Budget::Pool(..) => None,
    };
    let theirs: Vec<String> = two.iter().filter_map(own).collect();
    one.iter()
        .filter_map(own)
        .any(|mine| theirs.contains(&mine))
}

/// The rules of one place, whose identity begins with `scope`.
pub(super) fn rules(drafts: &[Budget], scope: &str) -> Vec<Arc<BudgetRule>> {
    let scope: Arc<str> = scope.into();
    let each = drafts.iter().map(|draft| match draft {
        Budget::Pool(pool, _) => Arc::clone(pool),
        Budget::Own(own) => Arc::new(own.rule(&scope)),
    });
    each.collect()
}

impl Own {
    fn rule(&self, scope: &Arc<str>) -> BudgetRule {
        BudgetRule {
            place: self.place.clone(),
            scope: Arc::clone(scope),
            limit: self.limit.clone(),
            tools: self.tools.clone(),
            each: self.each,
            max_cost: self.max_cost,
            refund: self.refund,
        }
    }

    /// What tells two budgets of one place apart; the limit does not.
    fn identity(&self) -> (Vec<&str>, &Unit, Window, Each) {
        let limit = &self.limit;
        (
            tool::sorted(&self.tools),
            &limit.unit,
            limit.window,
            self.each,
        )
    }

    /// A limit and nothing else.
    fn plain(place: Place, span: Span, limit: Limit) -> Self {
        Self {
            place,
            span,
            limit,
            tools: Vec::new(),
            each: Each::Shared,
            max_cost: None,
            refund: Refund::default(),
        }
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
        let fields = Fields::open(node, subject, keys::POOL, findings)?;
        return own(&fields, node.span, place, findings);
    }
    let written = text(node, key, subject, findings)?;
    let limit = limit(written, findings)?;
    Some(Own::plain(place, written.span, limit))
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
        let fields = Fields::open(node, "a budget", keys::BUDGET, findings)?;
        if fields.entry("pool").is_some() {
            return named(&fields, node.span, pools, findings);
        }
        return own(&fields, node.span, place, findings).map(Budget::Own);
    }
    let written = text(node, node.span, "a budget", findings)?;
    if looks_like_limit(written.text) && !pools.names.contains(written.text) {
        let limit = limit(written, findings)?;
        return Some(Budget::Own(Own::plain(place, written.span, limit)));
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
    if keys::POOL.iter().any(|key| fields.entry(key).is_some()) {
        let title = "a budget names a pool or sets a limit of its own, not both";
        let note = "limit, tools and the rest of a pool stand under `budgets` at the top level";
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
            .map(|pool| Budget::Pool(Arc::clone(pool), name.span));
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
        .and_then(|text| limit(text, findings))
        .and_then(|limit| weighed(limit, fields, findings));
    let max_cost = limit
        .as_ref()
        .and_then(|limit| max_cost(limit, fields, findings));
    let refund = refund(fields, findings);
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
        span,
        limit: limit?,
        tools,
        each: each?,
        max_cost,
        refund,
    })
}

/// `weight: {argument: count}`: counts the number in an argument instead of calls.
fn weighed(limit: Limit, fields: &Fields<'_>, findings: &mut Findings) -> Option<Limit> {
    let Some(entry) = fields.entry("weight") else {
        return Some(limit);
    };
    let subject = format!("`weight` of {}", fields.subject());
    let weight = Fields::open(&entry.node, subject, keys::WEIGHT, findings)?;
    if weight.entry("argument").is_none() {
        let title = "`weight` names no argument";
        let note = "such as `weight: {argument: count}`";
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note(note));
        return None;
    }
    let name = weight.text("argument", findings)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let title = if limit.unit != Unit::Calls {
        "a budget of costs takes no `weight`".to_owned()
    } else if name.text.len() > MAX_ARGUMENT || !name.text.chars().all(is_plain) {
        format!("{} cannot be weighed", quote(name.text))
    } else {
        let unit = Unit::Argument(name.text.into());
        return Some(Limit { unit, ..limit });
    };
    let note = "`argument` is the name of a number at the top of the arguments: letters, digits, `.`, `_` and `-`";
    findings.add(Finding::new(Code::BadAmount, name.span, title).note(note));
    None
}

fn max_cost(limit: &Limit, fields: &Fields<'_>, findings: &mut Findings) -> Option<u64> {
    fields.entry("max_cost")?;
    let written = fields.text("max_cost", findings)?;
    if limit.unit == Unit::Calls {
        let title = "every call counts as one here, so `max_cost` says nothing";
        let note = "it belongs to a budget of costs, or to one with `weight`";
        findings.add(Finding::new(Code::BadAmount, written.span, title).note(note));
        return None;
    }
    amount(written, &limit.unit, findings)
}

fn refund(fields: &Fields<'_>, findings: &mut Findings) -> Refund {
    let mut refund = Refund::default();
    for item in fields.list("refund", findings) {
        let word = text(item, item.span, "a word of `refund`", findings);
        if let Some(add) = choice(word, REFUNDS, findings) {
            add(&mut refund);
        }
    }
    refund
}

fn looks_like_limit(text: &str) -> bool {
    text.contains(['/', ' ']) || text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
}

fn limit(text: Text<'_>, findings: &mut Findings) -> Option<Limit> {
    match text.text.parse::<Limit>() {
        Ok(limit) => Some(limit),
        Err(error) => {
            let title = format!("{} is not a budget", quote(text.text));
            let finding = Finding::new(Code::BadAmount, text.span, title).note(error.to_string());
            findings.add(finding);
            None
        }
    }
}

/// Which budgets one place has so far.
#[derive(Default)]
struct Seen(HashMap<String, Span>);

impl Seen {
    fn check(&mut self, budget: &Budget, span: Span, subject: &str, findings: &mut Findings) {
        let identity = match budget {
            Budget::Pool(pool, _) => pool.scope.to_string(),
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
