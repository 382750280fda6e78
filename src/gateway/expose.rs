//! What a server calls its resources, as the common endpoint calls them: wherever a URI of a server stands in what an
//! agent gets. Pure; what needs no change keeps its bytes, and text and `structuredContent` are never touched.

use serde_json::value::RawValue;

use crate::protocol::{Json, META, Method, Object, array_items, json_string, raw, write_array};
use crate::types::ServerName;

use super::names::{Names, exposed_template, exposed_uri};

/// Gives an item of a list the name it has on the common endpoint, and yields that.
pub(super) fn item(
    item: &mut Object,
    method: Method,
    server: &ServerName,
    names: &Names<'_>,
) -> String {
    // A resource's `name` is for people; its URI is what it is called by.
    let keys = ["uri", "uriTemplate", "name"];
    let is_resource = matches!(method, Method::ResourcesList | Method::TemplatesList);
    let key = keys
        .into_iter()
        .find(|key| is_resource != (*key == "name") && item.get(key).is_some());
    let key = key.unwrap_or("name");
    let own = item.get_str(key).unwrap_or_default();
    let name = match key {
        "uri" => exposed_uri(server, &own),
        "uriTemplate" => exposed_template(server, &own),
        _ => names.exposed(server, &own),
    };
    item.set(key, raw(json_string(&name)));
    if method == Method::ToolsList {
        pages(item, server);
    }
    name
}

/// The page that shows what a tool brings (MCP Apps): a `ui://` resource that its `_meta` refers to.
fn pages(tool: &mut Object, server: &ServerName) {
    const FLAT: &str = "ui/resourceUri";
    let Some(mut meta) = tool.get_object(META) else {
        return;
    };
    let nested = meta
        .get_object("ui")
        .and_then(|mut page| set_uri(&mut page, "resourceUri", server).then_some(page));
    if let Some(page) = &nested {
        meta.set("ui", page.to_json());
    }
    if set_uri(&mut meta, FLAT, server) || nested.is_some() {
        tool.set(META, meta.to_json());
    }
}

/// The result of a request, with the URIs that resources have on the common endpoint.
pub(super) fn result(method: Method, result: Json, server: &ServerName) -> Json {
    let text = result.get();
    // Most results name no resource. An escape could hide the word.
    if method != Method::ResourcesRead && !text.contains("resource") && !text.contains("\\u") {
        return result;
    }
    let (key, change): (&str, Change) = match method {
        Method::ResourcesRead => ("contents", with_uri),
        Method::ToolsCall => ("content", block),
        Method::PromptsGet => ("messages", message),
        Method::Initialize
        | Method::Discover
        | Method::Ping
        | Method::SetLevel
        | Method::ToolsList
        | Method::PromptsList
        | Method::ResourcesList
        | Method::TemplatesList
        | Method::Complete
        | Method::Subscribe
        | Method::Unsubscribe
        | Method::Listen
        | Method::TasksGet
        | Method::TasksUpdate
        | Method::TasksCancel
        | Method::TasksResult
        | Method::TasksList => return result,
    };
    // A result that is no object is the server's fault; it passes as it is.
    let changed = Object::parse(text).ok().and_then(|mut fields| {
        let list = each(fields.get(key)?, change, server)?;
        fields.set(key, list);
        Some(fields.to_json())
    });
    changed.unwrap_or(result)
}

/// Changes an object; `None` when there is nothing to change.
type Change = fn(Object, &ServerName) -> Option<Object>;

/// Changes what has to be in a list of objects, or in one; `None` when nothing has.
fn each(value: &RawValue, change: Change, server: &ServerName) -> Option<Json> {
    let changed = |text: &str| change(Object::parse(text).ok()?, server);
    let Some(items) = array_items(value.get()) else {
        return Some(changed(value.get())?.to_json());
    };
    let texts = items
        .iter()
        .map(|item| changed(item.get()).map(|item| item.to_text()));
    let texts: Vec<Option<String>> = texts.collect();
    texts.iter().any(Option::is_some).then(|| {
        let all = items.iter().zip(&texts);
        write_array(all.map(|(item, changed)| changed.as_deref().unwrap_or_else(|| item.get())))
    })
}

