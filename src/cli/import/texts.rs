//! Values with secrets and references in them, brought into the form of permissions.yaml: `${NAME}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::secrets::{Piece, pieces};

/// Characters of nobody's language, which stand for references while a value is taken apart.
const STAND_INS: std::ops::RangeInclusive<u32> = 0xE000..=0xF8FF;

/// The variables that what was imported needs.
#[derive(Debug, Default)]
pub(super) struct Variables {
    all: BTreeMap<String, Variable>,
}

/// One of them.
#[derive(Debug, Default)]
struct Variable {
    /// What stood in the file, where it was written out.
    value: Option<String>,
    /// Where it is used. Empty for a name that is only kept free.
    places: Vec<String>,
    /// What the file says about it.
    about: Vec<String>,
}

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) server: &'a str,
    /// The word for its kind: `header`, `variable`, `url`, `argument`.
    pub(super) kind: &'a str,
    /// Its own name: that of the header or variable, or the flag before an argument.
    pub(super) name: &'a str,
}

impl Spot<'_> {
    fn words(&self) -> String {
        let name = if self.name == self.kind || self.name.is_empty() {
            String::new()
        } else {
            format!(" `{}`", self.name)
        };
        format!("{}{name} of server `{}`", self.kind, self.server)
    }
}

/// A reference as another program writes it.
enum Reference {
    /// Text that needs no variable.
    Text(&'static str),
    /// A variable, with the default that was written beside it.
    Variable {
        name: String,
        default: Option<String>,
        about: Option<String>,
    },
}

impl Variables {
    /// Keeps the names free to which the file refers anywhere.
    pub(super) fn reserve(&mut self, root: &Map<String, Value>) {
        for value in root.values() {
            self.reserve_in(value);
        }
    }

