//! Servers of 2025-11-25 that refuse a call until their user has visited a page: the error that says so, in the
//! shape of 2026-07-28, which knows no such error. Pure.

use crate::protocol::{Json, Object, array_items, code, raw};

/// The `inputRequests` for the pages that such an error names; `None` when it is another, or names none.
pub(super) fn wanted(error: &Json) -> Option<Object> {
    let error = Object::parse(error.get()).ok()?;
    let number: i32 = error.get("code")?.get().parse().ok()?;
    if number != code::URL_ELICITATION_REQUIRED {
        return None;
    }
    let data = error.get_object("data").unwrap_or_default();
    let pages = data
        .get("elicitations")
        .and_then(|pages| array_items(pages.get()))
        .unwrap_or_default();
    let pages = pages.iter().filter_map(|page| visit(page.get()));
    let mut visits = Object::default();
    for (index, page) in pages.enumerate() {
        visits.set(&format!("url-{}", index.saturating_add(1)), page);
    }
    Some(visits).filter(|visits| !visits.is_empty())
}

/// One page as a question; its id has no place in 2026-07-28.
fn visit(page: &str) -> Option<Json> {
    let page = Object::parse(page).ok()?;
    let mut params = Object::default();
    params.set("mode", raw("\"url\"".into()));
    for key in ["url", "message"] {
        page.get_str(key)?;
        params.set(key, page.get(key)?.to_owned());
    }
    let mut question = Object::default();
    question.set("method", raw("\"elicitation/create\"".into()));
    question.set("params", params.to_json());
    Some(question.to_json())
}

/// Whether an agent can send its user to a page.
pub(super) fn are_possible(capabilities: &Object) -> bool {
    let elicitation = capabilities.get_object("elicitation");
    elicitation.is_some_and(|elicitation| elicitation.get("url").is_some())
}

/// Whether a question may be put to an agent that declared this: the method, and pages only to who can open them.
pub(super) fn may_ask(declared: &Object, method: &str, params: &Object) -> bool {
    let capability = method.split('/').next().unwrap_or_default();
    let is_page = params.get_str("mode").as_deref() == Some("url");
    declared.get(capability).is_some() && (!is_page || are_possible(declared))
}

/// What an agent has to declare for that.
pub(super) fn required() -> Json {
    raw(r#"{"elicitation":{"url":{}}}"#.into())
}

/// Whether the user did not want to visit one of the pages.
pub(super) fn is_declined(answers: &Object) -> bool {
    answers
        .keys()
        .filter_map(|key| {
            answers
                .get_object(key)?
                .get_str("action")
                .map(|action| action != "accept")
        })
        .any(|is_declined| is_declined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits_of(error: &str) -> Option<String> {
        wanted(&raw(error.into())).map(|visits| visits.to_text())
    }

    #[test]
    fn pages_of_an_error_become_questions() {
        let error = r#"{"code":-32042,"message":"first","data":{"elicitations":[
            {"mode":"url","elicitationId":"e1","url":"https://a.example/\u00e9","message":"Log in"},
            {"mode":"url","elicitationId":"e2","url":"https://b.example/","message":"Pay"},
            {"mode":"url","message":"no page"}]}}"#;
        let question = |url: &str, message: &str| {
            format!(
                r#"{{"method":"elicitation/create","params":{{"mode":"url","url":"{url}","message":"{message}"}}}}"#
            )
        };
        assert_eq!(
            visits_of(error).unwrap(),
            format!(
                r#"{{"url-1":{},"url-2":{}}}"#,
                question("https://a.example/\\u00e9", "Log in"),
                question("https://b.example/", "Pay")
            )
        );
    }

    #[test]
    fn other_errors_name_no_pages() {
        assert_eq!(visits_of(r#"{"code":-32041,"message":"x"}"#), None);
        assert_eq!(visits_of(r#"[]"#), None);
        for data in ["", r#","data":7"#, r#","data":{"elicitations":{}}"#] {
            let error = format!(r#"{{"code":-32042,"message":"x"{data}}}"#);
            assert_eq!(visits_of(&error), None, "{error}");
        }
    }

    #[test]
    fn only_what_was_declared_may_be_asked() {
        let page = r#"{"mode":"url","url":"https://a.example/"}"#;
        for (declared, method, params, expected) in [
            (r#"{"elicitation":{}}"#, "elicitation/create", "{}", true),
            (r#"{"elicitation":{}}"#, "roots/list", "{}", false),
            (r#"{"elicitation":{}}"#, "elicitation/create", page, false),
            (
                r#"{"elicitation":{"url":{}}}"#,
                "elicitation/create",
                page,
                true,
            ),
            (r#"{"roots":{}}"#, "elicitation/create", page, false),
        ] {
            let object = |text| Object::parse(text).unwrap();
            let may = may_ask(&object(declared), method, &object(params));
            assert_eq!(may, expected, "{declared} {method} {params}");
        }
    }

    #[test]
    fn one_refusal_is_a_refusal() {
        let declined = |answers: &str| is_declined(&Object::parse(answers).unwrap());
        assert!(!declined(
            r#"{"url-1":{"action":"accept"},"x":7,"y":{"action":1}}"#
        ));
        assert!(declined(
            r#"{"url-1":{"action":"accept"},"url-2":{"action":"cancel"}}"#
        ));
    }
}
