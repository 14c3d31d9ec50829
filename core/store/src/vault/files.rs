//! The files of one store or run.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightgraft_files::atomic::sync_parent;
use nightgraft_files::file_system::FileSystem;

use super::manifest::{Done, Manifest};
use super::reader::{SealedReader, later_version, read_header};
use super::sealing::Mode;
use super::writer::SealedWriter;
use super::{Key, KeyRing};
use crate::{Error, FileProblem, Result};

/// Writes and reads sealed files on one disk, all plain or all encrypted. Clones share the count of bytes and the
/// manifest, if there is one.
#[derive(Clone, Debug)]
pub struct Vault {
    fs: Arc<dyn FileSystem>,
    keys: Option<Arc<KeyRing>>,
    written: Arc<AtomicU64>,
    manifest: Option<Arc<Manifest>>,
}

impl Vault {
    /// Files with checksums that anybody can read.
    pub fn plain(fs: Arc<dyn FileSystem>) -> Self {
        Self { fs, keys: None, written: Arc::default(), manifest: None }
    }

    /// Files that nobody can read or change without their key.
    pub fn encrypted(fs: Arc<dyn FileSystem>, keys: KeyRing) -> Self {
        Self { fs, keys: Some(Arc::new(keys)), written: Arc::default(), manifest: None }
    }

    /// A vault on this disk, with this count of bytes and other keys.
    #[must_use]
    pub fn with_keys(&self, keys: KeyRing) -> Self {
        Self { keys: Some(Arc::new(keys)), ..self.clone() }
    }

    /// A vault of these files that enters every change of them in a manifest.
    #[must_use]
    pub(crate) fn with_manifest(&self, manifest: Arc<Manifest>) -> Self {
        Self { manifest: Some(manifest), ..self.clone() }
    }

    /// What the files' changes are entered in.
    pub(crate) fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.manifest.as_ref()
    }

    /// The disk.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// Whether files are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// The number of the data key that new files are under; `None` in the plain mode.
    pub(crate) fn current_key_id(&self) -> Option<u32> {
        self.keys.as_ref().map(|keys| keys.current_id())
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
        let number = self.manifest.as_ref().map(|manifest| manifest.reserve());
        SealedWriter::create(self, target, target, role, self.seals_with(), number)
    }

    /// Starts a file at `target` that is sealed for the file `name`, and that no manifest will list.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub(super) fn create_unlisted(
        &self,
        target: &Path,
        name: &Path,
        role: &'static str,
        number: Option<u64>,
    ) -> Result<SealedWriter> {
        let unlisted = Self { manifest: None, ..self.clone() };
        SealedWriter::create(&unlisted, target, name, role, self.seals_with(), number)
    }

    /// What new files are sealed with.
    fn seals_with(&self) -> (Mode, Option<&Key>) {
        match &self.keys {
            None => (Mode::Plain, None),
            Some(keys) => (Mode::Encrypted(keys.current_id()), keys.get(keys.current_id())),
        }
    }

    /// Puts finished files in their places, in this order, and then removes `former` ones, as one change.
    ///
    /// # Errors
    /// [`Error::Io`], if not all files got into their places. One that cannot be removed only leaves a warning.
    pub(crate) fn put(&self, files: Vec<SealedWriter>, former: &[PathBuf]) -> Result<()> {
        let files = files.into_iter().map(SealedWriter::finish).collect::<Result<Vec<_>>>()?;
        let stamps: Vec<_> = files.iter().map(|(file, stamp)| (file.target().to_owned(), *stamp)).collect();
        let act = || {
            files.into_iter().try_for_each(|(file, _)| file.put())?;
            match self.remove_unlisted_all(former) {
                Ok(()) => Ok(Done::Wholly),
                Err(error) => {
                    tracing::warn!(%error, "a file that is not needed any more could not be removed");
                    Ok(Done::Partly)
                }
            }
        };
        match &self.manifest {
            Some(manifest) => manifest.change(self, &stamps, former, act),
            None => act().map(drop),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it is not there or cannot be read, [`Error::Corrupted`] if it is no sealed file or plain
    /// where an encrypted one must be, [`Error::WrongKey`] if it is encrypted and the key for it is not here.
    pub fn open(&self, path: &Path, role: &'static str) -> Result<SealedReader> {
        self.open_as(path, path, role)
    }

    /// Opens a file that was sealed for the file `name`.
    fn open_as(&self, path: &Path, name: &Path, role: &'static str) -> Result<SealedReader> {
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
        Ok(SealedReader::new(file, &header, path, name, role, key))
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
        self.read_as(path, path, role, at_most)
    }

    /// Reads a file that was sealed for the file `name`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn read_as(
        &self,
        path: &Path,
        name: &Path,
        role: &'static str,
        at_most: u64,
    ) -> Result<Vec<u8>> {
        let mut file = self.open_as(path, name, role)?;
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

    /// The number of the change that a file says to be of; `None` for one that has none. As with
    /// [`key_id`](Self::key_id), nothing is proven.
    ///
    /// # Errors
    /// As [`key_id`](Self::key_id).
    pub(crate) fn number(&self, path: &Path) -> Result<Option<u64>> {
        Ok(read_header(self.fs.as_ref(), path)?.1.number)
    }

    /// The version of the format of a file that a later version of this program sealed, as far as its header can be
    /// trusted; `None` for one that can be read here, or is no sealed file.
    pub fn later_version(&self, path: &Path) -> Option<u32> {
        later_version(self.fs.as_ref(), path)
    }

    /// Removes a file for good; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.remove_all(&[path.to_owned()])
    }

    /// Removes files for good, as one change; those that are not there are passed over.
    ///
    /// # Errors
    /// [`Error::Io`]; some may be gone then.
    pub fn remove_all(&self, paths: &[PathBuf]) -> Result<()> {
        let act = || self.remove_unlisted_all(paths).map(|()| Done::Wholly);
        match &self.manifest {
            Some(manifest) => manifest.change(self, &[], paths, act),
            None => act().map(drop),
        }
    }

    /// Removes files without telling the manifest.
    fn remove_unlisted_all(&self, paths: &[PathBuf]) -> Result<()> {
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

    /// Removes a file without telling the manifest.
    pub(super) fn remove_unlisted(&self, path: &Path) -> Result<()> {
        self.remove_unlisted_all(&[path.to_owned()])
    }

    /// Counts bytes that were written.
    pub(super) fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }
}
