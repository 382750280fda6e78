//! What programs may read of these pages, as OpenAPI 3.1: made from the lists themselves.

use std::collections::BTreeMap;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::audit::filter::{Back, Key, Period};

use super::failure::Failure;
use super::filters::decisions;
use super::twins::Form;
use super::visit::Visit;
use super::{BASE, lists, pages};

/// `GET /openapi.json`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let text = format!("{:#}\n", document(&columns(&visit).await));
    Ok((kind, text).into_response())
}

/// The columns of each list: asked of the lists themselves, of the last minute. A list of one name is not asked, as
/// nobody named any.
async fn columns(visit: &Visit) -> BTreeMap<&'static str, &'static [&'static str]> {
    let mut columns = BTreeMap::new();
    for (path, making) in lists() {
        if path.contains('{') {
            continue;
        }
        let mut asked = visit.clone();
        asked.path = format!("{BASE}{path}");
        asked.filter = asked.filter.time_only();
        asked.filter = asked.filter.during(Period::Last(Back::minutes(1)));
        if let Ok(table) = making(asked).await {
            columns.insert(path, table.columns);
        }
    }
    columns
}

/// The whole document.
fn document(columns: &BTreeMap<&'static str, &'static [&'static str]>) -> Value {
    let mut paths = Map::new();
    for (path, _) in pages() {
        let path = if path == "/" { "" } else { path };
        paths.insert(format!("{BASE}{path}"), page_of(path));
    }
    for (path, _) in lists() {
        for form in Form::ALL {
            let name = format!("{BASE}{path}.{}", form.suffix());
            let columns = columns.get(path).copied();
            paths.insert(name, twin_of(path, form, columns));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hayward, the log as people and programs read it",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Read-only. Viewers only: log in with a viewer's token and send the cookie along.",
        },
        "paths": paths,
        "components": {
            "parameters": parameters(),
            "responses": responses(),
            "securitySchemes": {
                "viewer": {"type": "apiKey", "in": "cookie", "name": "__Host-hayward-viewer",
                    "description": "On plain http the cookie is called hayward-viewer."},
            },
        },
        "security": [{"viewer": []}],
    })
}

fn page_of(path: &str) -> Value {
    let kind = if path.ends_with(".json") {
        "application/json"
    } else {
        "text/html"
    };
    operation(path, "The page", json!({kind: {}}))
}

fn twin_of(path: &str, form: Form, columns: Option<&[&str]>) -> Value {
    let row = row(columns);
    let content = match form {
        Form::Json => json!({"application/json": {"schema": {"type": "array", "items": row}}}),
        Form::Jsonl => json!({"application/jsonl": {"schema": row}}),
        Form::Csv => json!({"text/csv": {"schema": {"type": "string"}, "x-columns": columns}}),
    };
    operation(path, "The same rows as on the page", content)
}

/// A row: every column is there, and null where nothing is known.
fn row(columns: Option<&[&str]>) -> Value {
    let Some(columns) = columns else {
        return json!({"type": "object"});
    };
    let datum = json!({"type": ["string", "integer", "boolean", "null"]});
    let properties = columns
        .iter()
        .map(|name| ((*name).to_owned(), datum.clone()));
    let properties: Map<String, Value> = properties.collect();
    json!({"type": "object", "properties": properties, "required": columns, "additionalProperties": false})
}

fn operation(path: &str, summary: &str, content: Value) -> Value {
    let in_path = names(path).map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
    );
    let shared = words().map(|word| json!({"$ref": format!("#/components/parameters/{word}")}));
    let parameters: Vec<Value> = in_path.chain(shared).collect();
    let answer = |code: &str| json!({"$ref": format!("#/components/responses/{code}")});
    json!({"get": {
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "It is there", "content": content},
            "303": answer("303"), "403": answer("403"), "404": answer("404"), "503": answer("503"),
        },
    }})
}

/// The names in braces of a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// Words of the filter that are no conditions.
const TIMES: [(&str, &str); 4] = [
    ("range", "The last minutes, hours or days: 30m, 24h, 7d"),
    ("from", "From this day or instant on"),
    ("to", "Before this day or instant"),
    ("tz", "The IANA zone of times without an offset"),
];

/// The names of the parameters, those that leave out with `not-` before them.
fn words() -> impl Iterator<Item = String> {
    let keys = Key::ALL.into_iter().map(Key::as_str);
    let both = keys.flat_map(|key| [key.to_owned(), format!("not-{key}")]);
    both.chain(TIMES.map(|(word, _)| word.to_owned()))
}

fn parameters() -> Value {
    let mut all = Map::new();
    for key in Key::ALL {
        let word = key.as_str();
        let mut schema = json!({"type": "string"});
        if key == Key::Decision {
            let words: Vec<&str> = decisions().map(|(word, _)| word).collect();
            schema = json!({"type": "string", "enum": words});
        }
        let parameter = |name: String, what: &str| {
            json!({"name": name, "in": "query", "description": what, "explode": true,
                "schema": {"type": "array", "items": schema.clone()}})
        };
        all.insert(word.into(), parameter(word.into(), "One of these"));
        all.insert(
            format!("not-{word}"),
            parameter(format!("-{word}"), "None of these"),
        );
    }
    for (word, what) in TIMES {
        let parameter =
            json!({"name": word, "in": "query", "description": what, "schema": {"type": "string"}});
        all.insert(word.into(), parameter);
    }
    Value::Object(all)
}

fn responses() -> Value {
    json!({
        "303": {"description": "To the login, for whoever is not logged in"},
        "403": {"description": "The rules name no viewer yet"},
        "404": {"description": "Neither the log nor the rules know the name"},
        "503": {"description": "It took too long, or the log cannot be read; nothing is wrong with calls"},
    })
}
