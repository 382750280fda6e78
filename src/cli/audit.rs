//! `hayward audit`: check the log, and the key that vouches for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};

use super::archive::{self, Archived};
use super::args::LogFile;
use super::{
    Exit, ExportArguments, Failure, PruneArguments, QueryArguments, RedactArguments,
    ReportArguments, Screen, plain,
};
use crate::audit::{
    Checkpoint, Fault, Head, Known, PublicKey, SigningKey, Verified, VerifiedExport, bytes,
    verify_against, verify_exports, verify_quickly,
};
use crate::clock::{Clock, SystemClock};
use crate::db::{DbError, LogId, Readers};
use crate::types::hex;

/// What stands before the digits in the file of a key, so that nobody takes it for something else.
const KEY_PREFIX: &str = "hayward-signing-key:";

/// What `verify` ends with, for scripts.
const CODES: &str = "\
Exit codes:
  0  sound
  2  an event, a column, a body, a text of rules, a checkpoint or what pages go by is not what was written
  3  events are missing or stand elsewhere, or bodies are that nobody deleted in good order
  4  the log was cut, rolled back or rewritten since a checkpoint or a head was kept elsewhere
  5  another log, another key, or no signature
  6  budgets or calls are not what the events add up to
  7  cannot be verified: the file, or what it is compared to, cannot be read
  8  no checkpoint where one was due";

/// What can be done with the log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Compute the whole chain and all budgets again, and compare with what was kept elsewhere
    #[command(after_help = CODES)]
    Verify(VerifyArguments),
    /// Delete what is kept of arguments and results, of one call or of all before a day; written down with who and why
    Redact(RedactArguments),
    /// Print calls, newest last, in the words of the dashboard's filter
    Query(QueryArguments),
    /// Print the report of a month: use, budgets, refusals, changes, access, and what to verify it by
    Report(ReportArguments),
    /// Hand events over in a file that can be verified without the database
    Export(ExportArguments),
    /// Let old events go that stand in an archive; without --yes, say which
    Prune(Box<PruneArguments>),
    /// Make a key that signs checkpoints, and print its public half
    Key(KeyArguments),
}

/// Flags of `hayward audit verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArguments {
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// A head that was noted elsewhere; the log must contain it, or it was cut or replaced since
    #[arg(long, value_name = "HASH", env = "HAYWARD_EXPECT_HEAD", value_parser = digits::<32>)]
    pub expect_head: Option<[u8; 32]>,
    /// The id of the log, as `serve` prints it; any other log is refused
    #[arg(long, value_name = "ID", env = "HAYWARD_LOG_ID", value_parser = digits::<16>)]
    pub log_id: Option<[u8; 16]>,
    /// The key that checkpoints must be signed with
    #[arg(long, value_name = "KEY", env = "HAYWARD_PUBLIC_KEY", value_parser = digits::<32>)]
    pub public_key: Option<[u8; 32]>,
    /// Only the last 10,000 events, the last checkpoints, and the ledger as far as these say; as every start does
    #[arg(long, conflicts_with = "expect_head")]
    pub quick: bool,
    /// A file of exported checkpoints, all of which the log must contain; may be repeated
    #[arg(long, value_name = "FILE")]
    pub checkpoints: Vec<PathBuf>,
    /// Check exports instead of the database; they must join one another
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub export: Vec<PathBuf>,
    /// The archives of what was pruned, to verify across the place where the log was cut
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "export")]
    pub archive: Vec<PathBuf>,
}

