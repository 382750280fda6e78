//! One server of another program's file: what of it has a place in permissions.yaml.

use serde_json::{Map, Value};

use super::texts::{Spot, Variables};
use crate::types::ServerName;

/// A server as it will be written.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) name: ServerName,
    /// Its keys in the order in which they are written.
    pub(super) keys: Vec<(&'static str, Written)>,
    /// Tools that nobody may call.
    pub(super) deny: Vec<String>,
}

/// A value of permissions.yaml.
#[derive(Debug)]
pub(super) enum Written {
    Text(String),
    /// A word of the format.
    Word(&'static str),
    List(Vec<String>),
    Map(Vec<(String, String)>),
}

/// Where a server is, as its entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Any,
    Sse,
    Unknown,
}

/// Reads an entry; `None` when nothing can reach such a server, which is told then.
pub(super) fn entry(
    name: &ServerName,
    value: &Value,
    variables: &mut Variables,
    left_out: &mut Vec<String>,
) -> Option<Imported> {
    let server = name.as_str();
    let Value::Object(fields) = value else {
        left_out.push(format!("server `{server}`, which is no mapping"));
        return None;
    };
    let mut reader = Reader {
        server,
        fields,
        variables,
        left_out,
    };
    let keys = reader.keys()?;
    let deny = reader.deny();
    reader.tell_unknown();
    Some(Imported {
        name: name.clone(),
        keys,
        deny,
    })
}

const TEXTS: &[&str] = &["command", "url", "serverUrl", "httpUrl"];

/// Keys that are read here.
const KNOWN: &[&str] = &[
    "command",
    "args",
    "env",
    "cwd",
    "type",
    "transport",
    "url",
    "serverUrl",
    "httpUrl",
    "headers",
    "description",
    "disabled",
    "enabled",
    "disabledTools",
    "excludeTools",
];

