//! How a budget stands in the window that runs now, as a row of a table: whose it is, what it counts, what is left, and
//! whether that lasts.

use crate::audit::filter::{Filter, Key, Period};
use crate::budget::{OpenWindow, Span};
use crate::types::{Timestamp, Unit, shown};

use super::BASE;
use super::figures::{Watch, When, count, until};
use super::frame::Link;
use super::label::{Label, label};

/// A forecast is made when at least one part in so many of the window is over.
const EARLIEST: i64 = 20;

/// One row.
#[derive(Debug)]
pub(super) struct BudgetRow {
    pub(super) label: Label,
    pub(super) who: Link,
    /// The agent it counts apart, when that is not whose it is.
    pub(super) split: Option<String>,
    /// What it counts; leads to its own page, or to the calls of a budget that has none yet.
    pub(super) what: Link,
    /// ` USD a month`, ` a day`.
    pub(super) per: String,
    pub(super) used: String,
    pub(super) held: Option<String>,
    pub(super) limit: String,
    pub(super) left: String,
    /// Of a bar 100 units wide.
    pub(super) used_width: i64,
    pub(super) held_width: i64,
    pub(super) is_spent: bool,
    pub(super) is_frozen: bool,
    /// What servers reported beyond what was held.
    pub(super) overrun: Option<String>,
    /// `None` for one that never does.
    pub(super) resets: Option<When>,
    pub(super) resets_in: String,
}

impl BudgetRow {
    /// The row of a window; links keep what `base` asks for.
    pub(super) fn new(window: &OpenWindow, base: &Filter, watch: Watch<'_>) -> Self {
        let label = label(window.key.as_str());
        let spoken = window.used.saturating_add(window.held);
        let share = |number: i64| {
            let of = window.limit.max(spoken).max(1);
            number.saturating_mul(100).checked_div(of).unwrap_or(0)
        };
        let (used_width, both) = (share(window.used), share(spoken));
        let told = |number| amount(&label.unit, number);
        let ends = !window.span.never_ends();
        Self {
            who: Link {
                href: calls_at(&of_agent(base, &label)),
                text: shown::name(&label.who).to_string(),
            },
            split: label
                .agent
                .as_deref()
                .filter(|agent| *agent != label.who)
                .map(|agent| shown::name(agent).to_string()),
            what: Link {
                href: format!("{BASE}/budgets/{}{base}", window.id),
                text: what_of(&label),
            },
            per: with_unit(&label),
            used: told(window.used),
            held: (window.held > 0).then(|| told(window.held)),
            limit: told(window.limit),
            left: told(window.limit.saturating_sub(spoken).max(0)),
            used_width,
            held_width: both.saturating_sub(used_width),
            is_spent: window.is_frozen || spoken >= window.limit,
            is_frozen: window.is_frozen,
            overrun: (window.overrun > 0).then(|| told(window.overrun)),
            resets: ends.then(|| watch.tell_minutes(window.span.ends)),
            resets_in: until(watch.now, window.span.ends),
            label,
        }
    }
}

/// The list of calls under a filter.
pub(super) fn calls_at(filter: &Filter) -> String {
    format!("{BASE}/calls{filter}")
}

fn of_agent(base: &Filter, label: &Label) -> Filter {
    let agents = label.agent.iter();
    agents.fold(base.clone(), |filter, agent| filter.with(Key::Agent, agent))
}

/// The calls that a budget may have counted in a window, as far as its name tells.
pub(super) fn calls_of(label: &Label, span: Span, base: &Filter) -> Filter {
    let filter = of_agent(&base.time_only(), label);
    let filter = label
        .one_server()
        .iter()
        .fold(filter, |filter, server| filter.with(Key::Server, server));
    let filter = label
        .exact_tools()
        .iter()
        .fold(filter, |filter, tool| filter.with(Key::Tool, tool));
    // One that never ends began before there was anything to count.
    if span.never_ends() {
        return filter.during(Period::Ever);
    }
    filter.during(Period::Between {
        from: Some(span.starts),
        to: Some(span.ends),
    })
}

/// An amount as people read it, without its unit.
pub(super) fn amount(unit: &Unit, number: i64) -> String {
    match unit {
        Unit::Calls | Unit::Argument(_) => count(number),
        Unit::Cost(_) => {
            let text = unit.number(u64::try_from(number).unwrap_or(0));
            let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
            let whole = whole.parse().map_or_else(|_| whole.into(), count);
            format!("{whole}{rest}")
        }
    }
}

/// An amount that is only estimated: of costs, no more than hundredths.
pub(super) fn about(unit: &Unit, number: i64) -> String {
    let number = match unit {
        Unit::Cost(_) if number >= HUNDREDTH => {
            number.saturating_sub(number.checked_rem(HUNDREDTH).unwrap_or(0))
        }
        Unit::Calls | Unit::Argument(_) | Unit::Cost(_) => number,
    };
    amount(unit, number)
}

/// A hundredth of a unit of cost, in millionths.
const HUNDREDTH: i64 = 10_000;

/// What stands behind a limit: ` a day`, ` USD a month`, ` images in total`.
fn with_unit(label: &Label) -> String {
    let per = per(&label.window);
    match &label.unit {
        Unit::Calls => per,
        unit @ (Unit::Argument(_) | Unit::Cost(_)) => {
            let unit = shown::name(unit.word()).to_string();
            format!("{unit} {per}").trim_end().to_owned()
        }
    }
}

