//! Wrong files, and what is said of each: `tests/data/wrong`. With HAYWARD_WRITE=1 the answers are written anew, to be
//! read before they are kept.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::found;
use crate::config::Diagnostic;
use crate::types::Timestamp;

/// 2026-11-20, at noon.
const NOON: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

/// What stands in some of the files and must never be shown.
const SECRETS: &[&str] = &[
    "hwd_0123456789",
    "correct horse",
    "ghp_0123456789",
    "sk-0123456789",
    "hunter22",
];

/// What `check` says of a file.
fn said(text: &str) -> String {
    let (findings, _) = found("permissions.yaml", text, NOON, true);
    let each = findings.iter().map(Diagnostic::to_string);
    each.collect::<Vec<_>>().join("\n\n")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wrong")
}

/// Title, file and answer of each case of a topic.
fn cases(text: &str) -> Vec<(&str, &str, &str)> {
    let cases = text.split("#### ").skip(1).map(|case| {
        let (title, rest) = case.split_once('\n').unwrap();
        let (file, answer) = rest.split_once("==>\n").unwrap();
        (title, file, answer.trim_end())
    });
    cases.collect()
}

#[test]
fn every_wrong_file_is_answered_as_it_was_read_and_approved() {
    let writes = std::env::var_os("HAYWARD_WRITE").is_some();
    let mut count = 0;
    let mut topics: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    topics.sort();
    for topic in topics {
        let text = std::fs::read_to_string(&topic).unwrap();
        let mut anew = String::new();
        for (title, file, answer) in cases(&text) {
            let said = said(file);
            assert!(!said.is_empty(), "nothing is said of {title}");
            for secret in SECRETS {
                assert!(!said.contains(secret), "{title} shows a secret");
            }
            if !writes {
                assert_eq!(said, answer, "{title}");
            }
            let _ = writeln!(anew, "#### {title}\n{file}==>\n{said}\n");
            count += 1;
        }
        if writes {
            std::fs::write(&topic, anew.trim_end().to_owned() + "\n").unwrap();
        }
    }
    assert!(count >= 150, "{count}");
}

/// All of the format in one file.
const FULL: &str = include_str!("../../config/tests/full.yaml");

#[derive(Debug, Clone)]
enum Harm {
    Cut(prop::sample::Index, prop::sample::Index),
    Put(prop::sample::Index, String),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = || any::<prop::sample::Index>();
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        "\n",
        "  ",
        "*",
        "&a ",
        "!!x ",
        "${X}",
        "${",
        "'",
        "\"",
        "#",
        "-",
        "\u{202e}",
        "\0",
        "<<: ",
        "|\n",
        "? ",
        "9",
        "expires: ",
        "tools: ",
        "servers",
        "\t",
        "é",
    ]);
    prop_oneof![
        (at(), at()).prop_map(|(from, to)| Harm::Cut(from, to)),
        (at(), piece).prop_map(|(at, piece)| Harm::Put(at, piece.to_owned())),
        (at(), at()).prop_map(|(one, other)| Harm::Swap(one, other)),
    ]
}

/// The file with one thing done to it.
fn harmed(text: &str, harm: &Harm) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return String::new();
    }
    match harm {
        Harm::Cut(from, length) => {
            let from = from.index(chars.len());
            let to = (from + length.index(12) + 1).min(chars.len());
            chars[..from].iter().chain(&chars[to..]).collect()
        }
        Harm::Put(at, piece) => {
            let (head, tail) = chars.split_at(at.index(chars.len()));
            head.iter()
                .copied()
                .chain(piece.chars())
                .chain(tail.iter().copied())
                .collect()
        }
        Harm::Swap(one, other) => {
            let count = lines.len();
            lines.swap(one.index(count), other.index(count));
            lines.join("\n")
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_file_is_too_broken_for_an_answer(harms in prop::collection::vec(harm(), 1..6)) {
        let text = harms.iter().fold(FULL.to_owned(), |text, harm| harmed(&text, harm));
        // An answer of some kind, and each with a place inside the file.
        let (findings, _) = found("permissions.yaml", &text, NOON, true);
        for finding in findings {
            let lines = u32::try_from(text.lines().count()).unwrap() + 1;
            prop_assert!((1..=lines).contains(&finding.line()), "{finding:?}");
            prop_assert!(!finding.render(false).is_empty());
        }
    }
}
