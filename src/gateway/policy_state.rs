//! What there is to tell about the rules, for `/health` and the pages: which are in force, since when, and what is
//! wrong with the file that should have taken their place.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::types::{Revision, Timestamp};

use super::Gateway;
use super::shadow::Differences;

/// One of the two files with rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyFile {
    /// Its rules decide.
    Live,
    /// Its rules are compared with.
    Shadow,
}

/// What is wrong with the files as they are now.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<[Option<String>; 2]>);

impl Complaints {
    fn of(&self, file: PolicyFile) -> Option<String> {
        let complaints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [live, shadow] = &*complaints;
        match file {
            PolicyFile::Live => live.clone(),
            PolicyFile::Shadow => shadow.clone(),
        }
    }

    fn set(&self, file: PolicyFile, complaint: Option<String>) -> bool {
        let mut complaints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [live, shadow] = &mut *complaints;
        let place = match file {
            PolicyFile::Live => live,
            PolicyFile::Shadow => shadow,
        };
        let is_new = *place != complaint;
        *place = complaint;
        is_new
    }
}

/// What there is to tell about one file.
#[derive(Debug, Clone)]
pub struct FileState {
    /// The revision whose rules are used.
    pub revision: Revision,
    /// Since when they are.
    pub since: Timestamp,
    /// Why the file as it is now is not used.
    pub complaint: Option<String>,
}

/// What there is to tell about the rules.
#[derive(Debug, Clone)]
pub struct PolicyState {
    /// Those in force.
    pub live: FileState,
    /// The git commit they are taken from, as far as that is known.
    pub commit: Option<String>,
    /// Those that are compared with, and how often they said otherwise since the start.
    pub shadow: Option<(FileState, Differences)>,
}

impl Gateway {
    /// Notes what is wrong with a file as it is now; `None` when nothing is. Says whether that is another thing than
    /// before.
    pub fn complain(&self, file: PolicyFile, complaint: Option<String>) -> bool {
        self.complaints.set(file, complaint)
    }

    /// What there is to tell about the rules.
    pub fn policy_state(&self) -> PolicyState {
        let in_force = self.in_force();
        let shadow = in_force.shadow.as_ref().map(|shadow| {
            let state = FileState {
                revision: shadow.permissions.revision(),
                since: shadow.since,
                complaint: self.complaints.of(PolicyFile::Shadow),
            };
            (state, shadow.differences())
        });
        PolicyState {
            live: FileState {
                revision: in_force.permissions.revision(),
                since: in_force.since,
                complaint: self.complaints.of(PolicyFile::Live),
            },
            commit: in_force.commit.as_deref().map(str::to_owned),
            shadow,
        }
    }
}

impl FileState {
    fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("revision".into(), self.revision.to_string().into());
        map.insert("loaded_at".into(), self.since.rfc3339_utc().into());
        if let Some(complaint) = &self.complaint {
            map.insert("error".into(), complaint.as_str().into());
        }
        map
    }
}

impl PolicyState {
    /// The members of `/health` about it, as JSON text.
    pub fn to_members(&self) -> String {
        let mut live = self.live.to_map();
        if let Some(commit) = &self.commit {
            live.insert("commit".into(), commit.as_str().into());
        }
        let live = Value::Object(live);
        let Some((shadow, differences)) = &self.shadow else {
            return format!("\"policy\":{live}");
        };
        let mut shadow = shadow.to_map();
        for (name, count) in [
            ("compared", differences.compared),
            ("would_allow", differences.would_allow),
            ("would_deny", differences.would_deny),
        ] {
            shadow.insert(name.into(), count.into());
        }
        let shadow = Value::Object(shadow);
        format!("\"policy\":{live},\"shadow\":{shadow}")
    }
}
