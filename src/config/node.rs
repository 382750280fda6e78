//! A YAML file as a tree in which every key and value knows its place.

use super::problem::Span;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

impl Node {
    /// Whether nothing is written here, or an empty text.
    pub(super) fn is_blank(&self) -> bool {
        match &self.value {
            Value::Empty => true,
            Value::Text(text) => text.is_empty(),
            Value::List(_) | Value::Map(_) | Value::Broken => false,
        }
    }
}

/// A value as YAML writes it, before anything is known of its meaning.
#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// Any scalar, quoted or not.
    Text(String),
    /// `[…]` or lines with `-`.
    List(Vec<Node>),
    /// `{…}` or lines with `key:`.
    Map(Vec<Entry>),
    /// Something that was reported already; read it as nothing and stay silent.
    Broken,
}

/// One key of a mapping with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}
