//! The tools of the gateway's own server, as lists show them. Pure.

use serde_json::{Value, json};

use crate::protocol::Object;

use super::recent::MAX_CALLS;

/// Their names.
pub(super) const TOOLS: [&str; 3] = ["whoami", "budgets", "recent_calls"];

/// The tool of this name.
pub(in crate::gateway) fn named(name: &str) -> Option<&'static str> {
    TOOLS.into_iter().find(|tool| *tool == name)
}

/// All of them, with their schemas.
pub(super) fn tools() -> [Value; 3] {
    [
        tool(
            "whoami",
            "Who am I",
            "Who you are to the gateway: your servers and tools, rates, and when any of it ends. Free of charge.",
            json!({}),
            whoami(),
        ),
        tool(
            "budgets",
            "Budgets",
            "Every budget that counts your calls: limit, used, remaining, and when it begins anew. Look here before \
             calls that are scarce. Free of charge.",
            json!({}),
            budgets(),
        ),
        tool(
            "recent_calls",
            "Recent calls",
            "Your last calls through the gateway, newest first: what came of each, and what it cost. Free of charge.",
            json!({
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_CALLS,
                    "description": "How many calls; 20 when left away."},
                "before": {"type": "string",
                    "description": "The `next` of the answer before, for the calls before those."},
            }),
            recent_calls(),
        ),
    ]
}

/// The same as items of a list.
pub(in crate::gateway) fn items() -> Vec<Object> {
    let items = tools().into_iter();
    items
        .filter_map(|tool| Object::parse(&tool.to_string()).ok())
        .collect()
}

fn tool(name: &str, title: &str, description: &str, arguments: Value, output: Value) -> Value {
    json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": {
            "type": "object",
            "properties": arguments,
            "additionalProperties": false,
        },
        "outputSchema": output,
        "annotations": {
            "title": title,
            "readOnlyHint": true,
            "destructiveHint": false,
            "idempotentHint": true,
            "openWorldHint": false,
        },
    })
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

/// Of cost it may be a fraction.
fn amount() -> Value {
    json!({"type": "number", "minimum": 0})
}

fn instant() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn whoami() -> Value {
    let grant = object(
        json!({
            "rule": text(),
            "tools": list(text()),
            "whole_server": {"type": "boolean"},
            "expires": instant(),
            "when": list(text()),
        }),
        &["rule", "tools", "whole_server"],
    );
    let server = object(
        json!({
            "name": text(),
            "description": text(),
            "grants": list(grant),
            "denied": list(text()),
        }),
        &["name", "grants"],
    );
    let token = object(json!({"label": text(), "expires": instant()}), &[]);
    let rate = object(
        json!({"name": text(), "rate": text(), "burst": count()}),
        &["name", "rate", "burst"],
    );
    object(
        json!({
            "agent": text(),
            "description": text(),
            "owner": text(),
            "policy": text(),
            "zone": text(),
            "tokens": list(token),
            "servers": list(server),
            "rates": list(rate),
        }),
        &["agent", "policy", "zone", "tokens", "servers", "rates"],
    )
}

fn budgets() -> Value {
    let budget = object(
        json!({
            "name": text(),
            "limit": amount(),
            "used": amount(),
            "held": amount(),
            "remaining": amount(),
            "frozen": {"type": "boolean"},
            "window": text(),
            "unit": text(),
            "resets_at": instant(),
            "tools": list(text()),
            "each": {"type": "string", "enum": ["agent", "tool", "agent+tool"]},
            "tool": text(),
            "shared": {"type": "boolean"},
        }),
        &[
            "name",
            "limit",
            "used",
            "remaining",
            "window",
            "unit",
            "shared",
        ],
    );
    object(json!({"budgets": list(budget)}), &["budgets"])
}

fn recent_calls() -> Value {
    let cost = object(
        json!({"name": text(), "charged": amount(), "unit": text()}),
        &["name", "charged"],
    );
    let call = object(
        json!({
            "at": instant(),
            "call_id": text(),
            "method": text(),
            "server": text(),
            "tool": text(),
            "target": text(),
            "state": text(),
            "reason": text(),
            "times": count(),
            "cost": list(cost),
        }),
        &["at", "state", "cost"],
    );
    object(json!({"calls": list(call), "next": text()}), &["calls"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_defined_under_its_name_and_only_reads() {
        let names = tools().map(|tool| tool["name"].as_str().unwrap().to_owned());
        assert_eq!(names, TOOLS);
        for tool in tools() {
            assert_eq!(tool["annotations"]["readOnlyHint"], true);
            for schema in ["inputSchema", "outputSchema"] {
                assert_eq!(tool[schema]["type"], "object", "{tool}");
            }
        }
    }
}