    fn reserve_in(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                for reference in references(text).1 {
                    if let Reference::Variable { name, .. } = reference {
                        self.all.entry(name).or_default();
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.reserve_in(item)),
            Value::Object(map) => map.values().for_each(|item| self.reserve_in(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The value in the form of permissions.yaml; `Err` says why it has none.
    pub(super) fn template(&mut self, spot: Spot<'_>, text: &str) -> Result<String, &'static str> {
        if text.contains("{{") {
            return Err("it holds `{{…}}`, which the other program fills in for each of its users");
        }
        if text.chars().any(|c| STAND_INS.contains(&u32::from(c))) {
            return Err("it holds a character of private use");
        }
        let (marked, found) = references(text);
        let mut written = String::new();
        for piece in pieces(spot.name, &marked) {
            match piece {
                Piece::Open(text) => written.push_str(&text.replace('$', "$$")),
                Piece::Secret { text, hint } => self.hide(spot, text, hint, &mut written),
            }
        }
        for (index, reference) in found.into_iter().enumerate() {
            let Some(mark) = stand_in(index) else {
                return Err("it holds too many references");
            };
            let text = self.refer(spot, reference);
            written = written.replace(mark, &text);
        }
        Ok(written)
    }

    /// Writes a secret piece: what is written out becomes a variable, references in it stay.
    fn hide(&mut self, spot: Spot<'_>, text: &str, hint: Option<&str>, written: &mut String) {
        let is_mark = |c: char| STAND_INS.contains(&u32::from(c));
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if is_mark(first) {
                written.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
            let (secret, behind) = rest.split_at(rest.find(is_mark).unwrap_or(rest.len()));
            let name = self.keep(spot, secret, hint);
            written.push_str(&format!("${{{name}}}"));
            rest = behind;
        }
    }

    /// Finds a name for a secret: that of the variable it was, or one of the server and the place.
    fn keep(&mut self, spot: Spot<'_>, secret: &str, hint: Option<&str>) -> String {
        let hint = hint.unwrap_or(spot.name);
        let long = variable_name(&format!("{}_{hint}", spot.server));
        let short = variable_name(hint);
        let is_own = spot.kind == "variable" && hint == spot.name;
        let first = if is_own { short } else { long.clone() };
        let numbered = (2..).map(|number| format!("{long}_{number}"));
        let mut names = [first, long.clone()].into_iter().chain(numbered);
        let fits = |name: &String| {
            let known = self.all.get(name);
            known.is_none_or(|known| known.value.as_deref() == Some(secret))
        };
        let name = names.find(fits).unwrap_or(long);
        let variable = self.all.entry(name.clone()).or_default();
        variable.value = Some(secret.to_owned());
        variable.places.push(spot.words());
        name
    }

    fn refer(&mut self, spot: Spot<'_>, reference: Reference) -> String {
        let (name, default, about) = match reference {
            Reference::Text(text) => return text.to_owned(),
            Reference::Variable {
                name,
                default,
                about,
            } => (name, default, about),
        };
        let open = default.filter(|default| {
            let found = pieces(spot.name, default)
                .into_iter()
                .chain(pieces(&name, default));
            !default.contains('}')
                && found
                    .into_iter()
                    .all(|piece| matches!(piece, Piece::Open(_)))
        });
        if let Some(default) = open {
            return format!("${{{name}:-{default}}}");
        }
        let variable = self.all.entry(name.clone()).or_default();
        variable.places.push(spot.words());
        variable.about.extend(about);
        format!("${{{name}}}")
    }

    /// Takes what `inputs` says about its names; returns those that nothing uses, a line each.
    pub(super) fn describe(&mut self, inputs: &[Value]) -> Vec<String> {
        let mut unknown = Vec::new();
        for input in inputs {
            let text = |key: &str| input.get(key).and_then(Value::as_str);
            let id = text("id").unwrap_or_default();
            let used = self.all.get_mut(&variable_name(id));
            match used.filter(|variable| !variable.places.is_empty()) {
                Some(variable) => variable
                    .about
                    .extend(text("description").map(str::to_owned)),
                None => unknown.push(format!("input `{id}`, which no server uses")),
            }
        }
        unknown
    }

    /// What the operator sets, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let used = self
            .all
            .iter()
            .filter(|(_, variable)| !variable.places.is_empty());
        let lines = used.map(|(name, variable)| {
            let mut line = format!("{name}  {}", variable.places.join(", "));
            if variable.value.is_some() {
                line.push_str("; its value is in the imported file");
            }
            let mut about = variable.about.clone();
            about.dedup();
            for about in about {
                line.push_str(&format!("; {about}"));
            }
            line
        });
        lines.collect()
    }
}

/// The text with a stand-in for each reference, and the references in order.
fn references(text: &str) -> (String, Vec<Reference>) {
    let (mut marked, mut found) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        marked.push_str(before);
        let inner = after.split_once('}').and_then(|(inner, behind)| {
            let mark = stand_in(found.len())?;
            Some((reference(inner)?, mark, behind))
        });
        match inner {
            Some((reference, mark, behind)) => {
                found.push(reference);
                marked.push(mark);
                rest = behind;
            }
            None => {
                marked.push_str("${");
                rest = after;
            }
        }
    }
    marked.push_str(rest);
    (marked, found)
}

fn stand_in(index: usize) -> Option<char> {
    let number = STAND_INS.start().checked_add(u32::try_from(index).ok()?)?;
    STAND_INS.contains(&number).then_some(())?;
    char::from_u32(number)
}

/// What stands between `${` and `}` in files of Cursor, VS Code (code.visualstudio.com/docs/reference/variables-reference)
/// and Claude Code (code.claude.com/docs/en/mcp, "Environment variable expansion").
fn reference(inner: &str) -> Option<Reference> {
    let variable = |name: &str, default: Option<&str>, about: Option<String>| {
        let name = variable_name(name);
        let default = default.map(str::to_owned);
        Some(Reference::Variable {
            name,
            default,
            about,
        })
    };
    if let Some((name, default)) = inner.split_once(":-") {
        return variable(name, Some(default), None);
    }
    match inner.split_once(':') {
        Some(("env" | "input", name)) => variable(name, None, None),
        Some(_) => variable(inner, None, Some(format!("was `${{{inner}}}`"))),
        None => match inner {
            "" => None,
            "/" | "pathSeparator" => Some(Reference::Text("/")),
            "userHome" => variable("HOME", None, None),
            "workspaceFolder" => variable(
                "WORKSPACE_FOLDER",
                None,
                Some("was the folder that is open in the editor".into()),
            ),
            name => variable(name, None, None),
        },
    }
}

/// The name of a variable made of a text; a text that is one already stays as it is.
fn variable_name(text: &str) -> String {
    let is_variable = |text: &str| {
        let first = text.bytes().next();
        first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if is_variable(text) && !text.contains(char::is_lowercase) {
        return text.to_owned();
    }
    let upper = text.to_ascii_uppercase();
    let parts = upper.split(|c: char| !c.is_ascii_alphanumeric());
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    match parts.join("_") {
        name if is_variable(&name) => name,
        name if name.is_empty() => "VALUE".into(),
        name => format!("_{name}"),
    }
}
