//! Servers that ask in the middle of a call, and agents that are only heard again with their next request: the call
//! goes on in between, is paid once, and never waits for ever.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::support::{Client, Event, FakeUpstream, World, find, soon, without_lists};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 50/day, each: agent}]}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  other: {token_hash: "@other", servers: [images]}
"#;

const PATH: &str = "/mcp/images";

const BUDGET: &str = "servers.images calls/day@UTC each agent=clawd";

/// How long an agent may take to come back.
const ANSWER_TIME: Duration = Duration::from_secs(600);

const ELICIT: &str = "elicitation/create";

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .start(POLICY)
        .await
}

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
}

/// A call in whose middle the server asks these rounds of questions.
fn asking(rounds: Value) -> Value {
    json!({"name": "imagine", "arguments": {"do": "push", "ask": rounds}})
}

async fn ask(agent: &Client, method: &str, params: Value) -> Value {
    let sending = agent.modern_that_can(PATH, method, params, everything());
    sending.send().await.json()
}

async fn call(agent: &Client, params: Value) -> Value {
    ask(agent, "tools/call", params).await
}

/// The questions and the state of a result that asks.
fn asked(answer: &Value) -> (Value, String) {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let state = result["requestState"].as_str().unwrap();
    (result["inputRequests"].clone(), state.to_owned())
}

/// The same request with answers.
fn again(mut params: Value, state: &str, answers: Value) -> Value {
    params["requestState"] = state.into();
    params["inputResponses"] = answers;
    params
}

fn name(name: &str) -> Value {
    json!({"action": "accept", "content": {"name": name}})
}

/// What the fake server heard, in the order of its questions.
fn heard(answer: &Value) -> Vec<Value> {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "complete", "{answer}");
    let text = result["content"][0]["text"].as_str().unwrap();
    serde_json::from_str(text).unwrap()
}

/// The closing events of calls that reached a server.
fn closings(events: &[Event]) -> Vec<&Event> {
    let closing = |event: &&Event| event.is(&["settled", "failed", "released", "abandoned"]);
    events.iter().filter(closing).collect()
}

async fn assert_stale(agent: &Client, params: Value) -> String {
    let refused = agent.modern_that_can(PATH, "tools/call", params, everything());
    let refused = refused.send().await;
    assert_eq!(refused.code(), (400, -32602), "{refused:?}");
    refused.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_question_ends_the_request_and_the_next_one_brings_the_answer() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT]]));
    let (questions, state) = asked(&call(&clawd, params.clone()).await);
    let question = json!({"method": ELICIT, "params": {"message": "your name?", "requestedSchema":
        {"type": "object", "properties": {"name": {"type": "string"}}}}});
    assert_eq!(questions, json!({"in-1": question}));

    world.clock().advance(Duration::from_secs(5));
    let answers = json!({"in-1": name("Ada"), "in-7": name("nobody"), "x": 7});
    let done = call(&clawd, again(params, &state, answers)).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"), "{done}");

    assert_eq!(world.used(BUDGET).await, 1);
    let events = without_lists(world.events().await);
    assert_eq!(find(&events, "admitted").len(), 1);
    assert_eq!(find(&events, "denied").len(), 0);
    let closed = closings(&events);
    assert_eq!(closed.len(), 1);
    assert_eq!(closed[0].text("outcome"), "ok");
    assert_eq!(
        closed[0].meta["rounds"],
        json!([{"asked": [ELICIT], "answered_after_us": 5_000_000}])
    );
    world.stop().await;
}

#[tokio::test]
async fn what_is_asked_at_once_is_answered_at_once() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT, "sampling/createMessage", "roots/list"]]));
    let (questions, state) = asked(&call(&clawd, params.clone()).await);
    assert_eq!(questions["in-1"]["method"], ELICIT);
    assert_eq!(questions["in-2"]["method"], "sampling/createMessage");
    assert_eq!(questions["in-3"], json!({"method": "roots/list"}));
    let said = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "hi"},
        "resultType": "complete"});
    let answers = json!({"in-3": {"roots": []}, "in-2": said, "in-1": name("Ada")});
    let done = call(&clawd, again(params, &state, answers)).await;
    let heard = heard(&done);
    assert_eq!(heard[0]["result"], name("Ada"));
    assert_eq!(heard[1]["result"]["content"]["text"], "hi");
    assert!(
        heard[1]["result"].get("resultType").is_none(),
        "of another revision"
    );
    assert_eq!(heard[2]["result"], json!({"roots": []}));
    world.stop().await;
}

