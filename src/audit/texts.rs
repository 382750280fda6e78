//! Texts beside the chain that events name by a digest: policy files and definitions of tools, each once.

use crate::db::{DbError, WriteTx, params};
use crate::types::{DefinitionText, RulesText};

/// The longest policy file that is kept, in bytes; of a longer one only the digest in its event is known.
const MAX_RULES: usize = 1024 * 1024;

/// The longest definition that is kept, in bytes.
const MAX_DEFINITION: usize = 64 * 1024;

/// Definitions that are kept. A server may say something new each time it is asked; of what comes beyond, only the hash is
/// known.
const MAX_DEFINITIONS: i64 = 5_000;

const NEW_RULES: &str =
    "INSERT INTO policy_file (revision, seq, text, is_whole) VALUES (?, ?, ?, ?)
    ON CONFLICT (revision) DO NOTHING";
const NEW_DEFINITION: &str = "INSERT INTO tool_definition (hash, seq, text, is_whole)
    SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM tool_definition) < ?5
    ON CONFLICT (hash) DO NOTHING";

/// What is kept with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Texts {
    /// The policy file that comes into force.
    Rules(RulesText),
    /// Definitions that were not known.
    Definitions(Vec<DefinitionText>),
}

/// Adds the texts of these events, as far as they are not known.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub(super) fn add<'t>(
    tx: &mut WriteTx<'_>,
    texts: impl Iterator<Item = (i64, &'t Texts)>,
) -> Result<(), DbError> {
    for (seq, texts) in texts {
        match texts {
            Texts::Rules(rules) if rules.text().len() <= MAX_RULES => {
                let revision = rules.revision().to_string();
                let values = params![revision, seq, rules.text(), rules.is_whole()];
                tx.execute(NEW_RULES, values)?;
            }
            Texts::Rules(_) => {}
            Texts::Definitions(definitions) => {
                let short = definitions.iter();
                for one in short.filter(|one| one.text().len() <= MAX_DEFINITION) {
                    let hash = one.hash().to_string();
                    let values = params![hash, seq, one.text(), one.is_whole(), MAX_DEFINITIONS];
                    tx.execute(NEW_DEFINITION, values)?;
                }
            }
        }
    }
    Ok(())
}
