//! The format as a JSON Schema (2020-12), for editors and other programs. What it accepts is more than what the parser
//! does: it knows keys and kinds of values, and nothing of names, amounts and contradictions.

use serde_json::{Map, Value, json};

/// The schema of a policy file.
pub fn schema() -> Value {
    let mut root = mapping(file());
    let defs = [
        ("defaults", mapping(defaults())),
        ("server", server_schema()),
        ("cost", mapping(cost())),
        ("role", mapping(role())),
        ("agent", mapping(agent())),
        ("token", mapping(token())),
        ("grant", mapping(grant())),
        ("condition", mapping(condition())),
        ("pool", mapping(pool())),
        ("budget", mapping(budget())),
        ("weight", mapping(weight())),
        ("rate", mapping(rate())),
        ("viewer", mapping(viewer())),
        ("test", mapping(test())),
    ];
    let defs: Map<String, Value> = defs
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    if let Some(root) = root.as_object_mut() {
        root.insert(
            "$schema".into(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        root.insert("title".into(), "permissions.yaml of Hayward".into());
        root.insert("$defs".into(), defs.into());
        // An empty file is one that grants nothing.
        root.insert("type".into(), json!(["object", "null"]));
    }
    root
}

/// A key, what it says to people, and what its value may be.
type Property = (&'static str, &'static str, Value);

fn mapping(properties: Vec<Property>) -> Value {
    let described = properties
        .into_iter()
        .map(|(key, description, mut schema)| {
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".into(), description.into());
            }
            (key.to_owned(), schema)
        });
    let properties: Map<String, Value> = described.collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// Any scalar: the parser takes them all as text.
fn text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn word(words: &[&str]) -> Value {
    json!({"enum": words})
}

fn flag() -> Value {
    json!({"enum": [true, false, "true", "false"]})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn either(one: &Value, other: &Value) -> Value {
    json!({"anyOf": [one, other]})
}

/// A list; nothing behind the colon is an empty one.
fn list(item: &Value) -> Value {
    json!({"type": ["array", "null"], "items": item})
}

fn named(value: &Value) -> Value {
    let name = json!({"pattern": "^[A-Za-z0-9._-]{1,64}$"});
    json!({"type": ["object", "null"], "propertyNames": name, "additionalProperties": value})
}

fn texts_by_name() -> Value {
    json!({"type": ["object", "null"], "additionalProperties": text()})
}

fn one_text_by_name() -> Value {
    json!({"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": text()})
}

fn tools() -> Value {
    list(&text())
}

fn budgets() -> Value {
    let one = either(&text(), &reference("budget"));
    json!({"anyOf": [text(), reference("budget"), list(&one)]})
}

fn rates() -> Value {
    either(&text(), &reference("rate"))
}

fn captures() -> Value {
    word(&["none", "metadata", "arguments", "full"])
}

fn hashes() -> Value {
    let one = either(&text(), &reference("token"));
    json!({"anyOf": [text(), reference("token"), {"type": "array", "items": one, "minItems": 1}]})
}

fn disabled() -> Value {
    text()
}

fn file() -> Vec<Property> {
    vec![
        (
            "version",
            "The version of the format.",
            json!({"enum": [1, "1"]}),
        ),
        (
            "defaults",
            "What holds where nothing else is said.",
            either(&reference("defaults"), &json!({"type": "null"})),
        ),
        (
            "servers",
            "The MCP servers behind the gateway, by name.",
            named(&reference("server")),
        ),
        (
            "roles",
            "Sets of grants that several agents share, by name.",
            named(&reference("role")),
        ),
        (
            "budgets",
            "Pools, by name: everyone who names one draws on the same count.",
            named(&either(&text(), &reference("pool"))),
        ),
        (
            "deny",
            "What nobody may use, as `server/tool`; nothing overrides it.",
            list(&text()),
        ),
        (
            "agents",
            "Who may use what, by name.",
            named(&reference("agent")),
        ),
        (
            "viewers",
            "Who may read the dashboard, by name.",
            named(&reference("viewer")),
        ),
        (
            "tests",
            "What the file says of itself, tried before it is used.",
            list(&reference("test")),
        ),
    ]
}

fn defaults() -> Vec<Property> {
    vec![
        (
            "timezone",
            "The IANA zone in which hours, days, weeks, months and years begin.",
            text(),
        ),
        (
            "timeout",
            "The longest a call may take, such as `60s`, `5m` or `1h`.",
            text(),
        ),
        (
            "rate",
            "How fast each agent may call, such as `120/minute`.",
            rates(),
        ),
        (
            "capture",
            "How much of arguments and results is kept.",
            captures(),
        ),
        (
            "redact",
            "Names of keys whose values are never kept.",
            list(&text()),
        ),
    ]
}

fn server_schema() -> Value {
    let mut schema = mapping(server());
    if let Some(schema) = schema.as_object_mut() {
        let ways = json!([{"required": ["url"]}, {"required": ["command"]}]);
        schema.insert("oneOf".into(), ways);
    }
    schema
}

fn server() -> Vec<Property> {
    vec![
        (
            "url",
            "Where it is; placeholders such as `${NAME}` are filled in.",
            text(),
        ),
        (
            "command",
            "The program to start, instead of a url; never a shell.",
            text(),
        ),
        ("description", "What it is for.", prose()),
        (
            "headers",
            "Headers to send to it; placeholders are filled in.",
            texts_by_name(),
        ),
        (
            "protocol",
            "Which revision of MCP to speak to it.",
            word(&["auto", "modern", "legacy", "sse"]),
        ),
        (
            "transport",
            "As earlier gateways wrote `protocol: sse`.",
            word(&["sse"]),
        ),
        (
            "timeout",
            "The longest a call may take, such as `90s`.",
            text(),
        ),
        (
            "args",
            "Arguments of the program; placeholders are filled in.",
            list(&text()),
        ),
        (
            "env",
            "Variables of the program; placeholders are filled in.",
            texts_by_name(),
        ),
        ("cwd", "The folder the program starts in.", text()),
        (
            "instances",
            "Who shares a process.",
            word(&["per_agent", "shared"]),
        ),
        (
            "budgets",
            "How much everybody together may use it.",
            budgets(),
        ),
        ("rate", "How fast everybody together may call it.", rates()),
        (
            "max_concurrent",
            "How many calls to it may be in flight at once.",
            text(),
        ),
        (
            "dedupe",
            "For how long an agent does not make the same call again; for all tools, or by tool.",
            either(&text(), &texts_by_name()),
        ),
        (
            "costs",
            "What a call costs, by tool.",
            json!({"type": ["object", "null"], "additionalProperties": either(&text(), &reference("cost"))}),
        ),
        (
            "cost_unit",
            "What costs are counted in, such as `USD`.",
            text(),
        ),
        ("disabled", "`true`, or why it is switched off.", disabled()),
        (
            "capture",
            "How much of arguments and results is kept, at most.",
            captures(),
        ),
        (
            "redact",
            "Names of further keys whose values are never kept.",
            list(&text()),
        ),
    ]
}

fn prose() -> Value {
    json!({"type": ["string", "number", "boolean", "null"]})
}

fn cost() -> Vec<Property> {
    vec![
        (
            "cost_from",
            "Where in its result the server says what a call cost, such as `result./structuredContent/cost`.",
            text(),
        ),
        (
            "max_cost",
            "The most it can be; so much is held while the call runs.",
            text(),
        ),
    ]
}

fn role() -> Vec<Property> {
    vec![
        ("description", "What it is for.", prose()),
        ("servers", "What whoever has it may use.", grants()),
        (
            "deny",
            "What whoever has it may not use, as `server/tool`.",
            list(&text()),
        ),
    ]
}

fn grants() -> Value {
    list(&either(&text(), &reference("grant")))
}

fn agent() -> Vec<Property> {
    vec![
        (
            "token_hash",
            "SHA-256 of its token, or several of them; never a token.",
            hashes(),
        ),
        (
            "servers",
            "What it may use: names of servers for all of each, or mappings for less.",
            grants(),
        ),
        (
            "roles",
            "Sets of grants that it has as well.",
            list(&text()),
        ),
        ("description", "What it is for.", prose()),
        ("owner", "Whom to ask for more; refusals say so.", prose()),
        (
            "from",
            "The networks its requests may come from, such as `10.20.0.0/16`.",
            list(&text()),
        ),
        (
            "deny",
            "What it may not use, as `server/tool`.",
            list(&text()),
        ),
        (
            "budgets",
            "How much it may use, whatever it calls.",
            budgets(),
        ),
        ("rate", "How fast it may call.", rates()),
        (
            "max_concurrent",
            "How many of its calls may be in flight at once.",
            text(),
        ),
        ("disabled", "`true`, or why it is switched off.", disabled()),
        (
            "refusals",
            "How refused calls are answered: as results that models read, or as errors.",
            word(&["tool_error", "rpc_error"]),
        ),
        (
            "ungranted",
            "Whether it learns that a tool was not granted, or that there is none.",
            word(&["explain", "hide"]),
        ),
        (
            "capture",
            "How much of its arguments and results is kept, at most.",
            captures(),
        ),
    ]
}

fn token() -> Vec<Property> {
    vec![
        ("hash", "SHA-256 of the token, as `sha256:…`.", text()),
        ("label", "What people call it.", prose()),
        (
            "expires",
            "Until when: a date for the end of that day, or an instant.",
            text(),
        ),
    ]
}

fn grant() -> Vec<Property> {
    vec![
        ("server", "The server, or a pattern with `*`.", text()),
        (
            "tools",
            "The tools of it, as names or patterns; prompts and resources are not granted then.",
            tools(),
        ),
        (
            "when",
            "What the arguments of a call must be like, by name or JSON Pointer.",
            json!({"type": "object", "minProperties": 1, "additionalProperties": reference("condition")}),
        ),
        ("budgets", "How much of it may be used.", budgets()),
        ("rate", "How fast it may be used.", rates()),
        (
            "expires",
            "Until when: a date for the end of that day, or an instant.",
            text(),
        ),
    ]
}

fn condition() -> Vec<Property> {
    let values = || json!({"type": "array", "items": text(), "minItems": 1});
    vec![
        ("equals", "It is this.", text()),
        ("in", "It is one of these.", values()),
        ("not_in", "It is none of these.", values()),
        (
            "matches",
            "It is a text, some part of which matches this regular expression.",
            text(),
        ),
        (
            "not_matches",
            "It is a text, no part of which matches this regular expression.",
            text(),
        ),
        (
            "starts_with",
            "It is a text that begins so; paths and URLs are brought into one form first, and none with `..` passes.",
            text(),
        ),
        ("min", "It is a number, at least this.", text()),
        ("max", "It is a number, at most this.", text()),
        (
            "max_length",
            "It is a text of at most so many characters.",
            text(),
        ),
        (
            "max_items",
            "It is a list of at most so many items.",
            text(),
        ),
        (
            "absent",
            "It is not there.",
            json!({"enum": [true, "true"]}),
        ),
        ("optional", "It may also be missing.", flag()),
    ]
}

fn pool() -> Vec<Property> {
    vec![
        (
            "limit",
            "How much per window, such as `2/day`, `40 USD/month`, `10/24h` or `100 total`.",
            text(),
        ),
        (
            "tools",
            "The tools it counts; all where nothing is said.",
            tools(),
        ),
        (
            "each",
            "Who or what has a count of its own.",
            word(&["agent", "tool", "agent+tool"]),
        ),
        (
            "weight",
            "Counts the number in an argument instead of calls.",
            reference("weight"),
        ),
        ("max_cost", "The most that one call may take.", text()),
        (
            "refund",
            "Which ends of a call give back what it held.",
            list(&word(&["unreachable", "rejected", "tool_error"])),
        ),
    ]
}

fn budget() -> Vec<Property> {
    let mut properties = pool();
    properties.push((
        "pool",
        "The pool it draws on, instead of a limit of its own.",
        text(),
    ));
    properties
}

fn weight() -> Vec<Property> {
    vec![("argument", "The name of the argument.", text())]
}

fn rate() -> Vec<Property> {
    vec![
        ("limit", "How many.", text()),
        (
            "per",
            "In which time: `second`, `minute`, `hour` or `day`.",
            text(),
        ),
        ("burst", "How many may come at once.", text()),
    ]
}

fn viewer() -> Vec<Property> {
    vec![
        (
            "token_hash",
            "SHA-256 of their token, or several of them.",
            hashes(),
        ),
        (
            "header",
            "One header, and what a trusted reverse proxy says in it of those who come in.",
            one_text_by_name(),
        ),
        (
            "see",
            "What they see beside metadata.",
            list(&word(&["metadata", "arguments", "results"])),
        ),
        (
            "agents",
            "Whose calls they see; everybody's when this is not written.",
            list(&text()),
        ),
    ]
}

fn test() -> Vec<Property> {
    let verdict = word(&["allow", "deny"]);
    let verdicts = either(
        &verdict,
        &json!({"type": "array", "items": verdict, "minItems": 1}),
    );
    vec![
        ("name", "What people call it.", prose()),
        ("agent", "Who calls.", text()),
        (
            "allow",
            "What must be granted, as `server/tool`.",
            list(&text()),
        ),
        (
            "deny",
            "What must not be granted, as `server/tool`.",
            list(&text()),
        ),
        ("call", "What is called, as `server/tool`.", text()),
        (
            "args",
            "The arguments of the call.",
            json!({"type": ["object", "string"]}),
        ),
        ("at", "When, such as `2027-01-31T12:00:00+01:00`.", text()),
        ("repeat", "How many times.", text()),
        (
            "expect",
            "What becomes of it; one word, or one for each time.",
            verdicts,
        ),
        ("reason", "Why it is refused.", text()),
    ]
}
