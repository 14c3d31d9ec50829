//! Wiping a store.
//!
//! The header goes first: without it nothing of an encrypted store opens any more, whoever has the app's key. As long as one
//! file of the store is left, the folder is known as a store's, and the next call goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_files::atomic;
use nightgraft_files::file_system::{self, FileSystem};
use serde::Serialize;

use super::folders::{GRAFTS, JOURNAL, SESSION, list};
use super::inventory::{self, Item, Kind, kind_of};
use super::lock::Lock;
use crate::vault::Vault;
use crate::{Error, Result, Store, StoreProblem};

/// What wiping a store did. Paths begin at its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DestroyReport {
    /// The files that are gone.
    pub removed: Vec<PathBuf>,
    /// The files that were none of the store's; they stay, and the folder with them.
    pub left: Vec<PathBuf>,
}

impl Store {
    /// Wipes the store in the folder `root`, which needs no key: first what its keys are wrapped in, then every other file,
    /// then the folder itself. A folder that is empty or not there has nothing to wipe. A process that is killed in the middle
    /// leaves a store that does not open, and calling this again goes on.
    ///
    /// # Errors
    /// [`Error::Refused`] if the folder is not a store's, and then nothing in it is touched; [`Error::Locked`] if it is open;
    /// [`Error::Io`].
    pub fn destroy(root: &Path) -> Result<DestroyReport> {
        Self::destroy_with(root, file_system::system())
    }

    /// Does what [`destroy`](Self::destroy) does, on a given disk.
    ///
    /// # Errors
    /// As [`destroy`](Self::destroy).
    pub fn destroy_with(root: &Path, fs: Arc<dyn FileSystem>) -> Result<DestroyReport> {
        let vault = Vault::plain(fs);
        let fs = vault.fs();
        if fs.metadata(root).map_err(Error::io("open", root))?.is_none() || list(fs, root)?.is_empty() {
            return Ok(DestroyReport::default());
        }
        if !inventory::is_vacant(fs, root)? && !holds_a_store(&vault, root)? {
            return Err(Error::Refused { path: root.to_owned(), problem: StoreProblem::NotAStore });
        }
        let lock = Lock::take(root)?;
        let (ours, others): (Vec<_>, Vec<_>) =
            inventory::items(fs, root)?.into_iter().partition(|item| is_ours(root, item));
        for stage in Stage::IN_ORDER {
            let files = ours.iter().filter(|item| Stage::of(item.kind) == stage);
            vault.remove_all(&files.map(|item| item.path.clone()).collect::<Vec<_>>())?;
            if stage == Stage::Files {
                remove_empty(fs, [JOURNAL, GRAFTS, SESSION].map(|folder| root.join(folder)))?;
            }
        }
        remove_empty(fs, [root.to_owned()])?;
        drop(lock);
        let below = |items: Vec<Item>| {
            let place = |item: Item| item.path.strip_prefix(root).unwrap_or(&item.path).to_owned();
            items.into_iter().map(place).collect()
        };
        Ok(DestroyReport { removed: below(ours), left: below(others) })
    }
}

/// When a file goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Keys,
    Files,
    Lock,
}

impl Stage {
    const IN_ORDER: [Self; 3] = [Self::Keys, Self::Files, Self::Lock];

    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Header | Kind::HeaderCopy => Self::Keys,
            Kind::Lock => Self::Lock,
            _ => Self::Files,
        }
    }
}

/// Whether there is a sealed file where a store has one.
fn holds_a_store(vault: &Vault, root: &Path) -> Result<bool> {
    for folder in ["", JOURNAL, GRAFTS, SESSION].map(|folder| root.join(folder)) {
        if vault.fs().metadata(&folder).map_err(Error::io("open", &folder))?.is_none() {
            continue;
        }
        for entry in list(vault.fs(), &folder)?.into_iter().filter(|entry| !entry.is_dir) {
            let path = folder.join(entry.name);
            if !matches!(kind_of(root, &path), Kind::Unknown | Kind::Lock) && is_sealed(vault, &path)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a store sealed the file, one of a later build included.
fn is_sealed(vault: &Vault, path: &Path) -> Result<bool> {
    match vault.key_id(path) {
        Ok(_) => Ok(true),
        Err(Error::Corrupted { .. }) => Ok(vault.later_version(path).is_some()),
        Err(error) => Err(error),
    }
}

/// Whether a store put the file there. The session's folder is the session's alone.
fn is_ours(root: &Path, item: &Item) -> bool {
    item.kind != Kind::Unknown
        || item.path.file_name().is_some_and(atomic::is_scratch)
        || item.path.starts_with(root.join(SESSION))
}

/// Removes folders, unless something is in them. One that is named by a link or a dot, or that a disk is mounted at, stays empty.
fn remove_empty(fs: &Arc<dyn FileSystem>, folders: impl IntoIterator<Item = PathBuf>) -> Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, InvalidInput, NotADirectory, NotFound, ResourceBusy};
    for folder in folders {
        match fs.remove_dir(&folder) {
            Ok(()) => atomic::sync_parent(fs.as_ref(), &folder)?,
            Err(error) => match error.kind() {
                NotFound | DirectoryNotEmpty | NotADirectory | InvalidInput | ResourceBusy => {}
                _ => return Err(Error::io("remove", &folder)(error)),
            },
        }
    }
    Ok(())
}