/// Flags of `hayward audit key`.
#[derive(Debug, Clone, Args)]
pub struct KeyArguments {
    /// The file to write it to; it must not exist
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Reads the whole log and says whether it is what was written.
pub(super) async fn verify(
    arguments: &VerifyArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let known = match known(arguments) {
        Ok(known) => known,
        Err(error) => return unreadable(&error, screen),
    };
    if !arguments.export.is_empty() {
        return match verify_exports(&arguments.export, known, &mut |_, _| ()) {
            Ok(found) => say_export(&found, screen),
            Err(error) => unreadable(&error.into(), screen),
        };
    }
    let seqs: Vec<i64> = known.checkpoints.iter().map(|kept| kept.head.seq).collect();
    let archived = match archived(arguments, &known).await {
        Ok(archived) => archived,
        Err(error) => return unreadable(&error, screen),
    };
    if !archived.faults.is_empty() {
        return verdict(
            &archived.faults,
            (archived.head, archived.checkpoint),
            screen,
        );
    }
    let found = match read(arguments, known).await {
        Ok(found) => found,
        Err(error) => return unreadable(&error.into(), screen),
    };
    let compared = seqs.iter().filter(|seq| **seq >= found.pruned).count() + archived.compared;
    if compared == 0 && !seqs.is_empty() {
        let all =
            "all checkpoints are about events that were pruned; name their archives with --archive";
        return unreadable(&anyhow!(all), screen);
    }
    if found.faults.is_empty() {
        say_sound(&found, compared, screen)?;
        if arguments.quick {
            screen.answer("only the end of it was checked")?;
        }
    }
    verdict(&found.faults, (found.head, found.checkpoint), screen)
}

/// Says what is wrong, if anything is, and how far it is not.
pub(super) fn verdict(
    faults: &[Fault],
    (head, checkpoint): (Head, i64),
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let Some(first) = faults.first() else {
        return Ok(Exit::Yes);
    };
    for fault in faults {
        screen.answer(&format!("broken: {}", plain(&fault.to_string())))?;
    }
    let (seq, hash) = (head.seq, head.hex());
    screen.answer(&format!("the last event that verifies is {seq} {hash}"))?;
    screen.answer(&format!(
        "the last event that a checkpoint covers is {checkpoint}"
    ))?;
    Ok(Exit::Verdict(exit_code(first)))
}

fn say_export(found: &VerifiedExport, screen: &mut Screen) -> Result<Exit, Failure> {
    if found.faults.is_empty() {
        let (before, head) = (found.before, found.head);
        screen.answer(&format!(
            "ok: {} events, {} to {}, head {}",
            head.seq.saturating_sub(before.seq),
            before.seq.saturating_add(1),
            head.seq,
            head.hex()
        ))?;
        screen.answer(&format!(
            "log {}, joins {}, checkpoints cover them up to {}, {} exported ones compared",
            hex(&found.log.0),
            before.hex(),
            found.checkpoint,
            found.compared
        ))?;
    }
    verdict(&found.faults, (found.head, found.checkpoint), screen)
}

fn say_sound(found: &Verified, exported: usize, screen: &mut Screen) -> Result<(), Failure> {
    screen.answer(&format!(
        "ok: {} events, head {} {}, {} calls open",
        found.head.seq.saturating_sub(found.pruned),
        found.head.seq,
        found.head.hex(),
        found.open_calls
    ))?;
    screen.answer(&format!(
        "log {}, checkpoints cover {} events, {exported} exported ones compared",
        hex(&found.log.0),
        found.checkpoint
    ))?;
    if found.pruned > 0 {
        screen.answer(&format!("the events up to {} were pruned", found.pruned))?;
    }
    Ok(())
}

/// What the archives prove, if any were named.
async fn archived(arguments: &VerifyArguments, known: &Known) -> anyhow::Result<Archived> {
    if arguments.archive.is_empty() {
        return Ok(Archived::default());
    }
    let readers = Readers::open(&arguments.log.db).await?;
    let found = archive::verify(&readers, &arguments.archive, known).await;
    readers.close().await;
    found
}

async fn read(arguments: &VerifyArguments, known: Known) -> Result<Verified, DbError> {
    let readers = Readers::open(&arguments.log.db).await?;
    let found = if arguments.quick {
        verify_quickly(&readers, known).await
    } else {
        verify_against(&readers, known, |_| ()).await.map(Some)
    };
    readers.close().await;
    found?.ok_or_else(|| DbError::Missing(arguments.log.db.clone()))
}

fn unreadable(error: &anyhow::Error, screen: &mut Screen) -> Result<Exit, Failure> {
    let why = plain(&format!("{error:#}")).to_string();
    screen.answer(&format!("cannot be verified: {why}"))?;
    Ok(Exit::Verdict(7))
}

/// The code of the first thing that is wrong; see [`CODES`].
pub(super) fn exit_code(fault: &Fault) -> u8 {
    match fault {
        Fault::Changed { .. }
        | Fault::Column { .. }
        | Fault::Body { .. }
        | Fault::Lookup { .. }
        | Fault::Rollup { .. }
        | Fault::CoarseSums { .. }
        | Fault::Rules { .. }
        | Fault::Definition { .. }
        | Fault::Export { .. } => 2,
        Fault::Missing { .. } | Fault::BodyMissing { .. } | Fault::Pruned { .. } => 3,
        Fault::HeadNotFound | Fault::CutOff { .. } | Fault::Rewritten { .. } => 4,
        Fault::OtherLog { .. } | Fault::NotSigned { .. } => 5,
        Fault::Call { .. }
        | Fault::Ledger { .. }
        | Fault::Frozen { .. }
        | Fault::Overspent { .. } => 6,
        Fault::Stale { .. } => 8,
    }
}

fn known(arguments: &VerifyArguments) -> anyhow::Result<Known> {
    let mut checkpoints = Vec::new();
    for path in &arguments.checkpoints {
        checkpoints.append(&mut read_checkpoints(path)?);
    }
    Ok(Known {
        head: arguments.expect_head,
        log: arguments.log_id.map(LogId),
        key: arguments.public_key.map(PublicKey),
        checkpoints,
        now: Some(SystemClock::start().now()),
    })
}

/// All checkpoints of an exported file. One without any proves nothing, so it is refused.
pub(super) fn read_checkpoints(path: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the checkpoints in `{}`", path.display()))?;
    let lines = without_half_a_line(&text)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let read = lines.map(|(index, line)| {
        let wrong = |error| anyhow::anyhow!("`{}`, line {}: {error}", path.display(), index + 1);
        Checkpoint::from_line(line).map_err(wrong)
    });
    let read: Vec<Checkpoint> = read.collect::<anyhow::Result<_>>()?;
    if read.is_empty() {
        bail!("`{}` holds no checkpoint", path.display());
    }
    Ok(read)
}

/// A gateway that was killed in the middle of a line left half of one, which the next one takes off; it says nothing.
fn without_half_a_line(text: &str) -> &str {
    let end = text.rfind('\n').map_or(0, |end| end.saturating_add(1));
    let (whole, rest) = text.split_at(end);
    if Checkpoint::from_line(rest).is_ok() {
        text
    } else {
        whole
    }
}

/// Makes a key. Never overwrites: the old file may hold the only copy of a key in use.
pub(super) fn key(arguments: &KeyArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random numbers")?;
    let key = SigningKey::from_seed(&seed).map_err(anyhow::Error::msg)?;
    let mut options = OpenOptions::new();
    let path = &arguments.file;
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(format!("{KEY_PREFIX}{}\n", hex(&seed)).as_bytes())?;
            file.sync_all()
        });
    written.with_context(|| format!("cannot write the key to `{}`", path.display()))?;
    screen.say(&format!(
        "The key is in `{}`; start the gateway with --signing-key and keep it off the machine that verifies.\n\
         This public half is for `hayward audit verify --public-key`:",
        path.display()
    ));
    screen.answer(&hex(&key.public().0))?;
    Ok(Exit::Yes)
}

