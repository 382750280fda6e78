//! `when:` of a grant: what the arguments of a call must be like for the grant to cover it.
//!
//! What cannot be read beyond doubt does not hold: a condition that is not understood by its server as it is here
//! would let through what it should not.

mod value;
mod words;

use std::fmt;

use serde_json::value::RawValue;

use super::Place;
use super::argument::{self, Unclear};
use super::decimal::Decimal;
use super::location::Beginning;

use value::Given;

/// The largest compiled regular expression, in bytes.
const MAX_COMPILED: usize = 1024 * 1024;

/// What one argument must be like. All tests must hold.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Where it stands.
    pub place: Place,
    /// Which argument.
    pub argument: Argument,
    /// What it must be like.
    pub tests: Vec<Test>,
    /// Whether it may also be missing.
    pub is_optional: bool,
}

/// Which argument a condition is about: a name at the top, or a JSON Pointer (RFC 6901).
#[derive(Debug, Clone)]
pub struct Argument {
    written: String,
    steps: Vec<String>,
}

impl Argument {
    /// Reads a name, or what begins with `/` as a pointer; `None` when it is a pointer and malformed.
    pub fn new(written: &str) -> Option<Self> {
        let steps = if written.starts_with('/') {
            argument::steps(written)?
        } else {
            vec![written.to_owned()]
        };
        Some(Self {
            written: written.to_owned(),
            steps,
        })
    }

    /// As written in the file.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether both lead to the same place.
    pub fn is_same(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

/// A value of the file. It stands for the text, the number, `true` or `false` that is written so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    text: String,
    number: Option<Decimal>,
}

impl Scalar {
    /// Every text is one.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            number: Decimal::parse(text),
        }
    }
}

/// A number of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    written: String,
    number: Decimal,
}

impl Bound {
    /// Reads a number as JSON writes them.
    pub fn new(written: &str) -> Option<Self> {
        Some(Self {
            written: written.to_owned(),
            number: Decimal::parse(written)?,
        })
    }
}

/// A regular expression, compiled. It takes time in proportion to the text it is matched with.
#[derive(Debug, Clone)]
pub struct Expression(regex::Regex);

impl Expression {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn new(written: &str) -> Result<Self, String> {
        let mut builder = regex::RegexBuilder::new(written);
        let compiled = builder
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .build();
        compiled.map(Self).map_err(|error| {
            if let regex::Error::CompiledTooBig(_) = error {
                return "it is too large once compiled".to_owned();
            }
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ").to_owned()
        })
    }
}

/// What a value must begin with.
#[derive(Debug, Clone)]
pub struct Prefix(Beginning);

impl Prefix {
    /// `None` when nothing may begin so, because it climbs with `..`.
    pub fn new(written: &str) -> Option<Self> {
        Beginning::new(written).map(Self)
    }
}

/// One operator of a condition.
#[derive(Debug, Clone)]
pub enum Test {
    /// It is this.
    Equals(Scalar),
    /// It is one of these.
    In(Vec<Scalar>),
    /// It is none of these.
    NotIn(Vec<Scalar>),
    /// It is a text, some part of which matches.
    Matches(Expression),
    /// It is a text, no part of which matches.
    NotMatches(Expression),
    /// It is a text that begins so; as a path or URL after both are brought into one form.
    StartsWith(Prefix),
    /// It is a number, at least this.
    Min(Bound),
    /// It is a number, at most this.
    Max(Bound),
    /// It is a text of at most so many characters.
    MaxLength(u64),
    /// It is a list of at most so many items.
    MaxItems(u64),
    /// It is not there.
    Absent,
}

/// What is wrong with an argument. Says what would be right and nothing of what was given, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmet(String);

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Condition {
    /// Looks at the arguments of a call, as JSON text.
    ///
    /// # Errors
    /// The first thing that is not as it must be.
    pub(super) fn check(&self, arguments: &str) -> Result<(), Unmet> {
        match argument::at(arguments, &self.argument.steps) {
            Ok(found) => self.check_value(found),
            Err(unclear) => Err(self.unclear(&unclear)),
        }
    }

    fn check_value(&self, found: Option<&RawValue>) -> Result<(), Unmet> {
        let Some(raw) = found else {
            let may_be_missing = self.is_optional || self.tests.iter().any(Test::is_absent);
            return if may_be_missing {
                Ok(())
            } else {
                Err(self.missing())
            };
        };
        let given = Given::read(raw);
        let failing = self.tests.iter().find(|test| !test.holds(&given));
        failing.map_or(Ok(()), |test| Err(self.unmet(test)))
    }

    /// Whether no argument at all could be as the tests ask. Not every contradiction is found.
    pub fn is_impossible(&self) -> bool {
        if self.tests.iter().any(Test::is_absent) {
            return self.tests.len() > 1 || self.is_optional;
        }
        let kinds = |kind: Kind| self.tests.iter().all(|test| test.takes(kind));
        if ![Kind::Text, Kind::Number, Kind::Truth, Kind::List]
            .into_iter()
            .any(kinds)
        {
            return true;
        }
        let mut minima = self.tests.iter().filter_map(Test::min);
        let mut maxima = self.tests.iter().filter_map(Test::max);
        if let (Some(min), Some(max)) = (minima.next(), maxima.next())
            && min > max
        {
            return true;
        }
        let contradicts = |test: &Test| match test {
            Test::Matches(one) => self.tests.iter().any(|other| other.forbids(one)),
            Test::Equals(_)
            | Test::In(_)
            | Test::NotIn(_)
            | Test::NotMatches(_)
            | Test::StartsWith(_)
            | Test::Min(_)
            | Test::Max(_)
            | Test::MaxLength(_)
            | Test::MaxItems(_)
            | Test::Absent => false,
        };
        self.tests.iter().any(contradicts) || self.has_no_value_left()
    }

    /// Whether the values that are allowed by name all fail another test.
    fn has_no_value_left(&self) -> bool {
        let lists = self.tests.iter().filter_map(Test::listed);
        let mut named = lists.flatten().peekable();
        if named.peek().is_none() {
            return false;
        }
        let fits = |given: &Given| self.tests.iter().all(|test| test.holds(given));
        !named.any(|scalar| Given::meant_by(scalar).iter().any(fits))
    }
}

