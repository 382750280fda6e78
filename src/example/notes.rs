//! The server `notes`: a handful of notes about commons, MCP and the gateway, to search and to read.

use serde_json::{Value, json};

use super::server::{Arguments, Output, Prompt, Server, Tool, text_content};

const TEMPLATE: &str = "note:///{id}";
const SCHEME: &str = "note:///";
/// The longest query and id, in characters.
const MAX_TEXT: usize = 200;
/// How many notes a search returns.
const MAX_FOUND: usize = 5;
/// How much of a note a search shows, in characters.
const EXCERPT: usize = 160;
/// A word of the title says more about a note than one of its text.
const TITLE_WEIGHT: usize = 5;

struct Note {
    id: &'static str,
    /// A heading, an empty line, and the rest, in Markdown.
    text: &'static str,
}

const NOTES: [Note; 7] = [
    Note {
        id: "hayward",
        text: include_str!("notes/hayward.md"),
    },
    Note {
        id: "commons",
        text: include_str!("notes/commons.md"),
    },
    Note {
        id: "ostrom",
        text: include_str!("notes/ostrom.md"),
    },
    Note {
        id: "mcp",
        text: include_str!("notes/mcp.md"),
    },
    Note {
        id: "budgets",
        text: include_str!("notes/budgets.md"),
    },
    Note {
        id: "refusals",
        text: include_str!("notes/refusals.md"),
    },
    Note {
        id: "audit",
        text: include_str!("notes/audit.md"),
    },
];

impl Note {
    fn title(&self) -> &str {
        let heading = self.text.lines().next().unwrap_or_default();
        heading.trim_start_matches("# ")
    }

    fn uri(&self) -> String {
        format!("{SCHEME}{}", self.id)
    }

    /// How well a note fits lower-case words; zero when one of them does not occur.
    fn score(&self, words: &[String]) -> usize {
        let (title, text) = (self.title().to_lowercase(), self.text.to_lowercase());
        let counts = words
            .iter()
            .map(|word| title.matches(word).count() * TITLE_WEIGHT + text.matches(word).count());
        let counts: Vec<usize> = counts.collect();
        if counts.contains(&0) {
            return 0;
        }
        counts.iter().sum()
    }

    /// The first paragraph that holds one of the words, cut to length.
    fn excerpt(&self, words: &[String]) -> String {
        let paragraphs: Vec<&str> = self.text.split("\n\n").skip(1).collect();
        let holds = |paragraph: &&&str| {
            let paragraph = paragraph.to_lowercase();
            words.iter().any(|word| paragraph.contains(word))
        };
        let paragraph = paragraphs.iter().find(holds).or(paragraphs.first());
        let flat: Vec<&str> = paragraph
            .copied()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let flat = flat.join(" ");
        if flat.chars().count() <= EXCERPT {
            return flat;
        }
        flat.chars().take(EXCERPT).chain(['…']).collect()
    }
}

fn find(id: &str) -> Option<&'static Note> {
    NOTES.iter().find(|note| note.id == id)
}

/// What the server offers.
pub(super) static SERVER: Server = Server {
    name: "notes",
    title: "Notes on commons and gateways",
    instructions: "A few short notes about commons, MCP and this gateway. `search` finds them, `read` shows one.",
    tools: &[SEARCH, READ],
    prompts: &[EXPLAIN],
    resources,
    templates,
    read: read_resource,
    complete,
};

const SEARCH: Tool = Tool {
    name: "search",
    title: "Search the notes",
    description: "Finds the notes in which every word of the query occurs, best first.",
    input: || {
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "description": "One or more words"},
            },
            "required": ["query"],
            "additionalProperties": false,
        })
    },
    output: Some(|| {
        let text = json!({"type": "string"});
        let note =
            json!({"type": "object", "properties": {"id": text, "title": text, "excerpt": text}});
        json!({
            "type": "object",
            "properties": {"notes": {"type": "array", "items": note}},
            "required": ["notes"],
        })
    }),
    run: search,
};

