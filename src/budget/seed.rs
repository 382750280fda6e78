//! What a new count begins with when the rule was there before with another window, other tools or another split: what
//! was used in that span, rounded up. Without it, changing a rule would be a refill. Pure.

use std::collections::BTreeMap;

use crate::policy::{Charge, Pattern};
use crate::types::{BudgetKey, KeyParts, Length, Timestamp, Window};

use super::{Span, span};
use crate::types::Zone;

/// An hour of the clock in microseconds: what was used is known by the hour.
const HOUR_US: i64 = 3_600_000_000;

/// Earlier counts of one rule that are alike but for the instance: each of these groups tells by itself what was used,
/// so the greatest counts.
pub(super) type Relatives = Vec<Vec<i64>>;

/// The start of the hour that an instant lies in.
pub(super) fn hour_of(at: Timestamp) -> Timestamp {
    let into = at.micros().rem_euclid(HOUR_US);
    Timestamp::from_micros(at.micros().saturating_sub(into))
}

/// The counts whose use a new one may have to take over. Those of the rules that count the same call stand beside it
/// and were never what it is now.
pub(super) fn relatives<'a>(
    key: &BudgetKey,
    beside: &[Charge],
    known: impl Iterator<Item = (&'a BudgetKey, i64)>,
) -> Relatives {
    let parts = key.parts();
    let beside: Vec<KeyParts<'_>> = beside.iter().map(|charge| charge.key.parts()).collect();
    let mut groups: BTreeMap<(&str, &str, bool, bool), Vec<i64>> = BTreeMap::new();
    for (other, id) in known {
        let theirs = other.parts();
        let is_beside = beside.iter().any(|one| are_of_one_rule(one, &theirs));
        if !is_beside && are_related(&parts, &theirs) {
            let split = (theirs.agent.is_some(), theirs.tool.is_some());
            let group = (theirs.tools, theirs.window, split.0, split.1);
            groups.entry(group).or_default().push(id);
        }
    }
    groups.into_values().collect()
}

/// Whether two counts differ in nothing but the agent or the tool that they are split for.
fn are_of_one_rule(one: &KeyParts<'_>, two: &KeyParts<'_>) -> bool {
    let rule = |parts: &KeyParts<'_>| (parts.agent.is_some(), parts.tool.is_some());
    (one.family, one.tools, one.unit, one.window) == (two.family, two.tools, two.unit, two.window)
        && rule(one) == rule(two)
}

fn are_related(new: &KeyParts<'_>, old: &KeyParts<'_>) -> bool {
    let may_be_same =
        |one: Option<&str>, two: Option<&str>| one.is_none() || two.is_none() || one == two;
    new.family == old.family
        && new.unit == old.unit
        && may_be_same(new.agent, old.agent)
        && may_be_same(new.tool, old.tool)
        && may_share_tools(new, old)
}

/// Whether some tool may be counted by both.
fn may_share_tools(new: &KeyParts<'_>, old: &KeyParts<'_>) -> bool {
    let lists = |parts: &KeyParts<'_>| -> Vec<Vec<Pattern>> {
        let lists = parts
            .tool_lists()
            .map(|list| list.map(Pattern::new).collect());
        // A tool that a count is split for is its only one; a star in its name is none.
        let one = parts.tool.filter(|tool| !tool.contains('*'));
        lists
            .chain(one.map(|tool| vec![Pattern::new(tool)]))
            .collect()
    };
    let theirs = lists(old);
    lists(new).iter().all(|mine| {
        theirs.iter().all(|theirs| {
            let overlaps = |one: &Pattern| theirs.iter().any(|two| one.overlaps(two));
            mine.iter().any(overlaps)
        })
    })
}

/// The time of which use counts in a window at an instant.
pub(super) fn counted(window: Window, limit: u64, zone: &Zone, at: Timestamp) -> Span {
    match window {
        Window::Rolling(length) => Span {
            starts: Timestamp::from_micros(at.micros().saturating_sub(length.micros())),
            ends: at.after(std::time::Duration::from_micros(1)),
        },
        Window::Calendar(..) | Window::Total => span(window, limit, zone, at),
    }
}

