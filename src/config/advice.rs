//! What is allowed and yet seldom meant: findings about the rules as a whole, for whoever reviews them. All of them are
//! warnings, and none is told when the gateway starts: `hayward check` is the place.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::policy::{Agent, DenyRule, GrantRule, Pattern, Permissions, Place, Token};
use crate::types::{Endpoint, ServerName, Timestamp};

use super::parse::Loaded;
use super::problem::{Code, Finding, quote};
use super::reached;
use super::render::Diagnostic;

/// How long before its end a grant or token is spoken of.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl Loaded {
    /// What a reviewer should know at an instant, beside the warnings.
    pub fn advice(&self, at: Timestamp) -> Vec<Diagnostic> {
        let mut advice = Advice {
            loaded: self,
            given: BTreeSet::new(),
            found: Vec::new(),
        };
        for agent in self.permissions.agents().values() {
            advice.about_agent(agent, at);
        }
        for viewer in self.permissions.viewers().values() {
            advice.about_tokens(&viewer.tokens, at);
        }
        for (name, connection) in &self.connections {
            advice.about_server(name, &connection.endpoint);
        }
        self.sheet().diagnostics(advice.found)
    }
}

struct Advice<'a> {
    loaded: &'a Loaded,
    /// A role is read once for each agent that has it, and spoken of once.
    given: BTreeSet<(&'static str, String)>,
    found: Vec<Finding>,
}

impl Advice<'_> {
    fn add(&mut self, code: Code, place: &Place, title: String, note: &str) {
        if !self.given.insert((code.as_str(), title.clone())) {
            return;
        }
        let span = self.loaded.sheet().line(place.line);
        self.found.push(Finding::new(code, span, title).note(note));
    }

    fn about_agent(&mut self, agent: &Agent, at: Timestamp) {
        if agent.disabled.is_some() {
            return;
        }
        self.about_tokens(&agent.tokens, at);
        for grant in &agent.grants {
            self.about_end(&grant.place, grant.expires, at);
            self.about_everything(grant);
            self.about_hidden(agent, grant);
            self.about_what_follows(agent, grant);
        }
    }

    fn about_tokens(&mut self, tokens: &[Token], at: Timestamp) {
        for token in tokens {
            self.about_end(&token.place, token.expires, at);
        }
    }

    fn about_end(&mut self, place: &Place, expires: Option<Timestamp>, at: Timestamp) {
        let Some(end) = expires else { return };
        let path = quote(&place.path);
        let shown = end.rfc3339(self.loaded.permissions.zone());
        if end <= at {
            let title = format!("{path} ended at {shown}");
            self.add(
                Code::Ended,
                place,
                title,
                "take it away, or give it a later end",
            );
        } else if end <= at.after(SOON) {
            let title = format!("{path} ends soon, at {shown}");
            self.add(
                Code::EndsSoon,
                place,
                title,
                "give it a later end, if it is still needed",
            );
        }
    }

    fn about_everything(&mut self, grant: &GrantRule) {
        if grant.server.is_everything() && grant.tools.is_none() {
            let path = quote(&grant.place.path);
            let title =
                format!("{path} grants everything on every server, also on those added later");
            let note = "name the servers; if it is meant, check with `--allow P060`";
            self.add(Code::Everything, &grant.place, title, note);
        }
    }

    /// Whether a grant never decides anything. What a role gives may be narrowed by the agent's own grants: that is
    /// what these are for.
    fn about_hidden(&mut self, agent: &Agent, grant: &GrantRule) {
        let permissions = &self.loaded.permissions;
        let path = quote(&grant.place.path);
        let denials = || permissions.deny().iter().chain(&agent.deny);
        let is_denied = |server: &ServerName, tool: Option<&Pattern>| {
            denials().any(|deny| shuts(deny, server, tool))
        };
        if is_whole(permissions, grant, is_denied) {
            let title = format!("{path} grants nothing: all of it is denied");
            self.add(
                Code::Hidden,
                &grant.place,
                title,
                "take it away, or the denial",
            );
            return;
        }
        let others = || {
            agent
                .grants
                .iter()
                .filter(|other| !other.from_role && outlasts(other, grant))
        };
        let is_hidden = |server: &ServerName, tool: Option<&Pattern>| {
            others().any(|other| hides(other, grant, server, tool))
        };
        if !grant.from_role && is_whole(permissions, grant, is_hidden) {
            let title =
                format!("{path} decides nothing: for all of it there is a more exact grant");
            self.add(
                Code::Hidden,
                &grant.place,
                title,
                "take it away, or make it more exact",
            );
        }
    }

    /// Whether the end of a grant lets through more than it did.
    fn about_what_follows(&mut self, agent: &Agent, grant: &GrantRule) {
        if grant.expires.is_none() || grant.budgets.is_empty() {
            return;
        }
        let follows = |other: &&GrantRule| {
            other.budgets.is_empty()
                && other.place != grant.place
                && other.expires.is_none_or(|end| Some(end) > grant.expires)
                && share_a_call(&self.loaded.permissions, grant, other)
        };
        let Some(other) = agent.grants.iter().find(follows) else {
            return;
        };
        let (path, next) = (quote(&grant.place.path), quote(&other.place.path));
        let title = format!("when {path} ends, {next} goes on without its budget");
        let note = "let both end, or put the budget on the agent or the server";
        self.add(Code::EndsIntoMore, &grant.place, title, note);
    }

    fn about_server(&mut self, name: &ServerName, endpoint: &Endpoint) {
        let Some(rule) = self.loaded.permissions.servers().get(name) else {
            return;
        };
        match endpoint {
            Endpoint::Http { url, .. } if reached::is_open_http(url.expose().expose()) => {
                let title = format!(
                    "server `{name}` is reached by plain http, at a host that is not private"
                );
                let note =
                    "use https: its headers, and all arguments and results, can be read on the way";
                self.add(Code::PlainHttp, &rule.place, title, note);
            }
            Endpoint::Stdio { command, args, .. } => {
                let args: Vec<String> = args.iter().map(|arg| arg.written()).collect();
                if let Some(package) = reached::unpinned(command, &args) {
                    let title = format!(
                        "server `{name}` runs whatever version of {} is newest",
                        quote(&package)
                    );
                    let note = "write the version behind it, such as `name@1.2.3`, so that only a change of this \
                                file changes what runs";
                    self.add(Code::Unpinned, &rule.place, title, note);
                }
            }
            Endpoint::Http { .. } => {}
        }
    }
}

