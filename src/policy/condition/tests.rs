//! What each operator lets through, and what it says when it does not.

use super::*;

fn scalars(texts: &[&str]) -> Vec<Scalar> {
    texts.iter().map(|text| Scalar::new(text)).collect()
}

fn on(argument: &str, tests: Vec<Test>) -> Condition {
    Condition {
        place: Place {
            path: "when".into(),
            line: 1,
        },
        argument: Argument::new(argument).unwrap(),
        tests,
        is_optional: false,
    }
}

fn matching(text: &str) -> Expression {
    Expression::new(text).unwrap()
}

fn bound(text: &str) -> Bound {
    Bound::new(text).unwrap()
}

/// The values of `x` that a test lets through, of those given.
fn passing<'a>(test: Test, values: &[&'a str]) -> Vec<&'a str> {
    let condition = on("x", vec![test]);
    let passes = |value: &str| condition.check(&format!("{{\"x\":{value}}}")).is_ok();
    values
        .iter()
        .copied()
        .filter(|value| passes(value))
        .collect()
}

#[test]
fn every_operator_lets_through_what_it_says_and_no_other_type() {
    let all = [
        "4", "4.0", "5", "-1", "\"4\"", "\"acme\"", "\"Acme\"", "\"\"", "true", "\"true\"", "null",
        "{}", "[]", "[1,2]", "[1,2,3]",
    ];
    let table = [
        (Test::Equals(Scalar::new("acme")), vec!["\"acme\""]),
        (Test::Equals(Scalar::new("4")), vec!["4", "4.0", "\"4\""]),
        (Test::Equals(Scalar::new("true")), vec!["true", "\"true\""]),
        (Test::In(scalars(&["acme", "5"])), vec!["5", "\"acme\""]),
        (
            Test::NotIn(scalars(&["acme", "4", "true"])),
            vec!["5", "-1", "\"Acme\"", "\"\""],
        ),
        (
            Test::Matches(matching("(?i)^ACME$")),
            vec!["\"acme\"", "\"Acme\""],
        ),
        (Test::Matches(matching("m")), vec!["\"acme\"", "\"Acme\""]),
        (
            Test::NotMatches(matching("m")),
            vec!["\"4\"", "\"\"", "\"true\""],
        ),
        (
            Test::StartsWith(Prefix::new("ac").unwrap()),
            vec!["\"acme\""],
        ),
        (Test::Min(bound("4")), vec!["4", "4.0", "5"]),
        (Test::Max(bound("4")), vec!["4", "4.0", "-1"]),
        (Test::MaxLength(1), vec!["\"4\"", "\"\""]),
        (Test::MaxItems(2), vec!["[]", "[1,2]"]),
        (Test::Absent, vec![]),
    ];
    for (test, expected) in table {
        let shown = format!("{test:?}");
        assert_eq!(passing(test, &all), expected, "{shown}");
    }
}

#[test]
fn lengths_are_counted_in_characters_of_the_text_and_not_of_its_json() {
    let values = ["\"äöü\"", "\"\\u00e4\\n\\\"\"", "\"four\"", "\"\\ud800\""];
    assert_eq!(
        passing(Test::MaxLength(3), &values),
        ["\"äöü\"", "\"\\u00e4\\n\\\"\""]
    );
}