#[tokio::test]
async fn a_server_may_ask_again_and_each_round_has_a_state_of_its_own() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut params = asking(json!([[ELICIT], [ELICIT]]));
    params["_meta"]["progressToken"] = "first".into();
    let first = clawd.modern_that_can(PATH, "tools/call", params.clone(), everything());
    let mut stream = first.open().await;
    let progress = stream.next().await.unwrap();
    assert_eq!(progress["params"]["progressToken"], "first", "{progress}");
    let (_, one) = asked(&stream.next().await.unwrap());

    params["_meta"]["progressToken"] = 2.into();
    let answered = again(params.clone(), &one, json!({"in-1": name("Ada")}));
    let second = clawd.modern_that_can(PATH, "tools/call", answered.clone(), everything());
    let mut stream = second.open().await;
    let progress = stream.next().await.unwrap();
    assert_eq!(progress["params"]["progressToken"], 2, "{progress}");
    let (questions, two) = asked(&stream.next().await.unwrap());
    assert_eq!(questions["in-2"]["method"], ELICIT);
    assert_ne!(one, two);

    let stale = assert_stale(&clawd, answered).await;
    assert!(stale.contains("has its answers already"), "{stale}");
    let answers = json!({"in-1": name("Eve"), "in-2": name("Bob")});
    let done = call(&clawd, again(params.clone(), &two, answers.clone())).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"));
    assert_eq!(heard(&done)[1]["result"], name("Bob"));

    let stale = assert_stale(&clawd, again(params, &two, answers)).await;
    assert!(stale.contains("without `requestState`"), "{stale}");
    assert_eq!(world.server("images").calls(), 1);
    assert_eq!(world.used(BUDGET).await, 1);
    let events = without_lists(world.events().await);
    assert_eq!(find(&events, "denied").len(), 2, "both are written down");
    let rounds = &closings(&events)[0].meta["rounds"];
    assert_eq!(rounds.as_array().unwrap().len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn what_was_not_answered_is_asked_again() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT, "roots/list"]]));
    let (_, mut state) = asked(&call(&clawd, params.clone()).await);
    let unanswered = [
        json!({}),
        json!(null),
        json!({"in-1": 12345, "in-2": null}),
        json!({"in-1": {"code": -32603, "message": "no"}, "in-2": {"action": "accept"}}),
    ];
    for answers in unanswered {
        let answer = call(&clawd, again(params.clone(), &state, answers.clone())).await;
        let (questions, next) = asked(&answer);
        assert_eq!(questions.as_object().unwrap().len(), 2, "{answers}");
        state = next;
    }
    let half = json!({"in-1": name("Ada")});
    let (questions, state) = asked(&call(&clawd, again(params.clone(), &state, half)).await);
    assert_eq!(questions, json!({"in-2": {"method": "roots/list"}}));
    let rest = json!({"in-2": {"roots": []}});
    let done = call(&clawd, again(params, &state, rest)).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"));
    assert_eq!(world.used(BUDGET).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_state_is_nothing_to_another_agent_or_for_another_request() {
    let world = world().await;
    let (clawd, other) = (world.agent("clawd"), world.agent("other"));
    let params = asking(json!([[ELICIT]]));
    let (_, state) = asked(&call(&clawd, params.clone()).await);
    let answers = json!({"in-1": name("Eve")});
    let unknown = assert_stale(&other, again(params.clone(), "nonsense", answers.clone())).await;
    let foreign = assert_stale(&other, again(params.clone(), &state, answers.clone())).await;
    assert_eq!(
        foreign, unknown,
        "a foreign state is answered like an unknown one"
    );
    let mut elsewhere = again(params.clone(), &state, answers.clone());
    elsewhere["name"] = "blend".into();
    assert_stale(&clawd, elsewhere).await;
    let mut changed = again(params.clone(), &state, answers);
    changed["arguments"]["more"] = true.into();
    assert_stale(&clawd, changed).await;

    let answers = json!({"in-1": name("Ada")});
    let done = call(&clawd, again(params, &state, answers)).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"));
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_does_not_come_back_loses_its_call_and_pays_for_it() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT]]));
    let (_, state) = asked(&call(&clawd, params.clone()).await);
    world
        .clock()
        .advance(ANSWER_TIME - Duration::from_micros(1));
    let (_, state) = asked(&call(&clawd, again(params.clone(), &state, json!({}))).await);
    world.clock().advance(ANSWER_TIME);
    let answers = json!({"in-1": name("Ada")});
    let stale = assert_stale(&clawd, again(params, &state, answers)).await;
    assert!(stale.contains("too old"), "{stale}");
    world
        .server("images")
        .until_aside("notifications/cancelled")
        .await;
    assert_eq!(world.used(BUDGET).await, 1);
    let stopped = world.stop().await;
    let events = without_lists(super::support::events(&stopped.file).await);
    let closed = closings(&events);
    assert_eq!(closed.len(), 1);
    assert_eq!(
        (closed[0].kind.as_str(), closed[0].text("outcome")),
        ("failed", "input_expired")
    );
    let rounds = &closed[0].meta["rounds"];
    assert!(rounds[1].get("answered_after_us").is_none(), "{rounds}");
}