/// What was used by hour, as windows of a new count: one of the calendar has it all in the window that runs, a rolling
/// one each hour's at its last instant, so that it counts no shorter than it should.
pub(super) fn windows(
    window: Window,
    running: Span,
    used: &BTreeMap<Timestamp, u64>,
    at: Timestamp,
) -> Vec<(Span, u64)> {
    match window {
        Window::Calendar(..) | Window::Total => {
            let sum = used
                .values()
                .fold(0_u64, |sum, used| sum.saturating_add(*used));
            vec![(running, sum)]
        }
        Window::Rolling(length) => used
            .iter()
            .map(|(hour, used)| (piece(*hour, length, at), *used))
            .collect(),
    }
}

fn piece(hour: Timestamp, length: Length, at: Timestamp) -> Span {
    let last = hour.micros().saturating_add(HOUR_US - 1);
    let starts = last.min(at.micros());
    Span {
        starts: Timestamp::from_micros(starts),
        ends: Timestamp::from_micros(starts.saturating_add(length.micros())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Place, Refund};

    fn related(new: &str, old: &[&str]) -> Relatives {
        related_beside(new, &[], old)
    }

    fn related_beside(new: &str, beside: &[&str], old: &[&str]) -> Relatives {
        let charge = |key: &&str| Charge {
            key: BudgetKey::new(key),
            limit: "1/day".parse().unwrap(),
            amount: 1,
            reported: None,
            refund: Refund::default(),
            place: Place {
                path: "x".into(),
                line: 1,
            },
        };
        let beside: Vec<Charge> = beside.iter().map(charge).collect();
        let keys: Vec<BudgetKey> = old.iter().map(|key| BudgetKey::new(key)).collect();
        let known = keys.iter().zip(1..);
        relatives(&BudgetKey::new(new), &beside, known)
    }

    #[test]
    fn a_rule_takes_nothing_over_from_one_that_stands_beside_it() {
        let new = "servers.images[imagine] calls/day@UTC each agent=b";
        let beside = ["servers.images calls/week@UTC each tool=imagine", new];
        let old = [
            "servers.images[imagine] calls/day@UTC each agent=a",
            "servers.images calls/week@UTC each tool=imagine",
            "servers.images calls/week@UTC each tool=blend",
        ];
        assert_eq!(related_beside(new, &beside, &old), Relatives::new());
        let before = ["servers.images calls/month@UTC", old[1]];
        assert_eq!(related_beside(new, &beside, &before), [vec![1]]);
    }

    #[test]
    fn only_earlier_counts_of_the_same_rule_are_related() {
        let new = "servers.images[imagine] calls/week@UTC";
        for (old, is_related) in [
            ("servers.images[imagine] calls/day@UTC", true),
            ("servers.images calls/week@UTC", true),
            ("servers.images[im*] calls/week@UTC each agent=a", true),
            ("servers.images calls/day@UTC each tool=imagine", true),
            ("servers.images calls/day@UTC each tool=blend", false),
            ("servers.images[blend] calls/week@UTC", false),
            ("servers.images[imagine] USD/week@UTC", false),
            ("servers.images2[imagine] calls/week@UTC", false),
            ("agents.a/images[imagine] calls/week@UTC", false),
        ] {
            assert_eq!(!related(new, &[old]).is_empty(), is_related, "{old}");
        }
        let of_a = "servers.images calls/week@UTC each agent=a";
        assert!(related(of_a, &["servers.images calls/day@UTC each agent=b"]).is_empty());
        assert_eq!(
            related(of_a, &["servers.images calls/day@UTC each agent=a"]).len(),
            1
        );
    }

    #[test]
    fn instances_are_added_up_and_rules_are_not() {
        let groups = related(
            "servers.images calls/month@UTC",
            &[
                "servers.images calls/day@UTC each agent=a",
                "servers.images calls/day@UTC each agent=b",
                "servers.images calls/week@UTC",
            ],
        );
        assert_eq!(groups, [vec![1, 2], vec![3]]);
    }

    #[test]
    fn a_rolling_count_takes_over_each_hour_for_no_shorter_than_it_was() {
        let at = Timestamp::from_micros(10 * HOUR_US + 5);
        let length: Length = "24h".parse().unwrap();
        let used = BTreeMap::from([(hour_of(at), 1), (Timestamp::from_micros(3 * HOUR_US), 2)]);
        let running = counted(Window::Rolling(length), 1, &Zone::utc(), at);
        let pieces = windows(Window::Rolling(length), running, &used, at);
        let found: Vec<(i64, u64)> = pieces
            .iter()
            .map(|(span, used)| (span.starts.micros(), *used))
            .collect();
        assert_eq!(found, [(4 * HOUR_US - 1, 2), (at.micros(), 1)]);
    }
}
