//! One level of a JSON object at a time, everything below kept as the bytes that came.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value as the bytes that came.
pub type Json = Box<RawValue>;

/// Beyond so many keys, duplicates are looked for in a set instead of one by one.
const FEW_KEYS: usize = 16;

/// Why a text is not an object this gateway accepts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(#[from] serde_json::Error);

/// A JSON object, one level deep, in the order it came; no key stands twice.
#[derive(Debug, Clone, Default)]
pub struct Object {
    fields: Vec<(String, Json)>,
}

impl Object {
    /// Reads an object.
    ///
    /// # Errors
    /// When the text is no JSON object, or a key stands twice (whatever escapes it is written with).
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        Ok(serde_json::from_str(text)?)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        self.fields
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| &**value)
    }

    /// The value of a key, when it is a string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    /// The value of a key, when it is an object.
    pub fn get_object(&self, key: &str) -> Option<Object> {
        Object::parse(self.get(key)?.get()).ok()
    }

    /// Sets a key, in place when it is there, at the end when it is not.
    pub fn set(&mut self, key: &str, value: Json) {
        match self.fields.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.fields.push((key.into(), value)),
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let at = self.fields.iter().position(|(name, _)| name == key)?;
        Some(self.fields.remove(at).1)
    }

    /// Keeps the keys for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.fields.retain(|(name, _)| keep(name));
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A key that differs from one of `known` only in case; a filter and a server could read it differently.
    pub fn look_alike<'a>(&'a self, known: &[&str]) -> Option<&'a str> {
        self.keys().find(|key| {
            known
                .iter()
                .any(|name| name != key && name.eq_ignore_ascii_case(key))
        })
    }

    /// The object as text; values are the bytes that came.
    pub fn to_text(&self) -> String {
        let each = self.fields.iter();
        let length: usize = each
            .map(|(key, value)| key.len() + value.get().len() + 4)
            .sum();
        let mut text = String::with_capacity(length + 2);
        text.push('{');
        for (index, (key, value)) in self.fields.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&json_string(key));
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }

    /// The object as a raw value.
    pub fn to_json(&self) -> Json {
        raw(self.to_text())
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let twice = if fields.len() < FEW_KEYS {
                fields.iter().any(|(name, _)| *name == key)
            } else {
                if seen.is_empty() {
                    seen.extend(fields.iter().map(|(name, _)| name.clone()));
                }
                !seen.insert(key.clone())
            };
            if twice {
                return Err(de::Error::custom(format_args!(
                    "the key {key:?} stands twice"
                )));
            }
            fields.push((key, map.next_value()?));
        }
        Ok(Object { fields })
    }
}

/// The elements of an array, each as the bytes that came; `None` when the text is no array.
pub fn array_items(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// An array of elements that are JSON already.
pub fn write_array<'a>(items: impl IntoIterator<Item = &'a str>) -> Json {
    let items: Vec<&str> = items.into_iter().collect();
    raw(format!("[{}]", items.join(",")))
}

/// A text as a JSON string, quotes included.
pub fn json_string(text: &str) -> String {
    // Texts can always be written.
    serde_json::to_string(text).unwrap_or_default()
}

/// Any value as JSON.
pub fn to_raw(value: &serde_json::Value) -> Json {
    // Values can always be written.
    raw(serde_json::to_string(value).unwrap_or_default())
}

/// Text that was composed from JSON pieces, as a raw value.
///
/// INVARIANT: `text` is JSON, since every piece was parsed or written by a JSON writer before. Should a
/// composition ever be wrong, `null` goes out instead of a broken message.
pub fn raw(text: String) -> Json {
    let checked = RawValue::from_string(text);
    debug_assert!(checked.is_ok(), "composed text is JSON");
    checked.unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_pass_byte_for_byte() {
        let text =
            r#"{"big":123456789012345678901234567890,"dec":1.10,"s":"\u00e9","o":{"b":1,"a":2}}"#;
        assert_eq!(Object::parse(text).unwrap().to_text(), text);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_however_it_is_escaped() {
        let error = Object::parse(r#"{"name":1,"na\u006de":2}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("the key \"name\" stands twice"), "{error}");
        let many: Vec<String> = (0..40).map(|i| format!("\"k{}\":0", i % 39)).collect();
        assert!(Object::parse(&format!("{{{}}}", many.join(","))).is_err());
    }

    #[test]
    fn look_alikes_are_found() {
        let object = Object::parse(r#"{"name":1,"Arguments":2}"#).unwrap();
        assert_eq!(object.look_alike(&["name", "arguments"]), Some("Arguments"));
        assert_eq!(object.look_alike(&["name"]), None);
    }
}
