//! Rows of sums of one day, put together in one value and taken apart again. Pure.
//!
//! A row costs SQLite and the library around it about a microsecond, whatever is in it; here it costs some bytes. The
//! value is a version, the texts that the rows name, and the rows: each the difference of its instant and its numbers to
//! those of the row before (of the first, to the beginning of the day, and nothing), which text it has where its table has
//! one, a bit for each column that is not nothing, and these columns. All numbers are varints of Protocol Buffers (protobuf.dev/programming-guides/encoding, "Base 128 Varints" and
//! "Signed Integers").

use std::collections::BTreeMap;

use integer_encoding::VarInt;

/// How the value is made, its first byte.
const VERSION: u8 = 1;

/// A row, with as many columns as its table has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The instant that the row begins with.
    pub(super) at_us: i64,
    /// The numbers of agent, server and tool; 0 where the table has none.
    pub(super) ids: [i64; 3],
    /// The text at the end of the key, where there is one.
    pub(super) text: Option<String>,
    /// What is summed up, 64 columns at most.
    pub(super) values: Vec<i64>,
}

/// Puts rows of a day together. The nearer their numbers are to one another, the shorter it is.
pub(super) fn pack(day_us: i64, rows: &[Row]) -> Vec<u8> {
    let mut texts: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        texts.extend(row.text.as_deref().map(|text| (text, 0)));
    }
    let mut packed = vec![VERSION];
    put(&mut packed, length(texts.len()));
    for ((text, number), n) in texts.iter_mut().zip(0..) {
        *number = n;
        put(&mut packed, length(text.len()));
        packed.extend(text.as_bytes());
    }
    let mut before = [day_us, 0, 0, 0];
    for row in rows {
        let [agent, server, tool] = row.ids;
        let numbers = [row.at_us, agent, server, tool];
        for (number, before) in numbers.iter().zip(before) {
            put(&mut packed, number.wrapping_sub(before));
        }
        before = numbers;
        if let Some(text) = &row.text {
            put(&mut packed, texts.get(&**text).copied().unwrap_or(0));
        }
        let columns = row.values.iter().zip(0_u32..u64::BITS);
        let columns = columns.filter(|(value, _)| **value != 0);
        put(
            &mut packed,
            columns.clone().fold(0_u64, |bits, (_, n)| bits | 1 << n),
        );
        columns.for_each(|(value, _)| put(&mut packed, *value));
    }
    packed
}

/// A row as it comes out: its instant, the numbers of agent, server and tool, its text (empty where the table has none), and
/// what is summed up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacked<'a, const COLUMNS: usize> {
    pub(super) at_us: i64,
    pub(super) ids: [i64; 3],
    pub(super) text: &'a str,
    pub(super) values: &'a [i64; COLUMNS],
}

