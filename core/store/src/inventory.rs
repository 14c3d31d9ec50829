//! What every file in a store's folder is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_files::atomic;
use nightgraft_files::file_system::{Entry, FileSystem, Mode, tighten};

use super::folders::{GRAFTS, JOURNAL, SESSION, list};
use super::ids::GraftId;
use super::segment::Span;
use super::{Store, documents, graft_file, grafts, header, lock, segment};
use crate::vault::manifest;
use crate::{Error, Result, checkpoint};

/// A file of a store.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) kind: Kind,
}

/// What a file is, by its place and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    /// The second copy of the header.
    HeaderCopy,
    /// The manifest, or the one that is about to take its place.
    Manifest,
    Segment,
    Graft(GraftId),
    History,
    /// A document of the session or the store.
    Document,
    Checkpoint,
    /// The empty file that is locked.
    Lock,
    /// Nothing that a store puts there.
    Unknown,
}

impl Kind {
    /// What the file is sealed as; `None` for the header, which has its own vault, for the manifest, which reads itself,
    /// and for files that are not sealed.
    pub(super) fn role(self) -> Option<&'static str> {
        match self {
            Self::Segment => Some(segment::ROLE),
            Self::Graft(_) => Some(graft_file::ROLE),
            Self::History => Some(grafts::HISTORY_ROLE),
            Self::Document => Some(documents::ROLE),
            Self::Checkpoint => Some(checkpoint::ROLE),
            Self::Header | Self::HeaderCopy | Self::Manifest | Self::Lock | Self::Unknown => None,
        }
    }
}

impl Store {
    /// Every file in the folder; see [`items`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn inventory(&self) -> Result<Vec<Item>> {
        items(self.vault.fs(), &self.root)
    }
}

/// Every file in the folder of a store, by path, those in other folders than a store's own included.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn items(fs: &Arc<dyn FileSystem>, root: &Path) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for Entry { name, is_dir, len, .. } in list(fs, &root.join(&folder))? {
            let place = folder.join(&name);
            if is_dir {
                folders.push(place);
            } else {
                let kind = name.to_str().map_or(Kind::Unknown, |name| kind(&folder, name));
                items.push(Item { path: root.join(place), bytes: len, kind });
            }
        }
    }
    items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

/// What the file at `path` is in the store in `root`, whether it is there or not.
pub(super) fn kind_of(root: &Path, path: &Path) -> Kind {
    let place = path.strip_prefix(root).ok();
    let parts = place.and_then(|place| Some((place.parent()?, place.file_name()?.to_str()?)));
    parts.map_or(Kind::Unknown, |(folder, name)| kind(folder, name))
}

/// The file `name` in `folder`, seen from the root of the store.
fn kind(folder: &Path, name: &str) -> Kind {
    let Some(folder) = folder.to_str() else { return Kind::Unknown };
    match (folder, name) {
        ("", lock::NAME) => Kind::Lock,
        ("", grafts::HISTORY) => Kind::History,
        ("", header::NAME) => Kind::Header,
        ("", header::COPY_NAME) => Kind::HeaderCopy,
        ("", manifest::NAME | manifest::NEXT_NAME) => Kind::Manifest,
        (JOURNAL, name) if Span::from_file_name(name).is_some() => Kind::Segment,
        (GRAFTS, name) => graft_file::id_of(name).map_or(Kind::Unknown, Kind::Graft),
        (SESSION, name) if checkpoint::is_checkpoint(name) => Kind::Checkpoint,
        (folder, name) if documents::place_of(name) == Some(folder) => Kind::Document,
        _ => Kind::Unknown,
    }
}

/// Removes the scratch files in `folder`, this process's own too: whoever holds the lock knows that nobody is writing.
/// They may hold a user's text, so one that cannot be removed is an error.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn sweep(fs: &Arc<dyn FileSystem>, folder: &Path) -> Result<()> {
    for entry in list(fs, folder)? {
        let path = folder.join(&entry.name);
        if atomic::is_scratch(&entry.name) {
            let removed = if entry.is_dir { fs.remove_dir_all(&path) } else { fs.remove_file(&path) };
            removed.map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Takes the permissions of others from everything that is the store's. Its folder is the store's alone, whoever made it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn make_private(fs: &Arc<dyn FileSystem>, root: &Path) -> Result<()> {
    for folder in ["", JOURNAL, GRAFTS, SESSION] {
        let path = root.join(folder);
        let found = fs.metadata(&path).map_err(Error::io("open", &path))?;
        tighten(fs.as_ref(), &path, found.map_or(Mode::PRIVATE, |entry| entry.mode));
        for Entry { name, mode, .. } in list(fs, &path)? {
            let is_ours = name.to_str().is_some_and(|name| kind(Path::new(folder), name) != Kind::Unknown);
            if is_ours {
                tighten(fs.as_ref(), &path.join(&name), mode);
            }
        }
    }
    Ok(())
}

/// Whether a store can begin in `root`: it is not there, or holds nothing but what a beginning leaves that was
/// interrupted, empty folders and scratch files.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn is_vacant(fs: &Arc<dyn FileSystem>, root: &Path) -> Result<bool> {
    if fs.metadata(root).map_err(Error::io("open", root))?.is_none() {
        return Ok(true);
    }
    for entry in list(fs, root)? {
        let ours = [JOURNAL, GRAFTS, SESSION].iter().any(|name| entry.name == *name);
        let vacant = if entry.is_dir {
            ours && list(fs, &root.join(&entry.name))?.is_empty()
        } else {
            entry.name == lock::NAME || entry.name == manifest::NEXT_NAME || atomic::is_scratch(&entry.name)
        };
        if !vacant {
            return Ok(false);
        }
    }
    Ok(true)
}
