//! The document of a report: its sections in their order, and the sentences in them. Pure.

use std::time::Duration;

use askama::Template;

use crate::audit::Counts;
use crate::audit::read::Note;
use crate::dashboard::figures::count;
use crate::dashboard::headers::STYLE;
use crate::types::{Timestamp, Unit, shown};

use super::access::{GrantRow, Remark, TokenRow};
use super::budgets;
use super::markdown;
use super::section::{Block, Cell, Section, Table, time};
use super::value::{Log, Report};

/// Rows of a table by name; all others are put together in one more.
pub(super) const ROWS: usize = 50;

/// Gaps and other events of one kind that are listed.
const LISTED: usize = 100;

/// One of several numbers.
type Number = fn(&Counts) -> i64;

/// The document as HTML that stands alone.
#[derive(Debug, Template)]
#[template(path = "report_alone.html", whitespace = "minimize")]
struct Alone {
    style: &'static str,
    title: String,
    body: String,
}

/// The document without what stands around it.
#[derive(Debug, Template)]
#[template(path = "report_body.html", whitespace = "minimize")]
struct Body<'a> {
    title: String,
    lead: String,
    sections: &'a [Section],
}

impl Report {
    /// The document as HTML that stands alone, with its style in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn html(&self) -> Result<String, askama::Error> {
        let alone = Alone {
            style: &STYLE,
            title: self.title(),
            body: self.body()?,
        };
        alone.render()
    }

    /// The document as Markdown.
    pub fn markdown(&self) -> String {
        markdown::write(&self.title(), &self.lead(), &self.sections())
    }

    /// What stands in every HTML form of it, to the byte.
    pub(super) fn body(&self) -> Result<String, askama::Error> {
        let body = Body {
            title: self.title(),
            lead: self.lead(),
            sections: &self.sections(),
        };
        body.render()
    }

    pub(super) fn title(&self) -> String {
        format!("Report for {}", self.month.name())
    }

    fn lead(&self) -> String {
        let Some(log) = &self.log else {
            return "The log has no event of this month.".into();
        };
        let [now, _] = &self.totals;
        let agents = self
            .agents
            .iter()
            .filter(|(_, counts, _)| counts.calls() > 0);
        let so_far = if self.is_over {
            String::new()
        } else {
            format!(" So far, up to event {}.", log.last)
        };
        format!(
            "{} made {}; {} refused and {} ended in an error. The rules {}.{so_far}",
            plural(agents.count(), "agent", "agents"),
            plural_of(now.calls(), "call", "calls"),
            count(now.refused),
            count(now.bad()),
            match self.changes.len() {
                0 => "did not change".into(),
                1 => "changed once".into(),
                times => format!("changed {times} times"),
            }
        )
    }

    fn sections(&self) -> Vec<Section> {
        let Some(log) = &self.log else {
            let nothing = format!(
                "Nothing was written between the beginning of {} and its end in {}. Either the gateway did not run, \
                 or the events were let go or belong to another log.",
                self.month.name(),
                self.zone.name()
            );
            return vec![Section {
                title: "Scope and data quality",
                blocks: vec![Block::Text(nothing)],
            }];
        };
        let section = |title, blocks| Section { title, blocks };
        vec![
            section("Scope and data quality", self.scope(log)),
            section("Totals", self.totals_told()),
            section("Use by agent", vec![self.by_agent()]),
            section("Use by tool", vec![self.by_tool()]),
            section("Budgets", budgets::told(self)),
            section("Refusals by reason", self.by_reason()),
            section("Changes of the rules", self.rules_told()),
            section("Definitions of tools", vec![self.definitions_told()]),
            section("Access review", self.access_told()),
            section("Who read the log", vec![self.looks_told()]),
            section("Integrity", self.integrity(log)),
            section("Signatures", vec![signatures()]),
        ]
    }

    fn scope(&self, log: &Log) -> Vec<Block> {
        let zone = &self.zone;
        let end = self.month.next().begins(zone);
        let until = if self.is_over {
            time(end, zone)
        } else {
            format!(
                "{}, the time of event {}",
                time(log.sealed.at, zone),
                log.last
            )
        };
        let levels = self.quality.capture.iter();
        let levels: Vec<String> = levels
            .map(|(level, agents)| format!("{level}: {agents}"))
            .collect();
        let (bodies, prunes) = self.quality.deletions;
        let mut facts = vec![
            ("From", Cell::time(self.month.begins(zone), zone)),
            ("Until", Cell::text(until)),
            ("Time zone", Cell::name(zone.name())),
            (
                "Events",
                Cell::text(format!("{} to {}", log.first, log.last)),
            ),
            ("Rules of the access review", Cell::code(&self.rules)),
            ("Agents by what is kept", Cell::text(levels.join(", "))),
            ("Bodies deleted", Cell::text(count(bodies))),
            ("Prunings", Cell::text(count(prunes))),
        ];
        facts.retain(|(_, cell)| *cell != Cell::none());
        let mut blocks = vec![Block::Facts(facts)];
        if let Some(since) = self
            .kept_since
            .filter(|since| *since > self.month.begins(zone))
        {
            blocks.push(Block::Text(format!(
                "The log is kept since {} only; of the time before, nothing is known.",
                time(since, zone)
            )));
        }
        if let Some((from, to)) = self.quality.missing {
            blocks.push(Block::Text(format!(
                "Sums of the events between {} and {} are still being built; these are not counted here.",
                time(from, zone),
                time(to, zone)
            )));
        }
        blocks.push(self.gaps_told());
        blocks.extend(self.clock_told());
        blocks.push(Block::Text(
            "Counts are exact to the event. A call counts as made when it was let through or refused, and as ended \
             when it ended, so that calls at the edge of the month count in both ways in different months. Not \
             known: calls that did not come through this gateway, and what a server did with a call that failed."
                .into(),
        ));
        blocks
    }

    fn gaps_told(&self) -> Block {
        let mut table = Table::new(
            "Times in which the gateway did not run, so that nobody could call",
            &["From", "Until", "#For", "How it ended"],
        );
        let gaps = &self.quality.gaps;
        for gap in gaps.iter().take(LISTED) {
            let how = if gap.is_orderly {
                "stopped"
            } else {
                "ended without a word; from the last event on"
            };
            table.row([
                Cell::time(gap.from, &self.zone),
                Cell::time(gap.to, &self.zone),
                Cell::text(long(gap.to.since(gap.from))),
                Cell::text(how),
            ]);
        }
        if gaps.len() > LISTED {
            table.caption = format!("{} (the first {LISTED} of {})", table.caption, gaps.len());
        }
        table.or(if self.quality.is_known {
            "The gateway ran without a gap."
        } else {
            "No start and no stop of the gateway is kept, so nobody can say whether it ran without a gap."
        })
    }

    fn clock_told(&self) -> Option<Block> {
        let mut table = Table::new("The clock, and logs that were accepted", &["Time", "What"]);
        for note in self.quality.clock.iter().take(LISTED) {
            let what = match note.clock.as_deref() {
                Some("suspect") => "the clock of the machine jumped, and was not followed",
                Some("agrees") => "the clock agreed again",
                Some("accepted") => "an operator had the jump followed",
                Some(_) | None => "the log did not verify at a start, and somebody said to go on",
            };
            table.row([Cell::time(note.at, &self.zone), Cell::text(what)]);
        }
        (!table.rows.is_empty()).then_some(Block::Table(table))
    }

    fn totals_told(&self) -> Vec<Block> {
        let mut table = Table::new(
            "This month and the one before",
            &["", "#This month", "#Month before", "#Change"],
        );
        let [now, before] = &self.totals;
        let numbers: [(&str, Number); 8] = [
            ("Calls", Counts::calls),
            ("Let through", |counts| counts.admitted),
            ("Refused", |counts| counts.refused),
            ("Ended well", |counts| counts.ok),
            ("Answered with an error", |counts| counts.errors),
            ("Failed", |counts| counts.failed),
            ("Never arrived", |counts| counts.released),
            ("Cut off by a stop of the gateway", |counts| {
                counts.abandoned
            }),
        ];
        for (name, number) in numbers {
            let (now, before) = (number(now), number(before));
            table.row([
                Cell::text(name),
                Cell::text(count(now)),
                Cell::text(count(before)),
                Cell::text(change(now, before)),
            ]);
        }
        for (unit, [now, before]) in &self.spend {
            table.row([
                Cell::Name(format!("Spent, {}", shown::name(unit))),
                Cell::text(amount(*now)),
                Cell::text(amount(*before)),
                Cell::text(change(*now, *before)),
            ]);
        }
        let spend = if self.spend.is_empty() {
            "No call cost money in these months."
        } else {
            "Of several budgets that a call was charged to, the one that was charged most counts. What was refunded \
             later is not taken off."
        };
        vec![Block::Table(table), Block::Text(spend.into())]
    }

    fn by_agent(&self) -> Block {
        let mut table = Table::new(
            "Calls by agent, the busiest first",
            &["Agent", "#Calls", "#Refused", "#Errors", "#Month before"],
        );
        let mut rest = (0_usize, Counts::default(), 0_i64);
        for (index, (name, counts, before)) in self.agents.iter().enumerate() {
            if index < ROWS {
                table.row(counted(vec![Cell::name(name)], counts, Some(*before)));
            } else {
                rest.0 = rest.0.saturating_add(1);
                rest.1.add(counts);
                rest.2 = rest.2.saturating_add(*before);
            }
        }
        if rest.0 > 0 {
            let other = Cell::text(format!("{} others", rest.0));
            table.row(counted(vec![other], &rest.1, Some(rest.2)));
        }
        table.or("No agent called.")
    }

    fn by_tool(&self) -> Block {
        let mut table = Table::new(
            "Calls by tool, the busiest first",
            &["Server", "Tool", "#Calls", "#Refused", "#Errors"],
        );
        let mut rest = (0_usize, Counts::default());
        for (index, ((server, tool), counts)) in self.tools.iter().enumerate() {
            if index < ROWS {
                let names = vec![Cell::name(server), Cell::name(tool)];
                table.row(counted(names, counts, None));
            } else {
                rest.0 = rest.0.saturating_add(1);
                rest.1.add(counts);
            }
        }
        if rest.0 > 0 {
            let names = vec![Cell::text(format!("{} others", rest.0)), Cell::none()];
            table.row(counted(names, &rest.1, None));
        }
        table.or("No tool was called.")
    }

    fn by_reason(&self) -> Vec<Block> {
        let mut table = Table::new(
            "Refusals by reason, the most frequent first",
            &["Reason", "#This month", "#Month before", "#Change"],
        );
        for (reason, [now, before]) in &self.refusals {
            table.row([
                Cell::name(reason),
                Cell::text(count(*now)),
                Cell::text(count(*before)),
                Cell::text(change(*now, *before)),
            ]);
        }
        vec![table.or("No call was refused.")]
    }

    fn rules_told(&self) -> Vec<Block> {
        let mut table = Table::new(
            "Revisions of the rules that came into force, the first one first",
            &["Since", "Revision", "Commit", "Event"],
        );
        let commit = |commit: &Option<String>| {
            let known = commit.as_deref();
            known.map_or_else(|| Cell::text("not known"), Cell::code)
        };
        for taking in &self.changes {
            table.row([
                Cell::time(taking.at, &self.zone),
                Cell::code(&taking.revision),
                commit(&taking.commit),
                Cell::text(taking.seq.to_string()),
            ]);
        }
        let mut blocks = Vec::new();
        if let Some(before) = &self.rules_before {
            blocks.push(Block::Facts(vec![
                ("In force at the beginning", Cell::code(&before.revision)),
                ("Commit", commit(&before.commit)),
            ]));
        }
        blocks.push(table.or("The rules did not change."));
        blocks.push(Block::Text(
            "Who reviewed a change stands with its commit; the gateway does not know it.".into(),
        ));
        blocks
    }

    fn definitions_told(&self) -> Block {
        let mut table = Table::new(
            "Definitions of tools that were new, or other ones than before",
            &["Time", "Server", "Tool", "What", "Definition"],
        );
        for defined in self.definitions.iter().take(LISTED) {
            let what = if defined.was.is_some() {
                "changed"
            } else {
                "new"
            };
            table.row([
                Cell::time(defined.at, &self.zone),
                Cell::name(&defined.server),
                Cell::name(&defined.tool),
                Cell::text(what),
                Cell::code(defined.hash.get(..12).unwrap_or(&defined.hash)),
            ]);
        }
        if self.definitions.len() > LISTED {
            let all = self.definitions.len();
            table.caption = format!("{} (the first {LISTED} of {all})", table.caption);
        }
        table.or("No server showed a new or changed definition.")
    }

    fn access_told(&self) -> Vec<Block> {
        let review = &self.access;
        let mut tokens = Table::new(
            "Tokens of agents and viewers",
            &["Whose", "Of", "Called", "Ends", "", "#Line"],
        );
        for token in &review.tokens {
            tokens.row(self.token(token));
        }
        let columns = ["Agent", "Server", "Tools", "Ends", "", "Rule"];
        let mut unused = Table::new("Grants of which no tool was called in 90 days", &columns);
        for grant in &review.unused {
            unused.row(self.grant(grant));
        }
        let mut ending = Table::new("Grants that have ended, or end next month", &columns);
        for grant in &review.ending {
            ending.row(self.grant(grant));
        }
        let mut off = Table::new("What is switched off", &["What", "Name", "Why", "#Line"]);
        for row in &review.disabled {
            off.row([
                Cell::text(row.what),
                Cell::name(&row.name),
                Cell::sentence(row.note.as_deref()),
                Cell::text(row.line.to_string()),
            ]);
        }
        let intro = "About the rules named under scope, as they are now, seen from the end of the month. When a token \
            was made does not stand in the rules, so its age is not known; ends are. Grants are told unused by calls of \
            tools; reads of resources and prompts name no tool and are not counted.";
        vec![
            Block::Text(intro.into()),
            tokens.or("The rules name no token."),
            unused.or("Every grant was used in the 90 days before the end of the month."),
            ending.or("No grant has ended, and none ends next month."),
            off.or("Nothing is switched off."),
        ]
    }

    fn token(&self, token: &TokenRow) -> Vec<Cell> {
        vec![
            Cell::name(&token.who),
            Cell::text(if token.is_viewer { "viewer" } else { "agent" }),
            token.label.as_deref().map_or_else(Cell::none, Cell::name),
            self.end(token.expires),
            Cell::text(remarked(token.remark)),
            Cell::text(token.line.to_string()),
        ]
    }

    fn grant(&self, grant: &GrantRow) -> Vec<Cell> {
        vec![
            Cell::name(&grant.agent),
            Cell::name(&grant.server),
            grant
                .tools
                .as_deref()
                .map_or_else(|| Cell::text("all"), Cell::name),
            self.end(grant.expires),
            Cell::text(remarked(grant.remark)),
            Cell::Code(shown::sentence(&grant.place.to_string()).to_string()),
        ]
    }

    fn end(&self, expires: Option<Timestamp>) -> Cell {
        expires.map_or_else(|| Cell::text("never"), |at| Cell::time(at, &self.zone))
    }

    fn looks_told(&self) -> Block {
        let mut table = Table::new(
            "What was done with the dashboard, by name",
            &["Who", "What", "#Times", "Last"],
        );
        for looked in &self.looks {
            table.row([
                looked
                    .viewer
                    .as_deref()
                    .map_or_else(|| Cell::text("unknown"), Cell::name),
                Cell::text(deed(&looked.what)),
                Cell::text(count(looked.times)),
                Cell::time(looked.last, &self.zone),
            ]);
        }
        table.or("Nobody logged in to the dashboard, and nothing was taken away. Reading with the command line leaves no trace.")
    }

    fn integrity(&self, log: &Log) -> Vec<Block> {
        let sealed = &log.sealed;
        let head = if self.is_over {
            "Hash of the last event of the month"
        } else {
            "Hash of the last event so far"
        };
        let mut facts = vec![
            ("Log", Cell::code(&sealed.log)),
            (
                "Last event",
                Cell::text(format!("{}, {}", log.last, time(sealed.at, &self.zone))),
            ),
            (head, Cell::code(&sealed.hash)),
        ];
        facts.push(match sealed.checkpoint {
            Some((seq, at)) => (
                "Last checkpoint",
                Cell::text(format!("event {seq}, {}", time(at, &self.zone))),
            ),
            None => ("Last checkpoint", Cell::text("none")),
        });
        facts.push((
            "Signed with the key",
            sealed
                .key
                .as_deref()
                .map_or_else(|| Cell::text("not signed"), Cell::code),
        ));
        let claim = "Every event is chained to all before it, so this one hash stands for all of them: noted elsewhere, it \
            shows whether anything up to here was changed, taken out or put in since. This report says what the log says; \
            whether the log is whole, says the command below.";
        let command = format!(
            "hayward audit verify --db FILE --expect-head {}",
            sealed.hash
        );
        let later = "It can be asked as long as this event is kept; what was pruned is verified from its archives.";
        vec![
            Block::Facts(facts),
            Block::Text(claim.into()),
            Block::Facts(vec![("Verify", Cell::Code(command))]),
            Block::Text(later.into()),
        ]
    }
}

