//! Tries the tests that stand in a file.

use crate::budget::{Ending, Shortage};
use crate::config::{Aim, Diagnostic, FileTest, Loaded, Trial};
use crate::policy::{Agent, Decision, Denial, Question, Reason, Target, decide};
use crate::types::Timestamp;

use super::judge::{Call, Judge, Verdict};

/// Tries all tests of a file; tests that name no instant are tried at `now`. What fails is an error of the file.
pub fn run_tests(loaded: &Loaded, now: Timestamp) -> Vec<Diagnostic> {
    let failed = loaded.tests.iter().flat_map(|test| {
        let agent = loaded.permissions.agents().get(&test.agent);
        match (agent, &test.trial) {
            (None, _) => Vec::new(),
            (Some(agent), Trial::Reach { allow, deny }) => {
                let wrong = |aim, wanted| reach(loaded, test, agent, aim, wanted, now);
                let allow = allow.iter().filter_map(|aim| wrong(aim, true));
                let deny = deny.iter().filter_map(|aim| wrong(aim, false));
                allow.chain(deny).collect()
            }
            (Some(agent), Trial::Calls { .. }) => {
                calls(loaded, test, agent, now).into_iter().collect()
            }
        }
    });
    failed.collect()
}

/// Whether a grant is there, or is not, as it must.
fn reach(
    loaded: &Loaded,
    test: &FileTest,
    agent: &Agent,
    aim: &Aim,
    wanted: bool,
    now: Timestamp,
) -> Option<Diagnostic> {
    let question = Question {
        agent,
        server: &aim.server,
        target: Target::Tool(&aim.tool),
        arguments: None,
        at: now,
        peer: None,
    };
    let decision = decide(&loaded.permissions, &question);
    if decision.is_allowed() == wanted {
        return None;
    }
    let (server, tool) = (&aim.server, &aim.tool);
    let (is, must) = match wanted {
        true => ("is refused", "the test wants it allowed"),
        false => ("is allowed", "the test wants it refused"),
    };
    let title = format!("a test fails: {server}/{tool} {is} for {}", agent.name);
    let notes = vec![must.to_owned(), because(&decision)];
    Some(loaded.test_failed(test, Some(aim), title, notes))
}

/// Whether calls in a row become what they must.
fn calls(loaded: &Loaded, test: &FileTest, agent: &Agent, now: Timestamp) -> Option<Diagnostic> {
    let Trial::Calls {
        aim,
        arguments,
        at,
        expect,
        reason,
    } = &test.trial
    else {
        return None;
    };
    let call = Call {
        server: &aim.server,
        target: Target::Tool(&aim.tool),
        arguments: Some(arguments),
        at: at.unwrap_or(now),
    };
    let mut judge = Judge::new(&loaded.permissions);
    let verdicts: Vec<Verdict> = expect
        .iter()
        .map(|_| made(&mut judge, agent, &call))
        .collect();
    let is_as_wanted = |(verdict, wanted): (&Verdict, &bool)| {
        let why = verdict.reason();
        verdict.is_allowed() == *wanted
            && (why.is_none() || reason.is_none() || why == reason.as_deref())
    };
    let wrong = verdicts
        .iter()
        .zip(expect)
        .position(|both| !is_as_wanted(both))?;
    let title = format!("the test {} fails", test.title());
    let wanted = expect.iter().map(|wanted| word(*wanted, reason.as_deref()));
    let got = verdicts
        .iter()
        .map(|got| word(got.is_allowed(), got.reason()));
    let notes = vec![
        format!("expected: {}", listed(wanted)),
        format!("got:      {}", listed(got)),
        verdicts.get(wrong).map(why).unwrap_or_default(),
    ];
    Some(loaded.test_failed(test, None, title, notes))
}

/// Makes a call that is answered at once.
fn made(judge: &mut Judge<'_>, agent: &Agent, call: &Call<'_>) -> Verdict {
    let verdict = judge.ask(agent, call);
    if let Verdict::Allowed(_, hold) = &verdict {
        judge.end(hold, &Ending::Answered(Vec::new()));
    }
    verdict
}

fn word(allowed: bool, reason: Option<&str>) -> String {
    match (allowed, reason) {
        (true, _) => "allow".into(),
        (false, None) => "deny".into(),
        (false, Some(reason)) => format!("deny ({reason})"),
    }
}

