//! `hayward audit prune`: lets events go that are too old, once they stand in an archive that was read again.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use clap::builder::BoolishValueParser;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::audit::{digits, read_checkpoints, verdict};
use super::budget::other;
use super::export::{paths, write};
use super::operate::{OperateArguments, order};
use super::progress::Progress;
use super::{Exit, Failure, Screen, plain};
use crate::audit::filter::Back;
use crate::audit::read::{extent, first_since};
use crate::audit::{
    Checkpoint, Export, Form, Known, Manifest, Plan, Prunable, Pruned, PublicKey, Seam, SeamMaker,
    bodies_before, is_pruning, load_name_table, load_pruned, plan, prunable, prune_some, sha256_of,
    verify_against, verify_exports, write_whole,
};
use crate::clock::{Clock, SystemClock};
use crate::db::{self, DbError, Durability, LogId, Readers};
use crate::gateway::{Order, Outcome, Prune};
use crate::types::{Timestamp, hex};

/// What has to be there, for the help.
const NEEDS: &str = "\
Only whole days (UTC) go, and only when
  - the log is sound, and an exported checkpoint (--checkpoints) covers them,
  - they were written to an archive (--archive), read again and verified,
  - every call that was let through in them is over.
One event says what went; `hayward audit verify` goes on from there, and across it with --archive.";

/// Flags of `hayward audit prune`.
#[derive(Debug, Clone, Args)]
#[command(after_help = NEEDS)]
pub struct PruneArguments {
    /// Events before this day go: 2026-01-01
    #[arg(
        long,
        value_name = "DAY",
        required_unless_present = "keep",
        conflicts_with = "keep"
    )]
    pub before: Option<Date>,
    /// Events that are older go: 400d
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub keep: Option<Back>,
    /// Only arguments and results go; their events stay, so no archive and no checkpoint is needed
    #[arg(long, env = "HAYWARD_BODIES_ONLY", value_parser = BoolishValueParser::new())]
    pub bodies_only: bool,
    /// The folder for the archive
    #[arg(long, value_name = "DIR", env = "HAYWARD_ARCHIVE")]
    pub archive: Option<PathBuf>,
    /// The id of the log, as `serve` prints it; any other log is refused
    #[arg(long, value_name = "ID", env = "HAYWARD_LOG_ID", value_parser = digits::<16>)]
    pub log_id: Option<[u8; 16]>,
    /// The key that checkpoints must be signed with
    #[arg(long, value_name = "KEY", env = "HAYWARD_PUBLIC_KEY", value_parser = digits::<32>)]
    pub public_key: Option<[u8; 32]>,
    /// Why, for whoever reads the log
    #[arg(
        long,
        value_name = "TEXT",
        env = "HAYWARD_WHY",
        default_value = "retention"
    )]
    pub why: String,
    /// Do it; without this, only what would go is told
    #[arg(long, env = "HAYWARD_YES", value_parser = BoolishValueParser::new())]
    pub yes: bool,
    /// Where.
    #[command(flatten)]
    pub at: OperateArguments,
}

/// Says what would go, or lets it go.
pub(super) async fn prune(arguments: PruneArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let until = until(&arguments).map_err(Failure::usage)?;
    if arguments.bodies_only {
        return prune_bodies(&arguments, until, screen).await;
    }
    if arguments.yes && arguments.archive.is_none() {
        return Err(Failure::usage(anyhow!(
            "name the folder for the archive with --archive; without one nothing goes"
        )));
    }
    let readers = Readers::open(&arguments.at.db).await?;
    if arguments.yes && is_pruning(&mut *readers.page().await?).await? {
        delete_rest(&arguments.at.db, screen).await?;
    }
    let planned = Planned::make(&readers, &arguments, until).await?;
    let Some(planned) = planned else {
        screen.answer("nothing to prune: no event is that old")?;
        readers.close().await;
        return Ok(Exit::Yes);
    };
    let done = match (&arguments.archive, arguments.yes) {
        (Some(folder), true) => planned.go(&readers, &arguments, folder, screen).await,
        _ => planned.tell(screen),
    };
    readers.close().await;
    done
}

/// Lets arguments and results go, with as many orders as it takes.
async fn prune_bodies(
    arguments: &PruneArguments,
    until: Timestamp,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut deleted = 0_usize;
    loop {
        if !arguments.yes {
            let count = count_bodies(&arguments.at.db, until).await?;
            screen.answer(&format!(
                "{count} arguments and results would go: all before {}",
                until.rfc3339_utc()
            ))?;
            screen.say("nothing was changed; let them go with --yes");
            return Ok(Exit::Yes);
        }
        let (before_us, why) = (until.micros(), arguments.why.clone());
        let done = order(&arguments.at, Order::PruneBodies { before_us, why }).await?;
        let Outcome::Redacted { seq, bodies, more } = done else {
            return Err(other(&done));
        };
        if let Some(seq) = seq {
            screen.say(&format!("written down as event {seq}"));
        }
        deleted = deleted.saturating_add(bodies);
        if !more {
            screen.answer(&format!("{deleted} arguments and results went"))?;
            return Ok(Exit::Yes);
        }
    }
}

