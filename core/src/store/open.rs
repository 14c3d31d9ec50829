//! Opening and beginning a store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::header::Header;
use super::inventory::{self, GRAFTS, JOURNAL, SESSION};
use super::journal::Journal;
use super::lock::Lock;
use super::sealed;
use crate::file_system::{self, FileSystem};
use crate::vault::{Key, Vault};
use crate::{Error, Result};

/// How a store is opened.
#[derive(Debug)]
pub struct StoreOptions {
    /// The key of an encrypted store. A new store is encrypted if there is one.
    pub key: Option<Key>,
    /// Bytes that all files of the store may take together.
    pub quota: Option<u64>,
    /// Grafts that are kept when one is added; at least the new one, the one in use and the one before that are.
    pub keep: usize,
    /// Begin a new store if there is none in the folder.
    pub create: bool,
    /// The seed of a new store; random otherwise.
    pub seed: Option<u64>,
    /// Open the store also if its journal is damaged, with the examples that can be read, for [`Store::verify`]
    /// and [`Store::repair`]. Until it is repaired nothing can be added or deleted.
    pub damaged: bool,
}

impl Default for StoreOptions {
    /// No key, no quota, five grafts, and a new store if there is none.
    fn default() -> Self {
        Self { key: None, quota: None, keep: 5, create: true, seed: None, damaged: false }
    }
}

/// A store that this process has open; see [the module](super).
///
/// ```
/// use nightgraft_core::store::{Store, StoreOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let mut store = Store::open(folder, StoreOptions::default())?;
/// let ids = store.add(&[r#"{"text": "The ferry leaves at seven."}"#.to_owned()])?;
/// assert_eq!(store.examples()[0].id, ids[0]);
/// store.delete(&ids)?;
/// assert!(store.examples().is_empty());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    pub(super) root: PathBuf,
    pub(super) vault: Vault,
    /// For the header, which is never encrypted.
    pub(super) plain: Vault,
    pub(super) header: Header,
    /// The app's key, for [`Store::rotate_key`].
    pub(super) key: Option<Key>,
    pub(super) journal: Journal,
    pub(super) quota: Option<u64>,
    pub(super) keep: usize,
    /// The last field: everything else is gone when the lock is.
    _lock: Lock,
}

impl Store {
    /// Opens the store in the folder `root`, or begins one there; finishes what a crash has interrupted.
    ///
    /// # Errors
    /// [`Error::StoreLocked`] if it is open already, [`Error::WrongKey`], [`Error::NoKey`], [`Error::Corrupted`] if the
    /// header or the journal is damaged (other files are looked at when they are needed), [`Error::Store`] if there is
    /// no store and none is to be made, if a key is needless, or the folder holds something else; [`Error::Io`].
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self> {
        Self::open_with(root, options, file_system::system())
    }

    /// The same on a given disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(root: &Path, options: StoreOptions, fs: Arc<dyn FileSystem>) -> Result<Self> {
        let refuse = |problem: &str| Error::Store { path: root.to_owned(), problem: problem.into() };
        let plain = Vault::plain(fs);
        let fs = plain.fs();
        if !options.create && Self::read_header(&plain, root, &options)?.is_none() {
            return Err(refuse("there is no store"));
        }
        fs.create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = Lock::take(root)?;
        // Read again: somebody else may have changed it before the lock was ours.
        let header = match Self::read_header(&plain, root, &options)? {
            Some(header) => header,
            None => {
                // Whatever a beginning leaves behind when it is interrupted is removed or used by the next one.
                inventory::sweep(fs, root)?;
                if !inventory::is_vacant(fs, root)? {
                    return Err(refuse(
                        "the folder holds other files and no header of a store; choose an empty folder, or bring \
                         back its store.ngs",
                    ));
                }
                let header = Header::new(options.seed, options.key.as_ref(), root)?;
                header.write(&plain, root)?;
                header
            }
        };
        let vault = header.vault(&plain, options.key.as_ref(), root)?;
        for folder in [JOURNAL, GRAFTS, SESSION] {
            let folder = root.join(folder);
            fs.create_dir_all(&folder).map_err(Error::io("create", &folder))?;
            inventory::sweep(fs, &folder)?;
        }
        inventory::make_private(fs, root)?;
        inventory::sweep(fs, root)?;
        let journal = Journal::load(&vault, &root.join(JOURNAL))?;
        let mut store = Self {
            root: root.to_owned(),
            vault,
            plain: plain.clone(),
            header,
            key: options.key,
            journal,
            quota: options.quota,
            keep: options.keep,
            _lock: lock,
        };
        store.note_lost_examples()?;
        if !options.damaged {
            store.journal.check()?;
        }
        if store.header.is_rotating()
            && let Err(error) = store.finish_rotation()
        {
            // Both keys are there until it is done, so everything works meanwhile.
            tracing::warn!(%error, "the change of the key is not finished yet");
        }
        store.drop_session_of_deleted()?;
        Ok(store)
    }

    /// Segments that are gone from the journal's end leave no gap: what others know of its examples shows it.
    fn note_lost_examples(&mut self) -> Result<()> {
        let current = sealed::damage(self.current())?.ok().flatten();
        let saw = match current.map(|id| self.meta(id)) {
            None | Some(Err(Error::Store { .. })) => None,
            Some(meta) => sealed::damage(meta)?.ok().and_then(|meta| meta.saw.last()),
        };
        let last = saw.unwrap_or(0).max(self.last_id_of_session()?);
        self.journal.expect_ids_up_to(last);
        Ok(())
    }

    /// The header; a new one in place of a damaged or missing one, if there are files whose only loss that is and
    /// `options` say so. That is not written before the store is repaired.
    fn read_header(plain: &Vault, root: &Path, options: &StoreOptions) -> Result<Option<Header>> {
        let found = Header::read(plain, root);
        let lost = matches!(found, Ok(None) | Err(Error::Corrupted { .. }));
        if !lost || !options.damaged || options.key.is_some() {
            return found;
        }
        let mut n_plain = 0;
        for folder in [JOURNAL, GRAFTS].map(|folder| root.join(folder)) {
            let is_there = plain.fs().metadata(&folder).map_err(Error::io("open", &folder))?.is_some();
            for entry in if is_there { inventory::list(plain.fs(), &folder)? } else { Vec::new() } {
                match plain.key_id(&folder.join(&entry.name)) {
                    Ok(None) => n_plain += 1,
                    // The key to it was in the header.
                    Ok(Some(_)) => return found,
                    Err(_) => {}
                }
            }
        }
        if n_plain == 0 { found } else { Header::new(options.seed, None, root).map(Some) }
    }

    /// Where everything is written; for the checkpoints in [`session_folder`](Self::session_folder). A clone is of no
    /// use any more after [`rotate_key`](Self::rotate_key).
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What every random choice of the store's sessions begins with; stays the same for as long as the store exists.
    pub fn seed(&self) -> u64 {
        self.header.seed
    }

    pub(super) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Store { path: self.root.clone(), problem: problem.into() }
    }
}

/// Seconds since 1970 by the device's clock.
pub(super) fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