fn counted(mut cells: Vec<Cell>, counts: &Counts, before: Option<i64>) -> Vec<Cell> {
    let numbers = [counts.calls(), counts.refused, counts.bad()];
    cells.extend(
        numbers
            .into_iter()
            .chain(before)
            .map(|number| Cell::text(count(number))),
    );
    cells
}

fn signatures() -> Block {
    let mut table = Table::new("To be signed", &["Name", "Role", "Date", "Signature"]);
    for _ in 0..3 {
        table.row([Cell::none(), Cell::none(), Cell::none(), Cell::none()]);
    }
    Block::Table(Table {
        is_form: true,
        ..table
    })
}

fn remarked(remark: Remark) -> &'static str {
    match remark {
        Remark::Ended => "has ended",
        Remark::NextMonth => "ends next month",
        Remark::Nothing => "",
    }
}

/// A deed in words; one of a later version is told as it is.
fn deed(what: &str) -> String {
    match what {
        "login" => "logged in".into(),
        "logout" => "logged out".into(),
        "refused_login" => "a token was refused".into(),
        "body" => "opened arguments or a result".into(),
        "export" => "took a list away".into(),
        "report" => "opened a report".into(),
        other => shown::name(other).to_string(),
    }
}

/// What an operator did, in words.
pub(super) fn corrected(note: &Note) -> &'static str {
    use crate::audit::Kind;
    if note.kind == Kind::Refunded {
        "a call was refunded"
    } else if note.kind == Kind::Repaired {
        "counts were put right after the events"
    } else {
        "a frozen budget was let go on"
    }
}

