//! The files of one store or run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_files::file_system::FileSystem;

use super::disk::SealedDisk;
use super::key::KeyRing;
use super::manifest::{Done, Manifest};
use super::reader::SealedReader;
use super::writer::SealedWriter;
use crate::Result;

/// Writes and reads sealed files on one disk, all plain or all encrypted. Clones share the count of bytes and the
/// manifest, if there is one.
#[derive(Clone, Debug)]
pub struct Vault {
    disk: SealedDisk,
    manifest: Option<Arc<Manifest>>,
}

impl Vault {
    /// Files with checksums that anybody can read.
    pub fn plain(fs: Arc<dyn FileSystem>) -> Self {
        Self { disk: SealedDisk::new(fs, None), manifest: None }
    }

    /// Files that nobody can read or change without their key.
    pub fn encrypted(fs: Arc<dyn FileSystem>, keys: KeyRing) -> Self {
        Self { disk: SealedDisk::new(fs, Some(keys)), manifest: None }
    }

    /// A vault on this disk, with this count of bytes and other keys.
    #[must_use]
    pub fn with_keys(&self, keys: KeyRing) -> Self {
        Self { disk: self.disk.with_keys(keys), ..self.clone() }
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

    /// The files as the manifest itself sees them.
    pub(crate) fn disk(&self) -> &SealedDisk {
        &self.disk
    }

    /// The disk.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        self.disk.fs()
    }

    /// Whether files are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.current_key_id().is_some()
    }

    /// The number of the data key that new files are under; `None` in the plain mode.
    pub(crate) fn current_key_id(&self) -> Option<u32> {
        self.disk.current_key_id()
    }

    /// Bytes written since the vault was made, those of unfinished files included: flash memory wears by them.
    pub fn bytes_written(&self) -> u64 {
        self.disk.bytes_written()
    }

    /// Starts a file that appears as a whole in [`put`](Self::put), and replaces a former one then. `role` says what the
    /// file is for; [`open`](Self::open) must name the same one.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the folder cannot be written.
    pub fn create(&self, target: &Path, role: &'static str) -> Result<SealedWriter> {
        let number = self.manifest.as_ref().map(|manifest| manifest.reserve());
        self.disk.create(target, target, role, number)
    }

    /// Puts finished files in their places, in this order, and then removes `former` ones, as one change.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), if not all files got into their places, as when an earlier write of one failed. A
    /// former one that cannot be removed only leaves a warning.
    pub fn put(&self, files: Vec<SealedWriter>, former: &[PathBuf]) -> Result<()> {
        let files = files.into_iter().map(SealedWriter::finish).collect::<Result<Vec<_>>>()?;
        let stamps: Vec<_> = files.iter().map(|(file, stamp)| (file.target().to_owned(), *stamp)).collect();
        let act = || {
            files.into_iter().try_for_each(|(file, _)| file.put())?;
            match self.disk.remove(former) {
                Ok(()) => Ok(Done::Wholly),
                Err(error) => {
                    tracing::warn!(%error, "a file that is not needed any more could not be removed");
                    Ok(Done::Partly)
                }
            }
        };
        match &self.manifest {
            Some(manifest) => manifest.change(&self.disk, &stamps, former, act),
            None => act().map(drop),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it is not there or cannot be read,
    /// [`Error::Corrupted`](crate::Error::Corrupted) if it is no sealed file or plain where an encrypted one must be,
    /// [`Error::WrongKey`](crate::Error::WrongKey) if it is encrypted and the key for it is not here.
    pub fn open(&self, path: &Path, role: &'static str) -> Result<SealedReader> {
        self.disk.open(path, path, role)
    }

    /// Writes a small file at once.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), and then a former file is still there.
    pub fn write(&self, target: &Path, role: &'static str, bytes: &[u8]) -> Result<()> {
        let mut file = self.create(target, role)?;
        file.append(bytes)?;
        self.put(vec![file], &[])
    }

    /// Reads a file of at most `at_most` bytes of content at once.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Corrupted`](crate::Error::Corrupted) if the content is not what was written, or
    /// longer.
    pub fn read(&self, path: &Path, role: &'static str, at_most: u64) -> Result<Vec<u8>> {
        self.disk.read(path, path, role, at_most)
    }

    /// The number of the data key that a file says it is under, `None` for a plain one. Nothing but the header is
    /// read, and nothing is proven by it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), and [`Error::Corrupted`](crate::Error::Corrupted) if it is no sealed file.
    pub fn key_id(&self, path: &Path) -> Result<Option<u32>> {
        self.disk.key_id(path)
    }

    /// The version of the format of a file that a later version of this program sealed, as far as its header can be
    /// trusted; `None` for one that can be read here, or is no sealed file.
    pub fn later_version(&self, path: &Path) -> Option<u32> {
        self.disk.later_version(path)
    }

    /// Removes a file for good; one that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.remove_all(&[path.to_owned()])
    }

    /// Removes files for good, as one change; those that are not there are passed over.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); some may be gone then.
    pub fn remove_all(&self, paths: &[PathBuf]) -> Result<()> {
        let act = || self.disk.remove(paths).map(|()| Done::Wholly);
        match &self.manifest {
            Some(manifest) => manifest.change(&self.disk, &[], paths, act),
            None => act().map(drop),
        }
    }
}
