//! Results of one revision in the shape of another. Pure; what needs no change passes byte for byte.

use serde_json::value::RawValue;

use crate::protocol::{Json, META, Method, Object, code, is_reserved_key, raw};
use crate::upstream::Era;

/// Keys that 2026-07-28 added to results.
const MODERN_KEYS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

/// The key under which a value that is no object is put for revisions that know only objects.
const WRAPPED: &str = "result";

/// Whether a result only says what the server still wants to know.
pub(super) fn needs_input(result: &RawValue) -> bool {
    result.get().contains("input_required")
        && Object::parse(result.get())
            .is_ok_and(|result| result.get_str("resultType").as_deref() == Some("input_required"))
}

/// The result that asks an agent of 2026-07-28 these questions; its state is still to be put in.
pub(super) fn input_required(questions: &Object) -> Object {
    let mut result = Object::default();
    result.set("resultType", raw("\"input_required\"".into()));
    result.set("inputRequests", questions.to_json());
    result
}

/// A result as an agent of the given era expects it.
pub(super) fn result(method: Method, result: Json, from: Era, to_modern: bool) -> Json {
    match (from, to_modern) {
        (Era::Legacy, false) => result,
        (Era::Modern, true) if method.list_key().is_none() => result,
        (Era::Legacy | Era::Modern, true) => edit(result, |fields| modernize(method, fields)),
        (Era::Modern, false) => edit(result, age),
    }
}

/// An error object as an agent of the given era expects it.
pub(super) fn error(method: Method, error: Json, from: Era, to_modern: bool) -> Json {
    let Ok(mut fields) = Object::parse(error.get()) else {
        return error;
    };
    let number = fields.get("code").map(RawValue::get);
    let other = match (from, to_modern) {
        (_, true) if number == Some(&code::RESOURCE_NOT_FOUND.to_string()) => code::INVALID_PARAMS,
        // One that named no page to visit; the others never come here.
        (_, true) if number == Some(&code::URL_ELICITATION_REQUIRED.to_string()) => {
            code::INTERNAL_ERROR
        }
        (Era::Modern, false)
            if method == Method::ResourcesRead
                && number == Some(&code::INVALID_PARAMS.to_string()) =>
        {
            code::RESOURCE_NOT_FOUND
        }
        _ => return error,
    };
    fields.set("code", raw(other.to_string()));
    fields.to_json()
}

/// One item of a list, as an agent of the given era expects it.
pub(super) fn item(item: &mut Object, from: Era, to_modern: bool) {
    if from == Era::Legacy || to_modern {
        return;
    }
    let schema = item.get_object("outputSchema");
    let is_object = schema
        .as_ref()
        .and_then(|schema| schema.get_str("type").map(|kind| kind == "object"));
    if let (Some(schema), Some(false) | None) = (&schema, is_object) {
        let wrapped = format!(
            "{{\"type\":\"object\",\"properties\":{{\"{WRAPPED}\":{}}},\"required\":[\"{WRAPPED}\"]}}",
            schema.to_text()
        );
        item.set("outputSchema", raw(wrapped));
    }
}

fn modernize(method: Method, fields: &mut Object) {
    if fields.get("resultType").is_none() {
        fields.set("resultType", raw("\"complete\"".into()));
    }
    if method.list_key().is_some() || method == Method::ResourcesRead {
        if fields.get("ttlMs").is_none() {
            fields.set("ttlMs", raw("0".into()));
        }
        // What an agent gets is filtered for it, so nobody else may be served from a cache of it.
        fields.set("cacheScope", raw("\"private\"".into()));
    }
}

fn age(fields: &mut Object) {
    fields.retain(|key| !MODERN_KEYS.contains(&key));
    if let Some(mut meta) = fields.get_object(META) {
        meta.retain(|key| !is_reserved_key(key));
        if meta.is_empty() {
            fields.remove(META);
        } else {
            fields.set(META, meta.to_json());
        }
    }
    if let Some(content) = fields.get("structuredContent")
        && !content.get().starts_with('{')
    {
        let wrapped = format!("{{\"{WRAPPED}\":{}}}", content.get());
        fields.set("structuredContent", raw(wrapped));
    }
}

fn edit(json: Json, change: impl FnOnce(&mut Object)) -> Json {
    // A result that is no object is the server's fault; it passes as it is.
    let Ok(mut fields) = Object::parse(json.get()) else {
        return json;
    };
    change(&mut fields);
    fields.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        raw(text.into())
    }

    #[test]
    fn a_result_crosses_eras_both_ways() {
        let legacy = r#"{"content":[],"n":1.10}"#;
        let modern = result(Method::ToolsCall, json(legacy), Era::Legacy, true);
        assert_eq!(
            modern.get(),
            r#"{"content":[],"n":1.10,"resultType":"complete"}"#
        );
        let back = result(Method::ToolsCall, modern, Era::Modern, false);
        assert_eq!(back.get(), legacy);
    }

    #[test]
    fn what_stays_in_its_era_passes_byte_for_byte() {
        let text = r#"{ "content" : [ ] , "resultType":"complete" }"#;
        assert_eq!(
            result(Method::ToolsCall, json(text), Era::Modern, true).get(),
            text
        );
        assert_eq!(
            result(Method::ToolsList, json(text), Era::Legacy, false).get(),
            text
        );
    }

    #[test]
    fn lists_are_never_cached_for_others() {
        let list =
            json(r#"{"tools":[],"resultType":"complete","ttlMs":60000,"cacheScope":"public"}"#);
        let list = result(Method::ToolsList, list, Era::Modern, true);
        assert!(list.get().contains(r#""cacheScope":"private""#));
        assert!(list.get().contains(r#""ttlMs":60000"#));
    }

    #[test]
    fn structured_content_that_is_no_object_is_wrapped_with_its_schema() {
        let aged = result(
            Method::ToolsCall,
            json(r#"{"structuredContent":[1,2]}"#),
            Era::Modern,
            false,
        );
        assert_eq!(aged.get(), r#"{"structuredContent":{"result":[1,2]}}"#);
        let mut tool = Object::parse(r#"{"name":"x","outputSchema":{"type":"array"}}"#).unwrap();
        item(&mut tool, Era::Modern, false);
        assert!(
            tool.to_text()
                .contains(r#""properties":{"result":{"type":"array"}}"#)
        );
    }

    #[test]
    fn an_unknown_resource_has_the_code_of_the_agents_revision() {
        let old = json(r#"{"code":-32002,"message":"gone"}"#);
        assert!(
            error(Method::ResourcesRead, old, Era::Legacy, true)
                .get()
                .contains("-32602")
        );
        let new = json(r#"{"code":-32602,"message":"gone"}"#);
        assert!(
            error(Method::ResourcesRead, new.clone(), Era::Modern, false)
                .get()
                .contains("-32002")
        );
        assert!(
            error(Method::ToolsCall, new, Era::Modern, false)
                .get()
                .contains("-32602")
        );
    }

    #[test]
    fn only_a_result_that_says_so_needs_input() {
        assert!(needs_input(&json(r#"{"resultType":"input_required"}"#)));
        assert!(!needs_input(&json(
            r#"{"content":[{"text":"input_required"}]}"#
        )));
    }
}
