//! A store that is open: what it consists of.

use std::path::{Path, PathBuf};

use super::header::StoreHeader;
use super::journal::Journal;
use super::lock::Lock;
use crate::vault::{Key, Vault};
use crate::{Error, StoreProblem};

/// A store that this process has open; see [the module](super).
///
/// ```
/// use nightgraft_store::{Store, StoreOptions};
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
    /// The vault of the header, which is never encrypted.
    pub(super) plain: Vault,
    pub(super) header: StoreHeader,
    /// Whether the header was lost, and this one is not on the disk yet.
    pub(super) header_is_made_up: bool,
    /// The app's key, for [`Store::rotate_key`].
    pub(super) key: Option<Key>,
    pub(super) journal: Journal,
    pub(super) quota: Option<u64>,
    pub(super) keep: usize,
    /// Whether a session was dropped because of deleted examples, and nobody was told yet.
    pub(super) dropped_session: bool,
    /// The last field: everything else is gone when the lock is. A [reader](super::StoreReader) has none.
    pub(super) _lock: Option<Lock>,
}

impl Store {
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

    pub(super) fn refused(&self, problem: StoreProblem) -> Error {
        Error::Refused { path: self.root.clone(), problem }
    }
}