struct Reader<'a> {
    server: &'a str,
    fields: &'a Map<String, Value>,
    variables: &'a mut Variables,
    left_out: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn keys(&mut self) -> Option<Vec<(&'static str, Written)>> {
        let url = TEXTS.iter().skip(1).find_map(|key| self.text(key));
        let command = self.text("command");
        let transport = self.transport();
        let (Transport::Any | Transport::Sse) = transport else {
            self.refuse("a transport that the gateway does not speak");
            return None;
        };
        let mut keys = match (url, command) {
            (Some(url), None) => self.remote(&url, transport)?,
            (None, Some(command)) => self.child(command)?,
            (Some(_), Some(_)) => {
                self.refuse("both an address and a command");
                return None;
            }
            (None, None) => {
                self.refuse("neither an address nor a command");
                return None;
            }
        };
        if let Some(about) = self.text("description") {
            keys.insert(0, ("description", Written::Text(about)));
        }
        let is = |key: &str, wanted: bool| self.fields.get(key) == Some(&Value::Bool(wanted));
        if is("disabled", true) || is("enabled", false) {
            keys.push(("disabled", Written::Word("true")));
        }
        Some(keys)
    }

    fn remote(&mut self, url: &str, transport: Transport) -> Option<Vec<(&'static str, Written)>> {
        let url = self.template("url", "url", url).or_else(|| {
            self.refuse("an address that cannot be taken over");
            None
        })?;
        let mut keys = vec![("url", Written::Text(url))];
        if transport == Transport::Sse {
            keys.push(("protocol", Written::Word("sse")));
        }
        let headers = self.map("headers", "header");
        keys.extend((!headers.is_empty()).then_some(("headers", Written::Map(headers))));
        self.misplaced(&["args", "env", "cwd"], "is for servers that are started");
        Some(keys)
    }

    fn child(&mut self, command: String) -> Option<Vec<(&'static str, Written)>> {
        if command.contains("${") || command.contains("{{") {
            self.refuse("a placeholder in `command`, where none can stand");
            return None;
        }
        let args = self.args()?;
        let mut keys = vec![("command", Written::Text(command))];
        keys.extend((!args.is_empty()).then_some(("args", Written::List(args))));
        let env = self.map("env", "variable");
        keys.extend((!env.is_empty()).then_some(("env", Written::Map(env))));
        match self.text("cwd") {
            Some(cwd) if cwd.contains("${") || cwd.contains("{{") => {
                self.leave("cwd", "no placeholder can stand there");
            }
            Some(cwd) => keys.push(("cwd", Written::Text(cwd))),
            None => {}
        }
        self.misplaced(&["headers"], "is for servers with an address");
        Some(keys)
    }

    /// The arguments. One that cannot be taken over would change what all others mean, so the server is left out.
    fn args(&mut self) -> Option<Vec<String>> {
        let items = match self.fields.get("args") {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                self.refuse("`args` that are no list");
                return None;
            }
        };
        let mut args = Vec::new();
        let mut flag = String::new();
        for item in items {
            let text = scalar(item);
            // What follows `--api-key` is one; what follows a plain word is not named by it.
            let name = flag.trim_start_matches('-');
            let found = text.and_then(|text| Some((self.template("argument", name, &text)?, text)));
            let Some((written, text)) = found else {
                self.refuse("an argument that cannot be taken over");
                return None;
            };
            args.push(written);
            flag = if text.starts_with('-') && !text.contains('=') {
                text
            } else {
                String::new()
            };
        }
        Some(args)
    }

    fn map(&mut self, key: &'static str, kind: &str) -> Vec<(String, String)> {
        let entries = match self.fields.get(key) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Object(entries)) => entries,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                self.leave(key, "it is no mapping");
                return Vec::new();
            }
        };
        let mut written = Vec::new();
        for (name, value) in entries {
            match scalar(value) {
                Some(text) => {
                    let template = self.template(kind, name, &text);
                    written.extend(template.map(|template| (name.clone(), template)));
                }
                None => self.leave(&format!("{key}.{name}"), "it is no text"),
            }
        }
        written
    }

    fn template(&mut self, kind: &str, name: &str, text: &str) -> Option<String> {
        let spot = Spot {
            server: self.server,
            kind,
            name,
        };
        match self.variables.template(spot, text) {
            Ok(template) => Some(template),
            Err(why) => {
                let what = if name == kind {
                    kind.to_owned()
                } else {
                    format!("{kind} `{name}`")
                };
                self.left_out
                    .push(format!("{what} of server `{}`: {why}", self.server));
                None
            }
        }
    }

    /// The transport by the names it has in different programs.
    fn transport(&self) -> Transport {
        let written = self.fields.get("type").or(self.fields.get("transport"));
        let written = match written {
            None | Some(Value::Null) => return Transport::Any,
            Some(Value::String(text)) => text.to_ascii_lowercase().replace(['_', '-'], ""),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Transport::Unknown;
            }
        };
        match written.as_str() {
            "stdio" | "http" | "streamablehttp" | "local" | "remote" => Transport::Any,
            "sse" => Transport::Sse,
            _ => Transport::Unknown,
        }
    }

    fn deny(&mut self) -> Vec<String> {
        let mut denied = Vec::new();
        for key in ["disabledTools", "excludeTools"] {
            match self.fields.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::Array(tools)) => {
                    for tool in tools {
                        match tool.as_str() {
                            Some(tool) => denied.push(format!("{}/{tool}", self.server)),
                            None => self.leave(key, "one of its tools is no name"),
                        }
                    }
                }
                Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                    self.leave(key, "it is no list");
                }
            }
        }
        denied
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.fields.get(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::String(_) | Value::Null => None,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.leave(key, "it is no text");
                None
            }
        }
    }

    fn misplaced(&mut self, keys: &[&str], why: &str) {
        for key in keys {
            let empty = match self.fields.get(*key) {
                None | Some(Value::Null) => true,
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Object(entries)) => entries.is_empty(),
                Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
            };
            if !empty {
                self.leave(key, why);
            }
        }
    }

    fn tell_unknown(&mut self) {
        for key in self.fields.keys() {
            match key.as_str() {
                known if KNOWN.contains(&known) => {}
                "timeout" => self.leave(
                    key,
                    "programs count it in different units; write `timeout: 60s`",
                ),
                "includeTools" => {
                    self.leave(key, "grant an agent `{server: …, tools: […]}` instead")
                }
                _ => self.leave(key, "permissions.yaml has nothing of the kind"),
            }
        }
    }

    fn leave(&mut self, key: &str, why: &str) {
        self.left_out
            .push(format!("`{key}` of server `{}`: {why}", self.server));
    }

    fn refuse(&mut self, what: &str) {
        self.left_out
            .push(format!("server `{}`: it has {what}", self.server));
    }
}

/// A single value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
