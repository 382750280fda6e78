//! Finds one argument of a call in its JSON text. What stands twice, or differs from the name only in case, is not
//! chosen from: a server might choose the other one.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why it cannot be said what an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unclear {
    /// What should hold it is no object.
    NotAnObject,
    /// It stands twice.
    Twice,
    /// This one differs from it only in case.
    LookAlike(String),
}

/// The member of an object; `None` when there is none.
///
/// # Errors
/// When the text is no object, or it is not clear which member is meant.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a RawValue>, Unclear> {
    let mut reader = serde_json::Deserializer::from_str(object);
    let found = reader.deserialize_map(Search { name });
    let found = found.map_err(|_| Unclear::NotAnObject)?;
    if let Some(other) = found.look_alike {
        return Err(Unclear::LookAlike(other));
    }
    match found.values.as_slice() {
        [] => Ok(None),
        [value] => Ok(Some(value)),
        _ => Err(Unclear::Twice),
    }
}

/// What a JSON Pointer (RFC 6901), taken apart into its unescaped steps, leads to; `None` when it is not there.
///
/// # Errors
/// When a step leads through something that has no members, or it is not clear which member is meant.
pub(super) fn at<'a>(
    arguments: &'a str,
    steps: &[String],
) -> Result<Option<&'a RawValue>, Unclear> {
    let mut text = arguments;
    let mut value = None;
    for step in steps {
        let next = if text.starts_with('[') {
            item(text, step)?
        } else {
            member(text, step)?
        };
        let Some(next) = next else {
            return Ok(None);
        };
        text = next.get();
        value = Some(next);
    }
    Ok(value)
}

fn item<'a>(list: &'a str, step: &str) -> Result<Option<&'a RawValue>, Unclear> {
    let items: Vec<&RawValue> = serde_json::from_str(list).map_err(|_| Unclear::NotAnObject)?;
    let is_index =
        step == "0" || (!step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit()));
    let index = step.parse::<usize>().ok().filter(|_| is_index);
    Ok(index.and_then(|index| items.get(index).copied()))
}

/// The unescaped steps of a JSON Pointer; `None` when it is not one, or leads nowhere.
pub(super) fn steps(pointer: &str) -> Option<Vec<String>> {
    let mut escapes = pointer.split('~').skip(1);
    if !escapes.all(|rest| rest.starts_with(['0', '1'])) {
        return None;
    }
    let steps = pointer.strip_prefix('/')?.split('/');
    Some(
        steps
            .map(|step| step.replace("~1", "/").replace("~0", "~"))
            .collect(),
    )
}

struct Search<'a> {
    name: &'a str,
}

#[derive(Default)]
struct Found<'de> {
    values: Vec<&'de RawValue>,
    look_alike: Option<String>,
}

impl<'de> Visitor<'de> for Search<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == self.name {
                found.values.push(map.next_value()?);
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            // A server that is not particular about case would take this one.
            if key.to_lowercase() == self.name.to_lowercase() {
                found.look_alike.get_or_insert(key);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(arguments: &str, pointer: &str) -> Result<Option<String>, Unclear> {
        let value = at(arguments, &steps(pointer).unwrap())?;
        Ok(value.map(|value| value.get().to_owned()))
    }

    #[test]
    fn a_pointer_leads_to_one_place_or_none() {
        let text = r#"{"a":{"b/c":[10,{"~d":"x"}]},"0":1}"#;
        for (pointer, expected) in [
            ("/a/b~1c/0", Some("10")),
            ("/a/b~1c/1/~0d", Some("\"x\"")),
            ("/0", Some("1")),
            ("/a/b~1c/2", None),
            ("/a/b~1c/00", None),
            ("/a/b~1c/+1", None),
            ("/a/b~1c/-", None),
            ("/a/x/y", None),
        ] {
            assert_eq!(
                found(text, pointer),
                Ok(expected.map(str::to_owned)),
                "{pointer}"
            );
        }
        assert_eq!(found(text, "/0/x"), Err(Unclear::NotAnObject));
        assert_eq!(steps("a"), None);
        assert_eq!(steps("/a~2"), None);
        assert_eq!(steps(""), None);
    }

    #[test]
    fn what_could_be_meant_by_another_is_not_chosen() {
        let twice = r#"{"a":{"b":1,"b":2}}"#;
        assert_eq!(found(twice, "/a/b"), Err(Unclear::Twice));
        let alike = r#"{"A":{},"a":{"b":1}}"#;
        assert_eq!(found(alike, "/a/b"), Err(Unclear::LookAlike("A".into())));
        assert_eq!(found("[", "/a"), Err(Unclear::NotAnObject));
        assert_eq!(found("null", "/a"), Err(Unclear::NotAnObject));
    }
}