/// Reads the key that signs.
pub(super) fn read_signing_key(path: &Path) -> anyhow::Result<SigningKey> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the signing key in `{}`", path.display()))?;
    let seed = text.trim().strip_prefix(KEY_PREFIX).and_then(bytes::<32>);
    let seed = seed.with_context(|| {
        format!(
            "`{}` holds no signing key; `hayward audit key FILE` makes one",
            path.display()
        )
    })?;
    SigningKey::from_seed(&seed).map_err(anyhow::Error::msg)
}

/// Hexadecimal digits, with or without `sha256:` before them.
pub(super) fn digits<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    bytes(digits).ok_or_else(|| format!("it is written as {} hexadecimal digits", N * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_64_hexadecimal_digits() {
        let text = "00ff".repeat(16);
        let head: [u8; 32] = digits(&text).unwrap();
        assert_eq!((head[0], head[1], head[31]), (0, 255, 255));
        assert_eq!(digits(&format!("sha256:{text}")), Ok(head));
        for wrong in [
            "",
            "00",
            &text[1..],
            &format!("{text}0"),
            &text.replace('f', "g"),
        ] {
            assert!(digits::<32>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_reads_as_it_was_written_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let arguments = KeyArguments { file: file.clone() };
        let mut screen = Screen::standard(super::super::Color::Never, true);
        key(&arguments, &mut screen).unwrap();
        let public = read_signing_key(&file).unwrap().public();
        assert!(key(&arguments, &mut screen).is_err());
        assert_eq!(read_signing_key(&file).unwrap().public(), public);
        std::fs::write(&file, "0123").unwrap();
        assert!(
            read_signing_key(&file)
                .unwrap_err()
                .to_string()
                .contains("no signing key")
        );
    }
}
