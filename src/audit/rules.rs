//! The texts of policy files beside the chain: each once, with the event that names it.

use crate::db::{DbError, WriteTx, params};
use crate::types::RulesText;

/// The longest text that is kept, in bytes; of a longer file only the digest in its event is known.
const MAX_TEXT: usize = 1024 * 1024;

/// Adds the texts of files that came into force with these events, as far as they are not known.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub(super) fn add<'r>(
    tx: &mut WriteTx<'_>,
    rules: impl Iterator<Item = (i64, &'r RulesText)>,
) -> Result<(), DbError> {
    let add = "INSERT INTO policy_file (revision, seq, text, is_whole) VALUES (?, ?, ?, ?)
        ON CONFLICT (revision) DO NOTHING";
    for (seq, rules) in rules.filter(|(_, rules)| rules.text().len() <= MAX_TEXT) {
        let revision = rules.revision().to_string();
        tx.execute(add, params![revision, seq, rules.text(), rules.is_whole()])?;
    }
    Ok(())
}
