//! Names that people give in `permissions.yaml`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in bytes. Model interfaces stop at 64 characters for a whole tool name.
const MAX_NAME: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name cannot be empty")]
    Empty,
    /// The text is longer than 64 bytes.
    #[error("a name has at most {MAX_NAME} characters")]
    TooLong,
    /// The text holds something else than ASCII letters, digits, `.`, `_` and `-`.
    #[error("`{0}` cannot stand in a name: use ASCII letters, digits, `.`, `_` and `-`")]
    BadCharacter(char),
}

/// What a [`Name`] names, as a type.
pub mod kind {
    /// An agent: a client with a token of its own.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Agent {}
    /// An MCP server behind the gateway.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Server {}
    /// A named set of grants.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Role {}
    /// A budget shared by everyone who names it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Pool {}
    /// Someone who may read the dashboard.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Viewer {}
}

/// A checked name: 1 to 64 ASCII letters, digits, `.`, `_` or `-`; case matters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

/// Names an agent.
pub type AgentName = Name<kind::Agent>;
/// Names a server.
pub type ServerName = Name<kind::Server>;
/// Names a role.
pub type RoleName = Name<kind::Role>;
/// Names a pool.
pub type PoolName = Name<kind::Pool>;
/// Names a viewer.
pub type ViewerName = Name<kind::Viewer>;

impl<K> Name<K> {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The name of the gateway's own server. No other may have it.
pub const BUILT_IN: &str = "hayward";

impl ServerName {
    /// The gateway's own server.
    pub fn built_in() -> Self {
        Self {
            text: BUILT_IN.into(),
            kind: PhantomData,
        }
    }

    /// Whether it is the gateway's own server.
    pub fn is_built_in(&self) -> bool {
        self.as_str() == BUILT_IN
    }
}

impl<K> FromStr for Name<K> {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if let Some(bad) = text.chars().find(|c| !is_name_character(*c)) {
            return Err(NameError::BadCharacter(bad));
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        Ok(Self {
            text: text.into(),
            kind: PhantomData,
        })
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl<K> fmt::Display for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl<K> fmt::Debug for Name<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl<K> std::borrow::Borrow<str> for Name<K> {
    fn borrow(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_ascii_and_at_most_64_characters() {
        let parse = |text: &str| text.parse::<AgentName>();
        assert_eq!(parse("clawd-2.b_c").unwrap().as_str(), "clawd-2.b_c");
        assert_eq!(parse(""), Err(NameError::Empty));
        assert_eq!(parse("a/b"), Err(NameError::BadCharacter('/')));
        assert_eq!(parse("café"), Err(NameError::BadCharacter('é')));
        assert!(parse(&"a".repeat(64)).is_ok());
        assert_eq!(parse(&"a".repeat(65)), Err(NameError::TooLong));
    }
}
