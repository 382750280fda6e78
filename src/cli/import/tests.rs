//! Files as people have them, each with what it becomes and what is said about it.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cli::screen::tests::paper_screen;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

fn imported(arguments: &ImportArguments) -> (Exit, String, String) {
    let (mut screen, out, err) = paper_screen();
    let exit = run(arguments, &mut screen).unwrap();
    (exit, out.text(), err.text())
}

fn arguments(file: PathBuf) -> ImportArguments {
    ImportArguments {
        file,
        agent: None,
        token_file: None,
    }
}

fn samples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_sample = |path: &PathBuf| path.extension().is_some_and(|kind| kind != "txt");
    let mut files: Vec<PathBuf> = files.filter(is_sample).collect();
    files.sort();
    files
}

/// What a sample becomes stands beside it, as `NAME.txt`; `HAYWARD_WRITE=1` writes these anew, to be read in a diff.
#[test]
fn every_sample_becomes_what_stands_beside_it() {
    let samples = samples();
    assert!(samples.len() >= 15, "{}", samples.len());
    for sample in samples {
        let (exit, out, err) = imported(&arguments(sample.clone()));
        let err = err.replace(&format!("{}/", folder().display()), "");
        let found = format!("exit {}\n--- stdout\n{out}--- stderr\n{err}", exit.code());
        let beside = sample.with_extension(format!(
            "{}.txt",
            sample.extension().unwrap().to_string_lossy()
        ));
        if std::env::var_os("HAYWARD_WRITE").is_some() {
            std::fs::write(&beside, &found).unwrap();
        }
        let wanted = std::fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(found, wanted, "{}", sample.display());
    }
}

#[test]
fn every_sample_loads_and_shows_no_secret() {
    for sample in samples() {
        let (_, out, err) = imported(&arguments(sample.clone()));
        check(&out).unwrap();
        for said in [out, err] {
            assert!(
                !said.to_ascii_lowercase().contains("s3cret"),
                "{}: {said}",
                sample.display()
            );
        }
    }
}

proptest! {
    #[test]
    fn what_is_a_secret_by_its_name_is_never_written(rest in "[!-~]{1,40}", free in "[ -pr-~]{0,20}") {
        let secret = format!("zq{rest}");
        let query: String = secret.chars().filter(|c| !"&#?".contains(*c)).collect();
        let file = json!({"mcpServers": {
            "local": {
                "command": "run",
                "args": ["--api-key", secret, format!("--token={secret}"), "--header", format!("Authorization: Bearer {secret}"), free],
                "env": {"API_KEY": secret, "OTHER": free},
            },
            "remote": {
                "url": format!("https://example.com/mcp?apiKey={query}"),
                "headers": {"Authorization": format!("Bearer {secret}"), "X-Api-Key": secret},
            },
        }});
        let harvest = harvest(&file);
        let written = write::rules(&harvest.servers, None);
        // What cannot be sent is left out, and told without its value.
        let told = [harvest.left_out, harvest.notes, harvest.variables.lines()].concat().join("\n");
        for text in [written, told] {
            prop_assert!(!text.contains("zq"), "{}", text);
        }
    }
}

#[test]
fn an_agent_is_granted_what_was_imported_and_nothing_else_holds_its_token() {
    let folder_of_token = tempfile::tempdir().unwrap();
    let path = folder_of_token.path().join("token");
    let arguments = ImportArguments {
        agent: Some("clawd".parse().unwrap()),
        token_file: Some(path.clone()),
        ..arguments(folder().join("claude_desktop.json"))
    };
    let (exit, out, err) = imported(&arguments);
    assert_eq!(exit, Exit::Yes);
    let token = std::fs::read_to_string(&path).unwrap();
    assert!(!out.contains(&token) && !err.contains(&token));
    let loaded = config::parse("permissions.yaml", &out, &|_| Some("1".into())).unwrap();
    let now = crate::types::Timestamp::from_micros(0);
    let agent = loaded
        .permissions
        .agent_by_token(&TokenHash::of(&token), now)
        .unwrap();
    assert_eq!(agent.grants.len(), loaded.permissions.servers().len());
}

#[test]
fn a_file_that_is_not_understood_says_where_and_shows_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        (
            "cut.json",
            "{\"mcpServers\": {\"a\": {\"env\": {\"KEY\": \"s3cret\"",
        ),
        ("twice.json", "{\"mcpServers\": {},\n \"mcpServers\": {}}"),
        ("wrong.yaml", "mcpServers:\n  a: [s3cret\n"),
        ("binary.json", "{\"a\": \u{0}}"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let (mut screen, out, _) = paper_screen();
        let failure = run(&arguments(path), &mut screen).unwrap_err();
        let said = format!("{:#}", failure.error);
        assert_eq!(failure.exit, Exit::Environment);
        assert!(said.contains("line") && !said.contains("s3cret"), "{said}");
        assert_eq!(out.text(), "");
    }
}

#[test]
fn names_are_made_valid_and_stay_apart() {
    let mut names = Names::default();
    for (written, wanted) in [
        ("github", "github"),
        ("GitHub", "GitHub-2"),
        ("My Server", "My-Server"),
        ("@org/pkg", "org-pkg"),
        ("hayward", "server-hayward"),
        ("日本", "server"),
        ("", "server-2"),
    ] {
        let (name, was_changed) = names.valid(written);
        assert_eq!(name.as_str(), wanted);
        assert_eq!(was_changed, written != wanted);
    }
    let long = names.valid(&"x".repeat(80)).0;
    assert_eq!(long.as_str().len(), 56);
}
