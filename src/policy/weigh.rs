//! The number in an argument of a call, which says what the call costs. Never guessed and never cut to fit: what is
//! not plainly a whole number of at least one refuses the call.

use super::argument::{Unclear, member};

/// Reads the argument of this name from the JSON text of the arguments.
///
/// # Errors
/// What is wrong with it, for whoever made the call.
pub(super) fn weight(arguments: &str, name: &str) -> Result<u64, String> {
    let found = member(arguments, name).map_err(|unclear| match unclear {
        Unclear::NotAnObject => "`arguments` must be an object".to_owned(),
        Unclear::Twice => format!("the argument `{name}` stands twice"),
        Unclear::LookAlike(other) => {
            format!("the argument `{other}` differs from `{name}` only in case")
        }
    })?;
    let Some(value) = found else {
        return Err(format!("the argument `{name}` is missing"));
    };
    let value = value.get();
    let is_whole = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse::<u32>().ok().filter(|number| *number > 0);
    number.filter(|_| is_whole).map(u64::from).ok_or_else(|| {
        format!(
            "the argument `{name}` must be a whole number from 1 to {}",
            u32::MAX
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_whole_number_weighs_anything() {
        assert_eq!(weight(r#"{"count":3}"#, "count"), Ok(3));
        assert_eq!(
            weight(r#"{"a":{"count":9}, "c\u006funt" : 4294967295}"#, "count"),
            Ok(4_294_967_295)
        );
        for wrong in [
            r#"{"count":0}"#,
            r#"{"count":-1}"#,
            r#"{"count":1.5}"#,
            r#"{"count":1.0}"#,
            r#"{"count":1e2}"#,
            r#"{"count":"3"}"#,
            r#"{"count":null}"#,
            r#"{"count":[3]}"#,
            r#"{"count":4294967296}"#,
            r#"{"count":9223372036854775808}"#,
            "{}",
            "[]",
            "3",
            "null",
            "",
            r#"{"count":1,"count":1}"#,
            r#"{"count":1,"Count":9}"#,
            r#"{"COUNT":9}"#,
        ] {
            assert!(weight(wrong, "count").is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |arguments| weight(arguments, "count").unwrap_err();
        assert_eq!(said("{}"), "the argument `count` is missing");
        assert_eq!(
            said(r#"{"count":1,"count":2}"#),
            "the argument `count` stands twice"
        );
        assert_eq!(
            said(r#"{"count":1,"Count":2}"#),
            "the argument `Count` differs from `count` only in case"
        );
        assert_eq!(
            said(r#"{"count":-1}"#),
            "the argument `count` must be a whole number from 1 to 4294967295"
        );
    }
}
