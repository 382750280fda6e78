//! `hayward explain`: what the rules say of one call, and which lines say it; or of all that an agent may do.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::args::PolicyFile;
use super::rules::{agent_named, load_rules};
use super::show::{Format, instant};
use super::{Exit, Failure, Screen, plain};
use crate::budget::{CountAt, counts_at};
use crate::clock::{Clock, SystemClock};
use crate::db::Readers;
use crate::policy::{
    Agent, Charge, Decision, Permissions, Question, Reached, Reason, Target, decide, reach,
};
use crate::types::{ServerName, Timestamp, Unit};

/// Exit codes, for scripts.
const CODES: &str = "\
Exit codes:
  0  the answer is above, whatever it is
  1  refused, with --exit-code
  2  there is no such agent
  3  the rules are not in order
  4  a file cannot be read";

/// Flags of `hayward explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CODES)]
pub struct ExplainArguments {
    /// Who calls
    #[arg(value_name = "AGENT")]
    pub agent: String,
    /// What is called; with --kind a prompt or a resource
    #[arg(value_name = "SERVER/TOOL", value_parser = aim, required_unless_present = "list")]
    pub aim: Option<(ServerName, String)>,
    /// Which rules.
    #[command(flatten)]
    pub rules: PolicyFile,
    /// Everything that the agent may use, instead of one call
    #[arg(long, conflicts_with_all = ["aim", "args", "db", "kind"])]
    pub list: bool,
    /// What stands behind the slash
    #[arg(long, value_enum, value_name = "KIND", default_value = "tool")]
    pub kind: Kind,
    /// The arguments of the call; without them conditions on arguments are not looked at
    #[arg(long, value_name = "JSON", value_parser = object)]
    pub args: Option<String>,
    /// When, such as 2026-11-20T12:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<Timestamp>,
    /// The database: says what is used of the budgets
    #[arg(long, value_name = "FILE")]
    pub db: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// End with 1 when it is refused
    #[arg(long)]
    pub exit_code: bool,
}

/// What an agent can ask a server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Call a tool.
    Tool,
    /// Get a prompt.
    Prompt,
    /// Read a resource.
    Resource,
}

/// One budget of a call, and how it stands where that is known.
struct Drawn<'a> {
    charge: &'a Charge,
    count: Option<&'a CountAt>,
}

impl Drawn<'_> {
    /// Whether it has room for the call; nothing is used of a budget that nobody has counted yet.
    fn has_room(&self) -> bool {
        let left = match self.count {
            Some(count) if count.is_frozen => 0,
            Some(count) => self
                .charge
                .limit
                .amount
                .saturating_sub(count.used + count.held),
            None => self.charge.limit.amount,
        };
        self.charge.amount <= left
    }
}

/// Answers the question.
pub(super) async fn explain(
    arguments: &ExplainArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let loaded = load_rules(&arguments.rules.policy, screen)?;
    let permissions = &loaded.permissions;
    let agent = agent_named(permissions, &arguments.agent)?;
    let at = arguments.at.unwrap_or_else(|| SystemClock::start().now());
    let Some((server, name)) = &arguments.aim else {
        let reached = reach(permissions, agent, at);
        match arguments.format {
            Format::Table => screen.answer(&list(permissions, agent, &reached))?,
            Format::Json => screen.answer(&list_json(agent, &reached).to_string())?,
        }
        return Ok(Exit::Yes);
    };
    let question = Question {
        agent,
        server,
        target: match arguments.kind {
            Kind::Tool => Target::Tool(name),
            Kind::Prompt => Target::Prompt(name),
            Kind::Resource => Target::Resource(name),
        },
        arguments: arguments.args.as_deref(),
        at,
        peer: None,
    };
    let decision = decide(permissions, &question);
    let counts = match &arguments.db {
        Some(db) => counts(db, at).await?,
        None => Vec::new(),
    };
    let drawn = drawn(&decision, &counts);
    let is_allowed = decision.is_allowed() && drawn.iter().all(Drawn::has_room);
    let answer = Answer {
        file: &arguments.rules.policy,
        subject: format!("{server}/{name}"),
        agent,
        decision: &decision,
        drawn: &drawn,
        with_counts: arguments.db.is_some(),
        permissions,
    };
    screen.answer(&match arguments.format {
        Format::Table => answer.text(),
        Format::Json => answer.json().to_string(),
    })?;
    Ok(if is_allowed || !arguments.exit_code {
        Exit::Yes
    } else {
        Exit::No
    })
}

