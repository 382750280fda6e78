//! Every answer that is not a result, as agents see it. A person should read what changes here.

use std::fmt::Write;
use std::time::Duration;

use hayward::budget::{Count, Repeat, Repeated, Shortage, span};
use hayward::gateway::{
    Addressee, Cause, Deviation, Door, Failure, Refusal, TokenProblem, Unanswered,
};
use hayward::policy::{Charge, DenialReason, Place, Refund, RefusalStyle};
use hayward::protocol::{RequestId, raw};
use hayward::types::{BudgetKey, CallId, Limit, Period, ServerName, Timestamp, Unit, Window, Zone};
use hayward::upstream::UpstreamError;
use serde_json::{Value, json};

/// 2026-11-20 12:00:00 UTC.
const NOW: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

fn call() -> CallId {
    CallId::new(NOW, [7; 10])
}

fn server() -> ServerName {
    "images".parse().unwrap()
}

fn refused(subject: &str, cause: Cause) -> Failure {
    Failure::Refused(Box::new(Refusal {
        call: call(),
        subject: subject.into(),
        cause,
    }))
}

fn by_policy(reason: DenialReason, owner: Option<&str>) -> Failure {
    let cause = Cause::Policy {
        reason,
        agent: "clawd".into(),
        owner: owner.map(Into::into),
        detail: None,
    };
    refused("images/imagine", cause)
}

fn by_condition() -> Failure {
    let cause = Cause::Policy {
        reason: DenialReason::Condition,
        agent: "clawd".into(),
        owner: None,
        detail: Some("argument `count` must be at most 4".into()),
    };
    refused("images/imagine", cause)
}

fn by_budget(window: Window) -> Failure {
    let zone = Zone::named("Europe/Berlin").unwrap();
    let charge = Charge {
        key: BudgetKey::new("servers.images"),
        limit: Limit {
            amount: 2,
            unit: Unit::Calls,
            window,
        },
        amount: 1,
        reported: None,
        refund: Refund::default(),
        place: Place {
            path: "servers.images.budgets[0]".into(),
            line: 3,
        },
    };
    let count = Count {
        limit: 2,
        limit_high: 2,
        used: 1,
        held: 1,
    };
    let span = span(window, 2, &zone, NOW);
    let shortage = Box::new(Shortage {
        charge,
        span,
        count,
        frozen: false,
    });
    let cause = Cause::Budget {
        shortage,
        zone,
        at: NOW,
        figures: None,
    };
    refused("images/imagine", cause)
}

fn by_lock(deviation: Deviation) -> Failure {
    let owner = Some("images-team@example.com".into());
    refused("images/imagine", Cause::Definition { deviation, owner })
}

fn by_rate() -> Failure {
    let cause = Cause::Rate {
        wait: Duration::from_millis(1_500),
        rate: "40/minute".parse().unwrap(),
        name: "agents.clawd.rate".into(),
    };
    refused("images/imagine", cause)
}

fn by_concurrency() -> Failure {
    let cause = Cause::Concurrency {
        most: 2.try_into().unwrap(),
        name: "agents.clawd.max_concurrent".into(),
    };
    refused("images/imagine", cause)
}

/// A call that was made before with its key, or a minute ago with its arguments.
fn repeats() -> Vec<Failure> {
    let outcome = |word: &'static str| word.into();
    let by = |repeat: Repeat, is_given: bool| {
        let repeated = Box::new(Repeated {
            first: (repeat != Repeat::TooMany).then(|| CallId::new(NOW, [1; 10])),
            repeat,
            result: None,
            until: (!is_given).then(|| NOW.after(Duration::from_secs(540))),
        });
        let zone = Zone::named("Europe/Berlin").unwrap();
        let cause = Cause::Repeat {
            repeated,
            zone,
            at: NOW,
        };
        refused("images/imagine", cause)
    };
    vec![
        by(Repeat::Running, true),
        by(Repeat::Running, false),
        by(Repeat::Asked, true),
        by(Repeat::Done(outcome("ok")), true),
        by(Repeat::Done(outcome("tool_error")), false),
        by(Repeat::Unknown(outcome("timed_out")), true),
        by(Repeat::Unknown(outcome("gateway_stopped")), false),
        by(Repeat::OtherArguments, true),
        by(Repeat::TooMany, true),
    ]
}

