//! A file mapped into memory, read-only.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::faults::Watch;
use crate::file_stamp::{FileChange, FileStamp};

/// A read-only private mapping of a whole file, and the open file. Its pages are clean: the system may drop and
/// re-read them, and another mapping of the same file shares them.
///
/// Whoever may write to the file can change the bytes under the mapping. [`check`](Self::check) tells, and is to be asked
/// after whatever was computed with them. Where the file was cut short, or its disk fails, a read gives zeros and `check`
/// an error (unless [`leave_signals_alone`](crate::faults::leave_signals_alone) was called: then such a read ends the process, as the system has it).
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    /// `path` for a process that has gone to another folder since.
    absolute: PathBuf,
    file: File,
    opened: FileStamp,
    /// Ends before the mapping: what comes to stand at its addresses is not ours.
    watch: Watch,
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`Error::Map`] if it cannot be opened, is empty or is not a regular file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |source| Error::Map { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(fail)?;
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let what = if metadata.is_file() { "the file is empty" } else { "not a regular file" };
            return Err(fail(io::Error::new(ErrorKind::InvalidInput, what)));
        }
        // SAFETY: the mapping is private and read-only, and its bytes are only ever read as plain data, of which none is
        // trusted to be the same when it is read again. What lies behind the end of a file that was cut short reads as zeros.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(fail)?;
        let watch = Watch::new(map.as_ptr_range());
        Ok(Self { path: path.to_owned(), absolute, file, opened: FileStamp::of(&metadata), watch, map })
    }

    /// Whether the file is as it was when it was opened: its length, its time of modification, and still at its path. What
    /// was computed from the mapping before a check that succeeds was computed from the file that was opened.
    ///
    /// # Errors
    /// [`Error::FileChanged`], and from then on always.
    pub fn check(&self) -> Result<(), Error> {
        let on_disk = self.changed_on_disk();
        match on_disk.or_else(|| self.watch.has_faulted().then_some(FileChange::Unreadable)) {
            None => Ok(()),
            Some(change) => Err(Error::FileChanged { path: self.path.clone(), change }),
        }
    }

    fn changed_on_disk(&self) -> Option<FileChange> {
        let Ok(open) = self.file.metadata() else { return Some(FileChange::Unreadable) };
        let change = self.opened.changed_to(&FileStamp::of(&open));
        change.or_else(|| match FileStamp::at(&self.absolute) {
            Ok(there) => self.opened.changed_to(&there),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Some(FileChange::Removed)
            }
            // A folder that may not be looked into any more: the open file has told all there is.
            Err(_) => None,
        })
    }

    /// Gives back the memory of the pages under some bytes, which come from the file again when they are next read. Does
    /// nothing where the system has no call for it.
    pub fn release(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if bytes.end <= self.map.len() {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: nothing was ever written to the mapping: its pages are the file's, or zeros, now and when they are
            // read again.
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

    /// The open file. Its position is where it was opened: nobody reads from there.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads from the file, not from the mapping: what is read does not stay in this process's memory.
    ///
    /// # Errors
    /// As [`std::io::Read::read`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset);
    }

    /// What tells this state of the file from another, as it was when it was opened.
    pub fn stamp(&self) -> FileStamp {
        self.opened
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// A mapped file of which llama.cpp has a mapping of its own, to be dropped after that.
///
/// Where the system does not tell what lies at an address (it does on Linux and Android), a read behind the end of llama.cpp's
/// mapping ends the process.
#[derive(Debug)]
pub struct SharedFile {
    file: Arc<MappedFile>,
    other_mappings: Watch,
}

impl SharedFile {
    /// A file that llama.cpp is about to map.
    pub fn new(file: &Arc<MappedFile>) -> Self {
        Self { file: file.clone(), other_mappings: Watch::of_other_mappings(file.as_ptr()) }
    }

    /// Checks every mapping of the file as [`MappedFile::check`] does.
    ///
    /// # Errors
    /// [`Error::FileChanged`].
    pub fn check(&self) -> Result<(), Error> {
        self.file.check()?;
        match self.other_mappings.has_faulted() {
            false => Ok(()),
            true => Err(Error::FileChanged { path: self.file.path.clone(), change: FileChange::Unreadable }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::fs;
    use std::io::Write;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn change(mapped: &MappedFile) -> Option<FileChange> {
        match mapped.check() {
            Ok(()) => None,
            Err(Error::FileChanged { change, .. }) => Some(change),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_change_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        let fresh = || {
            fs::write(&path, [7; 10_000]).unwrap();
            MappedFile::open(&path).unwrap()
        };

        let mapped = fresh();
        assert_eq!(change(&mapped), None);
        fs::File::open(&path).unwrap();
        assert_eq!(change(&mapped), None, "reading is no change");
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert_eq!(change(&mapped), Some(FileChange::Length { was: 10_000, is: 10_004 }));

        let mapped = fresh();
        let later = SystemTime::now() + Duration::from_secs(5);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(change(&mapped), Some(FileChange::Written));

        let mapped = fresh();
        let moved = folder.path().join("elsewhere");
        fs::rename(&path, &moved).unwrap();
        assert_eq!(change(&mapped), Some(FileChange::Removed));
        fs::copy(&moved, &path).unwrap();
        assert_eq!(change(&mapped), Some(FileChange::Replaced));
        fs::rename(&moved, &path).unwrap();
        assert_eq!(change(&mapped), None, "it is back");

        fs::remove_file(&path).unwrap();
        assert_eq!(change(&mapped), Some(FileChange::Removed));
    }
}
