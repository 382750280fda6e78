//! What an agent knows of servers' lists, as digests, so that a change it cannot see is no news to it. Pure.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use crate::protocol::{Method, Object};
use crate::types::ServerName;

/// A list in 32 bytes.
pub(super) type Digest = [u8; 32];

/// One page of a list as an agent got it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenPage<'a> {
    /// The cursor it was asked for with.
    pub from: Option<&'a str>,
    /// What was on it for this agent.
    pub items: &'a [Object],
    /// The cursor of the next one.
    pub next: Option<&'a str>,
}

/// What is known of all lists, by server. As many entries as the agent can see servers, four times.
#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    lists: HashMap<(ServerName, Method), Known>,
    /// Whether several clients may have got different lists, since they all have the same token.
    is_shared: bool,
}

#[derive(Debug, Clone, Default)]
struct Known {
    whole: Option<Digest>,
    /// The pages so far, and the digest of the next one's cursor.
    part: Option<(Sha256, Digest)>,
}

impl Knowledge {
    /// Of clients that cannot be told apart.
    pub(super) fn shared() -> Self {
        Self {
            is_shared: true,
            ..Self::default()
        }
    }

    /// Notes a page that was given out. Pages out of order leave nothing that could be compared.
    pub(super) fn got(&mut self, server: &ServerName, method: Method, page: &GivenPage<'_>) {
        let is_shared = self.is_shared;
        let known = self.lists.entry((server.clone(), method)).or_default();
        let so_far = match (page.from, known.part.take()) {
            (None, _) => Some(Sha256::new()),
            (Some(from), Some((so_far, next))) if next == digest(from) => Some(so_far),
            (Some(_), _) => None,
        };
        if !is_shared {
            known.whole = None;
        }
        let Some(mut so_far) = so_far else { return };
        add(&mut so_far, page.items);
        match page.next {
            Some(next) => known.part = Some((so_far, digest(next))),
            None => {
                let whole = so_far.finalize().into();
                // Of two different lists that clients have, at least one is not the server's any more.
                let differs = known.whole.is_some_and(|old| old != whole);
                known.whole = (!differs).then_some(whole);
            }
        }
    }

    /// Notes that the rest of a list was given out, which is so now as a whole. Of one that was another one when its
    /// beginning was given out, nobody knows what the agent has.
    pub(super) fn got_rest(&mut self, server: &ServerName, method: Method, whole: &[Object]) {
        if self.of(server, method) != Some(digest_of(whole)) {
            self.forget(server, method);
        }
    }

    /// The digest of a list that the agent has.
    pub(super) fn of(&self, server: &ServerName, method: Method) -> Option<Digest> {
        self.lists.get(&(server.clone(), method))?.whole
    }

    /// Notes how a list is now. Says whether that is something else than what the agent has.
    pub(super) fn learn(&mut self, server: &ServerName, method: Method, now: Digest) -> bool {
        let known = self.lists.entry((server.clone(), method)).or_default();
        known.whole.replace(now) != Some(now)
    }

    /// Notes that what the agent has of a list is not known.
    pub(super) fn forget(&mut self, server: &ServerName, method: Method) {
        self.lists.remove(&(server.clone(), method));
    }
}

/// The digest of a whole list.
pub(super) fn digest_of(items: &[Object]) -> Digest {
    let mut all = Sha256::new();
    add(&mut all, items);
    all.finalize().into()
}

/// INVARIANT: how a list is cut into pages makes no difference.
fn add(all: &mut Sha256, items: &[Object]) {
    for item in items {
        all.update(digest(&item.to_text()));
    }
}

fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(names: &[&str]) -> Vec<Object> {
        let item = |name: &&str| Object::parse(&format!("{{\"name\":\"{name}\"}}")).unwrap();
        names.iter().map(item).collect()
    }

    fn got(known: &mut Knowledge, from: Option<&str>, names: &[&str], next: Option<&str>) {
        let page = GivenPage {
            from,
            items: &items(names),
            next,
        };
        known.got(&"s".parse().unwrap(), Method::ToolsList, &page);
    }

    fn of(known: &Knowledge) -> Option<Digest> {
        known.of(&"s".parse().unwrap(), Method::ToolsList)
    }

    #[test]
    fn pages_make_the_list_that_they_are_of() {
        let mut known = Knowledge::default();
        got(&mut known, None, &["a", "b"], Some("2"));
        assert_eq!(of(&known), None, "half a list");
        got(&mut known, Some("2"), &["c"], None);
        assert_eq!(of(&known), Some(digest_of(&items(&["a", "b", "c"]))));
        got(&mut known, Some("2"), &["c"], None);
        assert_eq!(of(&known), None, "a page without the ones before it");
    }

    #[test]
    fn one_client_has_what_it_got_last_and_of_several_nobody_knows() {
        for (mut known, expected) in [
            (Knowledge::default(), Some(digest_of(&items(&["b"])))),
            (Knowledge::shared(), None),
        ] {
            got(&mut known, None, &["a"], None);
            got(&mut known, None, &["a"], None);
            assert_eq!(of(&known), Some(digest_of(&items(&["a"]))));
            got(&mut known, None, &["b"], None);
            assert_eq!(of(&known), expected);
        }
    }

    #[test]
    fn a_list_that_changed_before_its_rest_came_is_not_known() {
        let mut known = Knowledge::default();
        let server = "s".parse().unwrap();
        got(&mut known, None, &["a", "b"], None);
        known.got_rest(&server, Method::ToolsList, &items(&["a", "b"]));
        assert_eq!(of(&known), Some(digest_of(&items(&["a", "b"]))));
        known.got_rest(&server, Method::ToolsList, &items(&["a", "c"]));
        assert_eq!(of(&known), None);
    }

    #[test]
    fn only_another_list_is_news() {
        let mut known = Knowledge::default();
        let server = "s".parse().unwrap();
        let mut learn =
            |names: &[&str]| known.learn(&server, Method::PromptsList, digest_of(&items(names)));
        assert!(learn(&["a"]));
        assert!(!learn(&["a"]));
        assert!(learn(&["a", "b"]));
    }
}