#[test]
fn a_missing_argument_fails_unless_it_is_optional_or_must_be_absent() {
    let mut condition = on("x", vec![Test::Max(bound("4"))]);
    assert!(condition.check("{}").is_err());
    condition.is_optional = true;
    assert!(condition.check("{}").is_ok());
    assert!(condition.check(r#"{"x":null}"#).is_err());
    assert!(condition.check(r#"{"X":9}"#).is_err());
    let absent = on("/a/b", vec![Test::Absent]);
    assert!(absent.check("{}").is_ok());
    assert!(absent.check(r#"{"a":{"c":1}}"#).is_ok());
    assert!(absent.check(r#"{"a":{"b":null}}"#).is_err());
    assert!(absent.check(r#"{"a":{"B":1}}"#).is_err());
    assert!(absent.check(r#"{"a":"text"}"#).is_err());
}

#[test]
fn what_is_allowed_is_said_and_what_was_given_is_not() {
    let secret = r#"{"a":{"b":"hunter2"},"x":"hunter2"}"#;
    let said = |argument: &str, test: Test| {
        on(argument, vec![test])
            .check(secret)
            .unwrap_err()
            .to_string()
    };
    let many: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let lines = [
        said("x", Test::Equals(Scalar::new("acme"))),
        said("x", Test::In(scalars(&["website", "brand"]))),
        said("x", Test::In(scalars(&many))),
        said("x", Test::NotIn(scalars(&["hunter2", "b"]))),
        said("x", Test::Matches(matching("^a"))),
        said("x", Test::NotMatches(matching("(?i)hunter"))),
        said("/a/b", Test::StartsWith(Prefix::new("/data").unwrap())),
        said("x", Test::Min(bound("1"))),
        said("x", Test::Max(bound("4"))),
        said("x", Test::MaxLength(3)),
        said("x", Test::MaxItems(3)),
        said("x", Test::Absent),
        said("y", Test::Max(bound("4"))),
        said("/x/y", Test::Max(bound("4"))),
        on("x", vec![Test::Absent])
            .check(r#"{"x":1,"x":2}"#)
            .unwrap_err()
            .to_string(),
        on("x", vec![Test::Absent])
            .check(r#"{"X":1}"#)
            .unwrap_err()
            .to_string(),
    ];
    insta::assert_snapshot!(lines.join("\n"), @"
    argument `x` must be `acme`
    argument `x` must be one of `website`, `brand`
    argument `x` must be one of `0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9` and 2 more
    argument `x` must be a text, a number, true or false, and none of `hunter2`, `b`
    argument `x` must be a text that matches `^a`
    argument `x` must be a text that does not match `(?i)hunter`
    argument `/a/b` must be a text that starts with `/data`, without any `..`
    argument `x` must be at least 1
    argument `x` must be at most 4
    argument `x` must be a text of at most 3 characters
    argument `x` must be a list of at most 3 items
    argument `x` must be left out
    argument `y` is missing; it must be at most 4
    argument `/x/y` cannot be there: what should hold it is no object
    argument `x` stands twice
    argument `X` differs from one that is checked, `x`, only in case
    ");
}

#[test]
fn contradictions_are_found() {
    let optional = |condition: Condition| Condition {
        is_optional: true,
        ..condition
    };
    let equals = |text: &str| Test::Equals(Scalar::new(text));
    let impossible = [
        on("x", vec![Test::Min(bound("5")), Test::Max(bound("4"))]),
        on("x", vec![Test::Absent, equals("a")]),
        optional(on("x", vec![Test::Absent])),
        on("x", vec![equals("a"), Test::In(scalars(&["b", "c"]))]),
        on("x", vec![equals("a"), Test::NotIn(scalars(&["a"]))]),
        on(
            "x",
            vec![Test::In(scalars(&["5", "6"])), Test::Max(bound("4"))],
        ),
        on("x", vec![equals("abc"), Test::MaxLength(2)]),
        on("x", vec![equals("abc"), Test::Matches(matching("^b"))]),
        on("x", vec![Test::MaxLength(2), Test::Max(bound("4"))]),
        on("x", vec![Test::MaxItems(2), Test::Matches(matching("a"))]),
        on(
            "x",
            vec![
                Test::Matches(matching("a")),
                Test::NotMatches(matching("a")),
            ],
        ),
    ];
    for condition in impossible {
        assert!(condition.is_impossible(), "{condition:?}");
    }
    let possible = [
        on("x", vec![Test::Min(bound("4")), Test::Max(bound("4.0"))]),
        on("x", vec![Test::Absent]),
        optional(on("x", vec![equals("a")])),
        on("x", vec![equals("a"), Test::In(scalars(&["a", "c"]))]),
        on(
            "x",
            vec![Test::In(scalars(&["3", "6"])), Test::Max(bound("4"))],
        ),
        on(
            "x",
            vec![Test::In(scalars(&["ab", "c"])), Test::MaxLength(2)],
        ),
        on(
            "x",
            vec![
                Test::Matches(matching("a")),
                Test::NotMatches(matching("b")),
            ],
        ),
    ];
    for condition in possible {
        assert!(!condition.is_impossible(), "{condition:?}");
    }
}

#[test]
fn an_expression_says_what_is_wrong_with_it() {
    let said = |text: &str| Expression::new(text).unwrap_err();
    assert_eq!(said("(a"), "unclosed group");
    assert_eq!(
        said("(?=a)"),
        "look-around, including look-ahead and look-behind, is not supported"
    );
    assert_eq!(said(r"(\w{1000}){1000}"), "it is too large once compiled");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_check_fall_over(arguments in ".{0,40}", name in "/?[a-z~/]{0,4}") {
        if let Some(argument) = Argument::new(&name) {
            let mut condition = on("x", vec![Test::MaxLength(3)]);
            condition.argument = argument;
            if condition.check(&arguments).is_ok() {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&arguments).is_ok());
            }
        }
    }

    #[test]
    fn conditions_hold_for_the_same_values_whatever_the_spelling(value in "[a-c\"\\\\/é]{0,6}") {
        let condition = on("x", vec![Test::Equals(Scalar::new(&value))]);
        let plain = serde_json::to_string(&value).unwrap();
        let escaped: String = value.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        for json in [plain, format!("\"{escaped}\"")] {
            let arguments = format!("{{ \"\\u0078\" :{json}}}");
            proptest::prop_assert!(condition.check(&arguments).is_ok());
        }
    }
}
