//! The twins of a list for programs: the same rows under the same filter as CSV, JSON or a JSON a line.

use std::fmt::Write;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::audit::csv::{self, Cell};
use crate::audit::{Accessed, Deed, TakenAs};
use crate::types::{Peer, Timestamp};

use super::visit::Visit;
use super::{Dashboard, Failure};

/// A list for programs. The first row of a CSV, and the keys of JSON, are the names of the columns.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<Datum>>,
}

/// What stands in one place of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Datum {
    /// Nothing is known.
    Empty,
    Number(i64),
    /// A text of anybody, as it came.
    Text(String),
    /// An instant; printed in UTC (RFC 3339).
    Time(Timestamp),
    /// Yes or no.
    Flag(bool),
}

impl Datum {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn some_text(text: Option<&str>) -> Self {
        text.map_or(Self::Empty, Self::text)
    }

    pub(super) fn some_time(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Empty, Self::Time)
    }

    /// A number that may be missing; one that is too large for its place stays as large as it can.
    pub(super) fn some_number(number: Option<u64>) -> Self {
        number.map_or(Self::Empty, |number| {
            Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
        })
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Time(at) => at.rfc3339_utc().into(),
            Self::Flag(flag) => (*flag).into(),
        }
    }
}

/// In which form a list is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Csv,
    Json,
    Jsonl,
}

impl Form {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Json];

    /// How its address ends.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
        }
    }

    /// The word in the event that says it was taken away.
    pub(super) fn taken_as(self) -> TakenAs {
        match self {
            Self::Csv => TakenAs::Csv,
            Self::Json => TakenAs::Json,
            Self::Jsonl => TakenAs::Jsonl,
        }
    }

    /// The headers of an answer in this form; `name` is what the browser calls the file.
    pub(super) fn headers(self, name: &str) -> [(header::HeaderName, HeaderValue); 2] {
        let kind = match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json",
            Self::Jsonl => "application/jsonl",
        };
        let named = format!("attachment; filename=\"hayward-{name}.{}\"", self.suffix());
        [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (
                header::CONTENT_DISPOSITION,
                HeaderValue::from_str(&named)
                    .unwrap_or_else(|_| HeaderValue::from_static("attachment")),
            ),
        ]
    }
}

impl Table {
    /// The whole text.
    pub(super) fn print(&self, form: Form) -> String {
        let mut out = self.head(form);
        for (at, row) in self.rows.iter().enumerate() {
            self.print_row(form, row, at == 0, &mut out);
        }
        out.push_str(Self::foot(form));
        out
    }

    /// What stands before the first row.
    pub(super) fn head(&self, form: Form) -> String {
        let mut out = String::new();
        match form {
            Form::Csv => csv::row(&mut out, self.columns.iter().map(|name| Cell::Text(name))),
            Form::Json => out.push('['),
            Form::Jsonl => {}
        }
        out
    }

    /// What stands after the last one.
    pub(super) fn foot(form: Form) -> &'static str {
        match form {
            Form::Csv | Form::Jsonl => "",
            Form::Json => "\n]\n",
        }
    }

    /// One row.
    pub(super) fn print_row(&self, form: Form, row: &[Datum], is_first: bool, out: &mut String) {
        match form {
            Form::Csv => print_csv(row, out),
            Form::Json => {
                out.push_str(if is_first { "\n" } else { ",\n" });
                self.print_object(row, out);
            }
            Form::Jsonl => {
                self.print_object(row, out);
                out.push('\n');
            }
        }
    }

    /// Keys in the order of the columns.
    fn print_object(&self, row: &[Datum], out: &mut String) {
        out.push('{');
        for (at, (name, datum)) in self.columns.iter().zip(row).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            // Writing to a String cannot fail.
            let _ = write!(out, "{comma}{}:{}", Value::from(*name), datum.to_json());
        }
        out.push('}');
    }
}

fn print_csv(row: &[Datum], out: &mut String) {
    let times: Vec<String> = row.iter().map(printed).collect();
    let cells = row.iter().zip(&times).map(|(datum, printed)| match datum {
        Datum::Empty => Cell::Empty,
        Datum::Number(number) => Cell::Number(*number),
        Datum::Text(text) => Cell::Text(text),
        Datum::Time(_) | Datum::Flag(_) => Cell::Text(printed),
    });
    csv::row(out, cells);
}

