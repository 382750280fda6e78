//! What is remembered of contacts with one server. Pure.

use crate::protocol::Version;
use crate::types::{Contact, Timestamp};

use super::{Description, Era, Health};

/// From the first contact to the last.
#[derive(Debug, Default)]
pub(super) struct Contacts {
    /// How the last one went, and since when they have gone like that.
    last: Option<(Contact, Timestamp)>,
    answered: Option<Timestamp>,
    failed: Option<(Timestamp, String)>,
    spoken: Option<(Era, Option<Version>)>,
}

impl Contacts {
    /// The server answered. Returns how the contact before went.
    pub(super) fn answered(&mut self, at: Timestamp) -> Contact {
        self.answered = Some(at);
        self.note(Contact::Up, at)
    }

    /// The server gave no answer. Returns how the contact before went.
    pub(super) fn failed(&mut self, at: Timestamp, why: String) -> Contact {
        self.failed = Some((at, why));
        self.note(Contact::Down, at)
    }

    fn note(&mut self, now: Contact, at: Timestamp) -> Contact {
        let before = self.contact();
        if before != now {
            self.last = Some((now, at));
        }
        before
    }

    /// The server spoke like this.
    pub(super) fn spoke(&mut self, era: Era) {
        let version = match (era, self.spoken) {
            (Era::Modern, _) => Some(Version::V2026_07_28),
            // Which one was agreed on is said when a connection opens.
            (Era::Legacy, Some((Era::Legacy, version))) => version,
            (Era::Legacy, Some((Era::Modern, _)) | None) => None,
        };
        self.spoken = Some((era, version));
    }

    /// A connection was opened with this.
    pub(super) fn opened(&mut self, description: &Description) {
        self.spoken = Some((description.era, Some(description.version)));
    }

    /// How the last contact went.
    pub(super) fn contact(&self) -> Contact {
        self.last.map_or(Contact::Unknown, |(contact, _)| contact)
    }

    /// Since when contacts have gone like that.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.last.map(|(_, since)| since)
    }

    /// When it last answered, and when it last did not and why.
    pub(super) fn both(&self) -> (Option<Timestamp>, Option<(Timestamp, String)>) {
        (self.answered, self.failed.clone())
    }

    /// The life cycle and the revision that were spoken last.
    pub(super) fn spoken(&self) -> (Option<&'static str>, Option<&'static str>) {
        let era = self.spoken.map(|(era, _)| match era {
            Era::Modern => "modern",
            Era::Legacy => "legacy",
        });
        let version = self.spoken.and_then(|(_, version)| version);
        (era, version.map(Version::as_str))
    }

    /// The last contact alone.
    pub(super) fn health(&self) -> Health {
        match (self.contact(), self.answered, &self.failed) {
            (Contact::Up, Some(at), _) => Health::Up { at },
            (Contact::Down, _, Some((at, reason))) => Health::Down {
                at: *at,
                reason: reason.clone(),
            },
            (Contact::Unknown | Contact::Up | Contact::Down, _, _) => Health::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_and_the_last_failure_are_both_remembered() {
        let at = Timestamp::from_micros;
        let mut contacts = Contacts::default();
        assert_eq!(
            (contacts.contact(), contacts.since()),
            (Contact::Unknown, None)
        );
        assert_eq!(contacts.failed(at(1), "no".into()), Contact::Unknown);
        assert_eq!(contacts.failed(at(2), "no way".into()), Contact::Down);
        assert_eq!(
            (contacts.contact(), contacts.since()),
            (Contact::Down, Some(at(1)))
        );
        assert_eq!(contacts.answered(at(3)), Contact::Down);
        assert_eq!(contacts.answered(at(4)), Contact::Up);
        assert_eq!(
            (contacts.contact(), contacts.since()),
            (Contact::Up, Some(at(3)))
        );
        let both = (Some(at(4)), Some((at(2), "no way".to_owned())));
        assert_eq!(contacts.both(), both);
        assert_eq!(contacts.health(), Health::Up { at: at(4) });
    }

    #[test]
    fn what_a_server_speaks_is_what_it_spoke_last() {
        let mut contacts = Contacts::default();
        assert_eq!(contacts.spoken(), (None, None));
        contacts.spoke(Era::Legacy);
        assert_eq!(contacts.spoken(), (Some("legacy"), None));
        contacts.spoken = Some((Era::Legacy, Some(Version::V2025_06_18)));
        contacts.spoke(Era::Legacy);
        assert_eq!(contacts.spoken(), (Some("legacy"), Some("2025-06-18")));
        contacts.spoke(Era::Modern);
        assert_eq!(contacts.spoken(), (Some("modern"), Some("2026-07-28")));
        contacts.spoke(Era::Legacy);
        assert_eq!(contacts.spoken(), (Some("legacy"), None));
    }
}
