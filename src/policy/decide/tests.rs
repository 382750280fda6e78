//! What the rules promise: tables of decisions, and properties that hold for any rules.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::policy::{
    Argument, Bound, BudgetRule, Capture, Condition, Disabled, Each, Parts, Refund, RefusalStyle,
    Scalar, Test, UngrantedStyle,
};
use crate::types::{BudgetKey, Rate, Revision, Zone};

const NOON: Timestamp = Timestamp::from_micros(1_000_000);
const EARLIER: Timestamp = Timestamp::from_micros(999_999);

fn place(path: &str) -> Place {
    Place {
        path: path.into(),
        line: 1,
    }
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text)).collect()
}

/// A grant of everything on a server, named by its path.
fn all_of(path: &str, server: &str) -> GrantRule {
    GrantRule {
        place: place(path),
        server: Pattern::new(server),
        tools: None,
        when: [].into(),
        expires: None,
        budgets: Vec::new(),
        rate: None,
        from_role: false,
    }
}

fn tools_of(path: &str, server: &str, tools: &[&str]) -> GrantRule {
    GrantRule {
        tools: Some(patterns(tools)),
        ..all_of(path, server)
    }
}

fn ended(rule: GrantRule) -> GrantRule {
    GrantRule {
        expires: Some(NOON),
        ..rule
    }
}

fn by_role(rule: GrantRule) -> GrantRule {
    GrantRule {
        from_role: true,
        ..rule
    }
}

fn deny(server: &str, tool: &str) -> DenyRule {
    DenyRule {
        place: place("deny"),
        server: Pattern::new(server),
        tool: Pattern::new(tool),
    }
}

fn budget(scope: &str, limit: &str, tools: &[&str], each: Each) -> Arc<BudgetRule> {
    Arc::new(BudgetRule {
        place: place(scope),
        scope: scope.into(),
        limit: limit.parse().unwrap(),
        tools: patterns(tools),
        each,
        max_cost: None,
        refund: Refund::default(),
    })
}

fn agent(grants: Vec<GrantRule>) -> Agent {
    Agent {
        name: "clawd".parse().unwrap(),
        place: place("agents.clawd"),
        description: None,
        owner: None,
        tokens: Vec::new(),
        disabled: None,
        grants,
        deny: Vec::new(),
        budgets: Vec::new(),
        rate: None,
        max_concurrent: None,
        from: None,
        refusals: RefusalStyle::default(),
        ungranted: UngrantedStyle::default(),
        capture: Capture::default(),
    }
}

fn server(name: &str) -> ServerRule {
    ServerRule {
        name: name.parse().unwrap(),
        place: place(name),
        description: None,
        disabled: None,
        budgets: Vec::new(),
        rate: None,
        max_concurrent: None,
        dedupe: Vec::new(),
        keeping: Keeping {
            capture: Capture::Full,
            redact: Arc::default(),
        },
        costs: None,
    }
}

/// Rules with the servers `github` and `images`.
fn rules(denials: Vec<DenyRule>) -> Parts {
    let servers = ["github", "images"].map(|name| (name.parse().unwrap(), server(name)));
    Parts {
        revision: Revision::of(b""),
        zone: Zone::named("Europe/Berlin").unwrap(),
        servers: servers.into(),
        agents: BTreeMap::new(),
        pools: BTreeMap::new(),
        deny: denials,
        viewers: BTreeMap::new(),
    }
}

fn ask(parts: &Parts, agent: &Agent, server: &str, target: Target<'_>) -> Decision {
    let permissions = Permissions::new(parts.clone());
    let server = server.parse().unwrap();
    let question = Question {
        agent,
        server: &server,
        target,
        arguments: None,
        at: NOON,
        peer: None,
    };
    let decision = decide(&permissions, &question);
    assert_eq!(decision.is_allowed(), is_granted(&permissions, &question));
    decision
}

