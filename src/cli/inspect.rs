//! `hayward token hash` and `hayward token inspect`: what a token is, without ever taking it as an argument.
//!
//! Arguments stand in the history of the shell and in the list of processes; standard input does not.

use std::io::{IsTerminal, Read, Stdin};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::args::PolicyFile;
use super::rules::load_rules;
use super::{Exit, Failure, Screen, plain};
use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::policy::{Disabled, Permissions, Token};
use crate::types::{Secret, Timestamp, TokenHash, checksum_holds, looks_like_ours};

/// The longest token the gateway looks at, in bytes.
const MAX_TOKEN: u64 = 4_096;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Lines, for people; their form may change.
    #[default]
    Text,
    /// One JSON object, for programs.
    Json,
}

/// Flags of `hayward token inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArguments {
    /// Which rules.
    #[command(flatten)]
    pub rules: PolicyFile,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// What a token is. Stable: what stands here is what scripts read.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    form: &'static str,
    /// Of a token of ours; none has one otherwise.
    checksum: Option<&'static str>,
    fingerprint: String,
    hash: String,
    owner: Option<Owner<'a>>,
}

/// Whose a token is.
#[derive(Debug, Serialize)]
struct Owner<'a> {
    /// `agent` or `viewer`.
    kind: &'static str,
    name: &'a str,
    label: Option<&'a str>,
    expires: Option<String>,
    expired: bool,
    /// The reason, which may be empty, when the agent is switched off.
    disabled: Option<&'a str>,
    place: &'a str,
    line: u32,
}

/// Standard input; a person who sits before it learns that something is awaited.
pub(super) fn input(screen: &mut Screen) -> Stdin {
    let input = std::io::stdin();
    if input.is_terminal() {
        screen.say("reading a token from standard input; end it with Ctrl-D");
    }
    input
}

/// Reads a token and prints its hash.
pub(super) fn hash(input: impl Read, screen: &mut Screen) -> Result<Exit, Failure> {
    let token = read(input, screen).map_err(Failure::usage)?;
    let hash = TokenHash::of(token.expose());
    if let Some(what) = config::guessable(hash) {
        let error = anyhow::anyhow!(
            "this is {what}, which anyone can guess; `hayward token new NAME` makes a token"
        );
        return Err(Failure::usage(error));
    }
    if looks_like_ours(token.expose()) && !checksum_holds(token.expose()) {
        screen.note(
            "note: it begins like a token of this program and its checksum is wrong: it was cut or mistyped",
        );
    }
    screen.answer(&hash.to_policy_form())?;
    Ok(Exit::Yes)
}

/// Reads a token and says what it is and whose.
pub(super) fn inspect(
    arguments: &InspectArguments,
    input: impl Read,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let token = read(input, screen).map_err(Failure::usage)?;
    let rules = load_rules(&arguments.rules.policy, screen)?;
    let now = SystemClock::start().now();
    let answer = answer(&token, &rules.permissions, now);
    match arguments.format {
        Format::Text => text(&answer, screen)?,
        Format::Json => screen.answer(&serde_json::to_string(&answer)?)?,
    }
    let is_good = |owner: &Owner<'_>| !owner.expired && owner.disabled.is_none();
    Ok(if answer.owner.as_ref().is_some_and(is_good) {
        Exit::Yes
    } else {
        Exit::No
    })
}

fn answer<'a>(token: &Secret, rules: &'a Permissions, now: Timestamp) -> Answer<'a> {
    let hash = TokenHash::of(token.expose());
    let is_ours = looks_like_ours(token.expose());
    let checksum = if checksum_holds(token.expose()) {
        "right"
    } else {
        "wrong"
    };
    Answer {
        form: if is_ours { "hayward" } else { "other" },
        checksum: is_ours.then_some(checksum),
        fingerprint: hash.fingerprint().to_string(),
        hash: hash.to_policy_form(),
        owner: owner(hash, rules, now),
    }
}

