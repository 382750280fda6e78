//! What stands around every page.

use crate::policy::Permissions;
use crate::types::{Timestamp, ViewerName};

use super::figures::{Watch, When};
use super::headers::STYLE_NAME;

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(super) enum Guest {
    /// Somebody who logged in.
    Viewer(ViewerName),
    /// Anybody, because the dashboard is open.
    Anybody,
}

/// Head and foot of a page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The name of the style sheet.
    pub(super) style: &'static str,
    /// Which page of the navigation this is.
    pub(super) here: &'static str,
    /// Who logged in.
    pub(super) viewer: Option<String>,
    /// The zone of all times.
    pub(super) zone: String,
    /// When the page was made.
    pub(super) now: When,
    /// The revision of the policy in force.
    pub(super) revision: String,
    /// What is wrong with the files of rules as they are now.
    pub(super) complaints: Vec<String>,
}

impl Frame {
    pub(super) fn new(
        here: &'static str,
        guest: &Guest,
        permissions: &Permissions,
        now: Timestamp,
    ) -> Self {
        let watch = Watch {
            zone: permissions.zone(),
            now,
        };
        Self {
            style: &STYLE_NAME,
            here,
            viewer: match guest {
                Guest::Viewer(name) => Some(name.to_string()),
                Guest::Anybody => None,
            },
            zone: permissions.zone().name().into(),
            now: watch.tell(now),
            revision: permissions.revision().short(),
            complaints: Vec::new(),
        }
    }

    /// The same with this on top.
    pub(super) fn with(self, complaints: Vec<String>) -> Self {
        Self { complaints, ..self }
    }
}

/// A text that leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Where to.
    pub(super) href: String,
    /// The text, already with visible marks; the template escapes it.
    pub(super) text: String,
}
