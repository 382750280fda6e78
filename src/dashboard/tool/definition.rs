//! What a tool says of itself, and what became of that.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::audit::read::{DefinitionRow, DefinitionSaid};
use crate::dashboard::figures::{Watch, When};
use crate::dashboard::policy_diff::{TextLine, lines};
use crate::dashboard::visible::visible;
use crate::types::shown;

/// Changes that are shown line by line, the newest ones.
const COMPARED: usize = 5;

/// Characters of a line, lines of a description, and lines of a whole definition that are shown.
const CHARACTERS: usize = 2_000;
const DESCRIPTION: usize = 100;
const LINES: usize = 2_000;

/// The definition that was seen last in one life cycle.
#[derive(Debug)]
pub(in crate::dashboard) struct Said {
    /// The life cycle its server spoke: `modern`, `legacy`.
    pub(in crate::dashboard) protocol: String,
    /// What it is for, by its own words.
    pub(in crate::dashboard) description: Vec<String>,
    /// All of it, as JSON.
    pub(in crate::dashboard) json: Vec<String>,
    /// Lines that are not shown.
    pub(in crate::dashboard) more: usize,
    pub(in crate::dashboard) is_whole: bool,
}

/// How one definition became another.
#[derive(Debug)]
pub(in crate::dashboard) struct Differs {
    pub(in crate::dashboard) when: When,
    pub(in crate::dashboard) protocol: String,
    pub(in crate::dashboard) lines: Vec<Vec<TextLine>>,
    /// Some lines were left out.
    pub(in crate::dashboard) more_lines: bool,
}

/// The hashes whose texts are shown, of the definitions of one tool, the newest first.
pub(in crate::dashboard) fn shown_hashes(rows: &[DefinitionRow]) -> Vec<&str> {
    let newest = newest(rows).into_iter().map(|row| row.hash.as_str());
    let compared = compared(rows).flat_map(|(row, was)| [row.hash.as_str(), was]);
    newest.chain(compared).collect()
}

/// What it says now, as far as texts are kept.
pub(in crate::dashboard) fn said(
    rows: &[DefinitionRow],
    texts: &HashMap<String, DefinitionSaid>,
) -> Vec<Said> {
    let newest = newest(rows).into_iter();
    let said = newest.filter_map(|row| {
        let kept = texts.get(&row.hash)?;
        let json = pretty(&kept.text);
        let all = json.lines().count();
        Some(Said {
            protocol: shown::name(&row.protocol).to_string(),
            description: description(&kept.text),
            json: json
                .lines()
                .take(LINES)
                .map(|line| visible(line, CHARACTERS))
                .collect(),
            more: all.saturating_sub(LINES),
            is_whole: kept.is_whole,
        })
    });
    said.collect()
}

/// How it changed, the newest change first, as far as both texts are kept.
pub(in crate::dashboard) fn differences(
    rows: &[DefinitionRow],
    texts: &HashMap<String, DefinitionSaid>,
    watch: Watch<'_>,
) -> Vec<Differs> {
    let both = compared(rows).filter_map(|(row, was)| {
        let (old, new) = (texts.get(was)?, texts.get(&row.hash)?);
        let (lines, more_lines) = lines(&pretty(&old.text), &pretty(&new.text));
        Some(Differs {
            when: watch.tell(row.at),
            protocol: shown::name(&row.protocol).to_string(),
            lines,
            more_lines,
        })
    });
    both.collect()
}

/// The newest of each life cycle: a server may define its tools differently in each.
fn newest(rows: &[DefinitionRow]) -> Vec<&DefinitionRow> {
    let mut seen = BTreeSet::new();
    let rows = rows.iter();
    rows.filter(|row| seen.insert(row.protocol.as_str()))
        .collect()
}

fn compared(rows: &[DefinitionRow]) -> impl Iterator<Item = (&DefinitionRow, &str)> {
    let changed = rows
        .iter()
        .filter_map(|row| Some((row, row.was.as_deref()?)));
    changed.take(COMPARED)
}

/// One value a line, so that texts can be read and compared. What is no JSON, as where something was taken out, stays as it is.
fn pretty(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text).ok();
    let pretty = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| text.to_owned())
}

fn description(text: &str) -> Vec<String> {
    let value = serde_json::from_str::<Value>(text).unwrap_or_default();
    let said = value.get("description").and_then(Value::as_str);
    let lines = said.unwrap_or_default().lines().take(DESCRIPTION);
    lines.map(|line| visible(line, CHARACTERS)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn row(protocol: &str, hash: &str, was: Option<&str>) -> DefinitionRow {
        DefinitionRow {
            seq: 1,
            at: Timestamp::from_micros(0),
            server: "notes".into(),
            protocol: protocol.into(),
            is_first: false,
            of: None,
            tool: "search".into(),
            hash: hash.into(),
            was: was.map(Into::into),
        }
    }

    #[test]
    fn the_newest_of_each_life_cycle_is_told_and_what_differs_from_before() {
        let rows = [
            row("modern", "c", Some("b")),
            row("legacy", "z", None),
            row("modern", "b", Some("a")),
            row("modern", "a", None),
        ];
        assert_eq!(shown_hashes(&rows), ["c", "z", "c", "b", "b", "a"]);
        let kept = |text: &str| DefinitionSaid {
            text: text.into(),
            is_whole: true,
        };
        let texts = HashMap::from([
            (
                "c".to_owned(),
                kept(r#"{"description":"one\ntwo \u202e","name":"search"}"#),
            ),
            (
                "b".to_owned(),
                kept(r#"{"description":"one","name":"search"}"#),
            ),
            ("z".to_owned(), kept("no JSON")),
        ]);
        let said = said(&rows, &texts);
        assert_eq!(said[0].description, ["one", "two ⟨U+202E⟩"]);
        assert_eq!((said[0].json.len(), said[0].more), (4, 0));
        assert_eq!(
            (said[1].protocol.as_str(), &*said[1].json),
            ("legacy", &["no JSON".to_owned()][..])
        );
        assert!(said[1].description.is_empty());
    }
}
