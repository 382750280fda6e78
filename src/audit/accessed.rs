//! Who looked: one use of the dashboard, and the event that says so. Pure.

// An address is a number like another; `core` has it without any socket.
use core::net::IpAddr;

use crate::types::{CallId, ViewerName};

use super::{Entry, Kind};

/// What somebody did with the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// A viewer logged in.
    Login,
    /// A viewer logged out.
    Logout,
    /// A token was refused at the login.
    RefusedLogin,
    /// The arguments or the result of a call were opened.
    Body,
    /// A list was taken away as a file.
    Export,
    /// A report was made.
    Report,
}

impl Deed {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::RefusedLogin => "refused_login",
            Self::Body => "body",
            Self::Export => "export",
            Self::Report => "report",
        }
    }
}

/// The form in which something was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TakenAs {
    /// A table.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// One JSON text.
    Json,
}

impl TakenAs {
    /// The word in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Json => "json",
        }
    }
}

/// One use of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accessed {
    /// What was done.
    pub what: Deed,
    /// By whom; nobody knows where the dashboard is open to everybody, and of a token that was refused.
    pub viewer: Option<ViewerName>,
    /// The call whose body was opened.
    pub of: Option<CallId>,
    /// Which list or report was taken away: its address, with the filters as text.
    pub path: Option<String>,
    /// In which form.
    pub form: Option<TakenAs>,
    /// Where the request came from, as far as that is known.
    pub address: Option<IpAddr>,
}

/// The longest address of a list that is kept, in bytes; what comes after is cut off.
const MAX_PATH: usize = 2_048;

impl Accessed {
    /// Somebody did this; nothing else is known yet.
    pub fn new(what: Deed) -> Self {
        Self {
            what,
            viewer: None,
            of: None,
            path: None,
            form: None,
            address: None,
        }
    }

    /// The event. The id of the call stands in the text and not in the column, which belongs to events of the call
    /// itself.
    pub fn to_entry(&self) -> Entry {
        let path = self.path.as_deref();
        let path = path.and_then(|path| path.get(..path.floor_char_boundary(MAX_PATH)));
        let known = [
            ("viewer", self.viewer.as_ref().map(ToString::to_string)),
            ("of", self.of.map(|call| call.to_string())),
            ("path", path.map(ToOwned::to_owned)),
            ("form", self.form.map(|form| form.as_str().to_owned())),
            (
                "address",
                self.address
                    .map(|address| address.to_canonical().to_string()),
            ),
        ];
        let entry = Entry::new(Kind::Accessed).text("what", self.what.as_str());
        known
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .fold(entry, |entry, (key, value)| entry.text(key, &value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    #[test]
    fn the_event_says_what_is_known_and_belongs_to_no_call() {
        let call = CallId::new(Timestamp::from_micros(0), [1; 10]);
        let accessed = Accessed {
            viewer: Some("governance".parse().unwrap()),
            of: Some(call),
            address: Some("::ffff:10.0.0.7".parse().unwrap()),
            ..Accessed::new(Deed::Body)
        };
        let entry = accessed.to_entry();
        assert_eq!(entry.call, None);
        assert_eq!(
            entry.to_meta(Timestamp::from_micros(5)),
            format!(
                r#"{{"at_us":5,"kind":"accessed","what":"body","viewer":"governance","of":"{call}","address":"10.0.0.7"}}"#
            )
        );
        let taken = Accessed {
            path: Some(format!("/audit/calls.csv?tool={}", "ü".repeat(MAX_PATH))),
            form: Some(TakenAs::Csv),
            ..Accessed::new(Deed::Export)
        };
        let meta = taken.to_entry().to_meta(Timestamp::from_micros(5));
        assert!(meta.len() < MAX_PATH + 200, "{}", meta.len());
        assert!(meta.ends_with(r#"","form":"csv"}"#), "{meta}");
    }
}
