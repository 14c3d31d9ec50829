//! A file mapped into memory, read-only.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use crate::Error;

/// A read-only private mapping of a whole file. Its pages are clean: the system may drop and
/// re-read them, and another mapping of the same file shares them.
///
/// The file must not be shortened while it is mapped; a model file is never written in place.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`Error::Map`] if it cannot be opened, is empty or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Map { path: path.to_owned(), source };
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let what = if metadata.is_file() { "the file is empty" } else { "not a regular file" };
            return Err(fail(std::io::Error::new(std::io::ErrorKind::InvalidInput, what)));
        }
        // SAFETY: the mapping is private and read-only. That nobody truncates the file meanwhile is
        // the documented condition of this type; the bytes are only ever read as plain data.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// Gives back the memory of the pages under some bytes, which come from the file again when they are next read. Does
    /// nothing where the system has no call for it.
    pub fn release(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if bytes.end <= self.map.len() {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: nothing was ever written to the mapping, so its pages are the file's, now and when they are read again.
            let advised = unsafe { self.map.unchecked_advise_range(advice, bytes.start, bytes.len()) };
            // Then they stay, which costs memory and nothing else.
            let _ = advised;
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