fn upstream(error: UpstreamError) -> Failure {
    Failure::Upstream {
        server: server(),
        error,
        call: call(),
        figures: None,
    }
}

/// The name of a kind. Whoever adds one is asked here for a sample of it below.
fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::NotJson(_) => "NotJson",
        Failure::NotAMessage(_) => "NotAMessage",
        Failure::NothingAsked => "NothingAsked",
        Failure::IdInUse => "IdInUse",
        Failure::UnknownMethod(_) => "UnknownMethod",
        Failure::InvalidParams(_) => "InvalidParams",
        Failure::UnknownCursor => "UnknownCursor",
        Failure::UnknownTool(_) => "UnknownTool",
        Failure::UnknownPrompt(_) => "UnknownPrompt",
        Failure::UnknownResource(_) => "UnknownResource",
        Failure::AmbiguousTool { .. } => "AmbiguousTool",
        Failure::HeaderMismatch(_) => "HeaderMismatch",
        Failure::UnsupportedVersion { .. } => "UnsupportedVersion",
        Failure::Refused(refusal) => match refusal.cause {
            Cause::Policy { .. } => "Refused by policy",
            Cause::Definition { .. } => "Refused by lock",
            Cause::Budget { .. } => "Refused by budget",
            Cause::Rate { .. } => "Refused by rate",
            Cause::Concurrency { .. } => "Refused by concurrency",
            Cause::Repeat { .. } => "Refused as a repeat",
        },
        Failure::Upstream { error, .. } => match error {
            UpstreamError::Unreachable(_) => "Upstream unreachable",
            UpstreamError::Refused(_) => "Upstream refused",
            UpstreamError::Rejected(_) => "Upstream rejected",
            UpstreamError::TimedOut => "Upstream timed out",
            UpstreamError::Broken(_) => "Upstream broken",
            UpstreamError::TooLarge(_) => "Upstream too large",
        },
        Failure::NeedsInput { .. } => "NeedsInput",
        Failure::CannotAnswer { .. } => "CannotAnswer",
        Failure::Declined(_) => "Declined",
        Failure::MissingCapability(_) => "MissingCapability",
        Failure::Relayed { .. } => "Relayed",
        Failure::NeedsStream => "NeedsStream",
        Failure::TooMany { .. } => "TooMany",
        Failure::Cancelled => "Cancelled",
        Failure::Unrecorded => "Unrecorded",
        Failure::Overloaded => "Overloaded",
        Failure::Internal => "Internal",
    }
}

