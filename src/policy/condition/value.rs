//! A value as a call gives it, read as far as conditions need.

use serde_json::value::RawValue;

use super::super::decimal::Decimal;
use super::Scalar;

/// One JSON value.
#[derive(Debug)]
pub(super) enum Given {
    Text(String),
    Number(Decimal),
    Truth(bool),
    /// How many items it has.
    List(u64),
    /// An object, `null`, or what cannot be read.
    Other,
}

impl Given {
    pub(super) fn read(raw: &RawValue) -> Self {
        let text = raw.get();
        match text.bytes().next() {
            Some(b'"') => serde_json::from_str(text).map_or(Self::Other, Self::Text),
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
                .ok()
                .and_then(|items| u64::try_from(items.len()).ok())
                .map_or(Self::Other, Self::List),
            Some(b't') => Self::Truth(true),
            Some(b'f') => Self::Truth(false),
            Some(_) | None => Decimal::parse(text).map_or(Self::Other, Self::Number),
        }
    }

    /// All that a value of the file can stand for.
    pub(super) fn meant_by(scalar: &Scalar) -> Vec<Self> {
        let truth = match scalar.text.as_str() {
            "true" => Some(Self::Truth(true)),
            "false" => Some(Self::Truth(false)),
            _ => None,
        };
        let number = scalar.number.clone().map(Self::Number);
        let text = Self::Text(scalar.text.clone());
        [Some(text), number, truth].into_iter().flatten().collect()
    }

    /// Whether it is what a value of the file stands for.
    pub(super) fn is(&self, scalar: &Scalar) -> bool {
        match self {
            Self::Text(text) => *text == scalar.text,
            Self::Number(number) => scalar.number.as_ref() == Some(number),
            Self::Truth(truth) => scalar.text == if *truth { "true" } else { "false" },
            Self::List(_) | Self::Other => false,
        }
    }

    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Self::Text(_) | Self::Number(_) | Self::Truth(_) => true,
            Self::List(_) | Self::Other => false,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn number(&self) -> Option<&Decimal> {
        if let Self::Number(number) = self {
            Some(number)
        } else {
            None
        }
    }

    pub(super) fn items(&self) -> Option<u64> {
        if let Self::List(items) = self {
            Some(*items)
        } else {
            None
        }
    }
}
