//! Cursors of lists, sealed to the agent they are given to: a server's own on its endpoint, ours on the common one.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use std::time::Duration;

use crate::protocol::{Json, Method, Object, json_string, raw};
use crate::types::{CallId, ServerName, hex};

use super::seal::Binding;
use super::stages::Caller;
use super::{Failure, Gateway, Scope};

/// How long a cursor can be used. Whoever reads a list asks for the next page at once.
const CURSOR_TIME: Duration = Duration::from_secs(3_600);

/// The key under which a cursor travels to the gateway, and under which it travels back.
const CURSOR: &str = "cursor";
const NEXT: &str = "nextCursor";

/// Where a page of the joined list begins: behind an item of one server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The server whose list it is.
    pub(super) server: ServerName,
    /// How many of its items were shown.
    seen: usize,
    /// A digest of the last one shown, which is found again when the list has changed meanwhile.
    last: String,
}

impl Place {
    /// The place behind the item at `index`.
    pub(super) fn behind(server: &ServerName, items: &[Object], index: usize) -> Self {
        Self {
            server: server.clone(),
            seen: index.saturating_add(1),
            last: items.get(index).map(digest).unwrap_or_default(),
        }
    }

    /// How many items of the server's list as it is now come before the place.
    pub(super) fn before(&self, items: &[Object]) -> usize {
        let is_last = |item: &Object| digest(item) == self.last;
        let at_same = self.seen.checked_sub(1).and_then(|index| items.get(index));
        if at_same.is_some_and(is_last) {
            return self.seen;
        }
        let moved = items.iter().position(is_last);
        moved.map_or(self.seen.min(items.len()), |index| index.saturating_add(1))
    }

    fn write(&self) -> String {
        json!({"server": self.server.as_str(), "seen": self.seen, "last": self.last}).to_string()
    }

    fn read(text: &str) -> Option<Self> {
        let place: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            server: place["server"].as_str()?.parse().ok()?,
            seen: usize::try_from(place["seen"].as_u64()?).ok()?,
            last: place["last"].as_str()?.into(),
        })
    }
}

/// What an item is called by its server, in few bytes.
fn digest(item: &Object) -> String {
    let keys = ["uri", "uriTemplate", "name"];
    let name = keys.iter().find_map(|key| item.get_str(key));
    hex(&Sha256::digest(name.unwrap_or_default().as_bytes()))
        .chars()
        .take(16)
        .collect()
}

impl Gateway {
    /// The cursor of a request for a list: what the server, or we, gave for it. It is taken out of the parameters.
    ///
    /// # Errors
    /// When it is not one that this agent was given for this list, was changed, or is too old.
    pub(super) fn take_cursor(
        &self,
        caller: &Caller,
        scope: &Scope,
        method: Method,
        params: &mut Object,
    ) -> Result<Option<String>, Failure> {
        let Some(cursor) = params
            .remove(CURSOR)
            .filter(|cursor| cursor.get() != "null")
        else {
            return Ok(None);
        };
        let sealed: Option<String> = serde_json::from_str(cursor.get()).ok();
        let (binding, now) = (binding(caller, scope, method), self.clock.now());
        let unsealed = sealed.and_then(|sealed| self.cursors.unseal(&binding, &sealed, now));
        match unsealed {
            Some(unsealed) => Ok(Some(unsealed.value)),
            None => Err(Failure::UnknownCursor),
        }
    }

    /// Puts the server's own cursor into a request.
    pub(super) fn set_own_cursor(params: &mut Object, own: String) {
        params.set(CURSOR, raw(own));
    }

    /// Puts the cursor of the next page into a page of one server, byte for byte inside the seal.
    pub(super) fn seal_next(
        &self,
        caller: &Caller,
        scope: &Scope,
        method: Method,
        call: CallId,
        (page, next): (&mut Object, &Json),
    ) {
        let expires = self.clock.now().after(CURSOR_TIME);
        let binding = binding(caller, scope, method);
        let sealed = self.cursors.seal(&binding, call, expires, next.get());
        page.set(NEXT, raw(json_string(&sealed)));
    }

    /// Puts the cursor of the next page into a page of the joined list.
    pub(super) fn seal_place(
        &self,
        caller: &Caller,
        method: Method,
        page: &mut Object,
        place: &Place,
    ) {
        let next = raw(place.write());
        let call = self.new_call();
        self.seal_next(caller, &Scope::All, method, call, (page, &next));
    }
}

/// Reads the place out of a cursor of the joined list.
pub(super) fn place(cursor: &str) -> Result<Place, Failure> {
    Place::read(cursor).ok_or(Failure::UnknownCursor)
}

fn binding<'a>(caller: &'a Caller, scope: &'a Scope, method: Method) -> Binding<'a> {
    Binding {
        agent: caller.agent.name.as_str(),
        // No server has an empty name.
        server: match scope {
            Scope::One(server) => server.as_str(),
            Scope::All => "",
        },
        purpose: method.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(names: &[&str]) -> Vec<Object> {
        let item = |name: &&str| Object::parse(&format!(r#"{{"name":"{name}"}}"#)).unwrap();
        names.iter().map(item).collect()
    }

    #[test]
    fn a_place_is_found_again_in_a_list_that_changed() {
        let place = Place::behind(&"s".parse().unwrap(), &items(&["a", "b", "c", "d"]), 1);
        assert_eq!(Place::read(&place.write()), Some(place.clone()));
        for (now, expected) in [
            (vec!["a", "b", "c", "d"], 2),
            (vec!["b", "c", "d"], 1),
            (vec!["new", "a", "b", "c"], 3),
            (vec!["a", "c", "d"], 2),
            (vec!["a"], 1),
            (vec![], 0),
        ] {
            assert_eq!(place.before(&items(&now)), expected, "{now:?}");
        }
        assert_eq!(Place::read("{}"), None);
    }
}
