//! What describes an export: which events of which log, how they join what came before, and the digest of the
//! file. Pure.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::{Checkpoint, Head, bytes};
use crate::db::LogId;
use crate::types::{Timestamp, hex};

/// What the files of this form are called.
const VERSION: &str = "hayward/export/v1";

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The exact text with sequence and hash; can be verified alone.
    Jsonl,
    /// For spreadsheets; vouched for by its digest alone.
    Csv,
}

impl Form {
    /// The end of a file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// Which events an export holds. Decided before the first is written, and not again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// How they are written.
    pub form: Form,
    /// Of which log.
    pub log: LogId,
    /// The event before the first, which the first is chained to.
    pub before: Head,
    /// The last event.
    pub last: Head,
}

impl Plan {
    /// The first event.
    pub fn first(&self) -> i64 {
        self.before.seq.saturating_add(1)
    }

    /// How many events.
    pub fn events(&self) -> i64 {
        self.last.seq.saturating_sub(self.before.seq)
    }

    /// As a text for a file.
    pub(super) fn to_json(self) -> String {
        let described = Described {
            export: VERSION.into(),
            form: self.form,
            log: hex(&self.log.0),
            first: self.first(),
            last: self.last.seq,
            previous: self.before.hex(),
            head: self.last.hex(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&described).unwrap_or_default()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn from_json(text: &str) -> Result<Self, String> {
        let described: Described = serde_json::from_str(text).map_err(|error| error.to_string())?;
        described.plan()
    }
}

/// A finished export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which events.
    pub plan: Plan,
    /// When the first was written.
    pub from: Timestamp,
    /// When the last was written.
    pub to: Timestamp,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The checkpoints among its events.
    pub checkpoints: Vec<Checkpoint>,
}

/// What a plan says, in a file.
#[derive(Serialize, Deserialize)]
struct Described {
    export: String,
    form: Form,
    log: String,
    first: i64,
    last: i64,
    /// The hash before the first event.
    previous: String,
    /// The hash of the last.
    head: String,
}

impl Described {
    fn plan(&self) -> Result<Plan, String> {
        if self.export != VERSION {
            return Err(format!("`{}` is another kind of export", self.export));
        }
        let digits = "a hash or id is not written as hexadecimal digits";
        let before = Head {
            seq: self
                .first
                .checked_sub(1)
                .filter(|seq| *seq >= 0)
                .ok_or("`first` is no sequence")?,
            hash: bytes(&self.previous).ok_or(digits)?,
        };
        let last = Head {
            seq: self.last,
            hash: bytes(&self.head).ok_or(digits)?,
        };
        if last.seq <= before.seq {
            return Err("`last` stands before `first`".into());
        }
        let log = LogId(bytes(&self.log).ok_or(digits)?);
        Ok(Plan {
            form: self.form,
            log,
            before,
            last,
        })
    }
}

/// What stands in the file of a manifest.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    described: Described,
    events: i64,
    from: String,
    to: String,
    bytes: u64,
    sha256: String,
}

#[derive(Serialize)]
struct WithCheckpoints<'a> {
    #[serde(flatten)]
    written: &'a Written,
    checkpoints: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Checkpoints {
    checkpoints: Vec<serde_json::Value>,
}

impl Manifest {
    /// As a text for a file; the same events make the same text.
    pub fn to_json(&self) -> String {
        let plan = &self.plan;
        let written = Written {
            described: Described {
                export: VERSION.into(),
                form: plan.form,
                log: hex(&plan.log.0),
                first: plan.first(),
                last: plan.last.seq,
                previous: plan.before.hex(),
                head: plan.last.hex(),
            },
            events: plan.events(),
            from: self.from.rfc3339_utc(),
            to: self.to.rfc3339_utc(),
            bytes: self.bytes,
            sha256: hex(&self.sha256),
        };
        let lines: Vec<String> = self.checkpoints.iter().map(Checkpoint::to_line).collect();
        let checkpoints = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        let whole = WithCheckpoints {
            written: &written,
            checkpoints: checkpoints.collect(),
        };
        // Texts and numbers can always be written.
        let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let noted: Checkpoints = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let plan = written.described.plan()?;
        if plan.events() != written.events {
            return Err("`events` is not what lies between `first` and `last`".into());
        }
        let at = |text: &str| {
            let at = text.parse::<jiff::Timestamp>();
            at.map(Timestamp::from_jiff)
                .map_err(|_| "`from` or `to` is no instant")
        };
        let checkpoints = noted.checkpoints.iter();
        let checkpoints = checkpoints.map(|line| Checkpoint::from_line(&line.to_string()));
        Ok(Self {
            plan,
            from: at(&written.from)?,
            to: at(&written.to)?,
            bytes: written.bytes,
            sha256: bytes(&written.sha256).ok_or("`sha256` is no 64 hexadecimal digits")?,
            checkpoints: checkpoints.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let log = LogId([3; 16]);
        let before = Head {
            seq: 6,
            hash: [1; 32],
        };
        let last = Head {
            seq: 9,
            hash: [2; 32],
        };
        Manifest {
            plan: Plan {
                form: Form::Jsonl,
                log,
                before,
                last,
            },
            from: Timestamp::from_micros(1_000_001),
            to: Timestamp::from_micros(2_000_000),
            bytes: 700,
            sha256: [4; 32],
            checkpoints: vec![Checkpoint::take(
                log,
                before,
                Timestamp::from_micros(5),
                None,
            )],
        }
    }

    #[test]
    fn a_manifest_reads_as_what_was_written() {
        let text = manifest().to_json();
        assert_eq!(Manifest::from_json(&text), Ok(manifest()));
        let plan = manifest().plan;
        assert_eq!(Plan::from_json(&plan.to_json()), Ok(plan));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let good = manifest().to_json();
        for (from, to) in [
            ("export/v1", "export/v2"),
            ("\"last\": 9", "\"last\": 6"),
            ("\"first\": 7", "\"first\": 0"),
            ("\"events\": 3", "\"events\": 4"),
            ("0202", "02"),
            ("jsonl", "xml"),
        ] {
            let wrong = good.replace(from, to);
            assert_ne!(wrong, good);
            assert!(Manifest::from_json(&wrong).is_err(), "{wrong}");
        }
    }
}