async fn count_bodies(db: &Path, until: Timestamp) -> anyhow::Result<i64> {
    let readers = Readers::open(db).await?;
    let mut page = readers.page().await?;
    let count = match extent(&mut page).await? {
        None => 0,
        Some(extent) => {
            let end = first_since(&mut page, extent, until).await?;
            bodies_before(&mut page, end).await?
        }
    };
    drop(page);
    readers.close().await;
    Ok(count)
}

/// What is to go.
struct Planned {
    plan: Plan,
    until: Timestamp,
    earlier: Option<Pruned>,
    checkpoints: Vec<Checkpoint>,
    found: Prunable,
}

impl Planned {
    async fn make(
        readers: &Readers,
        arguments: &PruneArguments,
        until: Timestamp,
    ) -> anyhow::Result<Option<Self>> {
        let Some(plan) = plan(readers, Form::Jsonl, (None, Some(until))).await? else {
            return Ok(None);
        };
        let kept = arguments.at.checkpoints.as_deref().map(read_checkpoints);
        let mut db = readers.page().await?;
        Ok(Some(Self {
            plan,
            until,
            earlier: load_pruned(&mut db).await?,
            checkpoints: kept.transpose()?.unwrap_or_default(),
            found: prunable(&mut db, plan.last.seq).await?,
        }))
    }

    /// The checkpoint that covers all of it: whoever changes what is left is found out from there.
    fn covering(&self) -> Option<&Checkpoint> {
        let covers =
            |kept: &&Checkpoint| kept.log == self.plan.log && kept.head.seq >= self.plan.last.seq;
        let all = self.checkpoints.iter().filter(covers);
        all.min_by_key(|kept| kept.head.seq)
    }

