//! The disk as stores and checkpoints see it.
//!
//! Everything that must survive a power cut or a full disk goes through [`FileSystem`], so that tests can make each
//! single operation fail. [`System`] is the real one.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The operations of a disk. Paths are files' and folders' own; errors are the system's.
pub trait FileSystem: Send + Sync + Debug {
    /// Makes a file that must not exist yet, for writing.
    ///
    /// # Errors
    /// The system's.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn WriteHandle>>;

    /// Opens a file for reading from its start.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// Gives a file or folder another name; a file of that name is replaced in one step.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    ///
    /// # Errors
    /// The system's.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it, as far as they are missing.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes what was created, renamed and removed in a folder survive a power cut. Systems that cannot open
    /// folders do without.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a folder, in no particular order; links are not followed.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// What there is at `path`, links followed; `None` if there is nothing.
    ///
    /// # Errors
    /// The system's.
    fn metadata(&self, path: &Path) -> io::Result<Option<Entry>>;

    /// Bytes that may still be written to the disk that holds the existing file or folder `path`.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::Unsupported`] where it does not tell.
    fn available(&self, path: &Path) -> io::Result<u64>;
}

/// A file being written.
pub trait WriteHandle: Write + Send + Debug {
    /// Makes what was written survive a power cut.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the folders above it.
    pub name: OsString,
    /// Whether it is a folder.
    pub is_dir: bool,
    /// Bytes of a file.
    pub len: u64,
}

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// The real disk, for those who keep one.
pub fn system() -> Arc<dyn FileSystem> {
    static SYSTEM: LazyLock<Arc<dyn FileSystem>> = LazyLock::new(|| Arc::new(System));
    Arc::clone(&SYSTEM)
}

impl FileSystem for System {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn WriteHandle>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(metadata) => entries.push(describe(entry.file_name(), &metadata)),
                // Somebody removed it between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Entry>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(describe(path.file_name().unwrap_or_default().to_owned(), &metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[cfg(unix)]
    fn available(&self, path: &Path) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    #[cfg(not(unix))]
    fn available(&self, _path: &Path) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl WriteHandle for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn describe(name: OsString, metadata: &fs::Metadata) -> Entry {
    Entry { name, is_dir: metadata.is_dir(), len: metadata.len() }
}

/// Locks an open file until it is closed, against every other opening of it; returns whether it was free.
///
/// Not the standard library's lock: on Android that one is refused always (Rust 1.95; rust-lang/rust issue 148325).
///
/// # Errors
/// If the file system has no locks.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_real_disk_does_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let disk = system();
        let (deep, file) = (folder.path().join("a/b"), folder.path().join("a/b/c"));
        assert_eq!(disk.metadata(&deep).unwrap(), None);
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        let mut handle = disk.create_new(&file).unwrap();
        handle.write_all(b"12345").unwrap();
        handle.sync().unwrap();
        assert_eq!(disk.create_new(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let entry = Entry { name: "c".into(), is_dir: false, len: 5 };
        assert_eq!(disk.list(&deep).unwrap(), std::slice::from_ref(&entry));
        assert_eq!(disk.metadata(&file).unwrap(), Some(entry));
        assert!(disk.metadata(&deep).unwrap().unwrap().is_dir);
        let moved = deep.join("d");
        disk.rename(&file, &moved).unwrap();
        disk.sync_dir(&deep).unwrap();
        let mut text = String::new();
        disk.open(&moved).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "12345");
        assert!(disk.available(&moved).unwrap() > 0);
        disk.remove_file(&moved).unwrap();
        assert_eq!(disk.open(&moved).map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.remove_dir_all(&folder.path().join("a")).unwrap();
        assert!(disk.list(folder.path()).unwrap().is_empty());
    }
}