/// A window in words.
pub(super) fn per(window: &str) -> String {
    match window {
        "" => String::new(),
        "hour" => "an hour".into(),
        "total" => "in total".into(),
        rolling if is_rolling(rolling) => format!("in {rolling}"),
        other => format!("a {other}"),
    }
}

/// Whether a window rolls: `24h`.
pub(super) fn is_rolling(window: &str) -> bool {
    window.starts_with(|c: char| c.is_ascii_digit())
}

/// What a budget counts: `images / blend, imagine`.
pub(super) fn what_of(label: &Label) -> String {
    let server = match label.server.as_deref() {
        None if label.scope == "pool" && label.tools.is_empty() => {
            return "all that share it".into();
        }
        None | Some("*") => "any server".into(),
        Some(server) => shown::name(server).to_string(),
    };
    if label.tools.is_empty() {
        return format!("{server} / any tool");
    }
    let tools: Vec<_> = label
        .tools
        .iter()
        .map(|tool| shown::name(tool).to_string())
        .collect();
    match label.server {
        None => tools.join(", "),
        Some(_) => format!("{server} / {}", tools.join(", ")),
    }
}

/// Whether what is left lasts, if it goes on as it did since the window began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing will be left at this instant, before the count begins anew.
    Gone(Timestamp),
    /// So much will have been used when it does.
    Lasts(i64),
}

/// The pace of a window of the calendar. Nothing is said of windows that roll or never end, before a twentieth of the
/// window is over, and where nothing was used or nothing is left.
pub(super) fn pace(window: &OpenWindow, now: Timestamp) -> Option<Pace> {
    let label = label(window.key.as_str());
    let spoken = window.used.saturating_add(window.held);
    if is_rolling(&label.window) || window.span.never_ends() || window.is_frozen {
        return None;
    }
    if spoken <= 0 || spoken >= window.limit {
        return None;
    }
    let (starts, ends) = (window.span.starts.micros(), window.span.ends.micros());
    let (length, over) = (
        ends.saturating_sub(starts),
        now.micros().saturating_sub(starts),
    );
    if over <= 0 || over < length.checked_div(EARLIEST)? {
        return None;
    }
    let scaled = |number: i64, by: i64, of: i64| {
        let scaled = i128::from(number).saturating_mul(by.into());
        i64::try_from(scaled.checked_div(of.into())?).ok()
    };
    let gone = starts.saturating_add(scaled(over, window.limit, spoken)?);
    if gone < ends {
        return Some(Pace::Gone(Timestamp::from_micros(gone)));
    }
    Some(Pace::Lasts(scaled(spoken, length, over)?.min(window.limit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::BudgetKey;

    const HOUR: i64 = 3_600_000_000;

    fn window(key: &str, [limit, used, held]: [i64; 3], ends: i64) -> OpenWindow {
        OpenWindow {
            id: 3,
            key: BudgetKey::new(key),
            limit,
            used,
            held,
            overrun: 0,
            is_frozen: false,
            span: Span {
                starts: Timestamp::from_micros(0),
                ends: Timestamp::from_micros(ends),
            },
        }
    }

    #[test]
    fn a_forecast_is_made_only_where_it_makes_sense() {
        let day = "agents.a calls/day@UTC";
        let end = 24 * HOUR;
        let gone = |hours| Some(Pace::Gone(Timestamp::from_micros(hours * HOUR)));
        let table = [
            (day, [100, 50, 0], end, 6, gone(12)),
            (day, [100, 40, 10], end, 6, gone(12)),
            (day, [100, 10, 0], end, 6, Some(Pace::Lasts(40))),
            (day, [100, 25, 0], end, 6, Some(Pace::Lasts(100))),
            // Too early, nothing used, nothing left.
            (day, [100, 50, 0], end, 1, None),
            (day, [100, 0, 0], end, 6, None),
            (day, [100, 100, 0], end, 6, None),
            ("agents.a calls/24h", [100, 50, 0], end, 6, None),
            ("agents.a calls/total", [100, 50, 0], i64::MAX, 6, None),
        ];
        for (key, counts, ends, hours, expected) in table {
            let now = Timestamp::from_micros(hours * HOUR);
            let told = pace(&window(key, counts, ends), now);
            assert_eq!(told, expected, "{key} {counts:?} after {hours} h");
        }
    }

    #[test]
    fn amounts_are_told_in_their_unit() {
        let money = label("budgets.team USD/month@UTC");
        assert_eq!(amount(&money.unit, 12_400_000), "12.4");
        assert_eq!(amount(&money.unit, 1_234_500_000), "1\u{202f}234.5");
        assert_eq!(about(&money.unit, 1_261_062), "1.26");
        assert_eq!(about(&Unit::Calls, 1_261_062), "1\u{202f}261\u{202f}062");
        assert_eq!(with_unit(&money), "USD a month");
        let images = label("agents.a argument:count/total");
        assert_eq!(with_unit(&images), "count in total");
        assert_eq!(with_unit(&label("agents.a calls/hour@UTC")), "an hour");
    }

    #[test]
    fn the_calls_of_a_budget_are_those_its_name_tells_of_in_its_window() {
        let label = label("agents.designer/images[blend,imagine] calls/day@UTC");
        let span = Span {
            starts: Timestamp::from_micros(0),
            ends: Timestamp::from_micros(24 * HOUR),
        };
        let base = Filter::just(Key::Reason, "budget");
        assert_eq!(
            calls_at(&calls_of(&label, span, &base)),
            "/audit/calls?agent=designer&server=images&tool=blend&tool=imagine&from=1970-01-01T00:00:00Z&to=1970-01-02T00:00:00Z"
        );
    }
}
