//! Files of other programs as values: JSON with comments and trailing commas, or YAML.

use std::path::Path;

use anyhow::{anyhow, bail};
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Value};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// Reads a file by what it looks like: `{` begins JSON, unless the file's name says YAML.
pub(super) fn read(path: &Path, text: &str) -> anyhow::Result<Value> {
    let is_yaml = path
        .extension()
        .is_some_and(|kind| kind == "yaml" || kind == "yml");
    let text = text.trim_start_matches('\u{feff}');
    let begins_json = text.trim_start().starts_with(['{', '/']);
    if begins_json && !is_yaml {
        return json(text);
    }
    serde_yaml::from_str(text).map_err(|error| {
        // The message shows lines of the file, which may hold secrets.
        let first = error.to_string();
        let place = first.lines().next().unwrap_or_default();
        match error.location() {
            Some(at) => anyhow!("it is no YAML (line {}, column {})", at.line(), at.column()),
            None => anyhow!("it is no YAML ({} characters of reason)", place.len()),
        }
    })
}

fn json(text: &str) -> anyhow::Result<Value> {
    // What editors accept in such files, and nothing beyond: no JSON5.
    let options = ParseOptions {
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: true,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let (line, column) = (error.line_display(), error.column_display());
        anyhow!("{} (line {line}, column {column})", error.kind())
    })?;
    let root = parsed.value.ok_or_else(|| anyhow!("it is empty"))?;
    value(&root, text, 0)
}

fn value(node: &ast::Value<'_>, text: &str, depth: usize) -> anyhow::Result<Value> {
    if depth > MAX_DEPTH {
        bail!("it is nested more than {MAX_DEPTH} deep");
    }
    Ok(match node {
        ast::Value::StringLit(found) => Value::String(found.value.clone().into_owned()),
        ast::Value::NumberLit(found) => serde_json::from_str(found.value).map_err(|_| {
            anyhow!(
                "a number that JSON does not know (line {})",
                line(text, found)
            )
        })?,
        ast::Value::BooleanLit(found) => Value::Bool(found.value),
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::Array(found) => {
            let items = found.elements.iter();
            let items = items.map(|item| value(item, text, depth + 1));
            Value::Array(items.collect::<anyhow::Result<_>>()?)
        }
        ast::Value::Object(found) => object(found, text, depth)?,
    })
}

fn object(node: &ast::Object<'_>, text: &str, depth: usize) -> anyhow::Result<Value> {
    let mut map = Map::new();
    for property in &node.properties {
        let key = property.name.as_str().to_owned();
        let inner = value(&property.value, text, depth + 1)?;
        if map.insert(key.clone(), inner).is_some() {
            bail!("`{key}` stands twice (line {})", line(text, &property.name));
        }
    }
    Ok(Value::Object(map))
}

fn line(text: &str, node: &impl Ranged) -> usize {
    let before = text.get(..node.start()).unwrap_or_default();
    before.matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<String, String> {
        let value = super::read(Path::new(name), text);
        value
            .map(|value| value.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn comments_and_trailing_commas_are_taken_and_json5_is_not() {
        let text = "// mine\n{\"a\": [1, 2,], /* b */ \"c\": \"//x\",}";
        assert_eq!(read("x.json", text).unwrap(), r#"{"a":[1,2],"c":"//x"}"#);
        assert_eq!(read("x.json", "\u{feff}{}").unwrap(), "{}");
        for (wrong, word) in [
            ("{'a': 1}", "line 1"),
            ("{a: 1}", "line 1"),
            ("{\"a\": 1\n \"b\": 2}", "Expected comma (line 1"),
            ("{\"a\": 1,\n \"a\": 2}", "`a` stands twice (line 2)"),
            ("{\"a\": 0x1}", "line 1"),
            ("// only this", "empty"),
        ] {
            let said = read("x.json", wrong).unwrap_err();
            assert!(said.contains(word), "{wrong}: {said}");
        }
    }

    #[test]
    fn yaml_is_read_and_its_mistakes_show_no_text() {
        assert_eq!(
            read("x.yaml", "a: {b: [1, x]}").unwrap(),
            r#"{"a":{"b":[1,"x"]}}"#
        );
        for wrong in ["key: [s3cret", "s3cret: 1\ns3cret: 2\n"] {
            let said = read("x.yaml", wrong).unwrap_err();
            assert!(!said.contains("s3cret") && said.contains("line"), "{said}");
        }
    }
}