fn failures() -> Vec<Failure> {
    vec![
        Failure::NotJson("the body is not JSON: line 1".into()),
        Failure::NotAMessage("`jsonrpc` must be \"2.0\"".into()),
        Failure::NothingAsked,
        Failure::IdInUse,
        Failure::UnknownMethod("no/such".into()),
        Failure::InvalidParams("`name` must be a string".into()),
        Failure::UnknownCursor,
        Failure::UnknownTool("paint".into()),
        Failure::UnknownPrompt("greet".into()),
        Failure::UnknownResource("note://1".into()),
        Failure::AmbiguousTool {
            name: "search".into(),
            choices: vec!["images__search".into(), "notes__search".into()],
        },
        Failure::HeaderMismatch("the Mcp-Method header is missing".into()),
        Failure::UnsupportedVersion {
            requested: "2031-01-01".into(),
            supported: vec!["2026-07-28"],
        },
        by_policy(DenialReason::AgentDisabled, None),
        by_policy(DenialReason::Address, None),
        by_policy(DenialReason::ServerDisabled, None),
        by_policy(DenialReason::UnknownServer, None),
        by_policy(DenialReason::NotGranted, Some("images-team@example.com")),
        by_policy(DenialReason::DeniedRule, None),
        by_policy(DenialReason::Expired, None),
        by_policy(DenialReason::Condition, None),
        by_condition(),
        by_budget(Window::calendar(Period::Hour)),
        by_budget(Window::calendar(Period::Day)),
        by_budget(Window::calendar(Period::Week)),
        by_budget(Window::calendar(Period::Month)),
        by_budget(Window::calendar(Period::Year)),
        by_budget("day from 06:00".parse().unwrap()),
        by_budget("24h".parse().unwrap()),
        by_budget(Window::Total),
        by_rate(),
        by_concurrency(),
        by_lock(Deviation::Changed),
        by_lock(Deviation::New),
        by_lock(Deviation::Gone),
        by_lock(Deviation::Unknown),
        upstream(UpstreamError::Unreachable("connection refused".into())),
        upstream(UpstreamError::Refused("no".into())),
        upstream(UpstreamError::Rejected(429)),
        upstream(UpstreamError::TimedOut),
        upstream(UpstreamError::Broken("eof".into())),
        upstream(UpstreamError::TooLarge(16)),
        Failure::NeedsInput {
            server: server(),
            call: call(),
        },
        Failure::CannotAnswer {
            server: server(),
            call: call(),
        },
        Failure::Declined(server()),
        Failure::MissingCapability(raw(r#"{"elicitation":{"url":{}}}"#.into())),
        Failure::Relayed {
            status: 418,
            error: raw(r#"{"code":-32050,"message":"out of paint","data":[1.0]}"#.into()),
            figures: None,
        },
        Failure::NeedsStream,
        Failure::TooMany {
            what: "open streams",
            limit: 8,
        },
        Failure::Cancelled,
        Failure::Unrecorded,
        Failure::Overloaded,
        Failure::Internal,
    ]
}

fn door_kind(door: &Door) -> &'static str {
    match door {
        Door::ForeignHost(_) => "ForeignHost",
        Door::ForeignOrigin(_) => "ForeignOrigin",
        Door::Token(problem) => match problem {
            TokenProblem::Missing => "Token missing",
            TokenProblem::Several => "Token several",
            TokenProblem::NotBearer => "Token not bearer",
            TokenProblem::Empty => "Token empty",
            TokenProblem::Placeholder => "Token placeholder",
            TokenProblem::Unknown => "Token unknown",
        },
        Door::Address { .. } => "Address",
        Door::UnknownServer(_) => "UnknownServer",
        Door::ServerNotGranted { .. } => "ServerNotGranted",
        Door::UnknownSession => "UnknownSession",
        Door::MissingSession => "MissingSession",
        Door::UnknownPlace => "UnknownPlace",
        Door::MethodNotAllowed(_) => "MethodNotAllowed",
        Door::NeedsStream => "NeedsStream",
        Door::NotJsonType => "NotJsonType",
        Door::TooLarge(_) => "TooLarge",
        Door::TooSlow => "TooSlow",
        Door::UnknownVersion(_) => "UnknownVersion",
        Door::NotFound => "NotFound",
    }
}

fn doors() -> Vec<Door> {
    vec![
        Door::ForeignHost("evil.example".into()),
        Door::ForeignOrigin("https://evil.example".into()),
        Door::Token(TokenProblem::Missing),
        Door::Token(TokenProblem::Several),
        Door::Token(TokenProblem::NotBearer),
        Door::Token(TokenProblem::Empty),
        Door::Token(TokenProblem::Placeholder),
        Door::Token(TokenProblem::Unknown),
        Door::Address {
            agent: "clawd".parse().unwrap(),
            address: "192.0.2.7".into(),
        },
        Door::UnknownServer("nowhere".into()),
        Door::ServerNotGranted {
            server: server(),
            agent: "clawd".parse().unwrap(),
        },
        Door::UnknownSession,
        Door::MissingSession,
        Door::UnknownPlace,
        Door::MethodNotAllowed("POST, DELETE"),
        Door::NeedsStream,
        Door::NotJsonType,
        Door::TooLarge(4_194_304),
        Door::TooSlow,
        Door::UnknownVersion("tomorrow".into()),
        Door::NotFound,
    ]
}

/// One kind: status, code and words, then the figures; then where an agent of 2026-07-28 or a model that called a
/// tool sees it in another way.
fn show(text: &mut String, failure: &Failure) {
    let id = RequestId::number(1);
    let answer = |modern, is_tool_call, style| {
        let to = Addressee {
            id: Some(&id),
            modern,
            is_tool_call,
            style,
        };
        let answer = failure.answer(&to);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &json!(1)));
        (answer.status, body)
    };
    let (status, body) = answer(false, false, RefusalStyle::ToolError);
    let strict = answer(false, true, RefusalStyle::RpcError);
    assert_eq!(
        strict,
        (status, body.clone()),
        "`rpc_error` is what other methods get"
    );
    let error = &body["error"];
    let words = error["message"].as_str().unwrap();
    let (what, reason, code) = (kind(failure), failure.reason(), &error["code"]);
    writeln!(text, "{what} ({reason})\n  {status} {code} {words}").unwrap();
    if let Some(data) = error.get("data") {
        writeln!(text, "  {data}").unwrap();
    }
    let (modern_status, modern) = answer(true, false, RefusalStyle::ToolError);
    let modern_code = &modern["error"]["code"];
    if (modern_status, modern_code) != (status, code) {
        writeln!(text, "  2026-07-28: {modern_status} {modern_code}").unwrap();
    }
    let (_, model) = answer(true, true, RefusalStyle::ToolError);
    if let Some(result) = model.get("result") {
        let same = json!({
            "content": [{"type": "text", "text": words}],
            "isError": true,
            "_meta": {"dev.hayward/refusal": error["data"]},
            "resultType": "complete",
        });
        assert_eq!(*result, same);
        writeln!(text, "  tools/call: the same as a tool error").unwrap();
    }
}

