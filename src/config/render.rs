//! Draws findings: the sentence, the place, the lines of the file, what to write instead.
//!
//! The text kept here is already masked; nothing secret can be drawn from it.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::invisible;
use super::mask::{cover, mask};
use super::problem::{Code, Finding, Severity, Span};

/// The most findings that are kept; a file with more has one cause for many of them.
const MOST_FINDINGS: usize = 100;

/// The file as it may be shown: secrets replaced by asterisks of the same length.
struct Source {
    name: String,
    text: String,
}

/// One thing that is wrong or worth a look, with its place in the file.
#[derive(Clone)]
pub struct Diagnostic {
    source: Arc<Source>,
    finding: Arc<Finding>,
}

impl Diagnostic {
    /// Its kind.
    pub fn code(&self) -> Code {
        self.finding.code
    }

    /// Whether it keeps the file from being used.
    pub fn severity(&self) -> Severity {
        self.finding.code.severity()
    }

    /// What is wrong, in one sentence.
    pub fn title(&self) -> &str {
        &self.finding.title
    }

    /// What to do about it, and what else to know; may be empty.
    pub fn advice(&self) -> impl Iterator<Item = &str> {
        let suggestion = self.finding.suggestion.iter().map(|it| it.text.as_str());
        suggestion.chain(self.finding.notes.iter().map(String::as_str))
    }

    /// What to write in place of what is marked.
    pub fn instead(&self) -> Option<&str> {
        let suggestion = self.finding.suggestion.as_ref();
        suggestion.map(|suggestion| suggestion.replacement.as_str())
    }

    /// The file, as named by whoever read it.
    pub fn file_name(&self) -> &str {
        &self.source.name
    }

    /// The line, counted from 1.
    pub fn line(&self) -> u32 {
        self.finding.span.line
    }

    /// The column in characters, counted from 1.
    pub fn column(&self) -> usize {
        let head = self.source.text.get(..self.finding.span.start);
        let line = head.unwrap_or_default().rsplit('\n').next();
        line.unwrap_or_default().chars().count() + 1
    }

    /// The whole finding with its snippet; `colour` adds terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&self.groups())
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let finding = &*self.finding;
        let level = match self.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(finding.title.as_str());
        let notes = finding.notes.iter();
        let main = title
            .id(finding.code.as_str())
            .element(self.snippet())
            .elements(notes.map(|note| Level::NOTE.message(note.as_str())));
        let help = finding.suggestion.as_ref().map(|suggestion| {
            let (window, text) = self.source.window(suggestion.span, suggestion.span);
            let patch = Patch::new(window.inside(suggestion.span), &suggestion.replacement);
            let snippet = Snippet::source(text).line_start(window.line).patch(patch);
            Level::HELP
                .secondary_title(&suggestion.text)
                .element(snippet)
        });
        std::iter::once(main).chain(help).collect()
    }

    fn snippet(&self) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
        let finding = &*self.finding;
        let context = finding.context.as_ref();
        let other = context.map_or(finding.span, |(span, _)| *span);
        let (window, text) = self.source.window(finding.span, other);
        let primary = AnnotationKind::Primary.span(window.inside(finding.span));
        let context = context.map(|(span, label)| {
            let mark = AnnotationKind::Context.span(window.inside(*span));
            mark.label(label.as_str())
        });
        Snippet::source(text)
            .path(self.source.name.as_str())
            .line_start(window.line)
            .annotation(match finding.label.as_str() {
                "" => primary,
                label => primary.label(label),
            })
            .annotations(context)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, line) = (self.code(), self.line());
        write!(f, "Diagnostic({code}, line {line}: {})", self.title())
    }
}

/// The lines that are drawn: where they begin in the file.
struct Window {
    start: usize,
    end: usize,
    line: usize,
}

impl Window {
    fn inside(&self, span: Span) -> std::ops::Range<usize> {
        let clamp = |at: usize| at.clamp(self.start, self.end) - self.start;
        clamp(span.start)..clamp(span.end)
    }
}

impl Source {
    /// The whole lines that two spans touch.
    fn window(&self, one: Span, other: Span) -> (Window, &str) {
        let first = one.start.min(other.start).min(self.text.len());
        let last = one.end.max(other.end).min(self.text.len()).max(first);
        let head = self.text.get(..first).unwrap_or_default();
        let tail = self.text.get(last..).unwrap_or_default();
        let window = Window {
            start: head.rfind('\n').map_or(0, |at| at + 1),
            end: last + tail.find('\n').unwrap_or(tail.len()),
            line: usize::try_from(one.line.min(other.line)).unwrap_or(1),
        };
        let text = self.text.get(window.start..window.end);
        (window, text.unwrap_or_default())
    }
}

/// The file that findings are drawn from; what is hidden in it cannot be shown.
#[derive(Clone)]
pub(super) struct Sheet(Arc<Source>);

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sheet({})", self.0.name)
    }
}

impl Sheet {
    pub(super) fn new(name: &str, text: &str, hidden: &[Span]) -> Self {
        let mut shown = text.to_owned();
        for span in hidden {
            cover(&mut shown, span.start..span.end);
        }
        Self(Arc::new(Source {
            name: name.into(),
            text: mask(&invisible::shown(&shown)),
        }))
    }

    /// A whole line of the file.
    pub(super) fn line(&self, line: u32) -> Span {
        Span::of_line(&self.0.text, line)
    }

    /// Joins a finding with the file it is about.
    pub(super) fn diagnostic(&self, finding: Finding) -> Diagnostic {
        Diagnostic {
            source: Arc::clone(&self.0),
            finding: Arc::new(masked(finding)),
        }
    }

    /// Joins findings with the file, in its order; at most 100.
    pub(super) fn diagnostics(&self, mut list: Vec<Finding>) -> Vec<Diagnostic> {
        list.sort_by_key(|finding| (finding.code.severity(), finding.span.start));
        list.truncate(MOST_FINDINGS);
        let joined = list.into_iter().map(|finding| self.diagnostic(finding));
        joined.collect()
    }
}

fn masked(mut finding: Finding) -> Finding {
    finding.title = mask(&finding.title);
    finding.label = mask(&finding.label);
    for note in &mut finding.notes {
        *note = mask(note);
    }
    if let Some(suggestion) = &mut finding.suggestion {
        suggestion.replacement = mask(&suggestion.replacement);
        suggestion.text = mask(&suggestion.text);
    }
    if let Some((_, label)) = &mut finding.context {
        *label = mask(label);
    }
    finding
}

/// Everything that is wrong with a file, errors first, each in the order of the file.
#[derive(Debug)]
pub struct Problems(Vec<Diagnostic>);

impl Problems {
    /// Of these findings, in the order in which they are to be read.
    pub fn new(list: Vec<Diagnostic>) -> Self {
        Self(list)
    }

    /// The findings, errors before warnings.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0
    }

    /// All findings with their snippets; `colour` adds terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let each: Vec<String> = self.0.iter().map(|one| one.render(colour)).collect();
        each.join("\n\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
