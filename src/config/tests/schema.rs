//! The schema and the parser know the same keys, and what is right for the one is right for the other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::{keys, *};

/// A file with every key of the format, each at least once.
pub(super) const FULL: &str = include_str!("full.yaml");

/// Every mapping of the format by its name in the schema, with the keys that the parser takes.
pub(super) fn mappings() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut server = keys::SERVER.to_vec();
    // Taken where it says `sse`.
    server.push("transport");
    let others = [
        ("file", keys::FILE),
        ("defaults", keys::DEFAULTS),
        ("cost", keys::COST),
        ("role", keys::ROLE),
        ("agent", keys::AGENT),
        ("token", keys::TOKEN),
        ("grant", keys::GRANT),
        ("condition", keys::CONDITION),
        ("pool", keys::POOL),
        ("budget", keys::BUDGET),
        ("weight", keys::WEIGHT),
        ("rate", keys::RATE),
        ("viewer", keys::VIEWER),
        ("test", keys::TEST),
    ];
    let others = others.map(|(name, keys)| (name, keys.to_vec()));
    others.into_iter().chain([("server", server)]).collect()
}

fn read(text: &str) -> Result<Loaded, Problems> {
    parse("permissions.yaml", text, &|_| Some("x".into()))
}

fn fits(file: &Value) -> bool {
    jsonschema::draft202012::new(&schema())
        .unwrap()
        .is_valid(file)
}

fn as_json(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn every_key_of_the_parser_is_in_the_schema_and_the_other_way_round() {
    let schema = schema();
    for (name, keys) in mappings() {
        let mapping = if name == "file" {
            &schema
        } else {
            &schema["$defs"][name]
        };
        let described: BTreeSet<&str> = mapping["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(described, keys.into_iter().collect(), "{name}");
    }
    let defs = schema["$defs"].as_object().unwrap().len();
    assert_eq!(defs, mappings().len() - 1);
}

#[test]
fn the_schema_that_ships_is_the_one_of_this_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/permissions.schema.json");
    let shipped = std::fs::read_to_string(path).unwrap();
    let now = format!("{:#}\n", schema());
    assert_eq!(
        shipped, now,
        "run `hayward schema --out permissions.schema.json`"
    );
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn files_that_are_right_fit_the_schema() {
    let minimal = "agents:\n  clawd: {token_hash: \"sha256:ab\", servers: [\"*\"]}\nservers:\n  outline: {url: \"http://mcp-outline:3000/mcp\", description: \"Outline wiki search\"}\n";
    let empty = "agents:\nservers:\nroles:\ndeny:\nbudgets:\nviewers:\ndefaults:\ntests:\n";
    for text in [EXAMPLE, FULL, minimal, empty] {
        let file = as_json(text);
        let schema = schema();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&file)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{text}");
    }
    let problems = read(FULL)
        .map(|_| ())
        .map_err(|problems| problems.to_string());
    assert_eq!(problems, Ok(()));
}

/// The pointers to all mappings of a file.
fn mappings_in(value: &Value, at: &str, found: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(entries) => {
            found.push(at.to_owned());
            for (key, value) in entries {
                mappings_in(value, &format!("{at}/{}", escaped(key)), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                mappings_in(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_key_that_one_does_not_know_the_other_does_not_know_either() {
    let full = as_json(FULL);
    let mut places = Vec::new();
    mappings_in(&full, "", &mut places);
    let mut unknown = 0;
    for place in places {
        let mut file = full.clone();
        let mapping = file.pointer_mut(&place).unwrap().as_object_mut().unwrap();
        mapping.insert("no_such_key".into(), json!("x"));
        let read = read(&file.to_string());
        let problems = read
            .as_ref()
            .err()
            .map(ToString::to_string)
            .unwrap_or_default();
        let is_unknown = problems.contains("error[P002]: unknown key `no_such_key`");
        unknown += usize::from(is_unknown);
        assert!(!is_unknown || !fits(&file), "{place} fits the schema");
        assert!(fits(&file) || read.is_err(), "{place} fits only the parser");
    }
    assert!(
        unknown >= mappings().len(),
        "only {unknown} mappings were tried"
    );
}
