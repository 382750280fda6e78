//! How to reach a server: what `config` resolved and `upstream` uses. Nothing of it decides who may do what.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// One piece of a value with placeholders: literal text, or a secret with the words that name it.
#[derive(Debug, Clone)]
pub enum TemplatePart {
    /// Text as written in the file.
    Text(String),
    /// `${NAME}`, `${NAME:-default}` or `${file:PATH}`: what was written, and what it stands for.
    Secret {
        /// The placeholder as written, shown to people in place of the value.
        written: String,
        /// The value.
        value: Secret,
    },
}

/// A value of a server's `url`, `headers`, `env` or `args`, with its placeholders resolved.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

impl Template {
    /// Puts the pieces in order.
    pub fn new(parts: Vec<TemplatePart>) -> Self {
        Self { parts }
    }

    /// A value without placeholders.
    pub fn literal(text: &str) -> Self {
        Self::new(vec![TemplatePart::Text(text.into())])
    }

    /// The value with its secrets, for the one place that sends it on.
    pub fn expose(&self) -> Secret {
        let text = self.parts.iter().map(|part| match part {
            TemplatePart::Text(text) => text.as_str(),
            TemplatePart::Secret { value, .. } => value.expose(),
        });
        Secret::new(text.collect())
    }

    /// The secrets in it.
    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Text(_) => None,
            TemplatePart::Secret { value, .. } => Some(value),
        })
    }

    /// Whether a placeholder is in it.
    pub fn has_placeholder(&self) -> bool {
        self.secrets().next().is_some()
    }

    /// The value as the file has it, without what stands behind its placeholders.
    pub fn written(&self) -> String {
        let text = self.parts.iter().map(|part| match part {
            TemplatePart::Text(text) => text.as_str(),
            TemplatePart::Secret { written, .. } => written,
        });
        text.collect()
    }

    /// The value as people may see it: placeholders stay placeholders, with ` (set)` behind them.
    pub fn masked(&self) -> String {
        let text = self.parts.iter().map(|part| match part {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Secret { written, .. } => format!("{written} (set)"),
        });
        text.collect()
    }
}

/// Which life cycle to speak to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// Ask the server (reference: MCP 2026-07-28, `server/discover`).
    #[default]
    Auto,
    /// 2026-07-28: stateless, version and capabilities in every request.
    Modern,
    /// 2025-11-25 and before: opens with `initialize`.
    Legacy,
    /// As `Legacy`, over HTTP with two endpoints (2024-11-05); only for a server at a URL.
    Sse,
}

/// Who shares a child process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Instances {
    /// One process for each agent: nothing leaks between agents.
    #[default]
    PerAgent,
    /// One process for all agents.
    Shared,
}

/// Where a server is.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// HTTP at a URL.
    Http {
        /// The whole URL of the MCP endpoint.
        url: Template,
        /// Headers of our own, by name; never the agent's token.
        headers: Vec<(String, Template)>,
    },
    /// A child process that speaks on standard input and output.
    Stdio {
        /// The program, found on `PATH`; never a shell.
        command: String,
        /// Its arguments.
        args: Vec<Template>,
        /// Variables added to an otherwise cleared environment.
        env: Vec<(String, Template)>,
        /// The folder it starts in; ours when not given.
        cwd: Option<PathBuf>,
        /// Who shares the process.
        instances: Instances,
    },
}

/// Everything needed to talk to one server.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which life cycle it speaks.
    pub era: EraChoice,
    /// The longest a call may take from first byte sent to last byte read.
    pub timeout: Duration,
}

impl Connection {
    /// Everything that stands behind a placeholder.
    pub fn secrets(&self) -> Vec<Secret> {
        let templates: Vec<&Template> = match &self.endpoint {
            Endpoint::Http { url, headers } => {
                let headers = headers.iter().map(|(_, value)| value);
                std::iter::once(url).chain(headers).collect()
            }
            Endpoint::Stdio { args, env, .. } => args
                .iter()
                .chain(env.iter().map(|(_, value)| value))
                .collect(),
        };
        let secrets = templates.into_iter().flat_map(Template::secrets);
        secrets.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_template_shows_the_placeholder_and_never_the_value() {
        let template = Template::new(vec![
            TemplatePart::Text("Bearer ".into()),
            TemplatePart::Secret {
                written: "${GITHUB_TOKEN}".into(),
                value: Secret::new("ghp_hidden".into()),
            },
        ]);
        assert_eq!(template.masked(), "Bearer ${GITHUB_TOKEN} (set)");
        assert_eq!(template.expose().expose(), "Bearer ghp_hidden");
        assert!(!format!("{template:?}").contains("hidden"));
    }
}
