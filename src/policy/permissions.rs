//! `permissions.yaml` as checked types. Only `config` builds them from a file.

// An address is a number like another; `core` has it without any socket.
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::types::{
    AgentName, BudgetKey, Limit, Network, PoolName, Rate, Revision, ServerName, Timestamp,
    TokenHash, Unit, ViewerName, Zone,
};

use super::{Capture, Condition, Keeping, Pattern, ProxyHeader, ToolLock};

/// Where a rule stands: its path, which no reordering of other entries disturbs, and its line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The rule path, such as `agents.clawd.servers[0]`.
    pub path: Arc<str>,
    /// The line in the file, counted from 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {})", self.path, self.line)
    }
}

/// How one budget is split into separate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Each {
    /// One count for all.
    Shared,
    /// One count for each agent.
    Agent,
    /// One count for each tool.
    Tool,
    /// One count for each agent and tool.
    AgentAndTool,
}

/// One budget as written in one place.
#[derive(Debug, Clone)]
pub struct BudgetRule {
    /// Where it stands.
    pub place: Place,
    /// What its identity starts with: `servers.images`, `agents.clawd`, `agents.clawd/images`, `budgets.image-team`.
    pub scope: Arc<str>,
    /// How much per window.
    pub limit: Limit,
    /// The tools it counts; empty for all.
    pub tools: Vec<Pattern>,
    /// How it is split.
    pub each: Each,
    /// The most that one call may take; a call that asks for more is refused.
    pub max_cost: Option<u64>,
    /// What gives back what was held, beside a call that never left.
    pub refund: Refund,
}

/// Ends of a call that give back what it held, where a server is trusted to fail before it does the work. A call of
/// which not one byte was sent always gets it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Refund {
    /// It was turned away: HTTP 4xx, or JSON-RPC -32600 to -32602.
    pub rejected: bool,
    /// It was answered with `isError: true`.
    pub tool_error: bool,
}

/// What the tools of a server cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Costs {
    /// Where they stand.
    pub place: Place,
    /// In what.
    pub unit: Unit,
    /// By tool; the most exact pattern counts.
    pub tools: Vec<(Pattern, Cost)>,
}

/// What one call of a tool costs, in millionths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cost {
    /// Always this.
    Fixed(u64),
    /// What the server reports in its result.
    Reported {
        /// Where in the result (JSON Pointer, RFC 6901).
        pointer: Arc<str>,
        /// The most it can be; so much is held.
        most: u64,
    },
}

impl Costs {
    /// What a tool costs; `None` when nobody says.
    pub fn of(&self, tool: &str) -> Option<&Cost> {
        let fitting = self.tools.iter().filter(|(name, _)| name.matches(tool));
        fitting
            .max_by_key(|(name, _)| (name.weight(), name.as_str()))
            .map(|(_, cost)| cost)
    }
}

/// A named budget that several rules may share.
pub type Pool = Arc<BudgetRule>;

/// One rate as written in one place; each instance is a limiter of its own.
#[derive(Debug, Clone)]
pub struct RateRule {
    /// Where it stands.
    pub place: Place,
    /// Which limiter: the place and, for a default, the agent it was instantiated for.
    pub key: BudgetKey,
    /// How fast.
    pub rate: Rate,
}

/// How many calls may be in flight at once, as written in one place.
#[derive(Debug, Clone)]
pub struct ConcurrencyRule {
    /// Where it stands.
    pub place: Place,
    /// Whose calls are counted together.
    pub key: BudgetKey,
    /// How many.
    pub most: NonZeroU32,
}

/// How exactly a grant names what it grants; the greater one decides.
///
/// Ordered by server first, then tools, then whether the agent's own entry or a role gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// An exact server name counts more than any glob; among globs, the longer text.
    pub server: u32,
    /// An exact tool name counts more than any glob; among globs, the longer text; no tools is least.
    pub tool: u32,
    /// The agent's own entry counts more than a role.
    pub own: bool,
}

/// One entry under `servers:` of an agent or a role.
#[derive(Debug, Clone)]
pub struct GrantRule {
    /// Where it stands.
    pub place: Place,
    /// The servers it is about.
    pub server: Pattern,
    /// The tools it grants; `None` grants the whole server: tools, resources and prompts.
    pub tools: Option<Vec<Pattern>>,
    /// What the arguments of a call must be like; empty for any. All must hold.
    pub when: Arc<[Condition]>,
    /// Until when; `None` for ever.
    pub expires: Option<Timestamp>,
    /// All of these must have room.
    pub budgets: Vec<Arc<BudgetRule>>,
    /// Smoothing of this grant.
    pub rate: Option<Arc<RateRule>>,
    /// Whether a role gave it.
    pub from_role: bool,
}