async fn counts(db: &Path, at: Timestamp) -> Result<Vec<CountAt>, Failure> {
    let readers = Readers::open(db).await?;
    let counts = async {
        let mut db = readers.pool().acquire().await?;
        counts_at(&mut db, at).await
    };
    let counts = counts.await;
    readers.close().await;
    Ok(counts?)
}

fn drawn<'a>(decision: &'a Decision, counts: &'a [CountAt]) -> Vec<Drawn<'a>> {
    let charges = match decision {
        Decision::Allowed(grant) => grant.charges(),
        Decision::Denied(_) => &[],
    };
    let drawn = charges.iter().map(|charge| Drawn {
        charge,
        count: counts.iter().find(|count| count.key == charge.key),
    });
    drawn.collect()
}

/// The answer about one call.
struct Answer<'a> {
    file: &'a Path,
    subject: String,
    agent: &'a Agent,
    decision: &'a Decision,
    drawn: &'a [Drawn<'a>],
    with_counts: bool,
    permissions: &'a Permissions,
}

impl Answer<'_> {
    fn reasons(&self) -> &[Reason] {
        match self.decision {
            Decision::Allowed(grant) => grant.reasons(),
            Decision::Denied(denial) => &denial.reasons,
        }
    }

    /// The first word: what the gateway would say.
    fn verdict(&self) -> (&'static str, Option<&'static str>) {
        match self.decision {
            Decision::Denied(denial) => ("denied", Some(denial.reason.as_str())),
            Decision::Allowed(_) if self.drawn.iter().all(Drawn::has_room) => ("allowed", None),
            Decision::Allowed(_) => ("denied", Some("budget")),
        }
    }

    fn text(&self) -> String {
        let (agent, subject) = (&self.agent.name, plain(&self.subject));
        let mut text = match self.verdict() {
            (verdict, None) => format!("{verdict}: {agent} may use {subject}\n"),
            (verdict, Some(reason)) => format!("{verdict}: {reason}\n"),
        };
        let file = self.file.display();
        for reason in self.reasons() {
            let (line, path) = (reason.place.line, &reason.place.path);
            let _ = write!(text, "\n  {file}:{line}  {path} {}", reason.effect);
        }
        if let Decision::Denied(denial) = self.decision {
            if let Some(detail) = &denial.detail {
                let _ = write!(text, "\n  {}", plain(detail));
            }
            if denial.reasons.is_empty() {
                let _ = write!(
                    text,
                    "\n  no line of {file} allows {agent} to use {subject}"
                );
            }
        }
        for drawn in self.drawn {
            let _ = write!(text, "\n  {}", self.budget(drawn));
        }
        text
    }

    fn budget(&self, drawn: &Drawn<'_>) -> String {
        let Drawn { charge, count } = drawn;
        let (limit, unit) = (&charge.limit, &charge.limit.unit);
        let takes = match unit {
            Unit::Calls => format!("takes {}", charge.amount),
            Unit::Argument(_) | Unit::Cost(_) => {
                format!(
                    "takes {} {}",
                    unit.number(charge.amount),
                    plain(unit.word())
                )
            }
        };
        let stands = match count {
            None if !self.with_counts => String::new(),
            None => ", nothing used".into(),
            Some(count) if count.is_frozen => ", frozen".into(),
            Some(count) => {
                let (used, held) = (unit.number(count.used), unit.number(count.held));
                let until = if count.span.never_ends() {
                    String::new()
                } else {
                    format!(
                        " until {}",
                        count.span.ends.rfc3339(self.permissions.zone())
                    )
                };
                match count.held {
                    0 => format!(", {used} used{until}"),
                    _ => format!(", {used} used and {held} held{until}"),
                }
            }
        };
        let room = if drawn.has_room() { "" } else { ": no room" };
        format!(
            "budget {limit} ({}): {takes}{stands}{room}",
            charge.place.path
        )
    }

    fn json(&self) -> Value {
        let (verdict, reason) = self.verdict();
        let detail = match self.decision {
            Decision::Allowed(_) => None,
            Decision::Denied(denial) => denial.detail.as_deref(),
        };
        let rules = self.reasons().iter().map(|reason| {
            json!({"path": &*reason.place.path, "line": reason.place.line, "effect": reason.effect})
        });
        let budgets = self.drawn.iter().map(|drawn| {
            let unit = &drawn.charge.limit.unit;
            json!({
                "budget": drawn.charge.key.as_str(),
                "rule": &*drawn.charge.place.path,
                "line": drawn.charge.place.line,
                "unit": unit.word(),
                "limit": unit.json(drawn.charge.limit.amount),
                "takes": unit.json(drawn.charge.amount),
                "used": drawn.count.map(|count| unit.json(count.used)),
                "held": drawn.count.map(|count| unit.json(count.held)),
                "has_room": drawn.has_room(),
            })
        });
        json!({
            "agent": self.agent.name.as_str(),
            "subject": self.subject,
            "decision": verdict,
            "reason": reason,
            "detail": detail,
            "rules": rules.collect::<Vec<_>>(),
            "budgets": budgets.collect::<Vec<_>>(),
        })
    }
}

