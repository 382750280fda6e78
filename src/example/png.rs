//! Writes a picture of sixteen colours as PNG, uncompressed (W3C PNG, third edition; RFC 1950; RFC 1951).

/// The longest stored block (RFC 1951, section 3.2.4), in bytes.
const MAX_STORED: usize = 0xffff;

/// Writes a square picture; each point is the number of a colour, 0 to 15.
pub(super) fn write(side: u16, palette: &[[u8; 3]; 16], points: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, b"IHDR", &header(side));
    chunk(&mut file, b"PLTE", palette.as_flattened());
    chunk(
        &mut file,
        b"IDAT",
        &zlib(&scan_lines(usize::from(side), points)),
    );
    chunk(&mut file, b"IEND", &[]);
    file
}

fn header(side: u16) -> Vec<u8> {
    let side = u32::from(side).to_be_bytes();
    // 4 bits a point, colours from a palette, and the only known compression, filter and no interlace.
    [side.as_slice(), &side, &[4, 3, 0, 0, 0]].concat()
}

/// Two points a byte, a zero before each line: no filter.
fn scan_lines(side: usize, points: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for row in points.chunks(side.max(1)) {
        lines.push(0);
        lines.extend(row.chunks(2).map(|pair| {
            let left = pair.first().copied().unwrap_or(0) & 15;
            let right = pair.get(1).copied().unwrap_or(0) & 15;
            (left << 4) | right
        }));
    }
    lines
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    file.extend_from_slice(&length.to_be_bytes());
    let start = file.len();
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    let sum = crc32fast::hash(file.get(start..).unwrap_or_default());
    file.extend_from_slice(&sum.to_be_bytes());
}

/// The zlib form without compression.
fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(MAX_STORED).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

/// The checksum of RFC 1950, section 8.2.
fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    (b << 16) | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn the_file_has_its_four_chunks_and_the_points_two_a_byte() {
        let file = write(2, &[[1, 2, 3]; 16], &[1, 2, 3, 15]);
        assert_eq!(file.get(..8), Some(b"\x89PNG\r\n\x1a\n".as_slice()));
        for kind in [b"IHDR", b"PLTE", b"IDAT", b"IEND"] {
            assert_eq!(
                file.windows(4).filter(|found| found == kind).count(),
                1,
                "{kind:?}"
            );
        }
        assert_eq!(scan_lines(2, &[1, 2, 3, 15]), [0, 0x12, 0, 0x3f]);
        assert_eq!(scan_lines(3, &[1, 2, 3]), [0, 0x12, 0x30]);
    }

    #[test]
    fn long_data_is_spread_over_blocks_and_only_the_last_says_so() {
        let stream = zlib(&vec![0; MAX_STORED + 1]);
        assert_eq!(stream.get(2..7), Some([0, 0xff, 0xff, 0, 0].as_slice()));
        let second = 2 + 5 + MAX_STORED;
        assert_eq!(
            stream.get(second..second + 5),
            Some([1, 1, 0, 0xfe, 0xff].as_slice())
        );
    }
}