const READ: Tool = Tool {
    name: "read",
    title: "Read a note",
    description: "Returns one note in Markdown.",
    input: || {
        json!({
            "type": "object",
            "properties": {"id": {"type": "string", "description": "The id of the note, as `search` gave it"}},
            "required": ["id"],
            "additionalProperties": false,
        })
    },
    output: None,
    run: read,
};

const EXPLAIN: Prompt = Prompt {
    name: "explain",
    title: "Explain a note",
    description: "Explain a note to somebody",
    arguments: || {
        json!([
            {"name": "id", "description": "The id of the note", "required": true},
            {"name": "audience", "description": "Who it is for", "required": false},
        ])
    },
    get: explain,
};

fn search(arguments: &Arguments) -> Result<Output, String> {
    arguments.only(&["query"])?;
    let query = arguments.text("query", MAX_TEXT)?.to_lowercase();
    let words: Vec<String> = query
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect();
    if words.is_empty() {
        return Err("The argument `query` must hold at least one word.".into());
    }
    let mut found: Vec<(usize, &Note)> = NOTES
        .iter()
        .map(|note| (note.score(&words), note))
        .filter(|(score, _)| *score > 0)
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.truncate(MAX_FOUND);
    let lines = found
        .iter()
        .map(|(_, note)| format!("{}: {}. {}", note.id, note.title(), note.excerpt(&words)));
    let lines: Vec<String> = lines.collect();
    let text = if lines.is_empty() {
        format!("No note holds all of: {}", words.join(", "))
    } else {
        lines.join("\n")
    };
    let notes: Vec<Value> = found
        .iter()
        .map(|(_, note)| json!({"id": note.id, "title": note.title(), "excerpt": note.excerpt(&words)}))
        .collect();
    Ok(Output {
        content: vec![text_content(&text)],
        log: format!("found {} notes", notes.len()),
        structured: Some(json!({"notes": notes})),
        steps: 1,
    })
}

fn read(arguments: &Arguments) -> Result<Output, String> {
    arguments.only(&["id"])?;
    let note = named(&arguments.text("id", MAX_TEXT)?)?;
    Ok(Output {
        content: vec![text_content(note.text)],
        structured: None,
        steps: 1,
        log: format!("read {}", note.id),
    })
}

fn explain(arguments: &Arguments) -> Result<Value, String> {
    arguments.only(&["id", "audience"])?;
    let note = named(&arguments.text("id", MAX_TEXT)?)?;
    let audience = arguments.optional_text("audience", MAX_TEXT)?;
    let audience = audience.unwrap_or_else(|| "a colleague who is new to this".into());
    let request =
        format!("Explain the following note to {audience}, in a short paragraph and one example.");
    let resource = resource(note);
    Ok(json!([
        {"role": "user", "content": text_content(&request)},
        {"role": "user", "content": {"type": "resource", "resource": resource}},
    ]))
}

fn named(id: &str) -> Result<&'static Note, String> {
    find(id).ok_or_else(|| {
        let ids: Vec<&str> = NOTES.iter().map(|note| note.id).collect();
        format!("There is no note `{id}`; there is {}.", ids.join(", "))
    })
}

fn resources() -> Vec<Value> {
    NOTES
        .iter()
        .map(|note| json!({"uri": note.uri(), "name": note.id, "title": note.title(), "mimeType": "text/markdown"}))
        .collect()
}

fn templates() -> Vec<Value> {
    vec![
        json!({"uriTemplate": TEMPLATE, "name": "note", "title": "A note", "mimeType": "text/markdown"}),
    ]
}

fn read_resource(uri: &str) -> Option<Value> {
    uri.strip_prefix(SCHEME).and_then(find).map(resource)
}

fn resource(note: &Note) -> Value {
    json!({"uri": note.uri(), "mimeType": "text/markdown", "text": note.text})
}

fn complete(reference: &str, argument: &str) -> Option<Vec<String>> {
    match (reference, argument) {
        ("explain" | TEMPLATE, "id") => Some(NOTES.iter().map(|note| note.id.into()).collect()),
        ("explain", "audience") => Some(Vec::new()),
        _ => None,
    }
}
