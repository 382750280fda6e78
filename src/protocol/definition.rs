//! What a server says about one of its tools, and by which hash that is known.

use std::collections::BTreeMap;

use crate::types::DefinitionHash;

use super::canonical::canonical;
use super::json::Object;

/// A tool's definition, by its hashes. White space and the order of keys make no difference to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name the server gives it.
    pub name: String,
    /// The hash of all of it.
    pub hash: DefinitionHash,
    /// Its parts beside the name, each with the beginning of its hash.
    pub parts: BTreeMap<String, String>,
}

impl Definition {
    /// Reads an item of `tools/list`; `None` when it has no name.
    pub fn of(item: &Object) -> Option<Self> {
        let name = item.get_str("name")?.into_owned();
        let parts = item.keys().filter(|key| *key != "name").filter_map(|key| {
            let hash = DefinitionHash::of(&canonical(item.get(key)?.get()));
            Some((key.to_owned(), hash.short()))
        });
        Some(Self {
            name,
            parts: parts.collect(),
            hash: Self::hash(item),
        })
    }

    /// The hash of all that an item of `tools/list` says.
    pub fn hash(item: &Object) -> DefinitionHash {
        DefinitionHash::of(&Self::canonical(item))
    }

    /// All that an item of `tools/list` says, in the form that is hashed.
    pub fn canonical(item: &Object) -> String {
        canonical(&item.to_text()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Definition {
        Definition::of(&Object::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn only_what_a_definition_says_makes_a_difference() {
        let one = definition(r#"{"name":"x","description":"d","inputSchema":{"a":1,"b":2}}"#);
        let same =
            definition(r#"{ "inputSchema" : {"b":2,"a":1}, "name":"\u0078","description":"d"}"#);
        assert_eq!(one, same);
        let other = definition(r#"{"name":"x","description":"D","inputSchema":{"a":1,"b":2}}"#);
        assert_ne!(one.hash, other.hash);
        assert_ne!(one.parts["description"], other.parts["description"]);
        assert_eq!(one.parts["inputSchema"], other.parts["inputSchema"]);
        assert!(Definition::of(&Object::parse("{}").unwrap()).is_none());
    }
}
