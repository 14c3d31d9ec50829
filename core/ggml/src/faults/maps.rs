//! What lies at an address, as Linux shows it in `/proc/self/maps`. Everything here may run in a signal handler: it calls
//! `open`, `read` and `close`, and takes no memory but a little of the stack.

use std::ops::Range;

use super::registry::FileId;

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) pages: Range<usize>,
    pub(super) file: FileId,
}

/// The part of memory that has this address.
pub(super) fn region_of(address: usize) -> Option<Region> {
    // SAFETY: a path that ends in a zero byte; the call takes nothing else.
    let list = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if list < 0 {
        return None;
    }
    let mut line = Line::default();
    let mut buffer = [0u8; 512];
    let region = loop {
        // SAFETY: an open file, and a buffer of the length that is given.
        let n = unsafe { libc::read(list, buffer.as_mut_ptr().cast(), buffer.len()) };
        let Some(read) = usize::try_from(n).ok().filter(|&n| n > 0).and_then(|n| buffer.get(..n)) else {
            break None;
        };
        let regions = read.iter().filter_map(|&byte| line.push(byte));
        let found = regions.into_iter().find(|region| region.pages.contains(&address));
        if found.is_some() {
            break found;
        }
    };
    // SAFETY: it was opened above and is closed once.
    unsafe { libc::close(list) };
    region
}

/// The beginning of a line, as far as it says what is wanted: the name of the file comes last and may be long.
struct Line {
    bytes: [u8; 96],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 96], len: 0 }
    }
}

impl Line {
    /// Takes the next byte; returns what the line says if that ends it.
    fn push(&mut self, byte: u8) -> Option<Region> {
        if byte == b'\n' {
            let len = std::mem::take(&mut self.len);
            return self.bytes.get(..len).and_then(parse);
        }
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
        None
    }
}

/// `7f0c8a000000-7f0c8a021000 r--s 00000000 fd:01 1310749    /a/file`
fn parse(line: &[u8]) -> Option<Region> {
    let mut fields = line.split(|&byte| byte == b' ');
    let (start, end) = pair(fields.next()?, b'-')?;
    let (major, minor) = pair(fields.nth(2)?, b':')?;
    let inode = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some(Region { pages: start as usize..end as usize, file: (major << 32 | minor, inode) })
}

/// Two hexadecimal numbers.
fn pair(field: &[u8], separator: u8) -> Option<(u64, u64)> {
    let mut numbers = field
        .split(|&byte| byte == separator)
        .map(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_are_read_however_long_the_name() {
        let name = "/x".repeat(500);
        let text = format!(
            "00400000-0048a000 r-xp 00000000 fd:03 960637       {name}\n7f1-7f2 rw-p 0 00:00 0 \nnot a line\n"
        );
        let mut line = Line::default();
        let regions: Vec<_> = text.bytes().filter_map(|byte| line.push(byte)).collect();
        let expected = [
            Region { pages: 0x40_0000..0x48_a000, file: (0xfd << 32 | 3, 960_637) },
            Region { pages: 0x7f1..0x7f2, file: (0, 0) },
        ];
        assert_eq!(regions, expected);
    }

    #[test]
    fn our_own_code_is_found() {
        let here = region_of as *const () as usize;
        let region = region_of(here).unwrap();
        assert!(region.pages.contains(&here));
        assert_ne!(region.file, (0, 0));
        assert_eq!(region_of(0), None);
    }
}
