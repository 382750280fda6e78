//! `Mcp-Param-*`: arguments of a tool that its calls repeat in headers, so that whoever stands in between need not
//! read bodies (MCP 2026-07-28, transports, "Custom headers from tool parameters").

use serde_json::Value;
use serde_json::value::RawValue;

use super::{Object, from_header, to_header};

/// The beginning of such a header, in lower case.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// Arguments of one tool that stand in headers. A request may have a hundred headers in all.
pub const MAX_PARAM_HEADERS: usize = 64;

/// The key of a property's schema that names its header.
const ANNOTATION: &str = "x-mcp-header";

/// Keywords under which an argument may or may not stand, so that its header could not be told for sure: those that
/// hold one schema or a list of them, and those that hold schemas by name.
const APART: [&str; 15] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const APART_BY_NAME: [&str; 5] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentSchemas",
    "patternProperties",
];

/// Why nobody can call a tool over HTTP: its schema asks for headers that cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnnotation {
    /// The argument is not one that `properties` alone lead to.
    #[error("`{ANNOTATION}` stands where `properties` alone do not lead")]
    OutOfReach,
    /// The name is none that a header can have.
    #[error("`{ANNOTATION}` is no header token")]
    NotAToken,
    /// The argument is no string, integer or boolean.
    #[error("`{ANNOTATION}` stands on what is no string, integer or boolean")]
    NotPrimitive,
    /// Two arguments have one header.
    #[error("two properties have the same `{ANNOTATION}`")]
    Twice,
    /// There are more than a request can have.
    #[error("more than {MAX_PARAM_HEADERS} properties have an `{ANNOTATION}`")]
    TooMany,
}

/// Which arguments of one tool stand in headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamHeaders {
    params: Vec<Param>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Param {
    /// The whole name of the header, in lower case.
    header: String,
    /// The keys that lead to the argument.
    path: Vec<String>,
}

/// A header that differs from the body, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HeaderDiffers(String);

impl ParamHeaders {
    /// Reads the `inputSchema` of a tool.
    ///
    /// # Errors
    /// When nobody could send the headers it asks for; such a tool is as good as not there.
    pub fn of_schema(schema: &RawValue) -> Result<Self, BadAnnotation> {
        let mut found = Self::default();
        // Nearly all schemas ask for none; an escape could hide the word.
        let text = schema.get();
        if !text.contains(ANNOTATION) && !text.contains("\\u") {
            return Ok(found);
        }
        // A schema that cannot be read is the server's affair.
        let Ok(schema) = serde_json::from_str::<Value>(text) else {
            return Ok(found);
        };
        found.walk(&schema, &mut Vec::new(), true)?;
        Ok(found)
    }

