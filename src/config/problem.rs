//! What can be wrong with a policy file: the codes, and one finding with its place and its words.
//!
//! Knows nothing of YAML and nothing of the terminal; `render.rs` draws what is collected here.

use std::fmt;

/// A stretch of the file in bytes, and the line it begins on, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: u32,
}

impl Span {
    /// A whole line of a file, without the blanks around it.
    pub(super) fn of_line(text: &str, line: u32) -> Self {
        let before = usize::try_from(line).unwrap_or(1).saturating_sub(1);
        let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
        let rest = text.get(start..).unwrap_or_default();
        let shown = rest.lines().next().unwrap_or_default();
        let indent = shown.len() - shown.trim_start().len();
        Self {
            start: start + indent,
            end: start + shown.trim_end().len(),
            line,
        }
    }
}

/// Whether a finding keeps the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used; someone should look.
    Warning,
}

/// The kind of a finding, stable across versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not YAML.
    Syntax,
    /// A key this version does not know.
    UnknownKey,
    /// The same key twice in one mapping.
    DuplicateKey,
    /// An anchor, alias, merge key or tag.
    YamlFeature,
    /// A character that cannot be seen.
    Invisible,
    /// A value of the wrong kind, missing, or at odds with its neighbour.
    Shape,
    /// Not a name, or a reserved one.
    Name,
    /// Two names that differ only in case.
    NameCase,
    /// A token hash that is malformed, or the hash of a placeholder.
    BadHash,
    /// A token where its hash belongs.
    TokenWritten,
    /// One hash in two places.
    SharedHash,
    /// A server, role or pool that is not defined.
    UnknownName,
    /// A glob that matches no server.
    EmptyGlob,
    /// A grant that decides nothing, because of a denial or another grant.
    Hidden,
    /// A grant whose end lets through more than it did.
    EndsIntoMore,
    /// Two grants of one agent that are equally specific.
    EqualGrants,
    /// A budget, rate, duration, date or zone that is not understood.
    BadAmount,
    /// A budget without a time zone anywhere.
    NoZone,
    /// A pool, role or server that nobody uses.
    Unused,
    /// The same budget twice in one place.
    SameBudget,
    /// A condition that cannot be true, or a bad regular expression.
    Condition,
    /// `${…}` in the wrong place, malformed, or without a value.
    Placeholder,
    /// A secret written out instead of a placeholder.
    SecretWritten,
    /// A URL, header or command that cannot be used.
    Address,
    /// A tool that its server does not have.
    NoTool,
    /// An argument that the tool does not have.
    NoArgument,
    /// Everything on every server is granted.
    Everything,
    /// Plain http to a host that is not private.
    PlainHttp,
    /// A package that is run in whatever version is newest.
    Unpinned,
    /// A grant or token that ends soon.
    EndsSoon,
    /// A grant or token that has ended.
    Ended,
    /// A test that stands in the file fails.
    TestFailed,
}