/// One entry of `deny:`; nothing overrides it.
#[derive(Debug, Clone)]
pub struct DenyRule {
    /// Where it stands.
    pub place: Place,
    /// The servers.
    pub server: Pattern,
    /// The tools on them; `*` also covers resources and prompts.
    pub tool: Pattern,
}

/// One token of an agent or viewer.
#[derive(Debug, Clone)]
pub struct Token {
    /// SHA-256 of the token.
    pub hash: TokenHash,
    /// What people call it.
    pub label: Option<String>,
    /// Until when; `None` for ever.
    pub expires: Option<Timestamp>,
    /// Where it stands.
    pub place: Place,
}

/// An agent or a server that is switched off.
#[derive(Debug, Clone)]
pub struct Disabled {
    /// Where it stands.
    pub place: Place,
    /// The reason written beside it, if any.
    pub note: Option<String>,
}

/// How a refused `tools/call` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefusalStyle {
    /// A tool result with `isError: true`, which models read.
    #[default]
    ToolError,
    /// A JSON-RPC error, for programs.
    RpcError,
}

/// What an agent learns about a tool it was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UngrantedStyle {
    /// That it exists in the rules but was not granted, and whom to ask.
    #[default]
    Explain,
    /// Exactly what it would learn about a tool that does not exist.
    Hide,
}

/// One agent with everything that concerns it; roles are already folded in.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its name.
    pub name: AgentName,
    /// Where it stands.
    pub place: Place,
    /// What it is for.
    pub description: Option<String>,
    /// Whom to ask about it.
    pub owner: Option<String>,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Set when switched off.
    pub disabled: Option<Disabled>,
    /// Its grants and those of its roles.
    pub grants: Vec<GrantRule>,
    /// Its own denials and those of its roles.
    pub deny: Vec<DenyRule>,
    /// Budgets on whatever it calls.
    pub budgets: Vec<Arc<BudgetRule>>,
    /// Smoothing of whatever it calls.
    pub rate: Option<Arc<RateRule>>,
    /// How many of its calls may be in flight at once.
    pub max_concurrent: Option<Arc<ConcurrencyRule>>,
    /// The networks its requests may come from; `None` for any.
    pub from: Option<Vec<Network>>,
    /// How its refusals look.
    pub refusals: RefusalStyle,
    /// What it learns about ungranted tools.
    pub ungranted: UngrantedStyle,
    /// How much is kept of its calls, at most.
    pub capture: Capture,
}

impl Agent {
    /// Whether its requests may come from this address.
    pub fn may_come_from(&self, address: IpAddr) -> bool {
        let networks = self.from.as_ref();
        networks.is_none_or(|networks| networks.iter().any(|network| network.contains(address)))
    }
}

/// What the rules say about one server, whoever calls it.
#[derive(Debug, Clone)]
pub struct ServerRule {
    /// Its name.
    pub name: ServerName,
    /// Where it stands.
    pub place: Place,
    /// What it is for.
    pub description: Option<String>,
    /// Set when switched off.
    pub disabled: Option<Disabled>,
    /// Budgets on whoever calls it.
    pub budgets: Vec<Arc<BudgetRule>>,
    /// Smoothing of whoever calls it.
    pub rate: Option<Arc<RateRule>>,
    /// How many calls to it may be in flight at once.
    pub max_concurrent: Option<Arc<ConcurrencyRule>>,
    /// Which of its tools an agent does not call twice with the same arguments.
    pub dedupe: Vec<DedupeRule>,
    /// What is kept of calls to it, at most.
    pub keeping: Keeping,
    /// What its tools cost.
    pub costs: Option<Costs>,
}

/// Tools that an agent does not call with the same arguments again for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupeRule {
    /// Which.
    pub tools: Pattern,
    /// For how long.
    pub span: Duration,
}

impl ServerRule {
    /// For how long a call of this tool is not made again: as the rule says that names it most exactly, and of equals
    /// the longest.
    pub fn dedupe_of(&self, tool: &str) -> Option<Duration> {
        let rules = self.dedupe.iter().filter(|rule| rule.tools.matches(tool));
        let rule = rules.max_by_key(|rule| (rule.tools.weight(), rule.span));
        rule.map(|rule| rule.span)
    }
}