    fn walk<'a>(
        &mut self,
        schema: &'a Value,
        path: &mut Vec<&'a str>,
        in_reach: bool,
    ) -> Result<(), BadAnnotation> {
        let Some(fields) = schema.as_object() else {
            return Ok(());
        };
        if let Some(name) = fields.get(ANNOTATION) {
            if !in_reach || path.is_empty() {
                return Err(BadAnnotation::OutOfReach);
            }
            self.add(name, fields.get("type"), path)?;
        }
        for (key, property) in fields
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            path.push(key);
            self.walk(property, path, in_reach)?;
            path.pop();
        }
        let one = APART.iter().filter_map(|word| fields.get(*word));
        let listed = one.flat_map(|value| match value.as_array() {
            Some(schemas) => schemas.iter().collect(),
            None => vec![value],
        });
        let named = APART_BY_NAME
            .iter()
            .filter_map(|word| fields.get(*word)?.as_object());
        for schema in listed.chain(named.flat_map(serde_json::Map::values)) {
            self.walk(schema, path, false)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &Value,
        kind: Option<&Value>,
        path: &[&str],
    ) -> Result<(), BadAnnotation> {
        let name = name.as_str().filter(|name| is_token(name));
        let name = name.ok_or(BadAnnotation::NotAToken)?;
        let kind = kind.and_then(Value::as_str).unwrap_or_default();
        if !["string", "integer", "boolean"].contains(&kind) {
            return Err(BadAnnotation::NotPrimitive);
        }
        let header = format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase());
        if self.params.iter().any(|param| param.header == header) {
            return Err(BadAnnotation::Twice);
        }
        if self.params.len() >= MAX_PARAM_HEADERS {
            return Err(BadAnnotation::TooMany);
        }
        let path = path.iter().map(ToString::to_string).collect();
        self.params.push(Param { header, path });
        Ok(())
    }

    /// Whether no argument stands in a header.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Whether this header, in lower case, is one of them.
    pub fn has(&self, header: &str) -> bool {
        self.params.iter().any(|param| param.header == header)
    }

    /// Checks that the headers a request came with say what its arguments say: there for what is there, not there
    /// for what is not.
    ///
    /// # Errors
    /// When one differs.
    pub fn check(
        &self,
        arguments: Option<&RawValue>,
        headers: &[(String, String)],
    ) -> Result<(), HeaderDiffers> {
        for param in &self.params {
            let differs = |how| HeaderDiffers(format!("the header {} {how}", param.header));
            let given = headers.iter().find(|(name, _)| *name == param.header);
            match (param.value(arguments)?, given) {
                (None, None) => {}
                (None, Some(_)) => return Err(differs("is there, and its argument is not")),
                (Some(_), None) => return Err(differs("is missing, and its argument is there")),
                (Some(value), Some((_, header))) => {
                    if !from_header(header).is_some_and(|meant| value.is(&meant)) {
                        return Err(differs("differs from its argument"));
                    }
                }
            }
        }
        Ok(())
    }

    /// The headers that a request with these arguments has to have.
    ///
    /// # Errors
    /// When an argument cannot be told for sure.
    pub fn write(
        &self,
        arguments: Option<&RawValue>,
    ) -> Result<Vec<(String, String)>, HeaderDiffers> {
        let mut headers = Vec::new();
        for param in &self.params {
            if let Some(value) = param.value(arguments)? {
                headers.push((param.header.clone(), to_header(&value.text())));
            }
        }
        Ok(headers)
    }
}

/// A value that has a text.
enum Primitive {
    Text(String),
    /// A number or a boolean, as written.
    Word(String),
}

impl Param {
    /// The argument; `None` when it is not there, is null, or has no text of its own.
    fn value(&self, arguments: Option<&RawValue>) -> Result<Option<Primitive>, HeaderDiffers> {
        let Some(mut value) = arguments.map(ToOwned::to_owned) else {
            return Ok(None);
        };
        for key in &self.path {
            if !value.get().starts_with('{') {
                return Ok(None);
            }
            // A key that stands twice would be one thing here and another at the server.
            let mut fields = Object::parse(value.get()).map_err(|error| {
                HeaderDiffers(format!("the argument of {}: {error}", self.header))
            })?;
            match fields.remove(key) {
                Some(inner) => value = inner,
                None => return Ok(None),
            }
        }
        let text = value.get();
        Ok(match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).ok().map(Primitive::Text),
            Some(b'{' | b'[' | b'n') | None => None,
            Some(_) => Some(Primitive::Word(text.into())),
        })
    }
}

impl Primitive {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Word(word) => integer(word).unwrap_or_else(|| word.clone()),
        }
    }

    /// Whether a header with this meaning says the same; integers compare by what they are worth.
    fn is(&self, meant: &str) -> bool {
        match self {
            Self::Text(text) => text == meant,
            Self::Word(word) if word == meant => true,
            Self::Word(word) => integer(word).is_some_and(|value| integer(meant) == Some(value)),
        }
    }
}

/// The longest integer that is compared by value, in digits; a double has no exact ones beyond 16.
const MAX_DIGITS: usize = 40;

/// A number of JSON that has no fraction, in plain digits: `42`, `42.0` and `4.2e1` are one.
fn integer(number: &str) -> Option<String> {
    let is_number = number.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&RawValue>(number).is_ok_and(|value| value.get() == number);
    if !is_number {
        return None;
    }
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // Where the point stands after the exponent has moved it.
    let exponent: i64 = exponent.parse().ok()?;
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let before = usize::try_from(point.max(0))
        .ok()
        .filter(|length| *length <= MAX_DIGITS)?;
    let after = digits.get(before.min(digits.len())..).unwrap_or_default();
    // A point left of all digits leaves zeros before them.
    let rest = if point < 0 { digits.as_str() } else { after };
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let mut value: String = digits
        .chars()
        .chain(std::iter::repeat('0'))
        .take(before)
        .collect();
    value = value.trim_start_matches('0').into();
    Some(if value.is_empty() {
        "0".into()
    } else {
        format!("{sign}{value}")
    })
}

