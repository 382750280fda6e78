//! What is known of the definitions of tools, newest first: when each was seen first, and when it changed.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::Timestamp;

/// Events about definitions that are looked at, the newest ones; one tells of up to 500 tools.
const EVENTS: i64 = 2_000;

/// The most rows that are told.
const MAX_ROWS: usize = 20_000;

/// A definition that was new, or another one than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    /// The sequence of the event.
    pub seq: i64,
    /// When it was seen.
    pub at: Timestamp,
    /// Whose tool it is.
    pub server: String,
    /// What its server spoke: `modern` or `legacy`.
    pub protocol: String,
    /// Whether nothing was known of the server before.
    pub is_first: bool,
    /// The call in which it was seen.
    pub of: Option<String>,
    /// By the server's own name.
    pub tool: String,
    /// The hash of the definition, in hexadecimal digits.
    pub hash: String,
    /// The hash it had before; `None` for a tool that was new.
    pub was: Option<String>,
}

/// What a definition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionSaid {
    /// JSON in its canonical form, or what of it may be shown.
    pub text: String,
    /// Whether that is all of it.
    pub is_whole: bool,
}

/// What definitions say, by their hashes in hexadecimal digits; those that are not kept are left out: they were seen before
/// texts were kept, are longer than 64 KiB, or came when 5,000 were kept.
///
/// # Errors
/// When SQLite refuses.
pub async fn definition_texts(
    db: &mut SqliteConnection,
    hashes: &[&str],
) -> Result<HashMap<String, DefinitionSaid>, DbError> {
    let text = "SELECT hash, text, is_whole FROM tool_definition
        WHERE hash IN (SELECT value FROM json_each($1))";
    let rows: Vec<(String, String, bool)> = sqlx::query_as(text)
        .bind(serde_json::Value::from(hashes).to_string())
        .fetch_all(db)
        .await?;
    let texts = rows
        .into_iter()
        .map(|(hash, text, is_whole)| (hash, DefinitionSaid { text, is_whole }));
    Ok(texts.collect())
}

/// What the text of the event says; what is missing was not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    server: String,
    protocol: String,
    seen: String,
    of: Option<String>,
    tools: Vec<MetaTool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MetaTool {
    name: String,
    hash: String,
    was: Option<String>,
}

/// Definitions that were seen for the first time or changed, of one server or of all, newest first: at most 20,000, from
/// the last 2,000 events about it.
///
/// # Errors
/// When SQLite refuses.
pub async fn definition_rows(
    db: &mut SqliteConnection,
    server: Option<&str>,
) -> Result<Vec<DefinitionRow>, DbError> {
    let text = "SELECT seq, at_us, meta FROM event
        WHERE kind = 'tools' AND ($1 IS NULL OR meta ->> '$.server' = $1) ORDER BY seq DESC LIMIT $2";
    let events: Vec<(i64, i64, String)> = sqlx::query_as(text)
        .bind(server)
        .bind(EVENTS)
        .fetch_all(db)
        .await?;
    let rows = events.into_iter().flat_map(|(seq, at_us, meta)| {
        let meta: Meta = serde_json::from_str(&meta).unwrap_or_default();
        let (server, protocol, of) = (meta.server, meta.protocol, meta.of);
        let is_first = meta.seen == "first";
        let tools = meta.tools.into_iter();
        tools.map(move |tool| DefinitionRow {
            seq,
            at: Timestamp::from_micros(at_us),
            server: server.clone(),
            protocol: protocol.clone(),
            is_first,
            of: of.clone(),
            tool: tool.name,
            hash: tool.hash,
            was: tool.was,
        })
    });
    Ok(rows.take(MAX_ROWS).collect())
}
