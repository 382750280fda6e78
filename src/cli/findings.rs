//! Findings about a policy file in the forms that people, editors and continuous integration read.

use std::fmt::{Display, Write as _};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::config::{Diagnostic, Severity};

/// In which form findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FindingsFormat {
    /// For people: the place, the lines, what to do.
    Text,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines of a change.
    Sarif,
    /// Workflow commands of GitHub Actions.
    Github,
    /// JUnit XML.
    Junit,
}

/// What was found in a file.
#[derive(Debug)]
pub(super) struct Report<'a> {
    /// The file, as named by whoever asked.
    pub(super) file: &'a str,
    /// What was found.
    pub(super) findings: &'a [Diagnostic],
    /// Tests of the file that passed.
    pub(super) tests: usize,
}

impl Report<'_> {
    /// All of it in one text, without the last line break.
    pub(super) fn render(&self, format: FindingsFormat, color: bool) -> String {
        match format {
            FindingsFormat::Text => self.text(color),
            FindingsFormat::Json => self.json().to_string(),
            FindingsFormat::Sarif => self.sarif().to_string(),
            FindingsFormat::Github => self.github(),
            FindingsFormat::Junit => self.junit(),
        }
    }

    fn count(&self, severity: Severity) -> usize {
        let those = self.findings.iter();
        those.filter(|one| one.severity() == severity).count()
    }

    fn text(&self, color: bool) -> String {
        let mut text = String::new();
        for finding in self.findings {
            text.push_str(&finding.render(color));
            text.push_str("\n\n");
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let found = match (errors, warnings) {
            (0, 0) => "in order".to_owned(),
            (0, warnings) => format!("in order, {}", counted(warnings, "warning")),
            (errors, 0) => counted(errors, "error"),
            (errors, warnings) => {
                format!(
                    "{}, {}",
                    counted(errors, "error"),
                    counted(warnings, "warning")
                )
            }
        };
        let _ = write!(text, "{}: {found}", self.file);
        if self.tests > 0 {
            let _ = write!(text, ", {} passed", counted(self.tests, "test"));
        }
        text
    }

    fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "code": finding.code().as_str(),
                "severity": word(finding.severity()),
                "title": finding.title(),
                "line": finding.line(),
                "column": finding.column(),
                "advice": finding.advice().collect::<Vec<_>>(),
                "instead": finding.instead(),
            })
        });
        json!({
            "file": self.file,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "tests_passed": self.tests,
            "findings": findings.collect::<Vec<_>>(),
        })
    }

    /// OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
    fn sarif(&self) -> Value {
        let results = self.findings.iter().map(|finding| {
            json!({
                "ruleId": finding.code().as_str(),
                "level": word(finding.severity()),
                "message": {"text": whole(finding)},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": self.file.trim_start_matches("./")},
                    "region": {"startLine": finding.line(), "startColumn": finding.column()},
                }}],
            })
        });
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "hayward", "version": env!("CARGO_PKG_VERSION")}},
                "columnKind": "unicodeCodePoints",
                "results": results.collect::<Vec<_>>(),
            }],
        })
    }

    /// docs.github.com, "Workflow commands for GitHub Actions".
    fn github(&self) -> String {
        let lines = self.findings.iter().map(|finding| {
            format!(
                "::{} file={},line={},col={},title={}::{}",
                word(finding.severity()),
                property(self.file.trim_start_matches("./")),
                finding.line(),
                finding.column(),
                property(finding.code().as_str()),
                data(&whole(finding)),
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn junit(&self) -> String {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (errors, all) = (self.count(Severity::Error), self.findings.len().max(1));
        let file = xml(self.file);
        let _ = writeln!(
            text,
            "<testsuites><testsuite name=\"{file}\" tests=\"{all}\" failures=\"{errors}\">"
        );
        if self.findings.is_empty() {
            let _ = writeln!(text, "<testcase classname=\"{file}\" name=\"in order\"/>");
        }
        for finding in self.findings {
            let name = xml(&format!("{} line {}", finding.code(), finding.line()));
            let said = xml(&finding.render(false));
            let inner = match finding.severity() {
                Severity::Error => {
                    let title = xml(finding.title());
                    format!("<failure message=\"{title}\">{said}</failure>")
                }
                Severity::Warning => format!("<system-out>{said}</system-out>"),
            };
            let _ = writeln!(
                text,
                "<testcase classname=\"{file}\" name=\"{name}\">{inner}</testcase>"
            );
        }
        text.push_str("</testsuite></testsuites>");
        text
    }
}

/// The sentence and what to do about it.
fn whole(finding: &Diagnostic) -> String {
    let mut text = finding.title().to_owned();
    if let Some(instead) = finding.instead() {
        let _ = write!(text, "; write `{instead}`");
    }
    for advice in finding.advice() {
        text.push_str("; ");
        text.push_str(advice);
    }
    text
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// `1 warning`, `2 warnings`.
pub(super) fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text in XML 1.0, which has no way to write most control characters (section 2.2).
fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// One error and one warning.
    const WRONG: &str = "agents:\n  a: {token_hash: \"sha256:12\", servers: [\"x%\"]}\n";

    fn rendered(format: FindingsFormat) -> String {
        let problems = config::review("./rules, mine.yaml", WRONG).unwrap_err();
        let report = Report {
            file: "./rules, mine.yaml",
            findings: problems.diagnostics(),
            tests: 0,
        };
        report.render(format, false)
    }

    #[test]
    fn people_read_the_place_and_the_count() {
        let text = rendered(FindingsFormat::Text);
        assert!(text.contains("error[P010]"), "{text}");
        assert!(text.ends_with("./rules, mine.yaml: 2 errors"), "{text}");
    }

    #[test]
    fn programs_read_json_and_sarif() {
        let json: Value = serde_json::from_str(&rendered(FindingsFormat::Json)).unwrap();
        assert_eq!(json["errors"], 2);
        assert_eq!(json["findings"][0]["code"], "P010");
        assert_eq!(json["findings"][0]["line"], 2);
        let sarif: Value = serde_json::from_str(&rendered(FindingsFormat::Sarif)).unwrap();
        let results = &sarif["runs"][0]["results"];
        assert_eq!(results[0]["ruleId"], "P010");
        let place = &results[0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "rules, mine.yaml");
        assert_eq!(place["region"]["startLine"], 2);
    }

    #[test]
    fn a_workflow_command_is_one_line_whatever_stands_in_it() {
        let text = rendered(FindingsFormat::Github);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.starts_with("::error file=rules%2C mine.yaml,line=2,col="),
            "{text}"
        );
        assert!(text.contains("x%25"), "{text}");
    }

    #[test]
    fn junit_is_xml_and_counts_failures() {
        let text = rendered(FindingsFormat::Junit);
        assert!(text.contains("tests=\"2\" failures=\"2\""), "{text}");
        assert!(text.contains("&quot;sha256:12&quot;"), "{text}");
        assert_eq!(xml("a\u{1b}<&\u{0}"), "a\u{fffd}&lt;&amp;\u{fffd}");
    }
}
