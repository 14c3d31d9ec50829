//! Sealed files on one disk, each by itself: no manifest knows of them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightgraft_files::atomic::sync_parent;
use nightgraft_files::file_system::FileSystem;

use super::key::{Key, KeyRing};
use super::reader::{SealedReader, later_version, read_header};
use super::sealing::{Mode, SealHeader, Sealing};
use super::writer::SealedWriter;
use crate::{Error, FileProblem, Result};

/// A disk, and what files on it are sealed with. Clones share the count of bytes.
#[derive(Clone, Debug)]
pub(crate) struct SealedDisk {
    fs: Arc<dyn FileSystem>,
    keys: Option<Arc<KeyRing>>,
    written: Arc<AtomicU64>,
}

impl SealedDisk {
    /// A disk whose files are encrypted if there are keys, and plain otherwise.
    pub(super) fn new(fs: Arc<dyn FileSystem>, keys: Option<KeyRing>) -> Self {
        Self { fs, keys: keys.map(Arc::new), written: Arc::default() }
    }

    /// This disk, with this count of bytes and other keys.
    pub(super) fn with_keys(&self, keys: KeyRing) -> Self {
        Self { keys: Some(Arc::new(keys)), ..self.clone() }
    }

    pub(super) fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// The number of the data key that new files are under; `None` in the plain mode.
    pub(super) fn current_key_id(&self) -> Option<u32> {
        self.keys.as_ref().map(|keys| keys.current_id())
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Starts a file at `target` that is sealed for the file `name`, and carries the number of a change if it belongs to one.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub(super) fn create(
        &self,
        target: &Path,
        name: &Path,
        role: &'static str,
        number: Option<u64>,
    ) -> Result<SealedWriter> {
        let (mode, key) = match &self.keys {
            None => (Mode::Plain, None),
            Some(keys) => (Mode::Encrypted(keys.current_id()), keys.get(keys.current_id())),
        };
        let header = SealHeader::new(mode, number)?;
        let sealing = Sealing::new(&header, role, name, key);
        SealedWriter::create(&self.fs, target, &header, sealing, Arc::clone(&self.written))
    }

    /// Opens a file that was sealed for the file `name`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupted`], [`Error::WrongKey`].
    pub(super) fn open(&self, path: &Path, name: &Path, role: &'static str) -> Result<SealedReader> {
        let (file, header) = read_header(self.fs.as_ref(), path)?;
        let key = match (header.mode, &self.keys) {
            (Mode::Plain, None) => None,
            (Mode::Plain, Some(_)) => {
                return Err(Error::Corrupted { path: path.to_owned(), problem: FileProblem::NotEncrypted });
            }
            (Mode::Encrypted(id), keys) => {
                let key: Option<&Key> = keys.as_ref().and_then(|keys| keys.get(id));
                Some(key.ok_or_else(|| Error::WrongKey { path: path.to_owned() })?)
            }
        };
        Ok(SealedReader::new(file, path, Sealing::new(&header, role, name, key)))
    }

    /// Reads a file of at most `at_most` bytes of content that was sealed for the file `name`.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Corrupted`] if the content is not what was written, or longer.
    pub(super) fn read(&self, path: &Path, name: &Path, role: &'static str, at_most: u64) -> Result<Vec<u8>> {
        let mut file = self.open(path, name, role)?;
        let mut bytes = Vec::new();
        let read = file.by_ref().take(at_most).read_to_end(&mut bytes);
        read.map_err(|error| file.error(error))?;
        file.finish()?;
        Ok(bytes)
    }

    /// The number of the data key that a file says it is under, `None` for a plain one.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Corrupted`] if it is no sealed file.
    pub(super) fn key_id(&self, path: &Path) -> Result<Option<u32>> {
        match read_header(self.fs.as_ref(), path)?.1.mode {
            Mode::Plain => Ok(None),
            Mode::Encrypted(id) => Ok(Some(id)),
        }
    }

    /// The number of the change that a file says to be of; `None` for one that has none. Nothing is proven by it.
    ///
    /// # Errors
    /// As [`key_id`](Self::key_id).
    pub(crate) fn number(&self, path: &Path) -> Result<Option<u64>> {
        Ok(read_header(self.fs.as_ref(), path)?.1.number)
    }

    /// The version of the format of a file that a later version of this program sealed.
    pub(super) fn later_version(&self, path: &Path) -> Option<u32> {
        later_version(self.fs.as_ref(), path)
    }

    /// Removes files for good; those that are not there are passed over.
    ///
    /// # Errors
    /// [`Error::Io`]; some may be gone then.
    pub(super) fn remove(&self, paths: &[PathBuf]) -> Result<()> {
        // One of each folder that lost a file.
        let mut removed = BTreeMap::new();
        for path in paths {
            match self.fs.remove_file(path) {
                Ok(()) => drop(removed.insert(path.parent(), path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("remove", path)(error)),
            }
        }
        removed.into_values().try_for_each(|path| Ok(sync_parent(self.fs.as_ref(), path)?))
    }
}
