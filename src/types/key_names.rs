//! Names of keys whose values are secrets, in whatever way they are spelled.

use std::collections::BTreeSet;

/// The longest name of a key that is compared, in bytes.
pub const MAX_KEY_NAME: usize = 64;

/// Names that are on every list, in the form they are compared in.
const ALWAYS: [&str; 24] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apitoken",
    "authorization",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "cookie",
    "idtoken",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "proxyauthorization",
    "pwd",
    "refreshtoken",
    "secret",
    "secretaccesskey",
    "secretkey",
    "sessiontoken",
    "setcookie",
    "token",
    "xapikey",
];

/// A list of such names. Case, `_` and `-` make no difference: `api_key` is also `API-Key` and `apiKey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyNames(BTreeSet<String>);

impl Default for KeyNames {
    /// The names that are on every list.
    fn default() -> Self {
        Self(ALWAYS.map(str::to_owned).into())
    }
}

impl KeyNames {
    /// Adds a name; one that nothing is left of is not added.
    pub fn add(&mut self, name: &str) {
        let form = key_form(name);
        self.0.extend((!form.is_empty()).then_some(form));
    }

    /// Whether a key is on the list.
    pub fn contains(&self, key: &str) -> bool {
        key.len() <= MAX_KEY_NAME && self.0.contains(&key_form(key))
    }
}

/// The form in which names are compared.
pub fn key_form(name: &str) -> String {
    let letters = name.chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_makes_no_difference() {
        let mut names = KeyNames::default();
        names.add("Kunden-Nummer");
        for key in [
            "password",
            "PASSWORD",
            "api_key",
            "apiKey",
            "X-Api-Key",
            "kundennummer",
        ] {
            assert!(names.contains(key), "{key}");
        }
        for key in ["max_tokens", "passwords", "", "_", "key"] {
            assert!(!names.contains(key), "{key}");
        }
    }

    #[test]
    fn names_on_every_list_are_in_the_form_they_are_compared_in() {
        assert_eq!(ALWAYS.map(key_form), ALWAYS);
    }
}