fn message(mut message: Object, server: &ServerName) -> Option<Object> {
    let content = each(message.get("content")?, block, server)?;
    message.set("content", content);
    Some(message)
}

/// One piece of content: a link to a resource, or a resource itself.
fn block(mut block: Object, server: &ServerName) -> Option<Object> {
    match block.get_str("type")?.as_ref() {
        "resource_link" => with_uri(block, server),
        "resource" => {
            let resource = with_uri(block.get_object("resource")?, server)?;
            block.set("resource", resource.to_json());
            Some(block)
        }
        _ => None,
    }
}

fn with_uri(mut object: Object, server: &ServerName) -> Option<Object> {
    set_uri(&mut object, "uri", server).then_some(object)
}

/// Puts the exposed URI in place; says whether that changed anything.
fn set_uri(object: &mut Object, key: &str, server: &ServerName) -> bool {
    let exposed = object.get_str(key).and_then(|own| {
        let exposed = exposed_uri(server, &own);
        (exposed != own).then_some(exposed)
    });
    if let Some(uri) = &exposed {
        object.set(key, raw(json_string(uri)));
    }
    exposed.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(method: Method, text: &str) -> String {
        let server = "notes".parse().unwrap();
        result(method, raw(text.into()), &server).get().to_string()
    }

    #[test]
    fn links_and_embedded_resources_are_exposed_and_the_rest_keeps_its_bytes() {
        let call = r#"{"content":[{ "type":"text","text":"see note://1, a resource" },{"type":"resource_link","uri":"note://1","name":"one"},{"type":"resource","resource":{"uri":"note://2","text":"note://2"}}],"structuredContent":{"type":"resource_link","uri":"note://1","n":1.10}}"#;
        assert_eq!(
            exposed(Method::ToolsCall, call),
            r#"{"content":[{ "type":"text","text":"see note://1, a resource" },{"type":"resource_link","uri":"notes+note://1","name":"one"},{"type":"resource","resource":{"uri":"notes+note://2","text":"note://2"}}],"structuredContent":{"type":"resource_link","uri":"note://1","n":1.10}}"#
        );
        let one = r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"note://1"}}},{"role":"user","content":[{"type":"resource_link","uri":"a:b"}]},{"role":"user","content":{"type":"text","text":"x"}}]}"#;
        assert_eq!(
            exposed(Method::PromptsGet, one),
            r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"notes+note://1"}}},{"role":"user","content":[{"type":"resource_link","uri":"notes+a:b"}]},{"role":"user","content":{"type":"text","text":"x"}}]}"#
        );
        let read = r#"{"contents":[{"uri":"note://1","text":"x"}]}"#;
        assert_eq!(
            exposed(Method::ResourcesRead, read),
            r#"{"contents":[{"uri":"notes+note://1","text":"x"}]}"#
        );
    }

    #[test]
    fn what_names_no_resource_of_the_server_passes_byte_for_byte() {
        for text in [
            r#"{ "content" : [ {"type":"text","text":"resource"} ] }"#,
            r#"{ "content" : [ {"type":"resource_link","uri":"https://example.com/a"} ] }"#,
            r#"{ "content" : "resource" }"#,
            r#"{ "content" : [ 7, {"type":"resource"} ] }"#,
            r#"[ "resource" ]"#,
        ] {
            assert_eq!(exposed(Method::ToolsCall, text), text);
        }
        let completed = r#"{ "completion" : {"values":["resource"]} }"#;
        assert_eq!(exposed(Method::Complete, completed), completed);
    }

    #[test]
    fn a_tool_that_has_a_page_refers_to_it_by_the_uri_it_has_here() {
        let server = "notes".parse().unwrap();
        let names = Names::new(std::iter::once(&server));
        let text = r#"{"name":"draw","_meta":{"ui":{"resourceUri":"ui://board/main","csp":1.0},"ui/resourceUri":"ui://board/main","x":1}}"#;
        let mut tool = Object::parse(text).unwrap();
        assert_eq!(
            item(&mut tool, Method::ToolsList, &server, &names),
            "notes__draw"
        );
        assert_eq!(
            tool.to_text(),
            r#"{"name":"notes__draw","_meta":{"ui":{"resourceUri":"ui://notes+board/main","csp":1.0},"ui/resourceUri":"ui://notes+board/main","x":1}}"#
        );
    }
}