/// A change in per cent: `+12 %`; words where there is nothing to compare with.
fn change(now: i64, before: i64) -> String {
    if now == before {
        return "as before".into();
    }
    let change = now.saturating_sub(before).saturating_mul(100);
    match change.checked_div(before) {
        None => "none before".into(),
        Some(percent @ 1..) => format!("+{} %", count(percent)),
        Some(0) => "below 1 %".into(),
        Some(percent) => format!("{} %", count(percent)),
    }
}

/// An amount of money in millionths: `12.4`.
fn amount(micros: i64) -> String {
    let unit = Unit::Cost("".into());
    u64::try_from(micros).map_or_else(
        |_| format!("−{}", unit.number(micros.unsigned_abs())),
        |micros| unit.number(micros),
    )
}

/// A long span: `12 min`, `3 h 12 min`, `2 d 4 h`.
fn long(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    match minutes {
        0 => format!("{} s", span.as_secs()),
        1..60 => format!("{minutes} min"),
        60..1_440 => format!("{} h {} min", minutes / 60, minutes % 60),
        _ => format!("{} d {} h", minutes / 1_440, minutes % 1_440 / 60),
    }
}

fn plural(number: usize, one: &str, many: &str) -> String {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    plural_of(number, one, many)
}

fn plural_of(number: i64, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{} {word}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_amounts_and_spans_read_well() {
        let changes = [
            change(5, 5),
            change(5, 0),
            change(112, 100),
            change(97, 100),
            change(1_001, 1_000),
        ];
        assert_eq!(
            changes,
            ["as before", "none before", "+12 %", "−3 %", "below 1 %"]
        );
        assert_eq!([amount(12_400_000), amount(-500_000)], ["12.4", "−0.5"]);
        let spans = [30, 600, 11_520, 187_200].map(|seconds| long(Duration::from_secs(seconds)));
        assert_eq!(spans, ["30 s", "10 min", "3 h 12 min", "2 d 4 h"]);
    }
}
