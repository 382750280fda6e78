//! What a reverse proxy says of people it let through. Whether to believe it is not decided here.

use std::fmt;

/// A header that lets a viewer in, such as `groups: audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The name of the header, in small letters.
    pub name: String,
    /// What must be in it.
    pub value: String,
}

impl ProxyHeader {
    /// Whether lines of this header say the value. A line is a list with commas, and several are one list (RFC 9110,
    /// sections 5.3 and 5.6.1); one item must be the value, to the byte.
    pub fn is_said_by<'a>(&self, lines: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut items = lines
            .into_iter()
            .flat_map(|line| line.split(|byte| *byte == b','));
        items.any(|item| item.trim_ascii() == self.value.as_bytes())
    }
}

impl fmt::Display for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_the_values_between_its_commas_and_no_other() {
        let header = ProxyHeader {
            name: "groups".into(),
            value: "audit team".into(),
        };
        let table: [(&[&str], bool); 15] = [
            (&["audit team"], true),
            (&[" \taudit team\t "], true),
            (&["staff,audit team,board"], true),
            (&["staff , audit team , board"], true),
            (&["staff", "audit team"], true),
            (&["staff, board", "", "board,audit team"], true),
            (&[], false),
            (&[""], false),
            (&[",,"], false),
            (&["Audit team"], false),
            (&["audit  team"], false),
            (&["audit team;q=1", "\"audit team\""], false),
            (&["non-audit team", "audit teams"], false),
            (&["audit", "team"], false),
            (&["audit team\u{a0}"], false),
        ];
        for (lines, expected) in table {
            let said = header.is_said_by(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(said, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_ascii_is_compared_as_it_is_written() {
        let header = ProxyHeader {
            name: "groups".into(),
            value: "prüfer".into(),
        };
        assert!(header.is_said_by(["staff, prüfer".as_bytes()]));
        assert!(!header.is_said_by([b"pr\xfcfer".as_slice()]));
    }
}
