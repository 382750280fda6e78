//! One call in words, and as something to paste: a request, a test of the rules, a question to them. Pure.

use crate::audit::BodyKind;
use crate::audit::read::{CallRow, CallState, KeptBody};
use crate::types::shown;

use super::call_row::target;
use super::figures::span;

/// The longest arguments that are put into a request to paste, in bytes.
const LONGEST_ARGUMENTS: usize = 4_096;

/// What happened, in one sentence.
pub(super) fn sentence(row: &CallRow) -> String {
    let opening = &row.opening;
    let agent = opening
        .agent
        .as_deref()
        .map(|agent| shown::name(agent).to_string());
    let who = agent.unwrap_or_else(|| "Somebody without a known token".into());
    let what = target(row);
    let closing = row.closing.as_ref();
    let took = closing.and_then(|closing| closing.latency_us).map(span);
    let after = took
        .map(|took| format!(" after {took}"))
        .unwrap_or_default();
    let error = closing.and_then(|closing| closing.error.as_deref());
    let error = error
        .map(|error| format!(": {}", shown::sentence(error)))
        .unwrap_or_default();
    match row.state {
        CallState::Denied => {
            let reason = opening.reason.as_deref().unwrap_or("unknown");
            let why = opening.message.as_deref().unwrap_or(reason);
            format!("{who} was refused {what}: {}", shown::sentence(why))
        }
        CallState::Open => format!("{who} called {what}; it is under way, or its gateway stopped."),
        CallState::Ok => format!("{who} called {what} and was answered{after}."),
        CallState::Error => {
            format!("{who} called {what}; the server answered with an error{after}.")
        }
        CallState::Failed => format!(
            "{who} called {what}; what the server did is not known{after}{error}. It counts as done."
        ),
        CallState::Released => {
            format!("{who} called {what}, which the server never saw{error}. It cost nothing.")
        }
        CallState::Abandoned => {
            format!(
                "{who} called {what}; the gateway stopped in the middle of it. It counts as done."
            )
        }
    }
}

/// Agent, server and tool of a call of a tool.
fn names(row: &CallRow) -> Option<(&str, &str, &str)> {
    let opening = &row.opening;
    let agent = opening.agent.as_deref()?;
    Some((agent, opening.server.as_deref()?, opening.tool.as_deref()?))
}

/// The same call with curl; with its arguments where they are to be seen and whole.
pub(super) fn curl(row: &CallRow, bodies: &[KeptBody]) -> Option<String> {
    let (_, server, tool) = names(row)?;
    let kept = bodies
        .iter()
        .find(|body| body.kind == BodyKind::Arguments && !body.is_truncated);
    let text = kept.and_then(|body| body.text.as_deref());
    let text = text.filter(|text| text.len() <= LONGEST_ARGUMENTS);
    let text = text.filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok());
    let arguments = text.unwrap_or("{}");
    let tool = serde_json::Value::from(tool);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{tool},"arguments":{arguments}}}}}"#
    );
    Some(format!(
        "curl -sS \"$HAYWARD_URL/mcp/{server}\" -H \"Authorization: Bearer $HAYWARD_TOKEN\" \\\n  -H 'Content-Type: \
         application/json' -d {}",
        quoted(&shown::escaped(&body))
    ))
}

/// The call as a test of the rules.
pub(super) fn test(row: &CallRow) -> Option<String> {
    let (agent, server, tool) = names(row)?;
    let yaml = |text: &str| serde_json::Value::from(text).to_string();
    let call = yaml(&format!("{server}/{tool}"));
    let at = row.at.rfc3339_utc();
    let mut text = format!("tests:\n  - agent: {agent}\n    call: {call}\n    at: {at}\n");
    match (row.state, row.opening.reason.as_deref()) {
        (CallState::Denied, Some(reason)) => {
            text.push_str(&format!("    expect: deny\n    reason: {reason}\n"));
        }
        _ => text.push_str("    expect: allow\n"),
    }
    Some(shown_lines(&text))
}

/// The question to the rules.
pub(super) fn explain(row: &CallRow) -> Option<String> {
    let (agent, server, tool) = names(row)?;
    let target = format!("{server}/{tool}");
    Some(format!(
        "hayward explain {agent} {} --at {}",
        quoted(&shown::escaped(&target)),
        row.at.rfc3339_utc()
    ))
}

/// Line breaks of ours stay; everything else that does not show is escaped.
fn shown_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(shown::escaped).collect();
    lines.join("\n")
}

/// A word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use crate::audit::read::Opening;
    use crate::types::Timestamp;

    use super::*;

    fn refused(tool: &str) -> CallRow {
        CallRow {
            seq: 7,
            at: Timestamp::from_micros(0),
            call: None,
            state: CallState::Denied,
            opening: Opening {
                agent: Some("designer".into()),
                server: Some("images".into()),
                tool: Some(tool.into()),
                reason: Some("budget".into()),
                message: Some("2 of 2 calls used today".into()),
                ..Opening::default()
            },
            closing: None,
        }
    }

    #[test]
    fn a_call_is_told_and_can_be_pasted() {
        let row = refused("imagine");
        assert_eq!(
            sentence(&row),
            "designer was refused images / imagine: 2 of 2 calls used today"
        );
        assert_eq!(
            explain(&row).unwrap(),
            "hayward explain designer 'images/imagine' --at 1970-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            test(&row).unwrap(),
            "tests:\n  - agent: designer\n    call: \"images/imagine\"\n    at: 1970-01-01T00:00:00.000000Z\n    expect: deny\n    reason: budget"
        );
    }

    #[test]
    fn what_is_pasted_cannot_leave_its_quotes() {
        let row = refused("'; rm -rf / #\n\u{202e}");
        let curl = curl(&row, &[]).unwrap();
        assert!(curl.contains(r"'\''; rm -rf / #\n\u202e"), "{curl}");
        assert_eq!(curl.lines().count(), 2);
        let test = test(&row).unwrap();
        assert_eq!(test.lines().count(), 6, "{test}");
    }
}
