//! What a budget's identity says, for people: who, what, per which window.
//!
//! The identity is composed in `policy`: `agents.designer/images[imagine] calls/day@Europe/Berlin each agent=clawd`.

use crate::types::{KeyParts, Unit};

/// A budget in words. Everything but the window may come from a file or an agent and is shown as untrusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    /// `agent`, `pool`, `role`, or empty for a budget on a server.
    pub(super) scope: &'static str,
    /// Whose it is; `everyone` when a server's budget is shared.
    pub(super) who: String,
    /// The agent it counts, when it counts one.
    pub(super) agent: Option<String>,
    /// The server it counts, when it names one.
    pub(super) server: Option<String>,
    /// The tools it counts; empty for all.
    pub(super) tools: Vec<String>,
    /// What its amounts count.
    pub(super) unit: Unit,
    /// `hour`, `day`, `week from sunday`, `24h`, `total`.
    pub(super) window: String,
}

impl Default for Label {
    fn default() -> Self {
        Self {
            scope: "",
            who: String::new(),
            agent: None,
            server: None,
            tools: Vec::new(),
            unit: Unit::Calls,
            window: String::new(),
        }
    }
}

/// Takes an identity apart; one of another shape is shown as it is.
pub(super) fn label(key: &str) -> Label {
    parse(key).unwrap_or_else(|| Label {
        who: key.into(),
        ..Label::default()
    })
}

fn parse(key: &str) -> Option<Label> {
    let parts = KeyParts::of(key);
    let mut label = scoped(parts.family)?;
    label.unit = Unit::of_key(parts.unit);
    // Windows that do not go by the calendar have no zone.
    let (window, _zone) = parts.window.split_once('@').unwrap_or((parts.window, ""));
    label.window = window.into();
    label.tools = parts.tool_lists().flatten().map(Into::into).collect();
    label.tools.sort();
    label.tools.dedup();
    if let Some(agent) = parts.agent {
        label.agent = Some(agent.into());
    }
    // The tool is the server's word: it may hold anything.
    if let Some(tool) = parts.tool {
        label.tools = vec![tool.into()];
    }
    Some(label)
}

fn scoped(scope: &str) -> Option<Label> {
    let (room, name) = scope.split_once('.')?;
    let (name, server) = match name.split_once('/') {
        Some((name, server)) => (name, Some(server)),
        None => (name, None),
    };
    let label = Label {
        who: name.into(),
        server: server.map(Into::into),
        ..Label::default()
    };
    Some(match room {
        "agents" => Label {
            scope: "agent",
            agent: Some(name.into()),
            ..label
        },
        "servers" => Label {
            who: "everyone".into(),
            server: Some(name.into()),
            ..label
        },
        "roles" => Label {
            scope: "role",
            ..label
        },
        "budgets" => Label {
            scope: "pool",
            ..label
        },
        _ => return None,
    })
}

impl Label {
    /// Whether the server is one name, not a pattern.
    pub(super) fn one_server(&self) -> Option<&str> {
        self.server
            .as_deref()
            .filter(|server| !server.contains('*'))
    }

    /// The tools that are names, if all are.
    pub(super) fn exact_tools(&self) -> &[String] {
        if self.tools.iter().any(|tool| tool.contains('*')) {
            &[]
        } else {
            &self.tools
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_told_in_words() {
        let full =
            label("agents.designer/images[blend,imagine] calls/day@Europe/Berlin each agent=clawd");
        let expected = Label {
            scope: "agent",
            who: "designer".into(),
            agent: Some("clawd".into()),
            server: Some("images".into()),
            tools: vec!["blend".into(), "imagine".into()],
            unit: Unit::Calls,
            window: "day".into(),
        };
        assert_eq!(full, expected);
        let shared = label("servers.images calls/hour@UTC");
        assert_eq!(
            (shared.who.as_str(), shared.one_server()),
            ("everyone", Some("images"))
        );
        let pool = label("budgets.image-team calls/month@UTC each agent=a tool=say hi");
        assert_eq!((pool.scope, pool.agent.as_deref()), ("pool", Some("a")));
        assert_eq!(pool.tools, ["say hi"]);
        let rolling = label("budgets.x[a] calls/24h each tool=at@home each agent=x");
        assert_eq!(
            (rolling.window.as_str(), &rolling.tools[0][..]),
            ("24h", "at@home each agent=x")
        );
        assert_eq!(label("agents.a calls/total").window, "total");
        assert_eq!(
            label("agents.a calls/week from sunday 06:00@UTC").window,
            "week from sunday 06:00"
        );
        let money = label("agents.clawd USD/month@Europe/Berlin");
        assert_eq!((money.unit.word(), &*money.window), ("USD", "month"));
        assert_eq!(label("something new").who, "something new");
    }
}
