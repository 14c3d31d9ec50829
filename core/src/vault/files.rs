//! The files of one store or run.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::reader::{SealedReader, read_header};
use super::sealing::Mode;
use super::writer::SealedWriter;
use super::{Key, KeyRing};
use crate::file_system::FileSystem;
use crate::{Error, Result};

/// Writes and reads sealed files on one disk, all plain or all encrypted. Clones share the count of bytes.
#[derive(Clone, Debug)]
pub struct Vault {
    fs: Arc<dyn FileSystem>,
    keys: Option<Arc<KeyRing>>,
    written: Arc<AtomicU64>,
}

impl Vault {
    /// Files with checksums that anybody can read.
    pub fn plain(fs: Arc<dyn FileSystem>) -> Self {
        Self { fs, keys: None, written: Arc::default() }
    }

    /// Files that nobody can read or change without their key.
    pub fn encrypted(fs: Arc<dyn FileSystem>, keys: KeyRing) -> Self {
        Self { fs, keys: Some(Arc::new(keys)), written: Arc::default() }
    }

    /// The same disk and the same count of bytes with other keys.
    #[must_use]
    pub fn with_keys(&self, keys: KeyRing) -> Self {
        Self { keys: Some(Arc::new(keys)), ..self.clone() }
    }

    /// The disk.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// Whether files are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// Bytes written since the vault was made, those of unfinished files included: flash memory wears by them.
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Starts a file that appears as a whole in [`SealedWriter::commit`], and replaces a former one then. `role` says
    /// what the file is for; [`open`](Self::open) must name the same one.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn create(&self, target: &Path, role: &'static str) -> Result<SealedWriter> {
        match &self.keys {
            None => SealedWriter::create(&self.fs, target, role, Mode::Plain, None, &self.written),
            Some(keys) => {
                let id = keys.writes();
                SealedWriter::create(&self.fs, target, role, Mode::Encrypted(id), keys.get(id), &self.written)
            }
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there or cannot be read, [`Error::Corrupted`] if it is no sealed file or plain
    /// where an encrypted one must be, [`Error::WrongKey`] if it is encrypted and the key for it is not here.
    pub fn open(&self, path: &Path, role: &'static str) -> Result<SealedReader> {
        let (file, header) = read_header(self.fs.as_ref(), path)?;
        let key = match (header.mode, &self.keys) {
            (Mode::Plain, None) => None,
            (Mode::Plain, Some(_)) => {
                let problem = "it is not encrypted, and it should be".to_owned();
                return Err(Error::Corrupted { path: path.to_owned(), problem });
            }
            (Mode::Encrypted(id), keys) => {
                let key: Option<&Key> = keys.as_ref().and_then(|keys| keys.get(id));
                Some(key.ok_or_else(|| Error::WrongKey { path: path.to_owned() })?)
            }
        };
        Ok(SealedReader::new(file, &header, path, role, key))
    }

    /// Writes a small file at once.
    ///
    /// # Errors
    /// [`Error::Io`], and then a former file is still there.
    pub fn write(&self, target: &Path, role: &'static str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(target, role)?;
        file.append(bytes)?;
        file.commit()
    }

    /// Reads a file of at most `at_most` bytes of content at once.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Corrupted`] if the content is not what was written, or longer.
    pub fn read(&self, path: &Path, role: &'static str, at_most: u64) -> Result<Vec<u8>> {
        let mut file = self.open(path, role)?;
        let mut bytes = Vec::new();
        let read = file.by_ref().take(at_most).read_to_end(&mut bytes);
        read.map_err(|error| file.error(error))?;
        file.finish()?;
        Ok(bytes)
    }

    /// The number of the data key that a file says it is under, `None` for a plain one. Nothing but the header is
    /// read, and nothing is proven by it.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Corrupted`] if it is no sealed file.
    pub fn key_id(&self, path: &Path) -> Result<Option<u32>> {
        match read_header(self.fs.as_ref(), path)?.1.mode {
            Mode::Plain => Ok(None),
            Mode::Encrypted(id) => Ok(Some(id)),
        }
    }

    /// Removes a file for good; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, path: &Path) -> Result<()> {
        match self.fs.remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("remove", path)(error)),
        }
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => self.fs.sync_dir(folder).map_err(Error::io("flush", folder)),
            None => self.fs.sync_dir(Path::new(".")).map_err(Error::io("flush", path)),
        }
    }
}
