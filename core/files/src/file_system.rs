//! The disk as stores and checkpoints see it.
//!
//! Everything that must survive a power cut or a full disk goes through [`FileSystem`], so that tests can make each
//! single operation fail. [`System`] is the real one.
//!
//! What is written here comes from what a person wrote, so it is its owner's alone from the first byte, whatever the
//! process's umask: files are made with mode 0600 at most, folders with 0700. Systems without such modes keep their own
//! rules.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The operations of a disk. Paths are files' and folders' own; errors are the system's.
pub trait FileSystem: Send + Sync + Debug {
    /// Makes a file that must not exist yet, for writing. It never has a wider mode than `mode`.
    ///
    /// # Errors
    /// The system's.
    fn create_new(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WriteHandle>>;

    /// Takes the permissions of everybody but the owner from a file or folder.
    ///
    /// # Errors
    /// The system's, for instance because it belongs to somebody else.
    fn make_private(&self, path: &Path) -> io::Result<()>;

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

    /// Removes a folder that is empty.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::DirectoryNotEmpty`] if anything is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder and those above it, as far as they are missing, for their owner alone.
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
    /// Who may do what with it.
    pub mode: Mode,
}

/// Who may do what with a file or folder: the permission bits of Unix. On other systems it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// A file that its owner reads and writes, and nobody else.
    pub const PRIVATE: Self = Self(0o600);

    /// Whether only the owner may do anything.
    pub fn is_private(self) -> bool {
        self.0 & 0o077 == 0
    }

    /// For a file that takes the place of one with this mode: nothing that was not allowed, and nothing to others.
    #[must_use]
    pub fn for_replacement(self) -> Self {
        Self(self.0 & Self::PRIVATE.0)
    }
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
    fn create_new(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WriteHandle>> {
        Ok(Box::new(with_mode(OpenOptions::new().write(true).create_new(true), mode).open(path)?))
    }

    #[cfg(unix)]
    fn make_private(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::metadata(path)?.permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(permissions.mode() & 0o7700))
    }

    #[cfg(not(unix))]
    fn make_private(&self, _path: &Path) -> io::Result<()> {
        Ok(())
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

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        private_folder().recursive(true).create(path)
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
    Entry { name, is_dir: metadata.is_dir(), len: metadata.len(), mode: mode_of(metadata) }
}

/// A link has no mode of its own.
#[cfg(unix)]
fn mode_of(metadata: &fs::Metadata) -> Mode {
    use std::os::unix::fs::PermissionsExt;
    if metadata.is_symlink() { Mode::PRIVATE } else { Mode(metadata.permissions().mode() & 0o777) }
}

#[cfg(not(unix))]
fn mode_of(_metadata: &fs::Metadata) -> Mode {
    Mode::PRIVATE
}

/// Options that make a file with `mode` at most.
#[cfg(unix)]
fn with_mode(options: &mut OpenOptions, mode: Mode) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode.0)
}

#[cfg(not(unix))]
fn with_mode(options: &mut OpenOptions, _mode: Mode) -> &mut OpenOptions {
    options
}

/// Makes folders that only their owner can enter.
pub fn private_folder() -> fs::DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "there is nothing to set"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Opens the empty file that is locked while a folder is in use, or makes it.
///
/// # Errors
/// The system's.
pub fn open_lock(path: &Path) -> io::Result<File> {
    with_mode(OpenOptions::new().create(true).append(true), Mode::PRIVATE).open(path)
}

/// Takes the permissions of others from a file or folder that an earlier build made; if that cannot be done, as where
/// another user owns it, there is a warning.
pub fn tighten(disk: &dyn FileSystem, path: &Path, mode: Mode) {
    if !mode.is_private()
        && let Err(error) = disk.make_private(path)
    {
        tracing::warn!(path = %path.display(), %error, "others may read this and it cannot be changed");
    }
}

/// Locks an open file until it is closed, against every other opening of it; returns whether it was free.
///
/// Not the standard library's lock: on Android that one is refused always (Rust 1.95; rust-lang/rust issue 148325).
///
/// # Errors
/// If the file system has no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives a lock back, whoever has the same opening of the file besides.
///
/// # Errors
/// If the file system has no locks.
pub fn unlock(file: &File) -> io::Result<()> {
    use rustix::fs::{FlockOperation, flock};
    Ok(flock(file, FlockOperation::Unlock)?)
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
        let mut handle = disk.create_new(&file, Mode::PRIVATE).unwrap();
        handle.write_all(b"12345").unwrap();
        handle.sync().unwrap();
        assert_eq!(disk.create_new(&file, Mode::PRIVATE).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let entry = Entry { name: "c".into(), is_dir: false, len: 5, mode: Mode::PRIVATE };
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
        assert_eq!(disk.remove_dir(&deep).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        disk.remove_file(&moved).unwrap();
        disk.remove_dir(&deep).unwrap();
        assert_eq!(disk.open(&moved).map(drop).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.remove_dir_all(&folder.path().join("a")).unwrap();
        assert!(disk.list(folder.path()).unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn modes_are_narrowed_and_never_widened() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        fs::write(&file, "x").unwrap();
        let disk = system();
        let mode = || disk.metadata(&file).unwrap().unwrap().mode;
        for (before, private, replacement) in
            [(0o644, 0o600, 0o600), (0o400, 0o400, 0o400), (0o777, 0o700, 0o600), (0o440, 0o400, 0o400)]
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(before)).unwrap();
            assert_eq!((mode(), mode().for_replacement()), (Mode(before), Mode(replacement)));
            tighten(disk.as_ref(), &file, mode());
            assert_eq!(mode(), Mode(private));
            assert!(mode().is_private());
        }
        // What a link points to is not the store's to change.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        let entries = disk.list(folder.path()).unwrap();
        assert!(entries.iter().find(|entry| entry.name == "link").unwrap().mode.is_private());
    }
}