#[tokio::test]
async fn a_server_that_never_stops_asking_is_told_that_nobody_can_be_asked() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let rounds: Vec<Value> = (0..12).map(|_| json!([ELICIT])).collect();
    let params = asking(rounds.into());
    let mut answer = call(&clawd, params.clone()).await;
    for round in 1..=10 {
        let (questions, state) = asked(&answer);
        let key = format!("in-{round}");
        assert!(questions[&key].is_object(), "{questions}");
        let answers = json!({key: name("Ada")});
        answer = call(&clawd, again(params.clone(), &state, answers)).await;
    }
    let heard = heard(&answer);
    assert_eq!(heard[9]["result"], name("Ada"));
    assert_eq!(heard[10]["error"]["code"], -32601);
    assert_eq!(heard[11]["error"]["code"], -32601);
    assert_eq!(world.used(BUDGET).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn questions_that_nobody_answers_keep_no_other_call_waiting() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT]]));
    // One more than the sessions that an agent has at a server.
    let mut states = Vec::new();
    for _ in 0..17 {
        states.push(asked(&call(&clawd, params.clone()).await).1);
        world.clock().advance(Duration::from_micros(1));
    }
    asked(&call(&world.agent("other"), params.clone()).await);
    let plain = call(&clawd, json!({"name": "imagine", "arguments": {}})).await;
    assert_eq!(plain["result"]["content"][0]["text"], "done", "{plain}");
    let bring = |state: &str| again(params.clone(), state, json!({"in-1": name("Ada")}));
    for displaced in &states[..2] {
        assert_stale(&clawd, bring(displaced)).await;
    }
    let done = call(&clawd, bring(&states[2])).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"));
    let stopped = world.stop().await;
    let events = without_lists(super::support::events(&stopped.file).await);
    let closed = closings(&events);
    let displaced = closed
        .iter()
        .filter(|event| event.text("outcome") == "input_displaced");
    assert_eq!(displaced.count(), 2);
}

