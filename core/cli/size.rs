//! Sizes as people write them.

use bytesize::ByteSize;

/// What a file or a memory may have; sums of a few stay far from overflow.
const MAX_BYTES: u64 = 9_000_000_000_000_000_000;

/// `300MiB`, `1.5GB`, `4096`: bytes, in powers of 1024 with an i and of 1000 without. A letter alone, as in `2g`, is a power of
/// 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let spelled_out =
        if text.ends_with(|c: char| "kmgKMG".contains(c)) { format!("{text}i") } else { text.into() };
    match spelled_out.parse() {
        Ok(ByteSize(bytes @ 1..=MAX_BYTES)) => Ok(bytes),
        _ => Err(format!("'{text}' is not a size; write 300MiB, 1.5GB or a number of bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("300MiB", 300 << 20),
            ("1.5GB", 1_500_000_000),
            ("2 g", 2 << 30),
            ("7kb", 7000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-3", "1e9", "5 apples", "0", "99999999999g", "1.2.3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
