//! What a condition asks for, in the words of a refusal: `be at most 4`.

use super::{Scalar, Test};

/// How many values of a list are named.
const NAMED: usize = 10;
/// The longest text of the file or the call that is quoted, in characters.
const QUOTED: usize = 80;

/// What an argument must do to pass; follows the word "must".
pub(super) fn must(test: &Test) -> String {
    match test {
        Test::Equals(scalar) => format!("be {}", short(&scalar.text)),
        Test::In(scalars) => format!("be one of {}", list(scalars)),
        Test::NotIn(scalars) => format!(
            "be a text, a number, true or false, and none of {}",
            list(scalars)
        ),
        Test::Matches(expression) => {
            format!("be a text that matches {}", short(expression.0.as_str()))
        }
        Test::NotMatches(expression) => {
            format!(
                "be a text that does not match {}",
                short(expression.0.as_str())
            )
        }
        Test::StartsWith(prefix) => {
            format!(
                "be a text that starts with {}, without any `..`",
                short(prefix.0.as_str())
            )
        }
        Test::Min(bound) => format!("be at least {}", bound.written),
        Test::Max(bound) => format!("be at most {}", bound.written),
        Test::MaxLength(most) => format!("be a text of at most {most} characters"),
        Test::MaxItems(most) => format!("be a list of at most {most} items"),
        Test::Absent => "be left out".to_owned(),
    }
}

fn list(scalars: &[Scalar]) -> String {
    let named: Vec<String> = scalars
        .iter()
        .take(NAMED)
        .map(|scalar| short(&scalar.text))
        .collect();
    let more = scalars.len().saturating_sub(NAMED);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{rest}", named.join(", "))
}

/// Text between backticks, without control characters and not too long.
pub(super) fn short(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(QUOTED).map(printable).collect();
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