/// Looks a hash up, also one that is no longer good.
fn owner(hash: TokenHash, rules: &Permissions, now: Timestamp) -> Option<Owner<'_>> {
    let agents = rules.agents().values().flat_map(|agent| {
        let whose = ("agent", agent.name.as_str(), agent.disabled.as_ref());
        agent.tokens.iter().map(move |token| (whose, token))
    });
    let viewers = rules.viewers().values().flat_map(|viewer| {
        let whose = ("viewer", viewer.name.as_str(), None);
        viewer.tokens.iter().map(move |token| (whose, token))
    });
    let mut all = agents.chain(viewers);
    let (whose, token) = all.find(|(_, token)| token.hash == hash)?;
    Some(owned(whose, token, rules, now))
}

fn owned<'a>(
    (kind, name, disabled): (&'static str, &'a str, Option<&'a Disabled>),
    token: &'a Token,
    rules: &Permissions,
    now: Timestamp,
) -> Owner<'a> {
    Owner {
        kind,
        name,
        label: token.label.as_deref(),
        expires: token.expires.map(|end| end.rfc3339(rules.zone())),
        expired: token.expires.is_some_and(|end| end <= now),
        disabled: disabled.map(|disabled| disabled.note.as_deref().unwrap_or_default()),
        place: &token.place.path,
        line: token.place.line,
    }
}

fn text(answer: &Answer<'_>, screen: &mut Screen) -> Result<(), Failure> {
    let form = match answer.checksum {
        None => "made by hand, or by another program".to_owned(),
        Some("right") => "of this program, checksum right".to_owned(),
        Some(_) => "of this program, checksum wrong: it was cut or mistyped".to_owned(),
    };
    screen.answer(&format!("form         {form}"))?;
    screen.answer(&format!("fingerprint  {}", answer.fingerprint))?;
    screen.answer(&format!("hash         {}", answer.hash))?;
    let Some(owner) = &answer.owner else {
        screen.answer("belongs to   nobody in these rules")?;
        return Ok(());
    };
    let label = owner.label.map(|label| format!(" ({})", plain(label)));
    let (kind, name) = (owner.kind, owner.name);
    screen.answer(&format!(
        "belongs to   {kind} {name}{}, line {}",
        label.unwrap_or_default(),
        owner.line
    ))?;
    let until = match (&owner.expires, owner.expired) {
        (None, _) => "for ever".to_owned(),
        (Some(end), false) => format!("until {end}"),
        (Some(end), true) => format!("no longer: it ended {end}"),
    };
    screen.answer(&format!("good         {until}"))?;
    if let Some(reason) = owner.disabled {
        let reason = plain(reason);
        screen.answer(&format!(
            "disabled     {kind} {name} is switched off: {reason}"
        ))?;
    }
    Ok(())
}