/// A kind of JSON value that some test can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Truth,
    List,
}

impl Test {
    /// Whether a value, as it was given, is right.
    fn holds(&self, given: &Given) -> bool {
        match self {
            Self::Equals(scalar) => given.is(scalar),
            Self::In(scalars) => scalars.iter().any(|scalar| given.is(scalar)),
            Self::NotIn(scalars) => {
                given.is_scalar() && !scalars.iter().any(|scalar| given.is(scalar))
            }
            Self::Matches(expression) => {
                given.text().is_some_and(|text| expression.0.is_match(text))
            }
            Self::NotMatches(expression) => given
                .text()
                .is_some_and(|text| !expression.0.is_match(text)),
            Self::StartsWith(prefix) => given.text().is_some_and(|text| prefix.0.fits(text)),
            Self::Min(bound) => given.number().is_some_and(|number| *number >= bound.number),
            Self::Max(bound) => given.number().is_some_and(|number| *number <= bound.number),
            Self::MaxLength(most) => given.text().is_some_and(|text| {
                u64::try_from(text.chars().count()).is_ok_and(|length| length <= *most)
            }),
            Self::MaxItems(most) => given.items().is_some_and(|items| items <= *most),
            Self::Absent => false,
        }
    }

    fn takes(&self, kind: Kind) -> bool {
        match self {
            Self::Equals(_) | Self::In(_) | Self::NotIn(_) => kind != Kind::List,
            Self::Matches(_) | Self::NotMatches(_) | Self::StartsWith(_) | Self::MaxLength(_) => {
                kind == Kind::Text
            }
            Self::Min(_) | Self::Max(_) => kind == Kind::Number,
            Self::MaxItems(_) => kind == Kind::List,
            Self::Absent => false,
        }
    }

    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    fn min(&self) -> Option<&Decimal> {
        if let Self::Min(bound) = self {
            Some(&bound.number)
        } else {
            None
        }
    }

    fn max(&self) -> Option<&Decimal> {
        if let Self::Max(bound) = self {
            Some(&bound.number)
        } else {
            None
        }
    }

    /// The only values it lets through, if it names them.
    fn listed(&self) -> Option<&[Scalar]> {
        if let Self::Equals(scalar) = self {
            return Some(std::slice::from_ref(scalar));
        }
        if let Self::In(scalars) = self {
            Some(scalars)
        } else {
            None
        }
    }

    fn forbids(&self, expression: &Expression) -> bool {
        matches!(self, Self::NotMatches(other) if other.0.as_str() == expression.0.as_str())
    }
}

/// What it asks for, as an agent reads it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument {} must {}", self.name(), self.all())?;
        if self.is_optional {
            f.write_str(", or be left out")?;
        }
        Ok(())
    }
}

impl Condition {
    fn missing(&self) -> Unmet {
        Unmet(format!(
            "argument {} is missing; it must {}",
            self.name(),
            self.all()
        ))
    }

    fn all(&self) -> String {
        let all: Vec<String> = self.tests.iter().map(words::must).collect();
        all.join(" and ")
    }

    fn unmet(&self, test: &Test) -> Unmet {
        Unmet(format!(
            "argument {} must {}",
            self.name(),
            words::must(test)
        ))
    }

    fn unclear(&self, unclear: &Unclear) -> Unmet {
        let name = self.name();
        Unmet(match unclear {
            Unclear::NotAnObject => {
                format!("argument {name} cannot be there: what should hold it is no object")
            }
            Unclear::Twice => format!("argument {name} stands twice"),
            Unclear::LookAlike(other) => {
                let other = words::short(other);
                format!("argument {other} differs from one that is checked, {name}, only in case")
            }
        })
    }

    fn name(&self) -> String {
        words::short(self.argument.as_str())
    }
}

#[cfg(test)]
mod tests;
