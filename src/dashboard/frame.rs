//! What stands around every page.

use crate::policy::Permissions;
use crate::types::{Timestamp, ViewerName};

use super::figures::{Watch, When};
use super::headers::STYLE_NAME;

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(super) enum Guest {
    /// A viewer, and how they came in.
    Viewer(ViewerName, Came),
    /// Anybody, because the dashboard is open.
    Anybody,
}

/// How a viewer came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// With a token, at the login page.
    ByToken,
    /// A trusted reverse proxy said so in a header, as it does with every request.
    ByHeader,
}

/// Head and foot of a page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The name of the style sheet.
    pub(super) style: &'static str,
    /// Which page of the navigation this is.
    pub(super) here: &'static str,
    /// Who looks, unless anybody may.
    pub(super) viewer: Option<String>,
    /// Whether there is a login to end.
    pub(super) can_log_out: bool,
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
                Guest::Viewer(name, _) => Some(name.to_string()),
                Guest::Anybody => None,
            },
            can_log_out: matches!(guest, Guest::Viewer(_, Came::ByToken)),
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