/// Everything that an agent may use.
fn list(permissions: &Permissions, agent: &Agent, reached: &[Reached<'_>]) -> String {
    if let Some(off) = &agent.disabled {
        let note = off.note.as_deref().map(plain).unwrap_or_default();
        return format!("{} is switched off ({}) {note}", agent.name, off.place);
    }
    if reached.is_empty() {
        return format!("{} may use nothing", agent.name);
    }
    let mut text = format!("{} may use", agent.name);
    for reached in reached {
        let _ = write!(text, "\n\n  {}", reached.server.name);
        for grant in &reached.grants {
            let tools = match &grant.tools {
                None => "everything".into(),
                Some(tools) => {
                    let names = tools.iter().map(|tool| plain(tool.as_str()));
                    names.collect::<Vec<_>>().join(", ")
                }
            };
            let _ = write!(text, "\n    {tools}");
            if let Some(expires) = grant.expires {
                let _ = write!(text, ", until {}", expires.rfc3339(permissions.zone()));
            }
            for budget in &grant.budgets {
                let _ = write!(text, ", {}", budget.limit);
            }
            let _ = write!(text, "  ({})", grant.place);
        }
        for denied in &reached.denied {
            let _ = write!(text, "\n    but not {}", plain(denied.as_str()));
        }
    }
    text
}

fn list_json(agent: &Agent, reached: &[Reached<'_>]) -> Value {
    let servers = reached.iter().map(|reached| {
        let grants = reached.grants.iter().map(|grant| {
            let tools = grant.tools.as_ref().map(|tools| {
                let names = tools.iter().map(|tool| tool.as_str());
                names.collect::<Vec<_>>()
            });
            json!({
                "rule": &*grant.place.path,
                "line": grant.place.line,
                "tools": tools,
                "expires": grant.expires.map(Timestamp::rfc3339_utc),
                "budgets": grant.budgets.iter().map(|budget| budget.limit.to_string()).collect::<Vec<_>>(),
            })
        });
        let denied = reached.denied.iter().map(|pattern| pattern.as_str());
        json!({
            "server": reached.server.name.as_str(),
            "grants": grants.collect::<Vec<_>>(),
            "denied": denied.collect::<Vec<_>>(),
        })
    });
    json!({
        "agent": agent.name.as_str(),
        "disabled": agent.disabled.is_some(),
        "servers": servers.collect::<Vec<_>>(),
    })
}

fn aim(text: &str) -> Result<(ServerName, String), String> {
    let (server, name) = text
        .split_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or("write a server, a slash and a tool, such as images/imagine")?;
    let server = server
        .parse()
        .map_err(|_| format!("`{server}` is not the name of a server"))?;
    Ok((server, name.to_owned()))
}

fn object(text: &str) -> Result<String, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(_)) => Ok(text.to_owned()),
        Ok(_) => Err("write a JSON object, such as '{\"count\": 3}'".into()),
        Err(error) => Err(format!("this is not JSON: {error}")),
    }
}