impl Code {
    /// The code as printed and as `--allow` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "P001",
            Self::UnknownKey => "P002",
            Self::DuplicateKey => "P003",
            Self::YamlFeature => "P004",
            Self::Invisible => "P005",
            Self::Shape => "P006",
            Self::Name => "P007",
            Self::NameCase => "P008",
            Self::BadHash => "P010",
            Self::TokenWritten => "P011",
            Self::SharedHash => "P012",
            Self::UnknownName => "P020",
            Self::EmptyGlob => "P021",
            Self::Hidden => "P023",
            Self::EndsIntoMore => "P024",
            Self::EqualGrants => "P025",
            Self::BadAmount => "P030",
            Self::NoZone => "P031",
            Self::Unused => "P032",
            Self::SameBudget => "P033",
            Self::Condition => "P040",
            Self::Placeholder => "P050",
            Self::SecretWritten => "P051",
            Self::Address => "P052",
            Self::NoTool => "P022",
            Self::NoArgument => "P041",
            Self::Everything => "P060",
            Self::PlainHttp => "P061",
            Self::Unpinned => "P062",
            Self::EndsSoon => "P063",
            Self::Ended => "P064",
            Self::TestFailed => "P070",
        }
    }

    /// Whether findings of this kind keep the file from being used.
    pub fn severity(self) -> Severity {
        match self {
            Self::NameCase
            | Self::Hidden
            | Self::EndsIntoMore
            | Self::NoZone
            | Self::Unused
            | Self::SecretWritten
            | Self::NoTool
            | Self::NoArgument
            | Self::Everything
            | Self::PlainHttp
            | Self::Unpinned
            | Self::EndsSoon
            | Self::Ended => Severity::Warning,
            Self::Syntax
            | Self::UnknownKey
            | Self::DuplicateKey
            | Self::YamlFeature
            | Self::Invisible
            | Self::Shape
            | Self::Name
            | Self::BadHash
            | Self::TokenWritten
            | Self::SharedHash
            | Self::UnknownName
            | Self::EmptyGlob
            | Self::EqualGrants
            | Self::BadAmount
            | Self::SameBudget
            | Self::Condition
            | Self::Placeholder
            | Self::Address
            | Self::TestFailed => Severity::Error,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What to write instead.
#[derive(Debug)]
pub(super) struct Suggestion {
    pub(super) text: String,
    pub(super) span: Span,
    pub(super) replacement: String,
}

/// One thing that is wrong, before it is joined with the text of the file.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) title: String,
    pub(super) span: Span,
    pub(super) label: String,
    pub(super) context: Option<(Span, String)>,
    pub(super) suggestion: Option<Suggestion>,
    pub(super) notes: Vec<String>,
}

impl Finding {
    /// A finding at a place; user input in the title is in backticks, made with [`quote`].
    pub(super) fn new(code: Code, span: Span, title: impl Into<String>) -> Self {
        Self {
            code,
            title: title.into(),
            span,
            label: String::new(),
            context: None,
            suggestion: None,
            notes: Vec::new(),
        }
    }

    /// Words beside the mark.
    pub(super) fn label(mut self, text: impl Into<String>) -> Self {
        self.label = text.into();
        self
    }

    /// A second place that explains the first.
    pub(super) fn context(mut self, span: Span, text: impl Into<String>) -> Self {
        self.context = Some((span, text.into()));
        self
    }

    /// What to write instead, shown as a change of the line.
    pub(super) fn suggest(mut self, text: &str, span: Span, replacement: &str) -> Self {
        self.suggestion = Some(Suggestion {
            text: text.into(),
            span,
            replacement: replacement.into(),
        });
        self
    }

    /// A sentence below the snippet.
    pub(super) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

/// All findings so far, and the stretches of the file that must not be shown.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) list: Vec<Finding>,
    pub(super) hidden: Vec<Span>,
}

impl Findings {
    /// Adds one.
    pub(super) fn add(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// Keeps a stretch of the file out of every snippet.
    pub(super) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    /// Whether the file must be refused.
    pub(super) fn any_error(&self) -> bool {
        let mut severities = self.list.iter().map(|finding| finding.code.severity());
        severities.any(|severity| severity == Severity::Error)
    }
}

/// User input for a message: in backticks, escaped, at most 60 characters.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(escaped).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn escaped(c: char) -> Vec<char> {
    if c.is_control() || super::invisible::is_invisible(c) {
        c.escape_unicode().collect()
    } else {
        vec![c]
    }
}

/// The candidate nearest to a word, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let best = near.filter(|(distance, _)| *distance <= limit).min()?;
    Some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_input_cannot_move_the_cursor_or_flood_the_screen() {
        assert_eq!(quote("a\u{1b}[2Jb\u{202e}"), "`a\\u{1b}[2Jb\\u{202e}`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 63);
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        let known = ["servers", "roles", "agents"];
        assert_eq!(nearest("sevrers", known), Some("servers"));
        assert_eq!(nearest("agent", known), Some("agents"));
        assert_eq!(nearest("widgets", known), None);
    }
}