/// Words in a row, those that repeat themselves once and with their number.
fn listed(words: impl Iterator<Item = String>) -> String {
    let mut runs: Vec<(String, usize)> = Vec::new();
    for word in words {
        match runs.last_mut() {
            Some((last, count)) if *last == word => *count += 1,
            Some(_) | None => runs.push((word, 1)),
        }
    }
    let runs = runs.into_iter().map(|(word, count)| match count {
        1 => word,
        _ => format!("{count} times {word}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

fn because(decision: &Decision) -> String {
    match decision {
        Decision::Allowed(grant) => allowed(grant.reasons()),
        Decision::Denied(denial) => denied(denial),
    }
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allowed(grant, _) => allowed(grant.reasons()),
        Verdict::Denied(denial) => denied(denial),
        Verdict::Short(shortage) => short(shortage),
    }
}

fn allowed(reasons: &[Reason]) -> String {
    format!("because: {}", rules(reasons))
}

fn denied(denial: &Denial) -> String {
    let mut text = format!("because: {}", denial.reason.as_str());
    if !denial.reasons.is_empty() {
        text = format!("{text}: {}", rules(&denial.reasons));
    }
    match &denial.detail {
        Some(detail) => format!("{text}: {detail}"),
        None => text,
    }
}

fn short(shortage: &Shortage) -> String {
    let limit = &shortage.charge.limit;
    let (place, used) = (
        &shortage.charge.place,
        limit.unit.number(shortage.count.used),
    );
    format!(
        "because: budget: line {} allows {limit}, and {used} are used",
        place.line
    )
}

/// The rules that had a part: `line 7 grants it, line 9 limits it`.
fn rules(reasons: &[Reason]) -> String {
    let each = reasons.iter().map(|reason| {
        let (line, path) = (reason.place.line, &reason.place.path);
        format!("line {line} ({path}) {}", reason.effect)
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod trials {
    use super::*;
    use crate::config;

    const RULES: &str = "
defaults: {timezone: Europe/Berlin}
servers:
  images: {url: 'http://images/', costs: {imagine: 0.08}, cost_unit: USD}
  notes: {url: 'http://notes/'}
deny: ['notes/delete_*']
agents:
  designer:
    token_hash: 'sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5'
    servers:
      - {server: images, tools: [imagine], budgets: [2/day], expires: 2027-01-31}
      - notes
";

    /// What is said of a file with these tests, tried at noon of a day.
    fn failed(tests: &str) -> String {
        let text = format!("{RULES}tests:\n{tests}");
        let loaded = config::review("permissions.yaml", &text).unwrap();
        assert!(!loaded.tests.is_empty());
        let noon = Timestamp::from_micros(1_795_262_400_000_000);
        let failed = run_tests(&loaded, noon);
        let failed = failed.iter().map(Diagnostic::to_string);
        failed.collect::<Vec<_>>().join("\n\n")
    }

    #[test]
    fn what_holds_is_not_told() {
        let tests = "
  - {agent: designer, allow: [images/imagine, notes/read], deny: [notes/delete_all, images/blend]}
  - {agent: designer, call: images/imagine, repeat: 4, expect: [allow, allow, deny, deny], reason: budget}
  - {agent: designer, call: images/imagine, at: 2027-02-01T00:00:00+01:00, expect: deny, reason: expired}
  - {agent: designer, call: images/imagine, at: 2027-01-31T23:59:59+01:00, expect: allow}
  - {agent: designer, call: notes/delete_all, args: {all: true}, expect: deny, reason: denied_rule}";
        assert_eq!(failed(tests), "");
    }

    #[test]
    fn what_fails_says_what_was_expected_what_came_and_which_line_did_it() {
        let tests = "
  - name: the third picture of the day is let through
    agent: designer
    call: images/imagine
    repeat: 3
    expect: allow
  - {agent: designer, allow: [images/blend], deny: [notes/read]}
  - {agent: designer, call: notes/delete_all, expect: deny, reason: budget}";
        insta::assert_snapshot!(failed(tests), @r###"
        error[P070]: the test `the third picture of the day is let through` fails
          --> permissions.yaml:15:5
           |
        15 |   - name: the third picture of the day is let through
           |     ^^^^
           |
           = note: expected: 3 times allow
           = note: got:      2 times allow, deny (budget)
           = note: because: budget: line 11 allows 2/day, and 2 are used

        error[P070]: a test fails: images/blend is refused for designer
          --> permissions.yaml:20:31
           |
        20 |   - {agent: designer, allow: [images/blend], deny: [notes/read]}
           |                               ^^^^^^^^^^^^
           |
           = note: the test wants it allowed
           = note: because: not_granted

        error[P070]: a test fails: notes/read is allowed for designer
          --> permissions.yaml:20:53
           |
        20 |   - {agent: designer, allow: [images/blend], deny: [notes/read]}
           |                                                     ^^^^^^^^^^
           |
           = note: the test wants it refused
           = note: because: line 12 (agents.designer.servers[1]) grants it

        error[P070]: the test of notes/delete_all fails
          --> permissions.yaml:21:5
           |
        21 |   - {agent: designer, call: notes/delete_all, expect: deny, reason: budget}
           |     ^
           |
           = note: expected: deny (budget)
           = note: got:      deny (denied_rule)
           = note: because: denied_rule: line 6 (deny[0]) forbids it
        "###);
    }

    #[test]
    fn what_a_call_is_given_is_what_conditions_look_at() {
        let text = format!(
            "{}tests:
  - {{agent: designer, call: notes/read, args: {{count: 4}}, expect: allow}}
  - {{agent: designer, call: notes/read, args: {{count: 5}}, expect: deny, reason: condition}}
  - {{agent: designer, call: notes/read, args: '{{\"count\": 4.5}}', expect: deny, reason: condition}}
  - {{agent: designer, allow: [notes/read]}}
",
            RULES.replace("- notes", "- {server: notes, tools: [read], when: {count: {max: 4}}}")
        );
        let loaded = config::review("permissions.yaml", &text).unwrap();
        let failed = run_tests(&loaded, Timestamp::default());
        assert!(failed.is_empty(), "{failed:?}");
    }

    #[test]
    fn a_file_whose_tests_fail_does_not_come_into_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("permissions.yaml");
        for (expect, is_loaded) in [("allow", true), ("deny", false)] {
            let test = format!("  - {{agent: designer, call: notes/read, expect: {expect}}}");
            std::fs::write(&path, format!("{RULES}tests:\n{test}")).unwrap();
            let loaded = super::super::load(&path, &|_| None, Timestamp::default());
            assert_eq!(loaded.is_ok(), is_loaded, "{expect}");
        }
    }
}
