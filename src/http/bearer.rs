//! The token of a request: exactly one header, exactly one form. Pure.

use axum::http::{HeaderMap, header};

use crate::gateway::TokenProblem;

/// The longest token looked at, in bytes.
const MAX_TOKEN: usize = 4_096;

/// Reads the bearer token (RFC 6750, section 2.1). The scheme's case does not matter.
pub(super) fn token(headers: &HeaderMap) -> Result<&str, TokenProblem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenProblem::Missing)?;
    if values.next().is_some() {
        return Err(TokenProblem::Several);
    }
    let value = value.to_str().map_err(|_| TokenProblem::NotBearer)?.trim();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(if value.is_empty() {
            TokenProblem::Missing
        } else {
            TokenProblem::NotBearer
        });
    }
    let token = token.trim();
    if token.is_empty() {
        return Err(TokenProblem::Empty);
    }
    if token.starts_with("${") || token.starts_with("{{") {
        return Err(TokenProblem::Placeholder);
    }
    if token.len() > MAX_TOKEN || token.contains(' ') {
        return Err(TokenProblem::Unknown);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_exactly_one_well_formed_header() {
        let table: [(&[&str], Result<&str, TokenProblem>); 11] = [
            (&["Bearer abc"], Ok("abc")),
            (&["bearer  abc "], Ok("abc")),
            (&[], Err(TokenProblem::Missing)),
            (&[""], Err(TokenProblem::Missing)),
            (&["   "], Err(TokenProblem::Missing)),
            (&["Bearer"], Err(TokenProblem::Empty)),
            (&["Bearer "], Err(TokenProblem::Empty)),
            (&["Basic abc"], Err(TokenProblem::NotBearer)),
            (&["Bearer a", "Bearer a"], Err(TokenProblem::Several)),
            (&["Bearer ${HAYWARD_TOKEN}"], Err(TokenProblem::Placeholder)),
            (&["Bearer a b"], Err(TokenProblem::Unknown)),
        ];
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            assert_eq!(token(&headers), expected, "{values:?}");
        }
    }
}
