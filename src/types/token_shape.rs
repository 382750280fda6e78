//! How the tokens of well-known issuers look, so that one can be told from a word without knowing it.

/// How they begin, ours first.
pub const ISSUERS: &[&str] = &[
    "hwd_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "whsec_",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxe-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "npm_",
    "pypi-",
    "hf_",
    "r8_",
    "gsk_",
    "xai-",
    "SG.",
    "dop_v1_",
    "dckr_pat_",
    "lin_api_",
    "ntn_",
    "secret_",
    "figd_",
    "shpat_",
    "sntrys_",
    "tskey-",
    "ops_",
];

/// The fewest characters behind the beginning of an issuer's token.
const SHORTEST: usize = 12;

/// Whether a byte can stand in a token.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+' | b'~')
}

/// Whether what stands behind the beginning of an issuer's token is long and mixed enough to be the rest of it.
pub fn is_rest_of_token(rest: &[u8]) -> bool {
    let is_mixed = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    rest.len() >= SHORTEST && rest.iter().any(is_mixed)
}

/// Whether what stands behind `Bearer` is rather a word of a sentence, as in "bearer token".
pub fn is_prose(word: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'.';
    word.len() < 16 && word.iter().all(is_plain)
}
