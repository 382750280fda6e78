//! Clients are told this gateway's address, and never a token.

use axum::http::header;

use super::report::rules;
use super::sample::Sample;
use super::{get, get_with, links};
use crate::dashboard::Access;

const RULES: &str = r#"
servers:
  outline: {url: "http://127.0.0.1:9/mcp"}
  images: {url: "http://127.0.0.1:9/mcp"}
agents: {}
"#;

#[tokio::test]
async fn every_client_is_given_the_address_the_page_came_from() {
    let sample = Sample::empty().await;
    let router = sample.router_with(Access::Open, rules(RULES)).await;
    let page = get_with(&router, "/audit/connect", header::HOST, "gate.example:8443")
        .await
        .body;
    let clients = page.matches("class=\"client\"").count();
    assert_eq!(clients, 11);
    let snippets = page.matches("<pre id=").count();
    assert_eq!(page.matches("data-copy=").count(), snippets);
    assert!(
        page.matches("http://gate.example:8443/mcp").count() > snippets,
        "{page}"
    );
    assert!(!page.contains("3100") && page.contains("plain http"));
    assert!(page.contains("$HAYWARD_TOKEN") && !page.contains("hwd_"));
    for link in links(&page)
        .iter()
        .filter(|link| link.starts_with('#') && *link != "#main")
    {
        let id = format!("id=\"{}\"", link.trim_start_matches('#'));
        assert_eq!(page.matches(&id).count(), 1, "{link}");
    }
}

#[tokio::test]
async fn a_server_of_the_rules_can_be_picked_and_the_rest_of_the_address_stays() {
    let sample = Sample::empty().await;
    let router = sample.router_with(Access::Open, rules(RULES)).await;
    let path = "/audit/connect?server=images&agent=clawd&range=7d";
    let page = get_with(&router, path, header::HOST, "localhost:1")
        .await
        .body;
    assert!(page.contains("http://localhost:1/mcp/images"), "{page}");
    assert!(page.contains("<option value=\"images\" selected>"));
    assert!(page.contains("<input type=\"hidden\" name=\"agent\" value=\"clawd\">"));
    assert!(page.contains("<input type=\"hidden\" name=\"range\" value=\"7d\">"));
    let wrong = get(&router, "/audit/connect?server=%3Cscript%3E")
        .await
        .body;
    assert!(
        wrong.contains("name no such server") && !wrong.contains("<script>"),
        "{wrong}"
    );
    assert!(wrong.contains("http://127.0.0.1:3100/mcp&#34;"), "{wrong}");
}
