//! Whether two policy files show an agent the same of a server. Pure.

use crate::types::{ServerName, Timestamp};

use super::permissions::is_live;
use super::{Agent, Pattern, Permissions};

/// Everything in the rules that lists of one server are filtered with, in an order of its own: where a rule stands in
/// the file says nothing.
#[derive(Debug, PartialEq, Eq)]
struct View<'a> {
    is_off: bool,
    grants: Vec<(&'a str, Option<Vec<&'a str>>, bool)>,
    denials: Vec<(&'a str, &'a str)>,
}

/// Whether an agent finds the same in the lists of a server before and after a change of the rules. What only counts
/// or smooths its calls makes no difference.
pub fn sees_alike(
    before: (&Permissions, &Agent),
    after: (&Permissions, &Agent),
    server: &ServerName,
    at: Timestamp,
) -> bool {
    view(before, server, at) == view(after, server, at)
}

fn view<'a>(
    (permissions, agent): (&'a Permissions, &'a Agent),
    server: &ServerName,
    at: Timestamp,
) -> View<'a> {
    let is_here = |pattern: &Pattern| pattern.matches(server.as_str());
    let grants = agent.grants.iter().filter(|rule| is_here(&rule.server));
    let mut grants: Vec<_> = grants
        .map(|rule| {
            let tools = rule.tools.as_ref().map(|tools| {
                let mut tools: Vec<&str> = tools.iter().map(Pattern::as_str).collect();
                tools.sort_unstable();
                tools
            });
            (rule.server.as_str(), tools, is_live(rule.expires, at))
        })
        .collect();
    grants.sort_unstable();
    let denials = permissions.deny().iter().chain(&agent.deny);
    let denials = denials.filter(|rule| is_here(&rule.server));
    let mut denials: Vec<_> = denials
        .map(|rule| (rule.server.as_str(), rule.tool.as_str()))
        .collect();
    denials.sort_unstable();
    let rule = permissions.servers().get(server);
    View {
        is_off: agent.disabled.is_some() || rule.is_none_or(|rule| rule.disabled.is_some()),
        grants,
        denials,
    }
}
