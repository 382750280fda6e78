//! What must never be left over, whatever is written around it, and what must be left alone.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::super::Kind;
use super::*;
use crate::types::{DefinitionText, RulesText, new_token};

fn redactor(secrets: &[&str]) -> Redactor {
    let secrets = secrets
        .iter()
        .map(|secret| Secret::new((*secret).to_owned()));
    Redactor::new(secrets.collect())
}

fn body(redactor: &Redactor, json: &str) -> String {
    redactor.body(json, &KeyNames::default()).text
}

#[test]
fn values_of_keys_that_say_so_are_taken_out_at_any_depth() {
    let table = [
        (
            r#"{"password":"hunter2","a":[{"Api-Key":{"x":[1,"}"]},"b":1}]}"#,
            r#"{"password":"[redacted:key:9]","a":[{"Api-Key":"[redacted:key:13]","b":1}]}"#,
        ),
        (
            r#"{ "pass\u0077ord" : 1234 , "token":null,"secret":true,"cookie" : [] }"#,
            r#"{ "pass\u0077ord" : "[redacted:key:4]" , "token":null,"secret":true,"cookie" : "[redacted:key:2]" }"#,
        ),
        (
            r#"{"text":"{\"password\": \"x\", \"n\": [1]}"}"#,
            r#"{"text":"{\"password\": \"[redacted:key:3]\", \"n\": [1]}"}"#,
        ),
        (
            r#"{"passwords":"x","max_tokens":5}"#,
            r#"{"passwords":"x","max_tokens":5}"#,
        ),
        (r#"["password","x"]"#, r#"["password","x"]"#),
    ];
    for (given, left) in table {
        assert_eq!(body(&redactor(&[]), given), left);
    }
}

#[test]
fn what_looks_like_a_secret_is_taken_out_and_what_does_not_is_left() {
    let ours = new_token([9; 30]);
    let ours = ours.expose();
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
    let table = [
        (
            format!("x {ours}, y"),
            "x [redacted:hayward_token:50], y".to_owned(),
        ),
        (
            STANDARD.encode(format!("ab {ours} tail")),
            format!("{}[redacted:hayward_token:67]{}", "YWIg", "gdGFpbA=="),
        ),
        (
            "key=sk-AbCdEf012345678".to_owned(),
            "key=[redacted:token:18]".to_owned(),
        ),
        (
            "sk-learn-is-a-library".to_owned(),
            "sk-learn-is-a-library".to_owned(),
        ),
        (
            "Authorization: Bearer abc.DEF-123".to_owned(),
            "Authorization: Bearer [redacted:credentials:11]".to_owned(),
        ),
        (
            "the bearer authority said so".to_owned(),
            "the bearer authority said so".to_owned(),
        ),
        (
            "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln".to_owned(),
            "[redacted:jwt:30]".to_owned(),
        ),
        ("eyJwYWdlIjoyfQ==".to_owned(), "eyJwYWdlIjoyfQ==".to_owned()),
        (
            format!("a {pem} b"),
            format!("a [redacted:private_key:{}] b", pem.len()),
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIE".to_owned(),
            "[redacted:private_key:32]".to_owned(),
        ),
        (
            "-----BEGIN CERTIFICATE-----\nMIIE".to_owned(),
            "-----BEGIN CERTIFICATE-----\nMIIE".to_owned(),
        ),
        (
            "postgres://me:pa:ss@db/x https://a@b/ http://c:80/".to_owned(),
            "postgres://me:[redacted:password:5]@db/x https://a@b/ http://c:80/".to_owned(),
        ),
    ];
    for (given, left) in table {
        assert_eq!(redactor(&[]).text(&given), left, "{given}");
    }
}

#[test]
fn a_live_secret_is_found_as_part_of_other_text_and_of_another_secret() {
    let redactor = redactor(&[
        "correct horse",
        "horse battery",
        "short",
        "two\nlines of a key",
    ]);
    let table = [
        ("my correct horse battery!", "my [redacted:secret:21]!"),
        (
            "q=correct+horse&r=correct%20horse",
            "q=[redacted:secret:13]&r=[redacted:secret:15]",
        ),
        ("r=%63orrect%2520hors%65", "r=[redacted:secret:21]"),
        ("short", "short"),
        (r"two\nlines of a key", "[redacted:secret:19]"),
        ("lines of a key", "[redacted:secret:14]"),
    ];
    for (given, left) in table {
        assert_eq!(redactor.text(given), left);
    }
    let number = redactor_of_number();
    assert_eq!(
        body(&number, r#"{"pin":12345678}"#),
        r#"{"pin":"[redacted:secret:8]"}"#
    );
}

fn redactor_of_number() -> Redactor {
    redactor(&["12345678"])
}

#[test]
fn the_token_an_agent_used_is_known_from_then_on() {
    let redactor = redactor(&[]);
    let token = "made by hand";
    assert_eq!(redactor.text(token), token);
    redactor.learn_token(&TokenHash::of(token), token);
    redactor.learn_token(&TokenHash::of(token), token);
    assert_eq!(redactor.text(token), "[redacted:secret:12]");
    assert_eq!(redactor.finder().secrets(), 1);
}

#[test]
fn however_many_tokens_are_used_each_is_known() {
    let redactor = redactor(&["the first of all"]);
    let tokens: Vec<String> = (0..100)
        .map(|number| format!("token number {number};"))
        .collect();
    for token in &tokens {
        redactor.learn_token(&TokenHash::of(token), token);
    }
    for token in tokens
        .iter()
        .map(String::as_str)
        .chain(["the first of all"])
    {
        let left = redactor.text(token).into_owned();
        assert_eq!(left, format!("[redacted:secret:{}]", token.len()));
    }
}

#[test]
fn what_is_longer_than_is_looked_through_loses_the_text_it_was_cut_in() {
    let redactor = redactor(&["a live secret"]);
    let key = format!(r#"{{"password":"{}"#, "x".repeat(LOOKED_THROUGH - 20));
    for long in [
        format!(r#"{key}","y":"a live secret"}}"#),
        format!(
            r#"{{"y":"{}"}}"#,
            "a live secret ".repeat(LOOKED_THROUGH / 10)
        ),
    ] {
        let left = redactor.body(&long, &KeyNames::default());
        assert!(!left.is_whole && left.bytes == long.len());
        assert!(!left.text.contains("a live"), "{}", left.text);
        assert!(
            left.text.len() < 100 && left.text.contains("[redacted:cut:"),
            "{}",
            left.text
        );
    }
}

#[test]
fn an_event_keeps_no_secret_of_others_and_its_own_words() {
    let redactor = redactor(&["production", "a \"quoted\" secret"]);
    let mut entry = Entry::new(Kind::Denied)
        .text("message", "no a \"quoted\" secret here")
        .text("rule", "agents.production.servers[0]")
        .json("budgets", r#"[{"key":"agents.production"}]"#.into())
        .json(
            "rounds",
            r#"[{"asked":["production"],"answered_after_us":5}]"#.into(),
        )
        .number("bytes_in", 7);
    entry.tool = Some("production_deploy".into());
    let left = redactor.entry(entry);
    assert_eq!(left.tool.as_deref(), Some("[redacted:secret:10]_deploy"));
    let details: Vec<&str> = left.details.iter().map(|(_, json)| json.as_str()).collect();
    assert_eq!(
        details,
        [
            r#""no [redacted:secret:17] here""#,
            r#""agents.production.servers[0]""#,
            r#"[{"key":"agents.production"}]"#,
            r#"[{"asked":["[redacted:secret:10]"],"answered_after_us":5}]"#,
            "7",
        ]
    );
}

#[test]
fn text_that_repeats_the_beginnings_of_secrets_takes_no_longer_than_its_length() {
    // Quadratic time would be some 10^11 steps here.
    let redactor = redactor(&["aaaaaaaa"]);
    for piece in [
        "sk-",
        "hwd_",
        "Bearer ",
        "eyJ.",
        "-----BEGIN ",
        "://",
        "aHdkX",
        "a",
        "%61",
        "sk-a.",
        "xoxb-",
    ] {
        let text = piece.repeat(LOOKED_THROUGH / piece.len());
        let json = serde_json::Value::from(text).to_string();
        let left = redactor.body(&json, &KeyNames::default());
        assert!(left.text.len() <= json.len() + 64, "{piece}");
    }
}

/// The forms in which a secret may be written into a text.
fn written(secret: &str, form: usize, before: &str, after: &str) -> String {
    let escaped = |byte: u8| format!("%{byte:02x}");
    match form {
        0 => format!("{before}{secret}{after}"),
        1 => format!(
            "{before}{}{after}",
            secret.bytes().map(escaped).collect::<String>()
        ),
        2 => {
            let every_other = secret.bytes().enumerate().map(|(index, byte)| match byte {
                b if index % 2 == 0 && b.is_ascii_alphanumeric() => char::from(b).to_string(),
                b => format!("%{b:02X}"),
            });
            format!("{before}{}{after}", every_other.collect::<String>())
        }
        3 => STANDARD.encode(format!("{before}{secret}{after}")),
        4 => URL_SAFE_NO_PAD.encode(format!("{before}{secret}{after}")),
        _ => serde_json::Value::from(format!("{before}{secret}{after}")).to_string(),
    }
}

/// A text in which each letter may be written as an escape of JSON.
fn as_json(text: &str, escapes: bool) -> String {
    if !escapes {
        return serde_json::Value::from(text).to_string();
    }
    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

/// All that a JSON value says, key by key and text by text, and what those say in turn when they are JSON or base64.
fn said(value: &serde_json::Value, all: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => all.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| said(item, all)),
        serde_json::Value::Object(fields) => fields.iter().for_each(|(key, item)| {
            all.push(key.clone());
            said(item, all);
        }),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            all.push(value.to_string());
        }
    }
}

/// Whether a text says a secret, plainly or in one of the encodings.
fn says(text: &str, secret: &str) -> bool {
    let mut read = vec![text.as_bytes().to_vec()];
    read.extend(encoded::Unescaped::read(text.as_bytes()).map(|unescaped| unescaped.bytes));
    let is_digit = |byte: &u8| encoded::sextet(*byte).is_some();
    for run in text.as_bytes().split(|byte| !is_digit(byte)) {
        for start in 0..run.len().min(4) {
            read.push(decoded(&run[start..]));
        }
    }
    let found = |text: &Vec<u8>| {
        text.windows(secret.len())
            .any(|part| part == secret.as_bytes())
    };
    read.iter().any(found)
}

fn decoded(run: &[u8]) -> Vec<u8> {
    let bits = run.iter().flat_map(|byte| {
        let value = encoded::sextet(*byte).unwrap();
        (0..6).rev().map(move |bit| value >> bit & 1)
    });
    let bits: Vec<u8> = bits.collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit))
        .collect()
}

proptest! {
    #[test]
    fn no_live_secret_is_left_over_in_any_form_at_any_place(
        secrets in proptest::collection::vec("[ -~é😀]{6,24}", 1..4),
        which: prop::sample::Index,
        form in 0_usize..6,
        before in "[a-zA-Z0-9 :/=\"\\\\]{0,9}",
        after in "[a-zA-Z0-9 :/=\"\\\\]{0,9}",
        escapes: bool,
        place in 0_usize..4,
    ) {
        let secret = which.get(&secrets).clone();
        // What the marker itself says cannot be taken out of it.
        prop_assume!(secret.trim().len() >= 6 && !"[redacted:credentials:00]".contains(secret.trim()));
        let redactor = Redactor::new(secrets.iter().map(|one| Secret::new(one.clone())).collect());
        let text = as_json(&written(&secret, form, &before, &after), escapes);
        let json = match place {
            0 => text,
            1 => format!(r#"{{"a":[1,{{"b":{text}}},"c"],"d":null}}"#),
            2 => format!(r#"{{{text}:[true]}}"#),
            _ => format!(r#"{{"content":{}}}"#, as_json(&format!("[{text}]"), false)),
        };
        let left = body(&redactor, &json);
        let read: serde_json::Value = serde_json::from_str(&left).unwrap();
        let mut all = Vec::new();
        said(&read, &mut all);
        for text in &all {
            prop_assert!(!says(text, &secret), "{} is left of {}", left, json);
        }
    }

    #[test]
    fn json_stays_json_and_is_left_alone_where_it_says_nothing_secret(
        keys in proptest::collection::vec("[a-z]{1,6}", 0..6),
        texts in proptest::collection::vec("\\PC{0,20}", 0..6),
        number: f64,
        nested: bool,
    ) {
        let fields = keys.iter().zip(&texts).map(|(key, text)| {
            (key.clone(), serde_json::json!([text, number, nested, {"token": text}]))
        });
        let value = serde_json::Value::Object(fields.collect());
        let mut json = value.to_string();
        if nested {
            json = serde_json::json!({"text": json}).to_string();
        }
        let left = body(&redactor(&["no such secret"]), &json);
        let read: serde_json::Value = serde_json::from_str(&left).unwrap();
        prop_assert!(left == body(&redactor(&["no such secret"]), &left) || left.contains(":key:"));
        if !nested && keys.iter().all(|key| !KeyNames::default().contains(key)) {
            for key in &keys[..keys.len().min(texts.len())] {
                prop_assert!(read.get(key).is_some());
            }
        }
    }

    #[test]
    fn any_text_can_be_walked_through(text in "\\PC{0,60}", cut: bool) {
        let finder = Finder::new(vec![Secret::new("a live secret".into())]);
        let left = Walk::new(&finder, Some(&KeyNames::default()), &text, cut).redact();
        prop_assert!(!left.contains("a live secret"));
    }
}

#[test]
fn what_is_learned_again_makes_nothing_longer_and_nothing_is_forgotten() {
    let redactor = redactor(&["first-secret"]);
    let learn = |secrets: &[&str]| {
        let secrets = secrets.iter().map(|secret| Secret::new((*secret).into()));
        redactor.learn_all(secrets.collect());
        redactor.finder().secrets()
    };
    assert_eq!(learn(&["second-secret", "second-secret"]), 2);
    assert_eq!(learn(&["first-secret"]), 2);
    assert_eq!(learn(&[]), 2);
    for text in ["a first-secret", "a second-secret"] {
        assert!(redactor.text(text).contains("[redacted:"), "{text}");
    }
}

#[test]
fn rules_are_kept_without_live_secrets_and_with_their_placeholders() {
    let redactor = Redactor::new(vec![Secret::new("orange-juice".into())]);
    let kept = |text: &str| {
        let entry = Entry::new(Kind::Policy).with_rules(RulesText::new(text, text));
        match *redactor.entry(entry).texts.unwrap() {
            Texts::Rules(rules) => rules,
            Texts::Definitions(_) => panic!("these are rules"),
        }
    };
    let hash = TokenHash::of("x").to_policy_form();
    let sound = format!(
        "headers: {{Authorization: 'Bearer ${{GITHUB_TOKEN}}', X: '${{file:key}}'}}\nagents: {{a: {{token_hash: \"{hash}\"}}}}"
    );
    assert!(kept(&sound).is_whole(), "{}", kept(&sound).text());
    let leaking = kept("# the key is orange-juice\nservers: {}");
    assert!(!leaking.is_whole() && !leaking.text().contains("orange-juice"));
    assert!(leaking.text().ends_with("\nservers: {}"));
}

#[test]
fn a_definition_is_kept_without_secrets_also_where_they_are_written_in_another_way() {
    let redactor = Redactor::new(vec![Secret::new("orange-juice".into())]);
    let kept = |text: &str| {
        let definitions = vec![DefinitionText::of(text)];
        let entry = Entry::new(Kind::Tools).with_definitions(definitions);
        let texts = *redactor.entry(entry).texts.unwrap();
        assert!(matches!(&texts, Texts::Definitions(kept) if kept.len() == 1));
        match texts {
            Texts::Definitions(kept) => (kept[0].text().to_owned(), kept[0].is_whole()),
            Texts::Rules(_) => panic!("these are definitions"),
        }
    };
    let sound = r#"{"description":"Searches","name":"search"}"#;
    assert_eq!(kept(sound), (sound.to_owned(), true));
    for leaking in [
        r#"{"description":"use orange-juice","name":"search"}"#,
        r#"{"description":"use \u006frange-juice","name":"search"}"#,
    ] {
        let (text, is_whole) = kept(leaking);
        assert!(!is_whole && !text.contains("range-juice"), "{text}");
        assert!(text.contains("search"), "{text}");
    }
}
