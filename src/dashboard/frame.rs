//! What stands around every page.

use axum::http::{HeaderMap, header};

use crate::audit::filter::Filter;
use crate::types::{ViewerName, shown};

use super::BASE;
use super::figures::When;
use super::filter::{COLUMNS, Ignored, REFRESH, VALUES, encode};
use super::headers::{SCRIPT_NAME, STYLE_NAME};
use super::scope;
use super::visit::Visit;

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

/// The pages of the navigation: the word, the name, the letter after `g`, where.
const PAGES: [(&str, &str, char, &str); 11] = [
    ("overview", "Overview", 'o', ""),
    ("calls", "Calls", 'c', "/calls"),
    ("agents", "Agents", 'a', "/agents"),
    ("servers", "Servers", 's', "/servers"),
    ("budgets", "Budgets", 'b', "/budgets"),
    ("denials", "Refusals", 'd', "/denials"),
    ("policy", "Policy", 'p', "/policy"),
    ("integrity", "Log", 'l', "/integrity"),
    ("report", "Report", 'r', "/report"),
    ("access", "Readers", 'w', "/access"),
    ("connect", "Connect", 'n', "/connect"),
];

/// A page of the navigation.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) name: &'static str,
    pub(super) letter: char,
    pub(super) href: String,
    pub(super) is_here: bool,
}

/// How somebody wants the pages, kept in a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Theme {
    /// `light`, `dark`, or nothing to go by the system.
    pub(super) colours: &'static str,
    /// Whether single keys do nothing (WCAG 2.2, 2.1.4).
    pub(super) is_without_keys: bool,
}

/// The cookie for the colours, and the one for keys.
pub(super) const COLOURS_COOKIE: &str = "hayward-colours";
pub(super) const KEYS_COOKIE: &str = "hayward-keys";

impl Theme {
    /// What the cookies of a request say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let mut theme = Self::default();
        for (name, value) in pairs {
            match (name, value) {
                (COLOURS_COOKIE, "light") => theme.colours = "light",
                (COLOURS_COOKIE, "dark") => theme.colours = "dark",
                (KEYS_COOKIE, "off") => theme.is_without_keys = true,
                _ => {}
            }
        }
        theme
    }
}

/// Head and foot of a page.
#[derive(Debug)]
pub(super) struct Frame {
    /// The name of the style sheet.
    pub(super) style: &'static str,
    /// The name of the script.
    pub(super) script: &'static str,
    pub(super) theme: Theme,
    pub(super) pages: Vec<Page>,
    /// What goes along to other pages, as the query of their address.
    pub(super) along: String,
    /// Who logged in.
    pub(super) viewer: Option<String>,
    /// Seconds after which the page is loaded anew.
    pub(super) refresh: Option<String>,
    /// This very page, to come back to; for print and for the choice of colours.
    pub(super) address: String,
    /// The same as a value in an address.
    pub(super) back: String,
    /// Whether there is a login to end.
    pub(super) can_log_out: bool,
    /// The zone of all times.
    pub(super) zone: String,
    /// When the page was made.
    pub(super) now: When,
    /// The revision of the policy in force.
    pub(super) revision: String,
    /// Parts of the address that mean nothing, and why.
    pub(super) ignored: Vec<(String, &'static str)>,
    /// What is wrong with the files of rules as they are now.
    pub(super) complaints: Vec<String>,
}

impl Frame {
    pub(super) fn new(here: &'static str, visit: &Visit) -> Self {
        let along = travelling(&visit.filter);
        let page = |(word, name, letter, path): (&str, &'static str, char, &str)| Page {
            name,
            letter,
            href: format!("{BASE}{path}{along}"),
            is_here: word == here,
        };
        let address = format!("{}{}", visit.path, visit.filter);
        Self {
            style: &STYLE_NAME,
            script: &SCRIPT_NAME,
            theme: visit.theme(),
            pages: PAGES
                .into_iter()
                .filter(|(.., path)| {
                    let only = visit.only.as_ref();
                    only.is_none_or(|only| scope::may_open(path, only))
                })
                .map(page)
                .collect(),
            along: along.to_string(),
            viewer: match &visit.guest {
                Guest::Viewer(name, _) => Some(name.to_string()),
                Guest::Anybody => None,
            },
            can_log_out: matches!(visit.guest, Guest::Viewer(_, Came::ByToken)),
            refresh: visit.refresh().map(Into::into),
            address: address.clone(),
            back: encode(&address).to_string(),
            zone: visit.zone.name().into(),
            now: visit.watch().tell(visit.now),
            revision: visit.permissions.revision().short(),
            ignored: visit.ignored.iter().map(ignored).collect(),
            complaints: Vec::new(),
        }
    }

    /// The same with this on top.
    pub(super) fn with(self, complaints: Vec<String>) -> Self {
        Self { complaints, ..self }
    }
}

fn ignored(part: &Ignored) -> (String, &'static str) {
    (shown::name(&part.text).to_string(), part.why)
}

/// What of a filter goes along to other pages.
fn travelling(filter: &Filter) -> Filter {
    let words = [COLUMNS, REFRESH, VALUES];
    words
        .iter()
        .fold(filter.any_call(), |filter, word| filter.leaving(word))
}

/// A text that leads somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Where to.
    pub(super) href: String,
    /// The text, already with visible marks; the template escapes it.
    pub(super) text: String,
}