    /// What stands in the way.
    fn obstacle(&self) -> Option<&'static str> {
        if self.covering().is_none() {
            Some("no exported checkpoint covers these events; name the file with --checkpoints")
        } else if self.found.open_calls > 0 {
            Some("calls that were let through then are not over; choose an earlier day")
        } else {
            None
        }
    }

    fn tell(&self, screen: &mut Screen) -> Result<Exit, Failure> {
        let (first, last) = (self.plan.first(), self.plan.last.seq);
        let until = self.until.rfc3339_utc();
        screen.answer(&format!(
            "{} events, {first} to {last}, would go: all before {until}",
            self.plan.events()
        ))?;
        if let Some(kept) = self.covering() {
            screen.answer(&format!(
                "the checkpoint of event {} covers them",
                kept.head.seq
            ))?;
        }
        if let Some(obstacle) = self.obstacle() {
            screen.answer(&format!("they cannot go yet: {obstacle}"))?;
            return Ok(Exit::No);
        }
        screen.say("nothing was changed; let them go with --archive DIR --yes");
        Ok(Exit::Yes)
    }

    async fn go(
        &self,
        readers: &Readers,
        arguments: &PruneArguments,
        folder: &Path,
        screen: &mut Screen,
    ) -> Result<Exit, Failure> {
        let covering = match (self.obstacle(), self.covering()) {
            (None, Some(covering)) => covering,
            (Some(obstacle), _) => return refuse(obstacle),
            (None, None) => return refuse("no checkpoint covers these events"),
        };
        let mut bar = Progress::new(screen, self.plan.events());
        let sound = verify_against(readers, self.known(arguments), |done| bar.at(done)).await;
        bar.end();
        let sound = sound?;
        if !sound.faults.is_empty() {
            return verdict(&sound.faults, (sound.head, sound.checkpoint), screen);
        }
        let (file, manifest) = self.archive(readers, folder, screen).await?;
        let seam = self.read_again(readers, arguments, &file).await?;
        let text = seam.to_json();
        let beside = file.with_added_extension("seam.json");
        write_whole(&beside, text.as_bytes())?;
        let name = file.file_name().unwrap_or_default();
        let ordered = Prune {
            first: self.plan.first(),
            last: self.plan.last.seq,
            previous: self.plan.before.hex(),
            head: self.plan.last.hex(),
            until_us: self.until.micros(),
            checkpoint: covering.to_line(),
            archive: name.to_string_lossy().into_owned(),
            archive_sha256: hex(&manifest.sha256),
            seam: std::fs::canonicalize(&beside)?,
            seam_sha256: sha256_of(&text),
            seam_text: String::new(),
            why: arguments.why.clone(),
        };
        let outcome = order(&arguments.at, Order::Prune(Box::new(ordered))).await?;
        let Outcome::Pruned { seq, events } = outcome else {
            return Err(other(&outcome));
        };
        screen.answer(&format!(
            "{events} events went, as event {seq} says; they stand in {}",
            plain(&file.display().to_string())
        ))?;
        delete_rest(&arguments.at.db, screen).await?;
        Ok(Exit::Yes)
    }

    fn known(&self, arguments: &PruneArguments) -> Known {
        Known {
            log: arguments.log_id.map(LogId),
            key: arguments.public_key.map(PublicKey),
            checkpoints: self.checkpoints.clone(),
            ..Known::default()
        }
    }

    /// Writes the archive; goes on with one that was begun, and takes one that is finished.
    async fn archive(
        &self,
        readers: &Readers,
        folder: &Path,
        screen: &Screen,
    ) -> anyhow::Result<(PathBuf, Manifest)> {
        if !folder.is_dir() {
            bail!("`{}` is no folder; make it first", folder.display());
        }
        let paths = paths(folder, &self.plan);
        if paths.is_finished() {
            let manifest = std::fs::read_to_string(&paths.manifest)?;
            let manifest = Manifest::from_json(&manifest).map_err(anyhow::Error::msg);
            let manifest = manifest.with_context(|| paths.manifest.display().to_string())?;
            return Ok((paths.file, manifest));
        }
        let export = if paths.is_begun() {
            Export::resume(paths)?
        } else {
            Export::begin(paths, self.plan)?
        };
        write(readers, export, screen).await
    }

    /// Reads the archive from the disk, verifies it, and computes what goes on after it.
    async fn read_again(
        &self,
        readers: &Readers,
        arguments: &PruneArguments,
        file: &Path,
    ) -> anyhow::Result<Seam> {
        let (before, last) = (self.plan.before, self.plan.last);
        let mut known = self.known(arguments);
        known
            .checkpoints
            .retain(|kept| (before.seq..=last.seq).contains(&kept.head.seq));
        let earlier = self
            .earlier
            .as_ref()
            .map(|pruned| Seam::from_json(&pruned.seam));
        let earlier = earlier.transpose().map_err(anyhow::Error::msg)?;
        let table = load_name_table(&mut *readers.page().await?).await?;
        let mut maker = SeamMaker::new(earlier.as_ref(), table);
        let mut each = |head: crate::audit::Head, text: &str| maker.event(head.seq, text);
        let found = verify_exports(&[file.into()], known, &mut each)?;
        if let Some(fault) = found.faults.first() {
            bail!(
                "the archive `{}` is not what was written: {fault}",
                file.display()
            );
        }
        if (found.log, found.before, found.head) != (self.plan.log, before, last) {
            bail!("the archive `{}` holds other events", file.display());
        }
        maker.finish().map_err(|fault| anyhow!("{fault}"))
    }
}

fn refuse(why: &'static str) -> Result<Exit, Failure> {
    Err(Failure {
        exit: Exit::No,
        error: anyhow!("{why}"),
    })
}

/// Deletes what was pruned and is still there, unless a gateway has the file, which does it by itself.
async fn delete_rest(db: &Path, screen: &mut Screen) -> anyhow::Result<()> {
    let mut database = match db::open(db, Durability::Power).await {
        Ok(database) => database,
        Err(DbError::InUse(_)) => {
            screen.say("the gateway deletes them now, between calls");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    while database.transact(prune_some)? > 0 {
        database.checkpoint()?;
    }
    Ok(database.close().await?)
}

/// The instant before which everything goes: the beginning of a day, UTC, that is not over yet at the latest.
fn until(arguments: &PruneArguments) -> anyhow::Result<Timestamp> {
    let now = SystemClock::start().now();
    let day_of = |at: Timestamp| at.in_zone(&crate::types::Zone::utc()).date();
    let day = match (arguments.before, arguments.keep) {
        (Some(day), _) => day,
        (None, Some(keep)) => day_of(keep.before(now)),
        (None, None) => bail!("say what goes: --before DAY or --keep DAYS"),
    };
    if day > day_of(now) {
        bail!("`{day}` has not come yet; only whole days that are over can go");
    }
    let begins = day.to_zoned(TimeZone::UTC)?;
    Ok(Timestamp::from_jiff(begins.timestamp()))
}

fn days(text: &str) -> Result<Back, String> {
    let back = text.parse::<Back>().ok().filter(|_| text.ends_with('d'));
    back.ok_or_else(|| "it is written as a number of days, `400d`".to_owned())
}
