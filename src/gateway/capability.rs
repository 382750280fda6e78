//! What a server wants to ask its client that the client did not declare (2026-07-28, capabilities). Pure.

use serde_json::value::RawValue;

use crate::protocol::{Json, Object, raw};

/// What an agent would have to declare for the questions of an `input_required` result; `None` when it did.
pub(super) fn missing(result: &RawValue, declared: &Object) -> Option<Json> {
    let questions = Object::parse(result.get())
        .ok()?
        .get_object("inputRequests")
        .unwrap_or_default();
    let mut missing = Object::default();
    for key in questions.keys() {
        let question = questions.get_object(key).unwrap_or_default();
        let method = question.get_str("method").unwrap_or_default();
        let capability = method.split('/').next().unwrap_or_default();
        let params = question.get_object("params").unwrap_or_default();
        let is_page = params.get_str("mode").as_deref() == Some("url");
        let has = declared.get_object(capability);
        match has {
            Some(has) if !is_page || has.get("url").is_some() => {}
            // Where a page is to be visited as well, that says it all.
            _ if is_page => missing.set(capability, raw(r#"{"url":{}}"#.into())),
            _ if missing.get(capability).is_none() => missing.set(capability, raw("{}".into())),
            _ => {}
        }
    }
    (!missing.is_empty()).then(|| missing.to_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_declared_is_named() {
        let ask = |questions: &str, declared: &str| {
            let result =
                format!(r#"{{"resultType":"input_required","inputRequests":{{{questions}}}}}"#);
            let missing = missing(&raw(result), &Object::parse(declared).unwrap());
            missing.map(|missing| missing.get().to_owned())
        };
        let form = r#""a":{"method":"elicitation/create","params":{"message":"?"}}"#;
        let page = r#""b":{"method":"elicitation/create","params":{"mode":"url","url":"u"}}"#;
        let model = r#""c":{"method":"sampling/createMessage"}"#;
        let both = format!("{form},{page},{model}");
        assert_eq!(ask(form, r#"{"elicitation":{}}"#), None);
        assert_eq!(ask(page, r#"{"elicitation":{"url":{}}}"#), None);
        assert_eq!(ask("", "{}"), None);
        assert_eq!(ask(form, "{}").as_deref(), Some(r#"{"elicitation":{}}"#));
        assert_eq!(
            ask(page, r#"{"elicitation":{}}"#).as_deref(),
            Some(r#"{"elicitation":{"url":{}}}"#)
        );
        assert_eq!(
            ask(&both, r#"{"roots":{}}"#).as_deref(),
            Some(r#"{"elicitation":{"url":{}},"sampling":{}}"#)
        );
    }
}
