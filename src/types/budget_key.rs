//! Which budget: its place in the file, its tools, its window, its split.

use std::fmt;
use std::sync::Arc;

/// The identity of one count: place, tools, unit, window and zone, and the instance `each` made.
///
/// Neither the limit nor the position in the file is part of it, so changing a limit keeps the use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey(Arc<str>);

impl BudgetKey {
    /// Takes the canonical text that `policy` composed.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pieces of `agents.clawd/images[imagine] calls/day@Europe/Berlin each agent=clawd tool=imagine`.
    pub fn parts(&self) -> KeyParts<'_> {
        KeyParts::of(&self.0)
    }
}

impl<'a> KeyParts<'a> {
    /// The pieces of a canonical text, as it stands in an event.
    pub fn of(key: &'a str) -> Self {
        let (head, rest) = key.split_once(' ').unwrap_or((key, ""));
        let (count, each) = rest.split_once(" each ").unwrap_or((rest, ""));
        let (unit, window) = count.split_once('/').unwrap_or((count, ""));
        // The name of the tool comes from an agent and stands last: whatever is in it is part of it.
        let (agent, tool) = match each.strip_prefix("agent=") {
            Some(each) => {
                let (agent, tool) = each.split_once(" tool=").unzip();
                (Some(agent.unwrap_or(each)), tool)
            }
            None => (None, each.strip_prefix("tool=")),
        };
        let (family, tools) = head.split_once('[').unwrap_or((head, ""));
        Self {
            family,
            tools,
            unit,
            window,
            agent,
            tool,
        }
    }
}

/// What the identity of a count is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyParts<'a> {
    /// Where it stands, whatever its tools: `agents.clawd/images`.
    pub family: &'a str,
    /// The lists of tools behind that, as they are written: `imagine]`, or `imagine,blend][imagine]`.
    pub tools: &'a str,
    /// What it counts.
    pub unit: &'a str,
    /// Its window, with the zone of a calendar one.
    pub window: &'a str,
    /// The agent it is split for.
    pub agent: Option<&'a str>,
    /// The tool it is split for.
    pub tool: Option<&'a str>,
}

impl<'a> KeyParts<'a> {
    /// The lists of tools, each as texts of patterns. A call is counted when it fits one of each list.
    pub fn tool_lists(&self) -> impl Iterator<Item = impl Iterator<Item = &'a str>> {
        let lists = self.tools.split(['[', ']']).filter(|list| !list.is_empty());
        lists.map(|list| list.split(','))
    }
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_apart_whatever_its_tool_is_called() {
        let text = "agents.clawd/images[blend,im*][im*] argument:count/week from sunday 06:05@Europe/Berlin \
                    each agent=clawd tool=a each tool=b [c]";
        let key = BudgetKey::new(text);
        let parts = key.parts();
        let found = (parts.family, parts.unit, parts.window);
        let expected = (
            "agents.clawd/images",
            "argument:count",
            "week from sunday 06:05@Europe/Berlin",
        );
        assert_eq!(found, expected);
        assert_eq!(parts.agent, Some("clawd"));
        assert_eq!(parts.tool, Some("a each tool=b [c]"));
        let lists: Vec<Vec<&str>> = parts.tool_lists().map(Iterator::collect).collect();
        assert_eq!(lists, [vec!["blend", "im*"], vec!["im*"]]);
    }

    #[test]
    fn a_plain_key_has_no_tools_and_no_instance() {
        let key = BudgetKey::new("servers.images calls/total");
        let parts = key.parts();
        assert_eq!((parts.family, parts.window), ("servers.images", "total"));
        assert_eq!((parts.agent, parts.tool), (None, None));
        assert_eq!(parts.tool_lists().count(), 0);
        let key = BudgetKey::new("budgets.team USD/24h each tool=x");
        assert_eq!((key.parts().agent, key.parts().tool), (None, Some("x")));
        let key = BudgetKey::new("budgets.team USD/24h each agent=a");
        assert_eq!((key.parts().agent, key.parts().tool), (Some("a"), None));
    }
}
