//! Every key of the format has a test of what it does.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::*;
use super::schema::{FULL, mappings};
use crate::policy::{Each, Refund};
use crate::types::Unit;

/// The mapping, the key, and the test that shows what the key does.
const TESTS: &[(&str, &str, &str)] = &[
    ("file", "version", "a_version_from_the_future"),
    ("file", "defaults", "every_way_to_write_a_budget_is_read"),
    ("file", "servers", "a_server_is_reached_as_written"),
    ("file", "roles", "the_example_grants_what_it_says"),
    ("file", "budgets", "every_way_to_write_a_budget_is_read"),
    ("file", "deny", "a_denial_wins_over_every_grant"),
    (
        "file",
        "agents",
        "the_form_of_the_first_deployment_stays_valid",
    ),
    (
        "file",
        "viewers",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "file",
        "tests",
        "a_file_whose_tests_fail_does_not_come_into_force",
    ),
    ("defaults", "timezone", "the_example_grants_what_it_says"),
    ("defaults", "timeout", "a_server_is_reached_as_written"),
    ("defaults", "rate", "every_way_to_write_a_budget_is_read"),
    (
        "defaults",
        "capture",
        "the_lesser_of_agent_and_server_is_kept_and_metadata_where_nobody_says",
    ),
    (
        "defaults",
        "redact",
        "names_of_the_server_add_to_the_default_ones_and_to_those_on_every_list",
    ),
    ("server", "url", "a_server_is_reached_as_written"),
    ("server", "command", "a_server_is_reached_as_written"),
    (
        "server",
        "description",
        "the_form_of_the_first_deployment_stays_valid",
    ),
    ("server", "headers", "a_server_is_reached_as_written"),
    (
        "server",
        "protocol",
        "the_old_transport_can_be_said_in_two_ways",
    ),
    (
        "server",
        "transport",
        "the_old_transport_can_be_said_in_two_ways",
    ),
    (
        "server",
        "timeout",
        "a_call_that_takes_too_long_costs_what_it_holds",
    ),
    (
        "server",
        "args",
        "arguments_pass_no_shell_and_the_environment_is_cleared",
    ),
    (
        "server",
        "env",
        "arguments_pass_no_shell_and_the_environment_is_cleared",
    ),
    ("server", "cwd", "a_server_is_reached_as_written"),
    (
        "server",
        "instances",
        "a_shared_process_and_a_modern_one_serve_everyone",
    ),
    ("server", "budgets", "every_way_to_write_a_budget_is_read"),
    ("server", "rate", "every_way_to_write_a_budget_is_read"),
    (
        "server",
        "max_concurrent",
        "a_server_is_given_no_more_calls_at_once_than_its_entry_says_whoever_calls",
    ),
    (
        "server",
        "dedupe",
        "a_call_with_a_fresh_key_and_the_same_arguments_is_a_repeat_where_the_rules_say_so",
    ),
    (
        "server",
        "costs",
        "costs_per_tool_are_counted_to_the_millionth",
    ),
    (
        "server",
        "cost_unit",
        "costs_per_tool_are_counted_to_the_millionth",
    ),
    (
        "server",
        "disabled",
        "what_is_switched_off_or_unknown_is_refused_by_name",
    ),
    (
        "server",
        "capture",
        "the_lesser_of_agent_and_server_is_kept_and_metadata_where_nobody_says",
    ),
    (
        "server",
        "redact",
        "names_of_the_server_add_to_the_default_ones_and_to_those_on_every_list",
    ),
    (
        "cost",
        "cost_from",
        "a_reported_cost_is_charged_and_the_rest_given_back",
    ),
    (
        "cost",
        "max_cost",
        "a_reported_cost_is_charged_and_the_rest_given_back",
    ),
    (
        "role",
        "description",
        "every_key_is_read_as_the_whole_file_says",
    ),
    ("role", "servers", "the_example_grants_what_it_says"),
    ("role", "deny", "every_key_is_read_as_the_whole_file_says"),
    (
        "agent",
        "token_hash",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "agent",
        "servers",
        "the_form_of_the_first_deployment_stays_valid",
    ),
    ("agent", "roles", "the_example_grants_what_it_says"),
    (
        "agent",
        "description",
        "every_key_is_read_as_the_whole_file_says",
    ),
    ("agent", "owner", "every_key_is_read_as_the_whole_file_says"),
    (
        "agent",
        "from",
        "an_agent_is_turned_away_from_an_address_that_is_not_among_its_own",
    ),
    ("agent", "deny", "a_denial_wins_over_every_grant"),
    ("agent", "budgets", "every_way_to_write_a_budget_is_read"),
    (
        "agent",
        "rate",
        "a_rate_refuses_and_recovers_with_the_clock",
    ),
    (
        "agent",
        "max_concurrent",
        "no_more_calls_of_an_agent_run_at_once_than_its_entry_says",
    ),
    ("agent", "disabled", "the_example_grants_what_it_says"),
    (
        "agent",
        "refusals",
        "a_refusal_carries_all_its_figures_in_either_style",
    ),
    (
        "agent",
        "ungranted",
        "what_is_hidden_looks_exactly_like_nothing",
    ),
    (
        "agent",
        "capture",
        "the_lesser_of_agent_and_server_is_kept_and_metadata_where_nobody_says",
    ),
    (
        "token",
        "hash",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "token",
        "label",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "token",
        "expires",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    ("grant", "server", "the_example_grants_what_it_says"),
    ("grant", "tools", "the_example_grants_what_it_says"),
    (
        "grant",
        "when",
        "a_call_whose_arguments_are_not_as_its_grant_asks_is_refused_and_costs_nothing",
    ),
    ("grant", "budgets", "every_way_to_write_a_budget_is_read"),
    ("grant", "rate", "every_way_to_write_a_budget_is_read"),
    ("grant", "expires", "the_example_grants_what_it_says"),
    ("pool", "limit", "every_way_to_write_a_budget_is_read"),
    ("pool", "tools", "every_way_to_write_a_budget_is_read"),
    ("pool", "each", "every_way_to_write_a_budget_is_read"),
    ("pool", "weight", "every_key_is_read_as_the_whole_file_says"),
    (
        "pool",
        "max_cost",
        "every_key_is_read_as_the_whole_file_says",
    ),
    ("pool", "refund", "every_key_is_read_as_the_whole_file_says"),
    ("budget", "limit", "every_way_to_write_a_budget_is_read"),
    ("budget", "tools", "every_way_to_write_a_budget_is_read"),
    (
        "budget",
        "each",
        "each_splits_a_budget_into_separate_counts",
    ),
    (
        "budget",
        "weight",
        "a_weight_is_the_number_in_an_argument_or_a_refusal",
    ),
    (
        "budget",
        "max_cost",
        "a_weight_is_the_number_in_an_argument_or_a_refusal",
    ),
    (
        "budget",
        "refund",
        "refund_gives_back_what_the_file_says_and_no_more",
    ),
    ("budget", "pool", "every_way_to_write_a_budget_is_read"),
    (
        "weight",
        "argument",
        "a_weight_is_the_number_in_an_argument_or_a_refusal",
    ),
    ("rate", "limit", "every_key_is_read_as_the_whole_file_says"),
    ("rate", "per", "every_key_is_read_as_the_whole_file_says"),
    ("rate", "burst", "every_key_is_read_as_the_whole_file_says"),
    (
        "viewer",
        "token_hash",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "viewer",
        "header",
        "a_viewer_comes_in_by_a_header_that_a_trusted_proxy_sends_and_nobody_else",
    ),
    (
        "viewer",
        "see",
        "tokens_and_viewers_are_known_until_they_expire",
    ),
    (
        "viewer",
        "agents",
        "a_viewer_of_some_agents_sees_nothing_of_the_others",
    ),
    (
        "test",
        "name",
        "what_fails_says_what_was_expected_what_came_and_which_line_did_it",
    ),
    ("test", "agent", "what_holds_is_not_told"),
    ("test", "allow", "what_holds_is_not_told"),
    ("test", "deny", "what_holds_is_not_told"),
    ("test", "call", "what_holds_is_not_told"),
    (
        "test",
        "args",
        "what_a_call_is_given_is_what_conditions_look_at",
    ),
    ("test", "at", "what_holds_is_not_told"),
    ("test", "repeat", "what_holds_is_not_told"),
    ("test", "expect", "what_holds_is_not_told"),
    ("test", "reason", "what_holds_is_not_told"),
    ("condition", "equals", "every_operator_is_read"),
    ("condition", "in", "every_operator_is_read"),
    ("condition", "not_in", "every_operator_is_read"),
    ("condition", "matches", "every_operator_is_read"),
    ("condition", "not_matches", "every_operator_is_read"),
    ("condition", "starts_with", "every_operator_is_read"),
    ("condition", "min", "every_operator_is_read"),
    ("condition", "max", "every_operator_is_read"),
    ("condition", "max_length", "every_operator_is_read"),
    ("condition", "max_items", "every_operator_is_read"),
    ("condition", "absent", "every_operator_is_read"),
    ("condition", "optional", "every_operator_is_read"),
];

fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_key_has_a_test_and_every_test_is_there() {
    let known = mappings();
    let known: BTreeSet<(&str, &str)> = known
        .iter()
        .flat_map(|(name, keys)| keys.iter().map(move |key| (*name, *key)))
        .collect();
    let tested: BTreeSet<(&str, &str)> = TESTS.iter().map(|(name, key, _)| (*name, *key)).collect();
    let untested: Vec<_> = known.difference(&tested).collect();
    assert!(
        untested.is_empty(),
        "no test says what these keys do: {untested:?}"
    );
    let unknown: Vec<_> = tested.difference(&known).collect();
    assert!(unknown.is_empty(), "there are no such keys: {unknown:?}");
    assert_eq!(tested.len(), TESTS.len(), "a key stands twice");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&root.join("src"), &mut text);
    sources(&root.join("tests/it"), &mut text);
    for (name, key, test) in TESTS {
        assert!(
            text.contains(&format!("fn {test}()")),
            "{name}.{key} is to be shown by {test}, which is not there"
        );
    }
}