#[test]
fn every_failure_has_its_code_its_status_and_its_words() {
    let mut text = String::new();
    for failure in failures().iter().chain(&repeats()) {
        show(&mut text, failure);
    }
    let text = text.replace(&call().to_string(), "CALL");
    let text = text.replace(&CallId::new(NOW, [1; 10]).to_string(), "FIRST");
    insta::assert_snapshot!(text, @r#"
    NotJson (malformed)
      400 -32700 the body is not JSON: line 1
    NotAMessage (malformed)
      400 -32600 `jsonrpc` must be "2.0"
    NothingAsked (malformed)
      400 -32600 nothing was asked that this could answer
    IdInUse (malformed)
      400 -32600 a request of this id is still in hand in this session
    UnknownMethod (unknown_method)
      200 -32601 the method `no/such` is not offered here
      2026-07-28: 404 -32601
    InvalidParams (malformed)
      200 -32602 `name` must be a string
      2026-07-28: 400 -32602
    UnknownCursor (malformed)
      200 -32602 `cursor` is not one that was given for this list, or is too old; begin the list again
    UnknownTool (unknown_target)
      200 -32602 Unknown tool: paint
    UnknownPrompt (unknown_target)
      200 -32602 Unknown prompt: greet
    UnknownResource (unknown_target)
      200 -32002 Resource not found: note://1
      {"uri":"note://1"}
      2026-07-28: 200 -32602
    AmbiguousTool (ambiguous_tool)
      200 -32602 `search` is a tool of several servers; say which: images__search, notes__search
      {"choices":["images__search","notes__search"]}
    HeaderMismatch (header_mismatch)
      400 -32020 the Mcp-Method header is missing
    UnsupportedVersion (unsupported_version)
      400 -32022 protocol version `2031-01-01` is not served here; use 2026-07-28
      {"requested":"2031-01-01","supported":["2026-07-28"]}
    Refused by policy (disabled)
      200 -31403 Refused by policy (disabled). Agent `clawd` is switched off. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"disabled","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (address)
      200 -31403 Refused by policy (address). Agent `clawd` may not be used from this address. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"address","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (disabled)
      200 -31403 Refused by policy (disabled). The server of `images/imagine` is switched off. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"disabled","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (unknown_server)
      200 -31403 Refused by policy (unknown server). There is no server for `images/imagine`. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"unknown_server","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (not_granted)
      200 -31403 Refused by policy (not granted). `images/imagine` is not granted to agent `clawd`; it would take a grant for it in permissions.yaml. Ask images-team@example.com. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"not_granted","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (denied_rule)
      200 -31403 Refused by policy (denied rule). `images/imagine` is forbidden by a deny rule. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"denied_rule","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (expired)
      200 -31403 Refused by policy (expired). The grant of `images/imagine` to agent `clawd` has ended. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"expired","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (condition)
      200 -31403 Refused by policy (condition). The arguments of `images/imagine` are not as the grant of agent `clawd` asks. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","reason":"condition","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by policy (condition)
      200 -31403 Refused by policy (condition). images/imagine: argument `count` must be at most 4. Retrying the same will not help. Call id CALL.
      {"call_id":"CALL","detail":"argument `count` must be at most 4","reason":"condition","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used this hour. Next call possible at 2026-11-20T14:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-11-20T14:00:00+01:00","retry_after_ms":3600000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used today. Next call possible at 2026-11-21T00:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-11-21T00:00:00+01:00","retry_after_ms":39600000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used this week. Next call possible at 2026-11-23T00:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-11-23T00:00:00+01:00","retry_after_ms":212400000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used this month. Next call possible at 2026-12-01T00:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-12-01T00:00:00+01:00","retry_after_ms":903600000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used this year. Next call possible at 2027-01-01T00:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2027-01-01T00:00:00+01:00","retry_after_ms":3582000000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used since 06:00. Next call possible at 2026-11-21T06:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-11-21T06:00:00+01:00","retry_after_ms":61200000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31429 Refused by policy (budget). images/imagine: 2 of 2 calls used in the last 24h. Next call possible at 2026-11-21T13:00:00+01:00. Retrying before then will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"resets_at":"2026-11-21T13:00:00+01:00","retry_after_ms":86400000,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by budget (budget)
      200 -31402 Refused by policy (budget). images/imagine: 2 of 2 calls used in total. It does not reset. Ask whoever keeps permissions.yaml. Retrying will not help. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"servers.images.budgets[0]","reason":"budget","remaining":0,"unit":"calls","used":2}
      tools/call: the same as a tool error
    Refused by rate (rate)
      200 -31429 Refused by policy (rate). images/imagine: no more than 40/minute. Wait 1.5 s, then try again. Call id CALL.
      {"call_id":"CALL","reason":"rate","retry_after_ms":1500}
      tools/call: the same as a tool error
    Refused by concurrency (concurrency)
      200 -31429 Refused by policy (concurrency). images/imagine: no more than 2 calls may be in flight at once, and as many are. Try again when one of them has ended. Call id CALL.
      {"call_id":"CALL","limit":2,"name":"agents.clawd.max_concurrent","reason":"concurrency"}
      tools/call: the same as a tool error
    Refused by lock (tool_changed)
      200 -31403 Refused by policy (tool changed). images/imagine: its definition changed since it was reviewed. It may be called again once tools.lock has the new one; retrying before will not help. Ask images-team@example.com. Call id CALL.
      {"call_id":"CALL","reason":"tool_changed","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by lock (tool_changed)
      200 -31403 Refused by policy (tool changed). images/imagine: it is new at its server, and nobody has reviewed its definition. It may be called once tools.lock has it; retrying before will not help. Ask images-team@example.com. Call id CALL.
      {"call_id":"CALL","reason":"tool_changed","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by lock (tool_changed)
      200 -31403 Refused by policy (tool changed). images/imagine: its definition changed since it was reviewed: its server does not list it any more. Retrying will not help. Ask images-team@example.com. Call id CALL.
      {"call_id":"CALL","reason":"tool_changed","subject":"images/imagine"}
      tools/call: the same as a tool error
    Refused by lock (tool_changed)
      200 -31403 Refused by policy (tool changed). images/imagine: whether its definition changed is not known, because its server could not be asked for its tools. Try again later. Ask images-team@example.com. Call id CALL.
      {"call_id":"CALL","reason":"tool_changed","subject":"images/imagine"}
      tools/call: the same as a tool error
    Upstream unreachable (upstream_unavailable)
      200 -31503 Server `images` cannot be reached. Nothing was sent and nothing was charged; it may work in a minute. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    Upstream refused (upstream_unavailable)
      200 -31503 Server `images` refuses the gateway's connection. Nothing was sent and nothing was charged; it may work in a minute. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    Upstream rejected (upstream_unavailable)
      200 -31503 Server `images` answered HTTP 429. It may have done the work all the same, so the call counts. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    Upstream timed out (upstream_unavailable)
      200 -31504 Server `images` did not answer in time. It may have done the work all the same, so the call counts. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    Upstream broken (upstream_unavailable)
      200 -31503 Server `images` broke off or answered unreadably. It may have done the work all the same, so the call counts. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    Upstream too large (upstream_unavailable)
      200 -31503 Server `images` answered with more than 16 bytes. It may have done the work all the same, so the call counts. Call id CALL.
      {"call_id":"CALL","reason":"upstream_unavailable","server":"images"}
      tools/call: the same as a tool error
    NeedsInput (needs_input)
      200 -32603 server `images` asks for input that this gateway cannot carry to the client (call id CALL)
      {"call_id":"CALL","reason":"needs_input","server":"images"}
      tools/call: the same as a tool error
    CannotAnswer (client_cannot_answer)
      200 -32603 server `images` needs an answer of its client that this client cannot give (call id CALL)
      {"call_id":"CALL","reason":"client_cannot_answer","server":"images"}
      tools/call: the same as a tool error
    Declined (declined)
      200 -32603 server `images` does nothing before its user has visited a page, and that was declined
      {"reason":"declined","server":"images"}
      tools/call: the same as a tool error
    MissingCapability (missing_capability)
      400 -32021 the server needs something of the client that it did not declare: {"elicitation":{"url":{}}}
      {"requiredCapabilities":{"elicitation":{"url":{}}}}
    Relayed (relayed)
      200 -32050 out of paint
      [1.0]
      2026-07-28: 418 -32050
    NeedsStream (not_acceptable)
      406 -32600 the answer is a stream: the Accept header must name text/event-stream
    TooMany (too_many)
      200 -31503 there are 8 open streams already; end one first
      {"limit":8,"reason":"too_many"}
    Cancelled (cancelled)
      200 -32603 the call was cancelled
    Unrecorded (audit_unavailable)
      200 -31503 Refused: the gateway cannot write its log now, and lets no call through unrecorded. Try again in a few seconds.
      {"reason":"audit_unavailable","retry_after_ms":1000}
      tools/call: the same as a tool error
    Overloaded (overloaded)
      503 -31503 the gateway has as many requests in hand as it can serve; try again in a second
      {"reason":"overloaded","retry_after_ms":1000}
    Internal (internal)
      200 -32603 the gateway failed in the middle of this request
    Refused as a repeat (in_progress)
      200 -31409 Refused (in progress). images/imagine: the call of this idempotency key is still running. Wait for its answer; asking again does not start a second one. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","reason":"in_progress","retry_after_ms":2000}
      tools/call: the same as a tool error
    Refused as a repeat (in_progress)
      200 -31409 Refused (in progress). images/imagine: the same call with the same arguments is still running. Wait for its answer; asking again does not start a second one. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","reason":"in_progress","retry_after_ms":2000}
      tools/call: the same as a tool error
    Refused as a repeat (in_progress)
      200 -31409 Refused (in progress). images/imagine: the call of this idempotency key waits for answers to what its server asked. Send them with the `requestState` that came with the questions; to begin anew instead, use a fresh key. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","reason":"in_progress"}
      tools/call: the same as a tool error
    Refused as a repeat (already_executed)
      200 -31409 Refused (already executed). images/imagine: the call of this idempotency key was made before and answered (`ok`). It is not made a second time, and its result was not kept. Only if it is to be done once more, use a fresh key. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","outcome":"ok","reason":"already_executed"}
      tools/call: the same as a tool error
    Refused as a repeat (already_executed)
      200 -31409 Refused (already executed). images/imagine: the same call with the same arguments was made before and answered (`tool_error`). It is not made a second time, and its result was not kept. Only if it is to be done once more, wait until 2026-11-20T13:09:00+01:00. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","outcome":"tool_error","reason":"already_executed","retry_after_ms":540000}
      tools/call: the same as a tool error
    Refused as a repeat (outcome_unknown)
      200 -31409 Refused (outcome unknown). images/imagine: the call of this idempotency key was made before, and nobody knows whether the server did it (`timed_out`). Find out first; to have it done all the same, use a fresh key. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","outcome":"timed_out","reason":"outcome_unknown"}
      tools/call: the same as a tool error
    Refused as a repeat (outcome_unknown)
      200 -31409 Refused (outcome unknown). images/imagine: the same call with the same arguments was made before, and nobody knows whether the server did it (`gateway_stopped`). Find out first; to have it done all the same, wait until 2026-11-20T13:09:00+01:00. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","outcome":"gateway_stopped","reason":"outcome_unknown","retry_after_ms":540000}
      tools/call: the same as a tool error
    Refused as a repeat (key_reused)
      200 -31409 Refused (key reused). images/imagine: this idempotency key belongs to a call with other arguments. Use a fresh key for each new call. First call id FIRST, this call id CALL.
      {"call_id":"CALL","first_call_id":"FIRST","reason":"key_reused"}
      tools/call: the same as a tool error
    Refused as a repeat (too_many_keys)
      200 -31409 Refused (too many keys). images/imagine: there are 50000 idempotency keys of this agent, as many as are kept. Some come free within a day. Retrying now will not help. Call id CALL.
      {"call_id":"CALL","reason":"too_many_keys"}
      tools/call: the same as a tool error
    "#);
}

#[test]
fn every_answer_at_the_door_has_its_status_and_its_words() {
    let mut text = String::new();
    for door in doors() {
        let answer = door.answer(Unanswered::Unread);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&body["jsonrpc"], &body["id"]),
            (&json!("2.0"), &Value::Null)
        );
        let error = &body["error"];
        assert_eq!(error["data"], json!({"reason": door.reason()}));
        let words = error["message"].as_str().unwrap();
        let (what, reason, status) = (door_kind(&door), door.reason(), answer.status);
        writeln!(
            text,
            "{what} ({reason})\n  {status} {} {words}",
            error["code"]
        )
        .unwrap();
    }
    insta::assert_snapshot!(text, @"
    ForeignHost (foreign_host)
      403 -32600 host `evil.example` is not one of this gateway's; start it with `--allowed-host evil.example` if it is
    ForeignOrigin (foreign_origin)
      403 -32600 origin `https://evil.example` may not use this gateway; start it with `--allowed-origin https://evil.example` if it may
    Token missing (not_authenticated)
      401 -32600 no token: send `Authorization: Bearer <token>`
    Token several (not_authenticated)
      401 -32600 several Authorization headers: send exactly one
    Token not bearer (not_authenticated)
      401 -32600 the Authorization header is not of the form `Bearer <token>`
    Token empty (not_authenticated)
      401 -32600 Authorization was `Bearer ` with nothing after it: the client's token setting is empty
    Token placeholder (not_authenticated)
      401 -32600 a placeholder such as `${HAYWARD_TOKEN}` arrived unexpanded: the client did not fill in its variable
    Token unknown (not_authenticated)
      401 -32600 this token is not known here, or has ended: ask whoever keeps permissions.yaml
    Address (address)
      403 -31403 agent `clawd` may not be used from 192.0.2.7; it would take another `from` in permissions.yaml
    UnknownServer (unknown_server)
      404 -32600 there is no server `nowhere` here
    ServerNotGranted (not_granted)
      403 -31403 server `images` is not granted to agent `clawd`; it would take a grant in permissions.yaml
    UnknownSession (unknown_session)
      404 -32600 this session is not known or has ended; send `initialize` again
    MissingSession (unknown_session)
      400 -32600 the `Mcp-Session-Id` header is missing
    UnknownPlace (unknown_place)
      400 -32600 no stream goes on after this `Last-Event-ID`: it was not given in this session, or is too old
    MethodNotAllowed (method_not_allowed)
      405 -32600 only POST, DELETE works here
    NeedsStream (not_acceptable)
      406 -32600 the answer is a stream: the Accept header must name text/event-stream
    NotJsonType (malformed)
      415 -32600 the Content-Type must be application/json
    TooLarge (request_too_large)
      413 -32600 the body is larger than 4194304 bytes
    TooSlow (request_too_slow)
      408 -32600 the body did not arrive in time
    UnknownVersion (unsupported_version)
      400 -32600 protocol version `tomorrow` is not known here
    NotFound (not_found)
      404 -32600 nothing is here; agents use /mcp, people /audit
    ");
}
