//! News that wait for their agent's stream: told once however often they happened, so that what waits for a slow
//! client stays small and no change of a list is lost. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{
    META, Object, RequestId, SUBSCRIPTION_ID, is_reserved_key, json_string, notification, raw,
};
use crate::upstream::List;

/// Resources whose updates wait at once; those of further ones are dropped.
const MAX_UPDATED: usize = 256;

/// The longest parameters of an update that are kept as the server wrote them, in bytes; of longer ones the URI.
const MAX_PARAMS: usize = 16 * 1024;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lists: BTreeSet<List>,
    /// Parameters by the agent's own form of the URI.
    updated: BTreeMap<String, Object>,
}

impl Waiting {
    /// A list is another one now.
    pub(super) fn changed(&mut self, list: List) {
        self.lists.insert(list);
    }

    /// A resource is another one now; `uri` is the agent's form of what stands in the server's parameters.
    pub(super) fn updated(&mut self, uri: &str, params: Object) {
        if self.updated.len() >= MAX_UPDATED && !self.updated.contains_key(uri) {
            return;
        }
        let mut params = if params.to_text().len() > MAX_PARAMS {
            Object::default()
        } else {
            params
        };
        if params.get_str("uri").as_deref() != Some(uri) {
            params.set("uri", raw(json_string(uri)));
        }
        self.updated.insert(uri.into(), params);
    }

    /// Takes an update back that is not wanted any more.
    pub(super) fn forget(&mut self, uri: &str) {
        self.updated.remove(uri);
    }

    /// The next message, for the stream of this request (2026-07-28) or of a session.
    pub(super) fn next(&mut self, tag: Option<&RequestId>) -> Option<String> {
        let (method, mut params) = match self.lists.pop_first() {
            Some(list) => (changed(list), Object::default()),
            None => {
                let (_, params) = self.updated.pop_first()?;
                ("notifications/resources/updated", params)
            }
        };
        address(&mut params, tag);
        Some(notification(
            method,
            (!params.is_empty()).then_some(&params),
        ))
    }
}

fn changed(list: List) -> &'static str {
    match list {
        List::Tools => "notifications/tools/list_changed",
        List::Prompts => "notifications/prompts/list_changed",
        List::Resources => "notifications/resources/list_changed",
    }
}

/// Names the request that a message belongs to, in place of the gateway's own at the server.
pub(super) fn address(params: &mut Object, tag: Option<&RequestId>) {
    let mut meta = params.get_object(META).unwrap_or_default();
    if tag.is_none() && !meta.keys().any(is_reserved_key) {
        return;
    }
    meta.retain(|key| !is_reserved_key(key));
    if let Some(tag) = tag {
        meta.set(SUBSCRIPTION_ID, raw(tag.as_json().into()));
    }
    if meta.is_empty() {
        params.remove(META);
    } else {
        params.set(META, meta.to_json());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    #[test]
    fn what_happens_often_is_told_once_and_lists_first() {
        let mut waiting = Waiting::default();
        for _ in 0..3 {
            waiting.updated("s+a://1", params(r#"{"uri":"a://1","title":"x"}"#));
            waiting.changed(List::Tools);
        }
        assert_eq!(
            waiting.next(None).unwrap(),
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#
        );
        assert_eq!(
            waiting.next(None).unwrap(),
            r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"s+a://1","title":"x"}}"#
        );
        assert_eq!(waiting.next(None), None);
    }

    #[test]
    fn a_message_names_the_agents_own_request_and_never_the_gateways() {
        let foreign = r#"{"uri":"a","_meta":{"io.modelcontextprotocol/subscriptionId":7,"x":1}}"#;
        let mut waiting = Waiting::default();
        waiting.updated("a", params(foreign));
        assert!(
            waiting
                .next(None)
                .unwrap()
                .ends_with(r#""params":{"uri":"a","_meta":{"x":1}}}"#)
        );
        let id = RequestId::number(3);
        waiting.changed(List::Prompts);
        assert!(
            waiting
                .next(Some(&id))
                .unwrap()
                .ends_with(r#""params":{"_meta":{"io.modelcontextprotocol/subscriptionId":3}}}"#)
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut waiting = Waiting::default();
        for number in 0..2 * MAX_UPDATED {
            waiting.updated(&format!("a://{number}"), Object::default());
        }
        let long = format!("{{\"uri\":\"a://0\",\"x\":\"{}\"}}", "x".repeat(MAX_PARAMS));
        waiting.updated("a://0", params(&long));
        let told: Vec<String> = std::iter::from_fn(|| waiting.next(None)).collect();
        assert_eq!(told.len(), MAX_UPDATED);
        assert!(told[0].ends_with(r#""params":{"uri":"a://0"}}"#));
    }
}