fn is_token(name: &str) -> bool {
    let is_character =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_character)
}

#[cfg(test)]
mod tests {
    use super::super::raw;
    use super::*;
    use proptest::prelude::*;

    fn read(properties: &str) -> Result<ParamHeaders, BadAnnotation> {
        let schema = format!(r#"{{"type":"object","properties":{properties}}}"#);
        ParamHeaders::of_schema(&raw(schema))
    }

    #[test]
    fn annotations_are_found_at_any_depth_of_properties_and_nowhere_else() {
        let found = read(
            r#"{"a":{"type":"string","x-mcp-header":"Region"},"b":{"type":"object","properties":{"c":{"type":"integer","x-mcp-header":"Deep"}}},"x-mcp-header":{"type":"number"}}"#,
        );
        let found = found.unwrap();
        assert!(found.has("mcp-param-region") && found.has("mcp-param-deep"));
        assert_eq!(found.params.len(), 2);
        assert_eq!(
            read(r#"{"a":{"type":"string"}}"#),
            Ok(ParamHeaders::default())
        );
        let example = r#"{"a":{"type":"object","default":{"x-mcp-header":"no"}}}"#;
        assert_eq!(read(example), Ok(ParamHeaders::default()));
        let escaped = read(r#"{"a":{"type":"string","x-mcp-h\u0065ader":"R"}}"#);
        assert!(escaped.unwrap().has("mcp-param-r"));
    }

    #[test]
    fn a_tool_with_an_annotation_that_cannot_be_followed_is_refused() {
        use BadAnnotation::{NotAToken, NotPrimitive, OutOfReach, Twice};
        let one =
            |kind: &str, name: &str| format!(r#"{{"a":{{"type":{kind},"x-mcp-header":{name}}}}}"#);
        for (properties, expected) in [
            (one("\"string\"", "\"\""), NotAToken),
            (one("\"string\"", "\"My Region\""), NotAToken),
            (one("\"string\"", "\"Region:Primary\""), NotAToken),
            (one("\"string\"", "\"Région\""), NotAToken),
            (one("\"string\"", r#""a\r\nb""#), NotAToken),
            (one("\"string\"", "7"), NotAToken),
            (one("\"number\"", "\"R\""), NotPrimitive),
            (one("\"object\"", "\"R\""), NotPrimitive),
            (one("\"array\"", "\"R\""), NotPrimitive),
            (one("\"null\"", "\"R\""), NotPrimitive),
            (one("[\"string\",\"null\"]", "\"R\""), NotPrimitive),
            (r#"{"a":{"x-mcp-header":"R"}}"#.into(), NotPrimitive),
            (r#"{"a":{"type":"string","x-mcp-header":"R"},"b":{"type":"string","x-mcp-header":"r"}}"#.into(), Twice),
            (r#"{"a":{"type":"array","items":{"type":"string","x-mcp-header":"R"}}}"#.into(), OutOfReach),
            (r#"{"a":{"anyOf":[{"type":"string","x-mcp-header":"R"}]}}"#.into(), OutOfReach),
            (r#"{"a":{"$defs":{"d":{"properties":{"e":{"type":"string","x-mcp-header":"R"}}}}}}"#.into(), OutOfReach),
        ] {
            assert_eq!(read(&properties), Err(expected), "{properties}");
        }
        let root = raw(r#"{"type":"object","x-mcp-header":"R"}"#.into());
        assert_eq!(ParamHeaders::of_schema(&root), Err(OutOfReach));
        let many: Vec<String> = (0..=MAX_PARAM_HEADERS)
            .map(|number| format!(r#""p{number}":{{"type":"string","x-mcp-header":"h{number}"}}"#))
            .collect();
        let many = read(&format!("{{{}}}", many.join(",")));
        assert_eq!(many, Err(BadAnnotation::TooMany));
    }

    fn tool() -> ParamHeaders {
        read(
            r#"{"s":{"type":"string","x-mcp-header":"S"},"i":{"type":"integer","x-mcp-header":"I"},"b":{"type":"boolean","x-mcp-header":"B"},"o":{"properties":{"d":{"type":"string","x-mcp-header":"D"}}}}"#,
        )
        .unwrap()
    }

    fn agrees(arguments: &str, headers: &[(&str, &str)]) -> bool {
        let named =
            |(name, value): &(&str, &str)| (format!("mcp-param-{name}"), (*value).to_string());
        let headers: Vec<(String, String)> = headers.iter().map(named).collect();
        tool().check(Some(&raw(arguments.into())), &headers).is_ok()
    }

    #[test]
    fn a_header_says_what_its_argument_says() {
        for (arguments, headers, expected) in [
            (r#"{"s":"Rom"}"#, vec![("s", "Rom")], true),
            (r#"{"s":"Rom"}"#, vec![("s", "rom")], false),
            (r#"{"s":"Rom"}"#, vec![("s", "=?base64?Um9t?=")], true),
            (r#"{"s":"Rom"}"#, vec![("s", "=?base64?Um9?=")], false),
            (r#"{"s":"Rom"}"#, vec![], false),
            (r#"{"s":""}"#, vec![("s", "")], true),
            (r#"{"s":null}"#, vec![], true),
            (r#"{"s":null}"#, vec![("s", "null")], false),
            ("{}", vec![], true),
            ("{}", vec![("s", "Rom")], false),
            (r#"{"s":"42.0"}"#, vec![("s", "42")], false),
            (r#"{"i":42}"#, vec![("i", "42")], true),
            (r#"{"i":42.0}"#, vec![("i", "42")], true),
            (r#"{"i":42}"#, vec![("i", "4.2e1")], true),
            (r#"{"i":-0}"#, vec![("i", "0")], true),
            (r#"{"i":42}"#, vec![("i", "43")], false),
            (r#"{"i":42}"#, vec![("i", "0x2a")], false),
            (
                r#"{"i":9007199254740993}"#,
                vec![("i", "9007199254740992")],
                false,
            ),
            (r#"{"i":1.5}"#, vec![("i", "1.5")], true),
            (r#"{"b":true}"#, vec![("b", "true")], true),
            (r#"{"b":true}"#, vec![("b", "True")], false),
            (r#"{"b":true}"#, vec![("b", "1")], false),
            (r#"{"o":{"d":"x"}}"#, vec![("d", "x")], true),
            (r#"{"o":{"d":"x"}}"#, vec![], false),
            (r#"{"o":7}"#, vec![], true),
            (r#"{"s":{"x":1}}"#, vec![], true),
            (r#"{"s":"a","s":"b"}"#, vec![("s", "a")], false),
            (r#"{"x":1}"#, vec![("other", "7")], true),
        ] {
            assert_eq!(
                agrees(arguments, &headers),
                expected,
                "{arguments} {headers:?}"
            );
        }
    }

    #[test]
    fn numbers_without_a_fraction_are_one_however_they_are_written() {
        for (number, expected) in [
            ("0", Some("0")),
            ("-0.0", Some("0")),
            ("100e-2", Some("1")),
            ("1e3", Some("1000")),
            ("0.5e1", Some("5")),
            ("0e-9", Some("0")),
            ("-12", Some("-12")),
            ("1e-1", None),
            ("0.05e1", None),
            ("1e99", None),
            ("+1", None),
            ("007", None),
            (" 1", None),
            ("1e99999999999999999999", None),
            ("true", None),
        ] {
            assert_eq!(integer(number).as_deref(), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_agrees_with_the_arguments(
            s in proptest::option::of(any::<String>()),
            i in proptest::option::of(any::<i64>()),
            b in proptest::option::of(any::<bool>()),
        ) {
            let arguments = serde_json::json!({"s": s, "i": i, "b": b, "more": [1]});
            let arguments = raw(arguments.to_string());
            let headers = tool().write(Some(&arguments)).unwrap();
            let there = usize::from(s.is_some()) + usize::from(i.is_some()) + usize::from(b.is_some());
            prop_assert_eq!(headers.len(), there);
            prop_assert_eq!(tool().check(Some(&arguments), &headers), Ok(()));
        }
    }
}
