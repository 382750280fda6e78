//! What of a file the log may keep.

use super::super::*;
use super::dedented;

#[test]
fn the_example_is_kept_to_the_byte_with_its_placeholders() {
    let loaded = review("permissions.yaml", EXAMPLE).unwrap();
    assert!(loaded.text.is_whole());
    assert_eq!(loaded.text.text(), EXAMPLE);
    assert!(EXAMPLE.contains("${"), "or this shows nothing");
}

#[test]
fn a_secret_that_is_written_out_is_not_kept_and_a_placeholder_is_not_filled() {
    let text = dedented(
        "
        # hwd_0123456789abcdefghij was the token before
        servers:
          a: {url: 'http://a/', headers: {X-Api-Key: 'orange juice 12', Authorization: 'Bearer ${KEY}'}}
        ",
    );
    let value = |name: &str| (name == "KEY").then(|| "live_value_of_key".to_owned());
    let loaded = parse("permissions.yaml", &text, &value).unwrap();
    let kept = &loaded.text;
    assert!(!kept.is_whole());
    assert_eq!(kept.revision(), loaded.permissions.revision());
    for secret in ["0123456789abcdefghij", "orange", "live_value_of_key"] {
        assert!(!kept.text().contains(secret), "{}", kept.text());
    }
    assert!(kept.text().contains("Bearer ${KEY}"), "{}", kept.text());
    assert_eq!(kept.text().lines().count(), text.lines().count());
    assert!(!format!("{loaded:?}").contains("was the token before"));
}
