//! Windows of the calendar begin and end where another library's clocks say: `tests/windows/resets.py` made the table.

use std::path::Path;

use hayward::budget::{Span, span};
use hayward::types::{Timestamp, Window, Zone};

/// One line: instants at which one window ends and the next begins, with no others between them.
fn check(zone: &str, window: &str, instants: &str) -> Result<usize, String> {
    let rules = Zone::named(zone).unwrap();
    let kind: Window = window.parse().unwrap();
    let instant = |text: &str| Timestamp::from_jiff(text.replace('Z', ":00Z").parse().unwrap());
    let instants: Vec<Timestamp> = instants.split(' ').map(instant).collect();
    let mut windows = 0;
    for pair in instants.windows(2) {
        let [starts, ends] = [pair[0], pair[1]];
        let (first, last) = (starts.micros(), ends.micros() - 1);
        for at in [first, first + 1, first + (last - first) / 2, last] {
            let found = span(kind, 1, &rules, Timestamp::from_micros(at));
            if found != (Span { starts, ends }) {
                let [at, starts, ends] = [Timestamp::from_micros(at), starts, ends]
                    .map(|instant| instant.rfc3339(&rules));
                return Err(format!(
                    "{zone}, {window}: {at} lies in {} to {}, not {starts} to {ends}",
                    found.starts.rfc3339(&rules),
                    found.ends.rfc3339(&rules)
                ));
            }
        }
        windows += 1;
    }
    Ok(windows)
}

#[test]
fn windows_begin_and_end_where_the_table_of_another_library_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows/resets.tsv");
    let table = std::fs::read_to_string(file).unwrap();
    let (mut windows, mut wrong) = (0, Vec::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap();
        match check(next(), next(), next()) {
            Ok(checked) => windows += checked,
            Err(why) => wrong.push(why),
        }
    }
    assert_eq!(wrong, [""; 0], "{} lines are wrong", wrong.len());
    assert!(windows > 5_000, "the table has {windows} windows");
}
