//! How servers' tools, prompts and resources are called on the endpoint that has them all. Pure.
//!
//! `<server>__<name>`, at most 64 characters, since models accept no longer names; `<server>+<uri>` for
//! resources, which is a legal URI scheme and leaves templates intact.

use sha2::{Digest, Sha256};

use crate::types::ServerName;

/// Between a server's name and its own name for a tool.
const SEPARATOR: &str = "__";

/// The longest name models accept.
const MAX_EXPOSED: usize = 64;

/// Digits of the hash that keeps shortened names apart.
const HASH_DIGITS: usize = 8;

/// The name a tool or prompt has on the common endpoint. Names that would be too long are cut and get a hash
/// of the whole, which is the same after every restart.
pub(super) fn exposed(server: &ServerName, name: &str) -> String {
    let full = format!("{server}{SEPARATOR}{name}");
    if full.len() <= MAX_EXPOSED {
        return full;
    }
    let digest = Sha256::digest(full.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let digits = digits.get(..HASH_DIGITS).unwrap_or_default();
    let room = MAX_EXPOSED - HASH_DIGITS - 1;
    let kept: String = full
        .char_indices()
        .take_while(|(at, c)| at + c.len_utf8() <= room)
        .map(|(_, c)| c)
        .collect();
    format!("{kept}_{digits}")
}

/// The server and its own name, read off an exposed one; of several servers that fit, the longest name.
/// `None` for bare and for shortened names, which only the servers' lists can resolve.
pub(super) fn split_exposed<'a, 's>(
    exposed_name: &'a str,
    servers: impl Iterator<Item = &'s ServerName>,
) -> Option<(&'s ServerName, &'a str)> {
    let fitting = servers.filter_map(|server| {
        let own = exposed_name
            .strip_prefix(server.as_str())?
            .strip_prefix(SEPARATOR)?;
        (!own.is_empty() && exposed(server, own) == exposed_name).then_some((server, own))
    });
    fitting.max_by_key(|(server, _)| server.as_str().len())
}

/// The URI a resource or template has on the common endpoint.
pub(super) fn exposed_uri(server: &ServerName, uri: &str) -> String {
    format!("{server}+{uri}")
}

/// The server and its own URI, read off an exposed one.
pub(super) fn split_uri<'a, 's>(
    uri: &'a str,
    servers: impl Iterator<Item = &'s ServerName>,
) -> Option<(&'s ServerName, &'a str)> {
    let fitting = servers.filter_map(|server| {
        Some((
            server,
            uri.strip_prefix(server.as_str())?.strip_prefix('+')?,
        ))
    });
    fitting.max_by_key(|(server, _)| server.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(name: &str) -> ServerName {
        name.parse().unwrap()
    }

    #[test]
    fn the_longest_server_name_that_fits_is_meant() {
        let servers = [server("a"), server("a__b"), server("c")];
        let split =
            |name| split_exposed(name, servers.iter()).map(|(s, n)| (s.as_str().to_string(), n));
        assert_eq!(split("a__b__x"), Some(("a__b".into(), "x")));
        assert_eq!(split("a__y__z"), Some(("a".into(), "y__z")));
        assert_eq!(split("plain"), None);
        assert_eq!(split("c__"), None);
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let one = exposed(&server("images"), &format!("{}1", "x".repeat(80)));
        let two = exposed(&server("images"), &format!("{}2", "x".repeat(80)));
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn exposing_and_splitting_are_inverse(s in "[a-z]{1,12}", name in "[a-z_]{1,40}") {
            let s = server(&s);
            let name_out = exposed(&s, &name);
            let back = split_exposed(&name_out, std::iter::once(&s));
            prop_assert_eq!(back.map(|(_, own)| own.to_string()), Some(name.clone()));
            let uri = exposed_uri(&s, &name);
            prop_assert_eq!(split_uri(&uri, std::iter::once(&s)).map(|(_, own)| own.to_string()), Some(name));
        }
    }
}
