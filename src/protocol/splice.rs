//! Puts one thing into a message of somebody else and leaves every other byte as it came.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Json, META, json_string, raw};

/// A result with one more key in its `_meta`; one that stands there already is replaced. What is no object stays as
/// it is.
pub fn with_meta(result: Json, key: &str, value: &RawValue) -> Json {
    let text = result.get();
    // Most results have none. An escape could hide the word.
    let may_have_meta = text.contains(META) || text.contains("\\u");
    let spliced = if may_have_meta {
        into_meta(text, key, value.get())
    } else {
        Some(put(
            text,
            META,
            &format!("{{{}:{}}}", json_string(key), value.get()),
        ))
        .filter(|_| text.starts_with('{'))
    };
    spliced.map_or(result, raw)
}

fn into_meta(text: &str, key: &str, value: &str) -> Option<String> {
    let fields = Fields::read(text)?;
    let own = || format!("{{{}:{value}}}", json_string(key));
    let Some(meta) = fields.get(META) else {
        return Some(put(text, META, &own()));
    };
    let changed = match Fields::read(meta) {
        Some(fields) => match fields.get(key) {
            Some(old) => replace(meta, old, value)?,
            None => put(meta, key, value),
        },
        None => own(),
    };
    replace(text, meta, &changed)
}

/// An object with a key behind all others.
fn put(object: &str, key: &str, value: &str) -> String {
    let inner = object.strip_suffix('}').unwrap_or(object);
    let is_empty = inner.trim_end() == "{";
    let comma = if is_empty { "" } else { "," };
    format!("{inner}{comma}{}:{value}}}", json_string(key))
}

/// A text with another one in the place of a part of it.
fn replace(text: &str, part: &str, other: &str) -> Option<String> {
    let Range { start, end } = place(text, part)?;
    Some(format!("{}{other}{}", text.get(..start)?, text.get(end..)?))
}

/// Where in a text a slice of it lies.
fn place(text: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= text.len()).then_some(start..end)
}

/// The keys of an object, and its values as slices of the text it was read from.
struct Fields<'a>(Vec<(String, &'a str)>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of a key; of one that stands twice the last, which is the one that readers take.
    fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value: &'de RawValue = map.next_value()?;
            fields.push((key, value.get()));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(text: &str) -> String {
        let value = raw("[1]".into());
        with_meta(raw(text.into()), "a/b", &value).get().to_owned()
    }

    #[test]
    fn every_other_byte_stays_as_it_came() {
        let table = [
            ("{}", r#"{"_meta":{"a/b":[1]}}"#),
            ("{ }", r#"{ "_meta":{"a/b":[1]}}"#),
            (
                r#"{ "content" : [ ] ,"n":1.10 }"#,
                r#"{ "content" : [ ] ,"n":1.10 ,"_meta":{"a/b":[1]}}"#,
            ),
            (
                r#"{"_meta" : { "x" : "\u00e9" } , "n":1e2}"#,
                r#"{"_meta" : { "x" : "\u00e9" ,"a/b":[1]} , "n":1e2}"#,
            ),
            (r#"{"_meta":{}}"#, r#"{"_meta":{"a/b":[1]}}"#),
            (
                r#"{"_meta":{"a\/b":"forged", "c":1}}"#,
                r#"{"_meta":{"a\/b":[1], "c":1}}"#,
            ),
            (
                r#"{"\u005fmeta":{"x":1},"n":2}"#,
                r#"{"\u005fmeta":{"x":1,"a/b":[1]},"n":2}"#,
            ),
            (
                r#"{"content":[{"text":"_meta"}]}"#,
                r#"{"content":[{"text":"_meta"}],"_meta":{"a/b":[1]}}"#,
            ),
            (r#"{"_meta":null}"#, r#"{"_meta":{"a/b":[1]}}"#),
        ];
        for (text, expected) in table {
            assert_eq!(spliced(text), expected);
        }
    }

    #[test]
    fn what_is_no_object_stays_as_it_is() {
        for text in ["[1]", "\"_meta\"", "null", "[{\"_meta\":1}]"] {
            assert_eq!(spliced(text), text);
        }
    }
}