fn printed(datum: &Datum) -> String {
    match datum {
        Datum::Time(at) => at.rfc3339_utc(),
        Datum::Flag(flag) => flag.to_string(),
        Datum::Empty | Datum::Number(_) | Datum::Text(_) => String::new(),
    }
}

/// Makes the rows of a list for a request.
pub(super) type Making = fn(Visit) -> BoxFuture<'static, Result<Table, Failure>>;

/// Adds the twins of a list at `path`, which may have one name in it.
pub(super) fn add(
    router: Router<Dashboard>,
    path: &'static str,
    making: Making,
) -> Router<Dashboard> {
    Form::ALL.into_iter().fold(router, |router, form| {
        let answer = async move |peer: Option<Extension<Peer>>, visit: Visit| {
            answer(visit, peer, (path, form), making).await
        };
        router.route(&format!("{path}.{}", form.suffix()), get(answer))
    })
}

/// Nothing is sent before it is written down that somebody takes it away.
async fn answer(
    visit: Visit,
    peer: Option<Extension<Peer>>,
    (path, form): (&'static str, Form),
    making: Making,
) -> Result<Response, Failure> {
    let name = path
        .trim_start_matches('/')
        .replace("{name}/", "")
        .replace('/', "-");
    taking(&visit, peer, form).await?;
    let table = making(visit).await?;
    Ok((form.headers(&name), table.print(form)).into_response())
}

/// Writes down that somebody takes the list away that is looked at.
pub(super) async fn taking(
    visit: &Visit,
    peer: Option<Extension<Peer>>,
    form: Form,
) -> Result<(), Failure> {
    let accessed = Accessed {
        viewer: visit.viewer(),
        path: Some(format!("{}{}", visit.path, visit.filter)),
        form: Some(form.taken_as()),
        address: peer.map(|Extension(peer)| peer.0),
        ..Accessed::new(Deed::Export)
    };
    if visit.dashboard.record(accessed).await {
        Ok(())
    } else {
        Err(Failure::Unrecorded)
    }
}

/// Where the twins of a list are, for the foot of its page.
#[derive(Debug)]
pub(super) struct Twin {
    pub(super) name: &'static str,
    pub(super) href: String,
}

/// The twins of the list that is looked at.
pub(super) fn of(visit: &Visit) -> Vec<Twin> {
    at(&visit.path, visit)
}

/// The twins of a list at another path, which a page shows a part of.
pub(super) fn at(path: &str, visit: &Visit) -> Vec<Twin> {
    let named = [Form::Csv, Form::Jsonl, Form::Json].into_iter();
    let twins = named.map(|form| Twin {
        name: match form {
            Form::Csv => "CSV",
            Form::Json => "JSON",
            Form::Jsonl => "JSON lines",
        },
        href: format!(
            "{path}.{}{}",
            form.suffix(),
            visit.filter.at(crate::audit::read::Cursor::Newest)
        ),
    });
    twins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_the_same_in_every_form() {
        let table = Table {
            columns: &["agent", "calls", "last_seen", "disabled", "note"],
            rows: vec![vec![
                Datum::text("=cmd()"),
                Datum::Number(-3),
                Datum::Time(Timestamp::from_micros(0)),
                Datum::Flag(true),
                Datum::Empty,
            ]],
        };
        assert_eq!(
            table.print(Form::Csv),
            "agent,calls,last_seen,disabled,note\n'=cmd(),-3,1970-01-01T00:00:00.000000Z,true,\n"
        );
        let object = r#"{"agent":"=cmd()","calls":-3,"last_seen":"1970-01-01T00:00:00.000000Z","disabled":true,"note":null}"#;
        assert_eq!(table.print(Form::Jsonl), format!("{object}\n"));
        assert_eq!(table.print(Form::Json), format!("[\n{object}\n]\n"));
        let none = Table {
            rows: Vec::new(),
            ..table
        };
        assert_eq!(none.print(Form::Json), "[\n]\n");
    }
}