/// Takes rows of a day with so many columns apart. `None` when that is not what [`pack`] makes; the rows before the mistake were given then.
pub(super) fn unpack<const COLUMNS: usize>(
    day_us: i64,
    packed: &[u8],
    mut each: impl FnMut(Unpacked<'_, COLUMNS>),
) -> Option<()> {
    let (version, mut rest) = packed.split_first()?;
    if *version != VERSION {
        return None;
    }
    let texts = take_texts(&mut rest)?;
    let mut numbers = [day_us, 0, 0, 0];
    while !rest.is_empty() {
        for number in &mut numbers {
            *number = number.wrapping_add(take_signed(&mut rest)?);
        }
        let text = if texts.is_empty() {
            ""
        } else {
            texts.get(take::<usize>(&mut rest)?)?
        };
        let mut values = [0; COLUMNS];
        let mut columns = take_unsigned(&mut rest)?;
        while columns != 0 {
            let column = usize::try_from(columns.trailing_zeros()).ok()?;
            *values.get_mut(column)? = take_signed(&mut rest)?;
            columns &= columns.wrapping_sub(1);
        }
        let [at_us, agent, server, tool] = numbers;
        each(Unpacked {
            at_us,
            ids: [agent, server, tool],
            text,
            values: &values,
        });
    }
    Some(())
}

fn take_texts<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a str>> {
    let many: usize = take(rest)?;
    // Each takes a byte at least: no number makes room for more than there can be.
    let mut texts = Vec::with_capacity(many.min(rest.len()));
    for _ in 0..many {
        let length: usize = take(rest)?;
        let (text, behind) = rest.split_at_checked(length)?;
        texts.push(std::str::from_utf8(text).ok()?);
        *rest = behind;
    }
    Some(texts)
}

fn put(packed: &mut Vec<u8>, number: impl VarInt) {
    let begins = packed.len();
    packed.resize(begins.saturating_add(number.required_space()), 0);
    if let Some(room) = packed.get_mut(begins..) {
        number.encode_var(room);
    }
}

/// Most numbers are so small that they take one byte.
fn take_unsigned(rest: &mut &[u8]) -> Option<u64> {
    let (first, behind) = rest.split_first()?;
    if *first > ONE_BYTE {
        return take(rest);
    }
    *rest = behind;
    Some(u64::from(*first))
}

fn take_signed(rest: &mut &[u8]) -> Option<i64> {
    let (first, behind) = rest.split_first()?;
    if *first > ONE_BYTE {
        return take(rest);
    }
    *rest = behind;
    Some(i64::from(first >> 1) ^ -i64::from(first & 1))
}

/// A byte up to this one is a number of its own.
const ONE_BYTE: u8 = 0x7f;

fn take<T: VarInt>(rest: &mut &[u8]) -> Option<T> {
    let (number, length) = T::decode_var(rest)?;
    *rest = rest.get(length..)?;
    Some(number)
}

fn length(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: usize = 42;
    const DAY: i64 = 1_795_132_800_000_000;
    const QUARTER: i64 = 900_000_000;

    fn unpacked(packed: &[u8]) -> (Vec<Row>, Option<()>) {
        let mut rows = Vec::new();
        let done = unpack::<COLUMNS>(DAY, packed, |row| {
            rows.push(Row {
                at_us: row.at_us,
                ids: row.ids,
                text: Some(row.text.to_owned()).filter(|text| !text.is_empty()),
                values: row.values.to_vec(),
            });
        });
        (rows, done)
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0_i64), 0..300_i64, any::<i64>()]
    }

    fn rows(text: impl Strategy<Value = Option<String>>) -> impl Strategy<Value = Vec<Row>> {
        let ids = proptest::array::uniform3(number());
        let values = proptest::collection::vec(number(), COLUMNS);
        let at_us = prop_oneof![(0..96_i64).prop_map(|n| DAY + n * QUARTER), any::<i64>()];
        let row = (at_us, ids, text, values);
        let row = row.prop_map(|(at_us, ids, text, values)| Row {
            at_us,
            ids,
            text,
            values,
        });
        proptest::collection::vec(row, 0..12)
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_were(
            plain in rows(Just(None)),
            named in rows("[a-z, \n]{1,6}|é€".prop_map(Some)),
        ) {
            prop_assert_eq!(unpacked(&pack(DAY, &plain)), (plain, Some(())));
            prop_assert_eq!(unpacked(&pack(DAY, &named)), (named, Some(())));
        }

        #[test]
        fn whatever_the_bytes_are_it_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpacked(&bytes);
            let _ = unpacked(&[&[VERSION, 0], &*bytes].concat());
        }

        #[test]
        fn a_value_that_is_cut_or_goes_on_is_none(rows in rows(Just(Some("budget".into()))), cut in any::<prop::sample::Index>()) {
            prop_assume!(!rows.is_empty());
            let packed = pack(DAY, &rows);
            let cut = cut.index(packed.len());
            let (found, done) = unpacked(&packed[..cut]);
            // A cut between two rows is a shorter value.
            prop_assert!(done.is_none() || found.len() < rows.len());
            let (_, done) = unpacked(&[&*packed, &[0x80]].concat());
            prop_assert_eq!(done, None);
        }
    }

    #[test]
    fn a_row_of_a_few_calls_takes_a_few_bytes() {
        let row = |at_us, tool, calls| Row {
            at_us,
            ids: [7, 2, tool],
            text: None,
            values: vec![calls, 0, calls, 0, 0, 0, 0, 1_000 * calls],
        };
        let rows = [row(DAY, 300, 3), row(DAY + QUARTER, 301, 5)];
        let packed = pack(DAY, &rows);
        let shown: Vec<u8> = vec![
            1, 0, // Version, no texts.
            0, 14, 4, 216, 4, 133, 1, 6, 6, 240,
            46, // The day, 7, 2, 300: columns 0, 2 and 7.
            128, 164, 167, 218, 6, 0, 0, 2, 133, 1, 10, 10, 144,
            78, // A quarter of an hour, 0, 0, 1 further.
        ];
        assert_eq!(packed, shown);
    }

    #[test]
    fn a_column_that_no_table_has_is_none() {
        let row = Row {
            at_us: DAY,
            ids: [0; 3],
            text: None,
            values: vec![1; COLUMNS],
        };
        let packed = pack(DAY, &[row]);
        assert_eq!(unpack::<COLUMNS>(DAY, &packed, |_| ()), Some(()));
        assert_eq!(unpack::<8>(DAY, &packed, |_| ()), None);
        assert_eq!(unpack::<COLUMNS>(DAY, &[2, 0], |_| ()), None);
        assert_eq!(unpack::<COLUMNS>(DAY, &[], |_| ()), None);
    }
}
