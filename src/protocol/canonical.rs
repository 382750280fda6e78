//! JSON in a form in which texts that mean the same are the same: keys in order, no white space, strings with the
//! fewest escapes. Numbers stay as they are written. Pure.

use std::borrow::Cow;

use super::json_string;

/// Deeper than this, a text stands for itself: each level is copied once more, and read with a stack.
const MAX_DEPTH: usize = 32;

/// The canonical form of a JSON text. One that cannot be brought into it, since it is nested too deep or has half of a
/// surrogate pair, is taken as it is written.
pub fn canonical(text: &str) -> Cow<'_, str> {
    let mut reader = Reader { rest: text };
    let mut written = String::with_capacity(text.len());
    match reader.value(&mut written, MAX_DEPTH) {
        Some(()) if reader.peek().is_none() => Cow::Owned(written),
        Some(()) | None => Cow::Borrowed(text),
    }
}

/// Reads a text that a JSON parser has accepted before.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, to: &mut String, depth: usize) -> Option<()> {
        match self.peek()? {
            '{' => self.object(to, depth.checked_sub(1)?),
            '[' => self.array(to, depth.checked_sub(1)?),
            '"' => {
                to.push_str(&json_string(&self.string()?));
                Some(())
            }
            _ => {
                let end = self
                    .rest
                    .find(|c: char| c.is_ascii_whitespace() || ",]}".contains(c));
                to.push_str(self.take(end.unwrap_or(self.rest.len()))?);
                Some(())
            }
        }
    }

    fn object(&mut self, to: &mut String, depth: usize) -> Option<()> {
        let mut fields: Vec<(String, String)> = Vec::new();
        self.eat('{')?;
        while self.peek()? != '}' {
            let key = self.string()?;
            self.eat(':')?;
            let mut value = String::new();
            self.value(&mut value, depth)?;
            fields.push((key, value));
            self.comma_unless('}')?;
        }
        self.eat('}')?;
        // Of keys that stand twice each keeps its turn: servers read either.
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        let fields = fields
            .iter()
            .map(|(key, value)| format!("{}:{value}", json_string(key)));
        let fields: Vec<String> = fields.collect();
        to.push('{');
        to.push_str(&fields.join(","));
        to.push('}');
        Some(())
    }

    fn array(&mut self, to: &mut String, depth: usize) -> Option<()> {
        self.eat('[')?;
        to.push('[');
        let mut is_first = true;
        while self.peek()? != ']' {
            if !is_first {
                to.push(',');
            }
            is_first = false;
            self.value(to, depth)?;
            self.comma_unless(']')?;
        }
        to.push(']');
        self.eat(']')
    }

    fn string(&mut self) -> Option<String> {
        self.peek()?;
        let mut is_escaped = false;
        let closing = self.rest.char_indices().skip(1).find(|(_, c)| {
            let is_closing = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            is_closing
        });
        serde_json::from_str(self.take(closing?.0 + 1)?).ok()
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.chars().next()
    }

    fn eat(&mut self, expected: char) -> Option<()> {
        self.peek()?;
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    fn comma_unless(&mut self, closing: char) -> Option<()> {
        if self.peek()? == closing {
            Some(())
        } else {
            self.eat(',')
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn order_white_space_and_escapes_do_not_matter() {
        let forms = [
            r#"{"a":[1,{"c":null,"d":"\u00e9"}],"b":true}"#,
            " {\n\"b\" : true , \"\\u0061\":[ 1 ,{\"d\":\"é\",\"c\":null} ]\t}\r\n",
        ];
        let expected = r#"{"a":[1,{"c":null,"d":"é"}],"b":true}"#;
        assert_eq!(forms.map(canonical), [expected, expected]);
    }

    #[test]
    fn what_may_be_read_differently_stays_different() {
        for (one, other) in [
            ("1.0", "1"),
            ("1e3", "1000"),
            ("[1,2]", "[2,1]"),
            ("\"1\"", "1"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"a":"{\"b\":1}"}"#),
            ("[[],[]]", "[[[]]]"),
            ("{}", "[]"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
    }

    #[test]
    fn what_has_no_canonical_form_stands_for_itself() {
        let deep = format!("{}{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        for text in [
            deep.as_str(),
            r#"{ "a": "\ud800" }"#,
            "",
            "{",
            "1 2",
            "[1,]x",
        ] {
            assert!(
                matches!(canonical(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,3}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_form_means_what_the_text_does_and_is_one_form(value in json()) {
            let (compact, pretty) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
            let form = canonical(&compact).into_owned();
            prop_assert_eq!(&form, &canonical(&pretty).into_owned());
            prop_assert_eq!(&form, &canonical(&form).into_owned());
            prop_assert_eq!(serde_json::from_str::<Value>(&form).unwrap(), value);
        }
    }
}
