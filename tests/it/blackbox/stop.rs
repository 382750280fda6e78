//! How a gateway ends when it is asked to.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinHandle;

use super::agent::{Agent, Answer};
use super::gateway::{Gateway, Site};
use super::records::Records;
use super::start::open_rules;
use super::truth::Truth;

/// A gateway with one call in flight at the server.
async fn with_a_call_in_flight(
    site: &Site,
    truth: &Arc<Truth>,
    agent: &Agent,
) -> (Gateway, JoinHandle<Option<Answer>>) {
    let gateway = site.serve(&[]).await;
    let (agent, url) = (agent.clone(), gateway.url());
    let call = async move { agent.call(&url, "truth", "wait", json!({"tag": "1"})).await };
    let call = tokio::spawn(call);
    truth.reached(1).await;
    (gateway, call)
}

#[tokio::test]
async fn asked_to_end_it_lets_the_call_in_flight_finish_and_takes_no_more() {
    let (truth, agent) = (Truth::start().await, Agent::new("a-token-of-a-test"));
    let site = Site::new(&open_rules(&truth, &agent));
    let (mut gateway, call) = with_a_call_in_flight(&site, &truth, &agent).await;
    gateway.terminate().await;
    gateway.line("stopping").await;
    truth.let_go();
    let answer = call.await.unwrap().expect("the call is answered");
    assert!(answer.is_done("1"), "{answer:?}");
    let url = gateway.url();
    gateway.ended().await.says(0, &["stopped    log head"]);
    let late = Agent::new("a-token-of-a-test")
        .call(&url, "truth", "echo", json!({"tag": "2"}))
        .await;
    assert!(late.is_none(), "{late:?}");
    let records = Records::read(&site.db()).await;
    // A list that the gateway itself asked for, and the call.
    let kinds = [
        "started", "policy", "admitted", "settled", "tools", "admitted", "settled", "stopped",
    ];
    assert_eq!(records.kinds(), kinds);
}

#[tokio::test]
async fn asked_twice_it_ends_at_once_and_the_next_start_closes_the_call() {
    let (truth, agent) = (Truth::start().await, Agent::new("a-token-of-a-test"));
    let site = Site::new(&open_rules(&truth, &agent));
    let (mut gateway, call) = with_a_call_in_flight(&site, &truth, &agent).await;
    gateway.terminate().await;
    gateway.line("stopping").await;
    gateway.terminate().await;
    let ended = gateway.ended().await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(call.await.unwrap().is_none(), "nobody answered");

    site.serve(&[]).await.stop().await.says(0, &[]);
    let records = Records::read(&site.db()).await;
    let kinds = [
        "started",
        "policy",
        "admitted",
        "settled",
        "tools",
        "admitted",
        "started",
        "policy",
        "abandoned",
        "stopped",
    ];
    assert_eq!(records.kinds(), kinds);
    assert_eq!((records.open, records.held), (0, (0, 0)));
    site.run(&["audit", "verify"]).await.says(0, &[]);
}

#[tokio::test]
async fn a_hang_up_of_its_terminal_changes_nothing() {
    let (truth, agent) = (Truth::start().await, Agent::new("a-token-of-a-test"));
    let site = Site::new(&open_rules(&truth, &agent));
    let mut gateway = site.serve(&[]).await;
    gateway.signal("HUP").await;
    gateway
        .line("the rules were read and have not changed")
        .await;
    let url = gateway.url();
    let answer = agent.call(&url, "truth", "echo", json!({"tag": "1"})).await;
    assert!(answer.expect("the call is answered").is_done("1"));
    gateway.stop().await.says(0, &["stopped    log head"]);
}