/// The path of the rule that allowed it, or the reason why not.
fn outcome(decision: &Decision) -> Result<String, DenialReason> {
    match decision {
        Decision::Allowed(grant) => Ok(grant.rule().path.to_string()),
        Decision::Denied(denial) => Err(denial.reason),
    }
}

fn granted(grants: Vec<GrantRule>, tool: &str) -> Result<String, DenialReason> {
    let agent = agent(grants);
    outcome(&ask(
        &rules(Vec::new()),
        &agent,
        "github",
        Target::Tool(tool),
    ))
}

#[test]
fn the_most_specific_live_grant_decides() {
    let broad = || all_of("broad", "*");
    let whole = || all_of("whole", "github");
    let some = || tools_of("some", "github", &["get_*"]);
    let one = || tools_of("one", "github", &["get_issue", "x*"]);
    let table = [
        (vec![broad(), whole()], Ok("whole")),
        (vec![whole(), some()], Ok("some")),
        (vec![one(), some(), whole()], Ok("one")),
        (
            vec![tools_of("a", "git*", &["get_issue"]), whole()],
            Ok("whole"),
        ),
        (vec![all_of("g", "g*"), all_of("gi", "gi*")], Ok("gi")),
        (vec![by_role(whole()), all_of("own", "github")], Ok("own")),
        (vec![by_role(some()), whole()], Ok("some")),
        (vec![broad(), ended(one())], Ok("broad")),
        (
            vec![ended(one()), ended(some())],
            Err(DenialReason::Expired),
        ),
        (
            vec![ended(all_of("x", "images"))],
            Err(DenialReason::NotGranted),
        ),
        (
            vec![tools_of("x", "github", &[])],
            Err(DenialReason::NotGranted),
        ),
        (
            vec![tools_of("x", "github", &["Get_issue"])],
            Err(DenialReason::NotGranted),
        ),
        (vec![], Err(DenialReason::NotGranted)),
    ];
    for (mut grants, expected) in table {
        let expected = expected.map(str::to_owned);
        let names = format!("{grants:?}");
        assert_eq!(granted(grants.clone(), "get_issue"), expected, "{names}");
        grants.reverse();
        assert_eq!(granted(grants, "get_issue"), expected, "reversed {names}");
    }
}

fn asking(path: &str, argument: &str, test: Test, limit: &str) -> GrantRule {
    let condition = Condition {
        place: place(&format!("{path}.when")),
        argument: Argument::new(argument).unwrap(),
        tests: vec![test],
        is_optional: false,
    };
    GrantRule {
        when: [condition].into(),
        budgets: vec![budget(path, limit, &[], Each::Shared)],
        ..tools_of(path, "github", &["create"])
    }
}

fn called(grants: Vec<GrantRule>, arguments: Option<&str>) -> Decision {
    let permissions = Permissions::new(rules(Vec::new()));
    let question = Question {
        agent: &agent(grants),
        server: &"github".parse().unwrap(),
        target: Target::Tool("create"),
        arguments,
        at: NOON,
        peer: None,
    };
    let decision = decide(&permissions, &question);
    assert_eq!(decision.is_allowed(), is_granted(&permissions, &question));
    decision
}

