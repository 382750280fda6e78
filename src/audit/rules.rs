//! The texts of policy files beside the chain: each once, with the event that names it.

use crate::db::{DbError, WriteTx};
use crate::types::RulesText;

/// The longest text that is kept, in bytes; of a longer file only the digest in its event is known.
const MAX_TEXT: usize = 1024 * 1024;

/// Adds the texts of files that came into force with these events, as far as they are not known.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub(super) async fn add(tx: &mut WriteTx<'_>, rules: &[(i64, &RulesText)]) -> Result<(), DbError> {
    let kept = rules
        .iter()
        .filter(|(_, rules)| rules.text().len() <= MAX_TEXT);
    for (seq, rules) in kept {
        let add = "INSERT INTO policy_file (revision, seq, text, is_whole) VALUES ($1, $2, $3, $4)
            ON CONFLICT (revision) DO NOTHING";
        sqlx::query(add)
            .bind(rules.revision().to_string())
            .bind(seq)
            .bind(rules.text())
            .bind(rules.is_whole())
            .execute(tx.connection().await?)
            .await?;
    }
    Ok(())
}
