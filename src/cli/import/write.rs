//! Servers as text of permissions.yaml. Texts are written as JSON strings, which YAML reads as they are meant.

use super::entry::{Imported, Written};
use crate::protocol::json_string;
use crate::types::{AgentName, TokenHash};

/// The sections of a file: servers, what nobody may call on them, and an agent that may use all of them.
pub(super) fn rules(servers: &[Imported], agent: Option<(&AgentName, TokenHash)>) -> String {
    let mut text = "servers:\n".to_owned();
    for server in servers {
        text.push_str(&format!("  {}:\n", key(server.name.as_str())));
        for (name, value) in &server.keys {
            text.push_str(&written(name, value));
        }
    }
    let denied: Vec<&String> = servers.iter().flat_map(|server| &server.deny).collect();
    if !denied.is_empty() {
        text.push_str("\ndeny:\n");
        for denied in denied {
            text.push_str(&format!("  - {}\n", json_string(denied)));
        }
    }
    if let Some((agent, hash)) = agent {
        let names: Vec<String> = servers
            .iter()
            .map(|server| json_string(server.name.as_str()))
            .collect();
        text.push_str(&format!(
            "\nagents:\n  {}:\n    token_hash: \"{}\"\n    servers: [{}]\n",
            key(agent.as_str()),
            hash.to_policy_form(),
            names.join(", ")
        ));
    }
    text
}

fn written(name: &str, value: &Written) -> String {
    match value {
        Written::Word(word) => format!("    {name}: {word}\n"),
        Written::Text(text) => format!("    {name}: {}\n", json_string(text)),
        Written::List(items) => {
            let items: Vec<String> = items.iter().map(|item| json_string(item)).collect();
            format!("    {name}: [{}]\n", items.join(", "))
        }
        Written::Map(entries) => {
            let lines = entries
                .iter()
                .map(|(name, text)| format!("      {}: {}\n", key(name), json_string(text)));
            format!("    {name}:\n{}", lines.collect::<String>())
        }
    }
}

/// A key, in quotes where YAML could read it as something else than text.
fn key(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let is_word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str());
    if is_plain && !is_word {
        return text.to_owned();
    }
    json_string(text)
}
