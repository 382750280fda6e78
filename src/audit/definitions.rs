//! The definitions of tools that the log knows, so that a gateway that starts again sees what changed meanwhile.

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{DefinitionHash, ServerName};

/// A definition as the last event about it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// Whose tool it is.
    pub server: ServerName,
    /// What its server spoke: `modern` or `legacy`.
    pub protocol: String,
    /// By the server's own name.
    pub tool: String,
    /// The hash of its definition.
    pub hash: DefinitionHash,
}

#[derive(Deserialize)]
struct Meta {
    server: String,
    protocol: String,
    tools: Vec<MetaTool>,
}

#[derive(Deserialize)]
struct MetaTool {
    name: String,
    hash: String,
}

/// Reads the definitions in the order in which they were seen; the last of a tool counts. An event that is not
/// readable is passed over: what it was about is seen as new.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_definitions(db: &mut SqliteConnection) -> Result<Vec<Defined>, DbError> {
    let text = "SELECT meta FROM event WHERE kind = 'tools' ORDER BY seq";
    let events: Vec<String> = sqlx::query_scalar(text).fetch_all(db).await?;
    let read = events
        .iter()
        .filter_map(|meta| serde_json::from_str(meta).ok());
    Ok(read.flat_map(definitions).collect())
}

fn definitions(meta: Meta) -> Vec<Defined> {
    let Ok(server) = meta.server.parse::<ServerName>() else {
        return Vec::new();
    };
    let tools = meta.tools.into_iter().filter_map(|tool| {
        Some(Defined {
            server: server.clone(),
            protocol: meta.protocol.clone(),
            tool: tool.name,
            hash: DefinitionHash::from_hex(&tool.hash)?,
        })
    });
    tools.collect()
}
