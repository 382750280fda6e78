//! `hayward audit`: look into the log and check it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Screen, plain};
use crate::audit::verify as verify_log;
use crate::db::Readers;

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Compute the whole chain and all budgets again; exit 1 when they differ from what is written
    Verify(VerifyArguments),
}

/// Flags of `hayward audit verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArguments {
    /// The database to check; it is only read
    #[arg(
        long,
        value_name = "FILE",
        env = "HAYWARD_DB",
        default_value = "./hayward.db"
    )]
    pub db: PathBuf,
    /// A head that was noted elsewhere; the log must contain it, or it was cut or replaced since
    #[arg(long, value_name = "HASH", env = "HAYWARD_EXPECT_HEAD", value_parser = head_hash)]
    pub expect_head: Option<[u8; 32]>,
}

/// Reads the whole log and says whether it is what was written.
pub(super) async fn verify(
    arguments: &VerifyArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let readers = Readers::open(&arguments.db).await?;
    let found = verify_log(&readers, arguments.expect_head, |_| ()).await;
    readers.close().await;
    let found = found?;
    let head = format!("{} {}", found.head.seq, found.head.hex());
    if found.faults.is_empty() {
        screen.answer(&format!(
            "ok: {} events, head {head}, {} calls open",
            found.head.seq, found.open_calls
        ))?;
        return Ok(Exit::Yes);
    }
    for fault in &found.faults {
        screen.answer(&format!("broken: {}", plain(&fault.to_string())))?;
    }
    screen.answer(&format!("the last event that verifies is {head}"))?;
    Ok(Exit::No)
}

/// 64 hexadecimal digits, with or without `sha256:` before them.
fn head_hash(text: &str) -> Result<[u8; 32], String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let nibbles = digits.chars().map(|digit| digit.to_digit(16));
    let nibbles: Option<Vec<u32>> = nibbles.collect();
    nibbles
        .map(|nibbles| {
            let bytes = nibbles.chunks(2).filter_map(|pair| match pair {
                [high, low] => u8::try_from(high * 16 + low).ok(),
                _ => None,
            });
            bytes.collect::<Vec<u8>>()
        })
        .filter(|bytes| bytes.len() * 2 == digits.len())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "a head is written as 64 hexadecimal digits".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_64_hexadecimal_digits() {
        let text = "00ff".repeat(16);
        let head = head_hash(&text).unwrap();
        assert_eq!((head[0], head[1], head[31]), (0, 255, 255));
        assert_eq!(head_hash(&format!("sha256:{text}")), Ok(head));
        for wrong in [
            "",
            "00",
            &text[1..],
            &format!("{text}0"),
            &text.replace('f', "g"),
        ] {
            assert!(head_hash(wrong).is_err(), "{wrong}");
        }
    }
}