/// What a viewer may see beyond metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViewerScope {
    /// Who called what, when, with which outcome. Always included.
    Metadata,
    /// Recorded arguments.
    Arguments,
    /// Recorded results.
    Results,
}

/// Someone who may read the dashboard.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Their name.
    pub name: ViewerName,
    /// Where they stand.
    pub place: Place,
    /// Their tokens; where there are none, there is a header.
    pub tokens: Vec<Token>,
    /// What a trusted reverse proxy says of them.
    pub header: Option<ProxyHeader>,
    /// What they may see.
    pub see: Vec<ViewerScope>,
    /// Whose calls they may see; `None` for everybody's.
    pub agents: Option<BTreeSet<AgentName>>,
}

/// The contents of a policy file, before they are indexed.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Which version of the file.
    pub revision: Revision,
    /// What `day`, `week` and `month` mean.
    pub zone: Zone,
    /// Servers by name.
    pub servers: BTreeMap<ServerName, ServerRule>,
    /// Agents by name.
    pub agents: BTreeMap<AgentName, Arc<Agent>>,
    /// Shared budgets by name.
    pub pools: BTreeMap<PoolName, Pool>,
    /// Denials for everybody.
    pub deny: Vec<DenyRule>,
    /// Viewers by name.
    pub viewers: BTreeMap<ViewerName, Viewer>,
}

/// The rules in force: one immutable snapshot.
#[derive(Debug)]
pub struct Permissions {
    parts: Parts,
    agents_by_token: HashMap<TokenHash, (Arc<Agent>, Option<Timestamp>)>,
    viewers_by_token: HashMap<TokenHash, (ViewerName, Option<Timestamp>)>,
    /// What stands beside the file; `None` where nothing does.
    lock: Option<ToolLock>,
}

impl Permissions {
    /// Indexes the contents of a file by token.
    pub fn new(parts: Parts) -> Self {
        let agents_by_token = parts
            .agents
            .values()
            .flat_map(|agent| agent.tokens.iter().map(move |token| (agent, token)))
            .map(|(agent, token)| (token.hash, (Arc::clone(agent), token.expires)))
            .collect();
        let viewers_by_token = parts
            .viewers
            .values()
            .flat_map(|viewer| viewer.tokens.iter().map(move |token| (viewer, token)))
            .map(|(viewer, token)| (token.hash, (viewer.name.clone(), token.expires)))
            .collect();
        Self {
            parts,
            agents_by_token,
            viewers_by_token,
            lock: None,
        }
    }

    /// The same rules with the definitions of tools that were reviewed.
    pub fn with_lock(self, lock: Option<ToolLock>) -> Self {
        Self { lock, ..self }
    }

    /// The definitions of tools that were reviewed, where a `tools.lock` stands beside the file.
    pub fn tool_lock(&self) -> Option<&ToolLock> {
        self.lock.as_ref()
    }

    /// The agent whose live token has this hash. A disabled agent is still known; it is refused later, by name.
    pub fn agent_by_token(&self, hash: &TokenHash, at: Timestamp) -> Option<&Arc<Agent>> {
        let (agent, expires) = self.agents_by_token.get(hash)?;
        is_live(*expires, at).then_some(agent)
    }

    /// The viewer whose live token has this hash.
    pub fn viewer_by_token(&self, hash: &TokenHash, at: Timestamp) -> Option<&Viewer> {
        let (name, expires) = self.viewers_by_token.get(hash)?;
        if !is_live(*expires, at) {
            return None;
        }
        self.parts.viewers.get(name)
    }

    /// Which version of the file this is.
    pub fn revision(&self) -> Revision {
        self.parts.revision
    }

    /// The zone in which days begin.
    pub fn zone(&self) -> &Zone {
        &self.parts.zone
    }

    /// All servers by name.
    pub fn servers(&self) -> &BTreeMap<ServerName, ServerRule> {
        &self.parts.servers
    }

    /// All agents by name.
    pub fn agents(&self) -> &BTreeMap<AgentName, Arc<Agent>> {
        &self.parts.agents
    }

    /// All shared budgets by name.
    pub fn pools(&self) -> &BTreeMap<PoolName, Pool> {
        &self.parts.pools
    }

    /// The denials that hold for everybody.
    pub fn deny(&self) -> &[DenyRule] {
        &self.parts.deny
    }

    /// All viewers by name.
    pub fn viewers(&self) -> &BTreeMap<ViewerName, Viewer> {
        &self.parts.viewers
    }
}

pub(super) fn is_live(expires: Option<Timestamp>, at: Timestamp) -> bool {
    expires.is_none_or(|end| at < end)
}
