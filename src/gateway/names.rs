//! How servers' tools, prompts and resources are called on the endpoint that has them all. Pure.
//!
//! `<server>__<name>`, at most 64 characters of `[A-Za-z0-9_.-]`, since models accept no others; `<server>+<uri>` for
//! resources, which is a legal scheme and leaves templates intact.

use sha2::{Digest, Sha256};

use crate::types::{BUILT_IN, ServerName, hex};

use super::built_in;

/// Between a server's name and its own name for a tool.
const SEPARATOR: &str = "__";

/// The longest name models accept.
const MAX_EXPOSED: usize = 64;

/// Digits of the hash that keeps changed names apart.
const HASH_DIGITS: usize = 8;

/// The servers that an agent can name, and with them what is called how.
#[derive(Debug)]
pub(super) struct Names<'a> {
    servers: Vec<&'a ServerName>,
}

impl<'a> Names<'a> {
    pub(super) fn new(servers: impl Iterator<Item = &'a ServerName>) -> Self {
        Self {
            servers: servers.collect(),
        }
    }

    /// The name a tool or prompt has on the common endpoint. One that would be too long, has characters that models
    /// refuse, or reads like the name of another server's tool is cut and gets a hash of the whole, which is the same
    /// after every restart.
    pub(super) fn exposed(&self, server: &ServerName, name: &str) -> String {
        let full = format!("{server}{SEPARATOR}{name}");
        let reads_back = self.split(&full) == Some((server, name));
        // No server of the rules has its name, so nothing else reads like it.
        if reads_back || server.is_built_in() {
            full
        } else {
            changed(server, name)
        }
    }

    /// The server and its own name, read off an exposed one; of several servers that fit, the longest name. `None`
    /// for bare names. A changed name is read, too, as if it were none: see [`is_changed`].
    pub(super) fn split<'n>(&self, name: &'n str) -> Option<(&'a ServerName, &'n str)> {
        if name.len() > MAX_EXPOSED || !name.chars().all(is_legal) {
            return None;
        }
        let fitting = self.servers.iter().filter_map(|server| {
            let own = name
                .strip_prefix(server.as_str())?
                .strip_prefix(SEPARATOR)?;
            (!own.is_empty()).then_some((*server, own))
        });
        fitting.max_by_key(|(server, _)| server.as_str().len())
    }

    /// The server and its own URI, read off an exposed one.
    pub(super) fn split_uri(&self, uri: &str) -> Option<(&'a ServerName, String)> {
        // No server has a `+` in its name.
        let (kept, rest) = match uri.strip_prefix(PAGE) {
            Some(rest) => (PAGE, rest),
            None => ("", uri),
        };
        let (named, own) = rest.split_once('+')?;
        // Programs that read a URI may write its scheme in small letters.
        let is_named = |server: &ServerName| {
            named == server.as_str() || named.eq_ignore_ascii_case(&scheme(server))
        };
        let server = self.servers.iter().find(|server| is_named(server))?;
        Some((server, format!("{kept}{own}")))
    }
}

/// The tool of the gateway's own server that has this name on the common endpoint.
pub(super) fn built_in(name: &str) -> Option<&'static str> {
    let own = name.strip_prefix(BUILT_IN)?.strip_prefix(SEPARATOR)?;
    built_in::named(own)
}

/// Pages that hosts show beside a tool (MCP Apps); hosts know them by this scheme.
const PAGE: &str = "ui://";

/// Clients may fetch these by themselves (MCP, resources, "Common URI schemes").
const WEB: &str = "https:";

/// Whether a URI says its server only by standing on that server's list.
pub(super) fn is_web(uri: &str) -> bool {
    uri.starts_with(WEB)
}

/// The URI a resource has on the common endpoint.
pub(super) fn exposed_uri(server: &ServerName, uri: &str) -> String {
    if is_web(uri) {
        return uri.into();
    }
    exposed_template(server, uri)
}

/// The URI template that resources of a server are read by on the common endpoint. What comes of it stands on no list,
/// so it has to say its server.
pub(super) fn exposed_template(server: &ServerName, template: &str) -> String {
    let scheme = scheme(server);
    match template.strip_prefix(PAGE) {
        Some(rest) => format!("{PAGE}{scheme}+{rest}"),
        None => format!("{scheme}+{template}"),
    }
}

/// A server's name as the beginning of a scheme: a letter first, then letters, digits, `-` and `.` (RFC 3986, section
/// 3.1), all small. Python clients refuse a whole list for one URI that is none.
fn scheme(server: &ServerName) -> String {
    let name = server.as_str();
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_fine) {
        return name.into();
    }
    let small = name.to_ascii_lowercase().replace(|c| !is_fine(c), "-");
    let digits = hex(&Sha256::digest(name));
    format!(
        "s-{small}-{}",
        digits.get(..HASH_DIGITS).unwrap_or_default()
    )
}