/// Whether something holds for every server and tool that a grant names. One that names none has nothing to hide.
fn is_whole(
    permissions: &Permissions,
    grant: &GrantRule,
    holds: impl Fn(&ServerName, Option<&Pattern>) -> bool,
) -> bool {
    let names = permissions.servers().keys();
    let mut servers = names
        .filter(|name| grant.server.matches(name.as_str()))
        .peekable();
    let is_empty = servers.peek().is_none() || grant.tools.as_ref().is_some_and(Vec::is_empty);
    !is_empty
        && servers.all(|server| match &grant.tools {
            None => holds(server, None),
            Some(tools) => tools.iter().all(|tool| holds(server, Some(tool))),
        })
}

fn shuts(deny: &DenyRule, server: &ServerName, tool: Option<&Pattern>) -> bool {
    deny.server.matches(server.as_str())
        && tool.map_or(deny.tool.is_everything(), |tool| deny.tool.covers(tool))
}

/// Whether one grant is in force as long as another.
fn outlasts(one: &GrantRule, other: &GrantRule) -> bool {
    one.expires
        .is_none_or(|end| other.expires.is_some_and(|other| other <= end))
}

/// Whether `one` decides every call of these tools that `other` covers.
fn hides(one: &GrantRule, other: &GrantRule, server: &ServerName, tool: Option<&Pattern>) -> bool {
    if !one.server.matches(server.as_str()) || one.server.weight() < other.server.weight() {
        return false;
    }
    let is_nearer = one.server.weight() > other.server.weight();
    match (&one.tools, tool) {
        (None, _) => is_nearer,
        (Some(_), None) => false,
        (Some(tools), Some(tool)) => tools
            .iter()
            .any(|mine| mine.covers(tool) && (is_nearer || mine.weight() > tool.weight())),
    }
}

fn share_a_call(permissions: &Permissions, one: &GrantRule, other: &GrantRule) -> bool {
    let both = |name: &ServerName| {
        one.server.matches(name.as_str()) && other.server.matches(name.as_str())
    };
    let tools = match (&one.tools, &other.tools) {
        (None, _) | (_, None) => true,
        (Some(mine), Some(theirs)) => mine
            .iter()
            .any(|one| theirs.iter().any(|two| one.overlaps(two))),
    };
    tools && permissions.servers().keys().any(both)
}