#[tokio::test]
async fn a_call_that_ended_without_its_answer_is_there_for_who_comes_back() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = json!({"name": "imagine", "arguments": {"do": "push", "impatient": true}});
    let (questions, state) = asked(&call(&clawd, params.clone()).await);
    assert_eq!(questions, json!({"in-1": {"method": "roots/list"}}));
    world.server("images").release(1);
    soon("the end of the call", async {
        while closings(&without_lists(world.events().await)).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let answers = json!({"in-1": {"roots": []}});
    let done = call(&clawd, again(params, &state, answers)).await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    assert_eq!(world.used(BUDGET).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn the_gateway_does_not_wait_for_answers_when_it_stops() {
    let world = world().await;
    let clawd = world.agent("clawd");
    asked(&call(&clawd, asking(json!([[ELICIT]]))).await);
    // A call in hand is given 20 s; the end of a world has to come long before.
    let stopping = timeout(Duration::from_secs(15), world.stop()).await;
    let stopped = stopping.expect("a prompt stop");
    let events = without_lists(super::support::events(&stopped.file).await);
    let closed = closings(&events);
    assert_eq!(
        (closed[0].kind.as_str(), closed[0].text("outcome")),
        ("failed", "gateway_stopped")
    );
}

#[tokio::test]
async fn who_hangs_up_while_the_server_works_cancels_the_call() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = json!({"name": "narrate", "arguments": {}, "_meta": {"progressToken": 1}});
    let sending = clawd.modern_that_can(PATH, "tools/call", params, everything());
    let mut stream = sending.open().await;
    assert_eq!(
        stream.next().await.unwrap()["method"],
        "notifications/progress"
    );
    drop(stream);
    world
        .server("images")
        .until_aside("notifications/cancelled")
        .await;
    let stopped = world.stop().await;
    let events = without_lists(super::support::events(&stopped.file).await);
    assert_eq!(closings(&events)[0].text("outcome"), "cancelled");
}

#[tokio::test]
async fn who_hangs_up_after_the_answer_cancels_the_call_too() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut params = asking(json!([[ELICIT], []]));
    params["arguments"]["slow"] = true.into();
    params["_meta"]["progressToken"] = 1.into();
    let first = clawd.modern_that_can(PATH, "tools/call", params.clone(), everything());
    let mut stream = first.open().await;
    let progress = stream.next().await.unwrap();
    assert_eq!(progress["method"], "notifications/progress", "{progress}");
    let (_, state) = asked(&stream.next().await.unwrap());
    drop(stream);

    let answered = again(params.clone(), &state, json!({"in-1": name("Ada")}));
    let second = clawd.modern_that_can(PATH, "tools/call", answered, everything());
    let mut stream = second.open().await;
    let progress = stream.next().await.unwrap();
    assert_eq!(progress["params"]["progress"], 2, "{progress}");
    drop(stream);
    let server = world.server("images");
    server.until_aside("notifications/cancelled").await;
    server.until_dropped(1).await;
    let stopped = world.stop().await;
    let events = without_lists(super::support::events(&stopped.file).await);
    let closed = closings(&events);
    assert_eq!(closed[0].text("outcome"), "cancelled");
    assert!(closed[0].meta["rounds"][0]["answered_after_us"].is_u64());
}

#[tokio::test]
async fn of_many_who_bring_the_same_answer_one_is_heard() {
    let world = world().await;
    let params = asking(json!([[ELICIT]]));
    let (_, state) = asked(&call(&world.agent("clawd"), params.clone()).await);
    let bringing = (0..8).map(async |number: u32| {
        let clawd = world.agent("clawd");
        let answers = json!({"in-1": name(&number.to_string())});
        call(&clawd, again(params.clone(), &state, answers)).await
    });
    let brought = futures_util::future::join_all(bringing).await;
    let (stale, answered): (Vec<_>, Vec<_>) = brought
        .iter()
        .partition(|answer| answer["error"]["code"] == -32602);
    assert_eq!((stale.len(), answered.len()), (7, 1), "{brought:?}");
    assert_eq!(heard(answered[0])[0]["result"]["action"], "accept");
    assert_eq!(world.used(BUDGET).await, 1);
    world.stop().await;
}

#[tokio::test]
async fn a_state_is_of_no_use_in_another_revision() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = asking(json!([[ELICIT]]));
    let (_, state) = asked(&call(&clawd, params.clone()).await);
    let answered = again(params.clone(), &state, json!({"in-1": name("Ada")}));
    let refused = clawd.bare(PATH, "tools/call", answered.clone()).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let done = call(&clawd, answered).await;
    assert_eq!(heard(&done)[0]["result"], name("Ada"), "it is still there");
    world.stop().await;
}

