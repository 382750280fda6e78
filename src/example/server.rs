//! What an example server is made of: tables of tools, prompts and resources, and the arguments they take.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::protocol::Object;

/// Everything a server offers.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) instructions: &'static str,
    pub(super) tools: &'static [Tool],
    pub(super) prompts: &'static [Prompt],
    pub(super) resources: fn() -> Vec<Value>,
    pub(super) templates: fn() -> Vec<Value>,
    /// The contents behind an address; `None` when nothing is there.
    pub(super) read: fn(&str) -> Option<Value>,
    /// What an argument of a prompt or a template can be; `None` when there is no such argument.
    pub(super) complete: fn(reference: &str, argument: &str) -> Option<Vec<String>>,
}

/// One tool. A tool that cannot do what it was asked says why in a sentence for the model.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) input: fn() -> Value,
    pub(super) output: Option<fn() -> Value>,
    pub(super) run: fn(&Arguments) -> Result<Output, String>,
}

/// What a tool gives back.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) content: Vec<Value>,
    pub(super) structured: Option<Value>,
    /// In how many steps the work was done, for progress.
    pub(super) steps: u32,
    /// A line for the log.
    pub(super) log: String,
}

/// One prompt.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) arguments: fn() -> Value,
    pub(super) get: fn(&Arguments) -> Result<Value, String>,
}

/// The arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Arguments(Object);

impl Arguments {
    pub(super) fn new(object: Object) -> Self {
        Self(object)
    }

    /// Refuses arguments nobody asked for: a misspelt one would otherwise be ignored in silence.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), String> {
        let known: BTreeSet<&str> = known.iter().copied().collect();
        match self.0.keys().find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                Err(format!(
                    "There is no argument `{key}`; there is {}.",
                    known.join(", ")
                ))
            }
        }
    }

    /// A text of 1 to `max` characters.
    pub(super) fn text(&self, name: &str, max: usize) -> Result<String, String> {
        self.optional_text(name, max)?.ok_or_else(|| {
            format!("The argument `{name}` is missing; give a text of 1 to {max} characters.")
        })
    }

    /// A text of 1 to `max` characters, if there is one.
    pub(super) fn optional_text(&self, name: &str, max: usize) -> Result<Option<String>, String> {
        let wrong = || format!("The argument `{name}` must be a text of 1 to {max} characters.");
        match self.read::<String>(name) {
            None => Ok(None),
            Some(Ok(text)) if (1..=max).contains(&text.chars().count()) => Ok(Some(text)),
            Some(_) => Err(wrong()),
        }
    }

    /// A list of 2 to `max` texts.
    pub(super) fn texts(&self, name: &str, max: usize) -> Result<Vec<String>, String> {
        match self.read::<Vec<String>>(name) {
            Some(Ok(texts)) if (2..=max).contains(&texts.len()) => Ok(texts),
            _ => Err(format!(
                "The argument `{name}` must be a list of 2 to {max} texts."
            )),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<serde_json::Result<T>> {
        let value = self.0.get(name)?;
        Some(serde_json::from_str(value.get()))
    }
}

/// A block of text content.
pub(super) fn text_content(text: &str) -> Value {
    json!({"type": "text", "text": text})
}
