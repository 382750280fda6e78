//! `whoami`: who an agent is to the gateway, and what it may use. Nothing of other agents stands in it.

use serde_json::{Map, Value, json};

use crate::policy::{Condition, GrantRule, Pattern, RateRule, Reached, Token, reach};
use crate::types::{Timestamp, Zone};

use super::super::stages::Caller;

/// What the tool says at an instant.
pub(super) fn tell(caller: &Caller, at: Timestamp) -> Value {
    let (agent, permissions) = (&caller.agent, &caller.permissions);
    let zone = permissions.zone();
    let reached = reach(permissions, agent, at);
    let of_servers = reached.iter().flat_map(|reached| {
        let of_grants = reached
            .grants
            .iter()
            .filter_map(|grant| grant.rate.as_deref());
        of_grants.chain(reached.server.rate.as_deref())
    });
    let rates = agent.rate.as_deref().into_iter().chain(of_servers);
    let mut told = Map::new();
    told.insert("agent".into(), agent.name.as_str().into());
    put(&mut told, "description", agent.description.as_deref());
    put(&mut told, "owner", agent.owner.as_deref());
    told.insert("policy".into(), permissions.revision().short().into());
    told.insert("zone".into(), zone.name().into());
    let tokens = agent.tokens.iter().map(|one| token(one, zone));
    told.insert("tokens".into(), tokens.collect());
    let servers = reached.iter().map(|reached| server(reached, zone));
    told.insert("servers".into(), servers.collect());
    told.insert("rates".into(), once_each(rates));
    told.into()
}

fn put(told: &mut Map<String, Value>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        told.insert(key.into(), text.into());
    }
}

fn put_end(told: &mut Map<String, Value>, expires: Option<Timestamp>, zone: &Zone) {
    if let Some(expires) = expires {
        told.insert("expires".into(), expires.rfc3339(zone).into());
    }
}

fn token(token: &Token, zone: &Zone) -> Value {
    let mut told = Map::new();
    put(&mut told, "label", token.label.as_deref());
    put_end(&mut told, token.expires, zone);
    told.into()
}

fn server(reached: &Reached<'_>, zone: &Zone) -> Value {
    let mut told = Map::new();
    told.insert("name".into(), reached.server.name.as_str().into());
    put(
        &mut told,
        "description",
        reached.server.description.as_deref(),
    );
    let grants = reached.grants.iter().map(|one| grant(one, zone));
    told.insert("grants".into(), grants.collect());
    if !reached.denied.is_empty() {
        told.insert("denied".into(), texts(reached.denied.iter().copied()));
    }
    told.into()
}

fn grant(grant: &GrantRule, zone: &Zone) -> Value {
    let mut told = Map::new();
    told.insert("rule".into(), (*grant.place.path).into());
    let tools = grant.tools.as_ref();
    let listed = tools.map_or_else(|| json!(["*"]), |tools| texts(tools.iter()));
    told.insert("tools".into(), listed);
    told.insert("whole_server".into(), tools.is_none().into());
    put_end(&mut told, grant.expires, zone);
    if !grant.when.is_empty() {
        let when = grant.when.iter().map(Condition::to_string);
        told.insert("when".into(), when.collect());
    }
    told.into()
}

fn texts<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Value {
    patterns.map(Pattern::as_str).collect()
}

fn once_each<'a>(rates: impl Iterator<Item = &'a RateRule>) -> Value {
    let mut seen: Vec<&RateRule> = Vec::new();
    for rate in rates {
        if !seen.iter().any(|other| other.key == rate.key) {
            seen.push(rate);
        }
    }
    let told = seen.into_iter().map(|rule| {
        let mut told = Map::new();
        told.insert("name".into(), (*rule.place.path).into());
        told.insert("rate".into(), rule.rate.to_string().into());
        told.insert("burst".into(), rule.rate.burst.get().into());
        Value::Object(told)
    });
    told.collect()
}