#[tokio::test]
async fn prompts_and_resources_ask_as_tools_do() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let prompt = json!({"name": "greet", "arguments": {"ask": [[ELICIT]]}});
    let resource = json!({"uri": "note://ask"});
    for (method, params) in [("prompts/get", prompt), ("resources/read", resource)] {
        let (questions, state) = asked(&ask(&clawd, method, params.clone()).await);
        assert_eq!(questions["in-1"]["method"], ELICIT, "{method}");
        let answered = again(params, &state, json!({"in-1": name("Ada")}));
        let done = ask(&clawd, method, answered).await;
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert!(done["result"].to_string().contains("Ada"), "{done}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_completion_cannot_ask_and_its_server_hears_so_at_once() {
    let world = world().await;
    let params = json!({"ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "ask", "value": ""}});
    let done = ask(&world.agent("clawd"), "completion/complete", params).await;
    assert_eq!(
        done["result"]["completion"]["values"],
        json!(["-32601"]),
        "{done}"
    );
    world.stop().await;
}

#[tokio::test]
async fn who_declared_nothing_is_asked_nothing() {
    let world = world().await;
    let params = asking(json!([[ELICIT]]));
    let clawd = world.agent("clawd");
    for can in [json!({}), json!({"roots": {}})] {
        let sending = clawd.modern_that_can(PATH, "tools/call", params.clone(), can);
        let done = sending.send().await.json();
        assert_eq!(heard(&done)[0]["error"]["code"], -32601, "{done}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_could_not_take_the_answer_is_given_up_at_once() {
    let world = World::builder()
        .server("images", FakeUpstream::sessionless())
        .start(POLICY)
        .await;
    let done = call(&world.agent("clawd"), asking(json!([[ELICIT]]))).await;
    assert_eq!(done["result"]["isError"], true, "{done}");
    world.stop().await;
}

#[tokio::test]
async fn a_page_to_visit_first_is_a_question_and_then_the_call_is_made_once_more() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let params = json!({"name": "imagine", "arguments": {"do": "visit"}});
    let (questions, state) = asked(&call(&clawd, params.clone()).await);
    let page = json!({"mode": "url", "url": "https://pay.example/", "message": "pay first"});
    assert_eq!(
        questions,
        json!({"url-1": {"method": ELICIT, "params": page}})
    );
    let declined = json!({"url-1": {"action": "decline"}});
    let refused = call(&clawd, again(params.clone(), &state, declined)).await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(world.server("images").calls(), 1);

    let accepted = json!({"url-1": {"action": "accept"}});
    let done = call(&clawd, again(params, &state, accepted)).await;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    let seen = world.server("images").asked("tools/call");
    assert_eq!(seen[0].params, seen[1].params, "the same request");
    assert_eq!(world.used(BUDGET).await, 1);
    let events = without_lists(world.events().await);
    let admitted = find(&events, "admitted");
    assert_eq!(admitted[1].text("continues"), admitted[0].text("call"));
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_cannot_open_pages_is_told_what_it_lacks() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let refused = async |what: &str, can: Value| {
        let params = json!({"name": "imagine", "arguments": {"do": what}});
        let sending = clawd.modern_that_can(PATH, "tools/call", params, can);
        sending.send().await
    };
    let lacking = refused("visit", json!({"elicitation": {"form": {}}})).await;
    assert_eq!(lacking.code(), (400, -32021), "{lacking:?}");
    assert_eq!(
        lacking.json()["error"]["data"]["requiredCapabilities"],
        json!({"elicitation": {"url": {}}})
    );
    let nowhere = refused("visit_nothing", everything()).await;
    assert_eq!(
        nowhere.code(),
        (200, -32603),
        "no code of an earlier revision"
    );
    world.stop().await;
}