/// Whether a name looks like one that was changed: what it stands for only the servers' lists can tell.
pub(super) fn is_changed(name: &str) -> bool {
    let Some((_, digits)) = name.rsplit_once('_') else {
        return false;
    };
    digits.len() == HASH_DIGITS
        && digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn changed(server: &ServerName, name: &str) -> String {
    // No name of a server has a zero byte in it: no two pairs are one text.
    let digits = hex(&Sha256::digest(format!("{server}\0{name}")));
    let digits = digits.get(..HASH_DIGITS).unwrap_or_default();
    let room = MAX_EXPOSED - HASH_DIGITS - 1;
    let full = format!("{server}{SEPARATOR}{name}");
    let legal = full.chars().map(|c| if is_legal(c) { c } else { '_' });
    let kept: String = legal.take(room).collect();
    format!("{kept}_{digits}")
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn server(name: &str) -> ServerName {
        name.parse().unwrap()
    }

    #[test]
    fn the_longest_server_name_that_fits_is_meant() {
        let servers = [server("a"), server("a__b"), server("c")];
        let names = Names::new(servers.iter());
        let split = |name| names.split(name).map(|(s, n)| (s.as_str().to_string(), n));
        assert_eq!(split("a__b__x"), Some(("a__b".into(), "x")));
        assert_eq!(split("a__y__z"), Some(("a".into(), "y__z")));
        assert_eq!(split("plain"), None);
        assert_eq!(split("c__"), None);
        assert_eq!(split("c__ü"), None);
    }

    #[test]
    fn a_server_whose_name_begins_like_another_takes_none_of_its_tools() {
        let servers = [server("a"), server("a__b")];
        let names = Names::new(servers.iter());
        assert_eq!(names.exposed(&servers[1], "x"), "a__b__x");
        let other = names.exposed(&servers[0], "b__x");
        assert_eq!(other, "a__b__x_c5c4d83c");
        assert!(is_changed(&other));
        let alone = Names::new(servers[..1].iter());
        assert_eq!(alone.exposed(&servers[0], "b__x"), "a__b__x");
    }

    #[test]
    fn what_models_refuse_is_changed_and_stays_apart() {
        let images = server("images");
        let names = Names::new(std::iter::once(&images));
        let long = |end| names.exposed(&images, &format!("{}{end}", "x".repeat(80)));
        assert_eq!((long("1").len(), long("2").len()), (64, 64));
        assert_ne!(long("1"), long("2"));
        let spaced = names.exposed(&images, "paint a hedge/ü");
        assert!(spaced.starts_with("images__paint_a_hedge___"), "{spaced}");
        assert!(is_changed(&spaced));
        assert_ne!(spaced, names.exposed(&images, "paint_a hedge/ü"));
        assert_eq!(names.exposed(&images, "draw.v2-x"), "images__draw.v2-x");
        assert!(!is_changed("images__draw_deadbeeg") && !is_changed("images"));
    }

    proptest! {
        #[test]
        fn every_name_is_legal_and_tells_its_tool_from_all_others(
            servers in proptest::collection::btree_set("[a-z_]{1,12}|[a-z]{60,64}", 1..4),
            tools in proptest::collection::btree_set("[a-z_]{1,12}|.{1,20}|[a-z]{40,90}", 1..8),
        ) {
            let servers: Vec<ServerName> = servers.iter().map(|name| server(name)).collect();
            let names = Names::new(servers.iter());
            let mut all: HashMap<String, (&ServerName, &str)> = HashMap::new();
            for server in &servers {
                for tool in &tools {
                    let name = names.exposed(server, tool);
                    prop_assert!(name.len() <= MAX_EXPOSED && name.chars().all(is_legal), "{name}");
                    let read = names.split(&name);
                    prop_assert!(read == Some((server, tool)) || is_changed(&name), "{name}");
                    if let Some(other) = all.insert(name.clone(), (server, tool)) {
                        prop_assert!(false, "{name} is {other:?} and {server} {tool}");
                    }
                }
            }
        }

        #[test]
        fn exposing_and_splitting_a_uri_are_inverse(
            s in "[A-Za-z0-9._-]{1,12}",
            uri in "[a-z+:/]{1,40}|ui://[a-z+/]{0,9}",
        ) {
            let s = server(&s);
            let names = Names::new(std::iter::once(&s));
            for out in [exposed_uri(&s, &uri), exposed_template(&s, &uri)] {
                prop_assert_eq!(names.split_uri(&out), Some((&s, uri.clone())));
                prop_assert_eq!(out.starts_with("ui://"), uri.starts_with("ui://"));
                let named = out.strip_prefix("ui://").unwrap_or(&out).split_once('+').unwrap().0;
                prop_assert!(named.starts_with(|c: char| c.is_ascii_lowercase()), "{out}");
                prop_assert!(named.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{out}");
            }
        }
    }

    #[test]
    fn pages_of_the_web_keep_their_uri_and_templates_of_them_say_their_server() {
        let notes = server("notes");
        assert_eq!(exposed_uri(&notes, "https://x/1"), "https://x/1");
        assert_eq!(
            exposed_template(&notes, "https://x/{id}"),
            "notes+https://x/{id}"
        );
        let names = Names::new(std::iter::once(&notes));
        assert_eq!(names.split_uri("https://x/1"), None);
        assert_eq!(
            names.split_uri("NOTES+note://1"),
            None.or(names.split_uri("notes+note://1"))
        );
        let odd = [server("My_Notes"), server("my_notes")];
        let both = odd.each_ref().map(|name| exposed_uri(name, "note://1"));
        assert_ne!(both[0], both[1]);
        let names = Names::new(odd.iter());
        for (odd, uri) in odd.iter().zip(&both) {
            assert_eq!(names.split_uri(uri), Some((odd, "note://1".into())));
        }
        assert_eq!(
            names.split_uri("My_Notes+note://1"),
            Some((&odd[0], "note://1".into()))
        );
    }
}