/// Reads a token from standard input. A line break at its end is taken off: `echo` adds one, and no token ends so.
fn read(mut input: impl Read, screen: &mut Screen) -> anyhow::Result<Secret> {
    let mut text = String::new();
    let read = input.by_ref().take(MAX_TOKEN + 3).read_to_string(&mut text);
    let text = Secret::new(text);
    read.context("cannot read a token from standard input; it must be UTF-8 text")?;
    let mut token = text.expose();
    if let Some(rest) = token.strip_suffix('\n') {
        token = rest.strip_suffix('\r').unwrap_or(rest);
        screen.note(
            "note: a line break at the end was taken off; `printf %s` gives a token without one",
        );
    }
    if token.is_empty() {
        bail!(
            "there is no token on standard input; give it with `printf %s \"$TOKEN\" | hayward token …`"
        );
    }
    if u64::try_from(token.len()).unwrap_or(u64::MAX) > MAX_TOKEN {
        bail!("a token has at most {MAX_TOKEN} bytes; this one is longer");
    }
    if token.contains(|c: char| c.is_control() || c.is_whitespace()) {
        bail!("a token is one word; this one holds a space, a line break or a control character");
    }
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::paper_screen;
    use crate::types::{TOKEN_RANDOM_BYTES, new_token};

    #[test]
    fn a_hash_is_that_of_the_token_without_its_line_break() {
        let wanted = TokenHash::of("s3cret-of-mine").to_policy_form();
        for (input, has_note) in [
            ("s3cret-of-mine", false),
            ("s3cret-of-mine\n", true),
            ("s3cret-of-mine\r\n", true),
        ] {
            let (mut screen, out, err) = paper_screen();
            assert_eq!(hash(input.as_bytes(), &mut screen).unwrap(), Exit::Yes);
            assert_eq!(out.text(), format!("{wanted}\n"));
            assert_eq!(err.text().contains("line break"), has_note, "{input:?}");
            assert!(!err.text().contains("s3cret"), "{}", err.text());
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let long = "x".repeat(4_097);
        for (input, word) in [
            ("", "no token"),
            ("\n", "no token"),
            ("changeme", "guess"),
            ("hwd_\n", "guess"),
            ("one two", "one word"),
            ("one\n\n", "one word"),
            (long.as_str(), "longer"),
        ] {
            let (mut screen, out, _) = paper_screen();
            let failure = hash(input.as_bytes(), &mut screen).unwrap_err();
            let said = format!("{:#}", failure.error);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(said.contains(word), "{input:?}: {said}");
            assert!(!said.contains("one two"), "{said}");
            assert_eq!(out.text(), "");
        }
        let (mut screen, ..) = paper_screen();
        assert!(hash(&b"caf\xe9"[..], &mut screen).is_err());
    }

    #[test]
    fn a_token_that_was_cut_is_told() {
        let token = new_token([7; TOKEN_RANDOM_BYTES]);
        let cut = token.expose().get(..49).unwrap();
        let (mut screen, _, err) = paper_screen();
        hash(cut.as_bytes(), &mut screen).unwrap();
        assert!(err.text().contains("checksum is wrong"), "{}", err.text());
    }

    fn inspected(token: &str, format: Format) -> (Exit, String) {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("permissions.yaml");
        let hash = |token: &str| TokenHash::of(token).to_policy_form();
        let rules = format!(
            "servers: {{}}\nagents:\n  clawd:\n    token_hash:\n      - \"{}\"\n      \
             - {{hash: \"{}\", label: old laptop, expires: 2020-01-31}}\n  \
             gone: {{token_hash: \"{}\", disabled: left}}\n\
             viewers:\n  board: {{token_hash: \"{}\"}}\n",
            hash("mine"),
            hash("old"),
            hash("left"),
            hash("board")
        );
        std::fs::write(&policy, rules).unwrap();
        let (mut screen, out, _) = paper_screen();
        let arguments = InspectArguments {
            rules: PolicyFile { policy },
            format,
        };
        let exit = inspect(&arguments, token.as_bytes(), &mut screen).unwrap();
        (exit, out.text())
    }

    #[test]
    fn a_token_is_found_with_its_owner_and_its_end() {
        for (token, wanted, line) in [
            (
                "mine",
                Exit::Yes,
                "belongs to   agent clawd, line 5\ngood         for ever\n",
            ),
            (
                "old",
                Exit::No,
                "agent clawd (old laptop), line 6\ngood         no longer: it ended 2020-02-01T00:00:00+00:00\n",
            ),
            (
                "left",
                Exit::No,
                "disabled     agent gone is switched off: left\n",
            ),
            ("board", Exit::Yes, "viewer board, line 9\n"),
            ("other", Exit::No, "belongs to   nobody in these rules\n"),
        ] {
            let (exit, said) = inspected(token, Format::Text);
            assert_eq!(exit, wanted, "{token}: {said}");
            assert!(said.contains(line), "{token}: {said}");
            let fingerprint = TokenHash::of(token).fingerprint();
            assert!(
                said.contains(&format!("fingerprint  {fingerprint}\n")),
                "{said}"
            );
        }
    }

    #[test]
    fn the_answer_for_programs_has_every_field() {
        let (_, said) = inspected("old", Format::Json);
        let hash = TokenHash::of("old");
        let wanted = serde_json::json!({
            "form": "other", "checksum": null, "fingerprint": hash.fingerprint().to_string(),
            "hash": hash.to_policy_form(),
            "owner": {"kind": "agent", "name": "clawd", "label": "old laptop",
                "expires": "2020-02-01T00:00:00+00:00", "expired": true, "disabled": null,
                "place": "agents.clawd.token_hash[1]", "line": 6}
        });
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&said).unwrap(),
            wanted
        );
    }
}