#[test]
fn every_key_is_read_as_the_whole_file_says() {
    let read = |text: &str| parse("permissions.yaml", text, &|_| Some("x".into())).unwrap();
    let file = read(FULL);
    let rules = &file.permissions;
    let agent = &rules.agents()["designer"];
    assert_eq!(
        agent.description.as_deref(),
        Some("Marketing image assistant")
    );
    assert_eq!(agent.owner.as_deref(), Some("images-team@example.com"));
    let denied: Vec<String> = agent
        .deny
        .iter()
        .map(|rule| format!("{}/{}", rule.server, rule.tool))
        .collect();
    assert_eq!(
        denied,
        ["images/blend", "files/get_secret*"],
        "its own, and those of its role"
    );
    assert_eq!(agent.grants.len(), 3, "its own, and those of its role");
    assert_eq!(agent.grants[0].when.len(), 8);
    let rate = rules.servers()["images"].rate.as_ref().unwrap().rate;
    assert_eq!(
        (rate.to_string(), rate.burst.get()),
        ("20/minute".into(), 5)
    );
    let pool = &rules.pools()["weighed"];
    assert_eq!(pool.limit.unit, Unit::Argument("count".into()));
    assert_eq!(
        (pool.limit.amount, pool.max_cost, pool.each),
        (100, Some(10), Each::Agent)
    );
    assert_eq!(
        pool.tools
            .iter()
            .map(|tool| tool.as_str())
            .collect::<Vec<_>>(),
        ["imagine"]
    );
    let refund = Refund {
        tool_error: true,
        ..Refund::default()
    };
    assert_eq!(pool.refund, refund);
    // What a role is for is told to readers of the file, and changes nothing.
    let silent = FULL.replace("    description: \"Look, do not touch\"\n", "");
    assert_ne!(silent, FULL);
    let changed = &read(&silent).permissions.agents()["designer"].grants.len();
    assert_eq!(*changed, agent.grants.len());
}