#[test]
fn of_equally_specific_grants_those_whose_conditions_hold_are_charged() {
    let equals = |value: &str| Test::Equals(Scalar::new(value));
    let most = |value: &str| Test::Max(Bound::new(value).unwrap());
    let grants = || {
        vec![
            all_of("whole", "*"),
            asking("acme", "owner", equals("acme"), "1/day"),
            asking("beta", "owner", equals("beta"), "2/day"),
            asking("few", "count", most("4"), "3/day"),
        ]
    };
    let scopes = |arguments: Option<&str>| match called(grants(), arguments) {
        Decision::Allowed(grant) => {
            let charges = grant.charges().iter();
            Ok(charges
                .map(|charge| charge.place.path.to_string())
                .collect())
        }
        Decision::Denied(denial) => Err((denial.reason, denial.detail.unwrap_or_default())),
    };
    let paths = |paths: &[&str]| -> Vec<String> { paths.iter().map(|&path| path.into()).collect() };
    assert_eq!(scopes(Some(r#"{"owner":"acme"}"#)), Ok(paths(&["acme"])));
    assert_eq!(
        scopes(Some(r#"{"owner":"beta","count":4}"#)),
        Ok(paths(&["few", "beta"]))
    );
    // Nobody calls, so nothing is known against any of them.
    assert_eq!(scopes(None), Ok(paths(&["few", "beta", "acme"])));
    let detail = "argument `count` is missing; it must be at most 4, or argument `owner` must be `beta`, or \
                  argument `owner` must be `acme`";
    let refused = Err((DenialReason::Condition, detail.to_owned()));
    assert_eq!(scopes(Some(r#"{"owner":"evil"}"#)), refused);
}

#[test]
fn a_broader_grant_rescues_no_call_that_the_exact_one_refuses() {
    let few = asking("few", "count", Test::Max(Bound::new("4").unwrap()), "3/day");
    let arguments = Some(r#"{"count":5}"#);
    let decision = called(vec![all_of("whole", "*"), few.clone()], arguments);
    assert_eq!(outcome(&decision), Err(DenialReason::Condition));
    let decision = called(vec![all_of("whole", "*"), ended(few)], arguments);
    assert_eq!(outcome(&decision), Ok("whole".into()));
}

#[test]
fn tools_grant_tools_and_nothing_else() {
    let parts = rules(Vec::new());
    let whole = agent(vec![all_of("whole", "github")]);
    let some = agent(vec![tools_of("some", "github", &["*"])]);
    let none = agent(vec![tools_of("none", "github", &[])]);
    let table = [
        (Target::Tool("x"), [true, true, false]),
        (Target::Prompt("x"), [true, false, false]),
        (Target::Resource("x"), [true, false, false]),
        (Target::Listing, [true, true, false]),
    ];
    for (target, expected) in table {
        let allowed =
            [&whole, &some, &none].map(|agent| ask(&parts, agent, "github", target).is_allowed());
        assert_eq!(allowed, expected, "{target:?}");
    }
}

#[test]
fn a_denial_wins_over_every_grant() {
    let table = [
        ("github", "delete_*", Target::Tool("delete_repo"), false),
        ("github", "delete_*", Target::Tool("get_issue"), true),
        ("*", "delete_*", Target::Tool("delete_repo"), false),
        ("images", "*", Target::Tool("delete_repo"), true),
        ("github", "delete_*", Target::Resource("delete_repo"), true),
        ("github", "*", Target::Resource("x"), false),
        ("github", "*", Target::Prompt("x"), false),
        ("github", "*", Target::Listing, false),
        ("github", "x*", Target::Listing, true),
    ];
    let exact = tools_of("exact", "github", &["delete_repo"]);
    let mut subject = agent(vec![all_of("whole", "github"), exact]);
    for (server, tool, target, allowed) in table {
        let decision = ask(&rules(vec![deny(server, tool)]), &subject, "github", target);
        assert_eq!(decision.is_allowed(), allowed, "{server}/{tool} {target:?}");
    }
    subject.deny = vec![deny("github", "delete_*")];
    let decision = ask(
        &rules(Vec::new()),
        &subject,
        "github",
        Target::Tool("delete_x"),
    );
    assert_eq!(outcome(&decision), Err(DenialReason::DeniedRule));
}

#[test]
fn what_is_switched_off_or_unknown_is_refused_by_name() {
    let off = || {
        Some(Disabled {
            place: place("off"),
            note: None,
        })
    };
    let mut subject = agent(vec![all_of("all", "*")]);
    let mut parts = rules(Vec::new());
    let decision = ask(&parts, &subject, "nowhere", Target::Listing);
    assert_eq!(outcome(&decision), Err(DenialReason::UnknownServer));
    parts.servers.get_mut("github").unwrap().disabled = off();
    let decision = ask(&parts, &subject, "github", Target::Listing);
    assert_eq!(outcome(&decision), Err(DenialReason::ServerDisabled));
    subject.disabled = off();
    let decision = ask(&parts, &subject, "github", Target::Listing);
    assert_eq!(outcome(&decision), Err(DenialReason::AgentDisabled));
}

#[test]
fn a_grant_ends_at_the_instant_it_names() {
    let subject = agent(vec![ended(all_of("x", "github"))]);
    let permissions = Permissions::new(rules(Vec::new()));
    let server = "github".parse().unwrap();
    assert!(may_see_server(&permissions, &subject, &server, EARLIER));
    assert!(!may_see_server(&permissions, &subject, &server, NOON));
}

#[test]
fn every_budget_has_an_exact_key() {
    let mut whole = all_of("whole", "*");
    whole.budgets = vec![budget("agents.clawd/*", "2/day", &[], Each::Shared)];
    let mut subject = agent(vec![whole]);
    let pool = budget("budgets.team", "9/week", &[], Each::Tool);
    subject.budgets = vec![
        budget(
            "agents.clawd",
            "5/hour",
            &["get_*", "create_*", "get_*"],
            Each::Shared,
        ),
        budget("agents.clawd", "5/hour", &["imagine"], Each::Shared),
        Arc::clone(&pool),
    ];
    let mut parts = rules(Vec::new());
    parts.servers.get_mut("github").unwrap().budgets = vec![
        pool,
        budget("servers.github", "3/month", &[], Each::Agent),
        budget("servers.github", "3/year", &[], Each::AgentAndTool),
    ];
    let decision = ask(&parts, &subject, "github", Target::Tool("get_issue"));
    let Decision::Allowed(grant) = decision else {
        panic!("granted");
    };
    let charges = grant.charges().iter();
    let keys: Vec<&str> = charges.map(|charge| charge.key.as_str()).collect();
    let expected = [
        "agents.clawd/* calls/day@Europe/Berlin",
        "agents.clawd[create_*,get_*] calls/hour@Europe/Berlin",
        "budgets.team calls/week@Europe/Berlin each tool=get_issue",
        "servers.github calls/month@Europe/Berlin each agent=clawd",
        "servers.github calls/year@Europe/Berlin each agent=clawd tool=get_issue",
    ];
    assert_eq!(keys, expected);
    assert!(grant.charges().iter().all(|charge| charge.amount == 1));
    assert_eq!(grant.reasons().len(), 1 + expected.len());
}

#[test]
fn only_calls_of_tools_cost_anything() {
    let rate = Arc::new(RateRule {
        place: place("rate"),
        key: BudgetKey::new("agents.clawd"),
        rate: "5/minute".parse::<Rate>().unwrap(),
    });
    let mut subject = agent(vec![all_of("all", "*")]);
    subject.budgets = vec![budget("agents.clawd", "1/day", &[], Each::Shared)];
    subject.rate = Some(rate);
    let table = [
        (Target::Tool("x"), 1, 1),
        (Target::Prompt("x"), 0, 1),
        (Target::Resource("x"), 0, 1),
        (Target::Listing, 0, 0),
    ];
    for (target, charges, rates) in table {
        let Decision::Allowed(grant) = ask(&rules(Vec::new()), &subject, "github", target) else {
            panic!("granted");
        };
        assert_eq!(grant.charges().len(), charges, "{target:?}");
        assert_eq!(grant.rates().len(), rates, "{target:?}");
    }
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        Just("github"),
        Just("images"),
        Just("*"),
        Just("g*"),
        Just("*s"),
        Just("get"),
        Just("get*"),
    ]
    .prop_map(Pattern::new)
}

prop_compose! {
    fn any_grant()(
        server in any_pattern(),
        tools in prop::option::of(prop::collection::vec(any_pattern(), 0..3)),
        expired in any::<bool>(),
        from_role in any::<bool>(),
        limit in 0_u32..4,
    ) -> GrantRule {
        let rule = GrantRule { tools, from_role, ..all_of(&format!("limit {limit}"), "") };
        let budgets = vec![budget(&format!("limit {limit}"), &format!("{limit}/day"), &[], Each::Shared)];
        let rule = GrantRule { server, budgets, ..rule };
        if expired { ended(rule) } else { rule }
    }
}

prop_compose! {
    fn any_denial()(server in any_pattern(), tool in any_pattern()) -> DenyRule {
        DenyRule { place: place("deny"), server, tool }
    }
}

fn any_target() -> impl Strategy<Value = Target<'static>> {
    prop_oneof![
        Just(Target::Tool("get")),
        Just(Target::Tool("getter")),
        Just(Target::Prompt("get")),
        Just(Target::Resource("get")),
        Just(Target::Listing),
    ]
}

/// What a decision comes to: the charges when allowed, the reason when not.
fn effect(decision: &Decision) -> Result<Vec<BudgetKey>, DenialReason> {
    match decision {
        Decision::Allowed(grant) => {
            let charges = grant.charges().iter();
            Ok(charges.map(|charge| charge.key.clone()).collect())
        }
        Decision::Denied(denial) => Err(denial.reason),
    }
}

proptest! {
    #[test]
    fn the_order_of_rules_never_matters(
        grants in prop::collection::vec(any_grant(), 0..5),
        denials in prop::collection::vec(any_denial(), 0..3),
        target in any_target(),
        turn in 0_usize..5,
    ) {
        let before = ask(&rules(denials.clone()), &agent(grants.clone()), "github", target);
        let (mut grants, mut denials) = (grants, denials);
        grants.reverse();
        denials.reverse();
        let middle = turn.min(grants.len());
        grants.rotate_left(middle);
        let after = ask(&rules(denials), &agent(grants), "github", target);
        prop_assert_eq!(effect(&before), effect(&after));
    }

    #[test]
    fn a_further_denial_never_allows_anything(
        grants in prop::collection::vec(any_grant(), 0..5),
        denials in prop::collection::vec(any_denial(), 0..3),
        more in any_denial(),
        target in any_target(),
    ) {
        let subject = agent(grants);
        let before = ask(&rules(denials.clone()), &subject, "github", target).is_allowed();
        let denials = denials.into_iter().chain([more]).collect();
        let after = ask(&rules(denials), &subject, "github", target).is_allowed();
        prop_assert!(before || !after);
    }

    #[test]
    fn without_a_grant_that_matches_the_answer_is_no(
        grants in prop::collection::vec(any_grant(), 0..5),
        target in any_target(),
    ) {
        let fits = |rule: &GrantRule| {
            let tool = match target {
                Target::Tool(name) => rule.tools.as_ref().is_none_or(|tools| tools.iter().any(|tool| tool.matches(name))),
                Target::Listing => rule.tools.as_ref().is_none_or(|tools| !tools.is_empty()),
                Target::Prompt(_) | Target::Resource(_) => rule.tools.is_none(),
            };
            tool && rule.server.matches("github") && rule.expires.is_none()
        };
        let expected = grants.iter().any(fits);
        let decision = ask(&rules(Vec::new()), &agent(grants), "github", target);
        prop_assert_eq!(decision.is_allowed(), expected);
    }

    #[test]
    fn each_splits_into_exactly_the_counts_it_names(tool in "[a-z]{1,4}", other in "[a-z]{1,4}") {
        let key = |each, tool: &str| {
            let mut subject = agent(vec![all_of("all", "*")]);
            subject.budgets = vec![budget("agents.clawd", "1/day", &[], each)];
            effect(&ask(&rules(Vec::new()), &subject, "github", Target::Tool(tool)))
        };
        for each in [Each::Shared, Each::Agent] {
            prop_assert_eq!(key(each, &tool), key(each, &other));
        }
        for each in [Each::Tool, Each::AgentAndTool] {
            prop_assert_eq!(key(each, &tool) == key(each, &other), tool == other);
        }
    }
}
