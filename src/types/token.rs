//! Bearer tokens as this gateway makes them: `hwd_`, 40 base62 characters, 6 of a checksum.
//!
//! The prefix and the underscore let scanners and double clicks find a whole token; the checksum tells a token
//! that was cut or mistyped from one that is unknown (the form GitHub described in 2021). Tokens made by hand
//! work as well: nothing here decides who gets in.

use super::Secret;

/// What every token of ours begins with.
pub const TOKEN_PREFIX: &str = "hwd_";

/// Random bytes that make one token; two of their 240 bits are not used.
pub const TOKEN_RANDOM_BYTES: usize = 30;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_DIGITS: usize = 40;
const CHECK_DIGITS: usize = 6;

/// Makes a token of random bytes.
///
/// 238 of the bits are written as one number in base 62. Since 2^238 < 62^40, every number has its own 40
/// digits and all are equally likely.
pub fn new_token(mut random: [u8; TOKEN_RANDOM_BYTES]) -> Secret {
    if let Some(first) = random.first_mut() {
        *first &= 0b0011_1111;
    }
    let mut digits = [b'0'; RANDOM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = base62(divide_by_62(&mut random));
    }
    let body = format!("{TOKEN_PREFIX}{}", String::from_utf8_lossy(&digits));
    let check = checksum(&body);
    Secret::new(body + &check)
}

/// Whether a text is meant to be a token of ours, whole or not.
pub fn looks_like_ours(text: &str) -> bool {
    text.starts_with(TOKEN_PREFIX)
}

/// Whether a text is a whole token of ours with the right checksum. It may still be nobody's.
pub fn checksum_holds(text: &str) -> bool {
    let is_long_enough = text.len() == TOKEN_PREFIX.len() + RANDOM_DIGITS + CHECK_DIGITS;
    let digits = text.strip_prefix(TOKEN_PREFIX).unwrap_or_default();
    if !is_long_enough || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, check) = text.split_at(TOKEN_PREFIX.len() + RANDOM_DIGITS);
    checksum(body) == check
}

/// The CRC-32 (ISO-HDLC) of the prefix and the random digits, as 6 base62 digits.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECK_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = base62(rest % 62);
        rest /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

/// Divides a big-endian number in place and returns the remainder.
fn divide_by_62(number: &mut [u8]) -> u32 {
    number.iter_mut().fold(0, |carry, byte| {
        let part = carry * 256 + u32::from(*byte);
        // INVARIANT: carry < 62, so the quotient fits a byte.
        *byte = u8::try_from(part / 62).unwrap_or(u8::MAX);
        part % 62
    })
}

fn base62(digit: u32) -> u8 {
    let index = usize::try_from(digit).unwrap_or(0);
    ALPHABET.get(index).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_are_written_in_full() {
        let zero = new_token([0; TOKEN_RANDOM_BYTES]);
        let zeros = "0".repeat(RANDOM_DIGITS);
        assert_eq!(
            zero.expose(),
            format!("hwd_{zeros}{}", checksum(&format!("hwd_{zeros}")))
        );
        let most = new_token([255; TOKEN_RANDOM_BYTES]);
        // 2^238 - 1 in base 62 and its CRC-32, computed with Python.
        assert_eq!(
            most.expose(),
            "hwd_tBnfaudbV1ZIM5og8jwr4TYggPtR377fieku5v271mrXI3"
        );
        assert!(checksum_holds(zero.expose()) && checksum_holds(most.expose()));
    }

    #[test]
    fn the_checksum_finds_what_was_cut_or_mistyped() {
        let token = new_token(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        let token = token.expose();
        assert_eq!(token.len(), 50);
        for wrong in [
            String::new(),
            "hwd_".into(),
            token[..49].into(),
            format!("{token}0"),
            token.replace("hwd_", "ghp_"),
            token.replacen(char::is_uppercase, "é", 1),
        ] {
            assert!(!checksum_holds(&wrong), "{wrong}");
        }
        assert!(looks_like_ours("hwd_cut") && !looks_like_ours("HWD_x") && !looks_like_ours("x"));
    }

    proptest! {
        #[test]
        fn different_bits_give_different_tokens(a: [u8; 30], b: [u8; 30]) {
            let used = |mut random: [u8; 30]| { random[0] &= 63; random };
            prop_assert_eq!(used(a) == used(b), new_token(a).expose() == new_token(b).expose());
        }

        #[test]
        fn one_wrong_character_is_always_found(random: [u8; 30], at in 4_usize..50, to in "[0-9A-Za-z]") {
            let token = new_token(random);
            let mut wrong = token.expose().to_owned();
            wrong.replace_range(at..=at, &to);
            prop_assert_eq!(checksum_holds(&wrong), wrong == token.expose());
        }
    }
}
