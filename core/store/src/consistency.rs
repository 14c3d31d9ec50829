//! Whether the files of a store are the ones that it wrote last.

use std::path::{Path, PathBuf};

use super::deviation::Deviation;
use super::inventory::{self, Item, Kind};
use super::{Store, header, sealed};
use crate::vault::Vault;
use crate::vault::manifest::{self, Manifest, Stray};
use crate::{Error, Inconsistency, Result};

/// Whether a store with such a file is opened all the same, with a warning: what is missing is gone for good, and none of its
/// former contents came back by it.
pub(super) fn is_bearable(deviation: &Deviation, root: &Path) -> bool {
    let kind = inventory::kind_of(root, &deviation.path);
    deviation.why == Inconsistency::Missing && !matches!(kind, Kind::Segment | Kind::History | Kind::Manifest)
}

/// Every valid file that is another version than the manifest lists, or that it does not list; and every one that is
/// missing. A damaged file is not among them: reading it says so.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn deviations(
    vault: &Vault,
    plain: &Vault,
    manifest: &Manifest,
    root: &Path,
) -> Result<Vec<Deviation>> {
    let at = |path: PathBuf, why| Deviation { path, why };
    let mut listed = manifest.files();
    let mut found = Vec::new();
    let mut is_older = manifest.stray() == Some(Stray::Later);
    if manifest.stray() == Some(Stray::Earlier) {
        found.push(at(root.join(manifest::NEXT_NAME), Inconsistency::PutBack));
    }
    for item in inventory::items(vault.fs(), root)? {
        let Some((vault, role)) = reading(vault, plain, &item) else { continue };
        let was_listed = listed.remove(&item.path);
        if manifest.agrees(vault.disk(), &item.path)? || !is_valid(vault, &item, role)? {
            continue;
        }
        is_older |= vault.disk().number(&item.path)?.is_some_and(|number| number > manifest.counter());
        let why = if was_listed { Inconsistency::Earlier } else { Inconsistency::PutBack };
        found.push(at(item.path, why));
    }
    if is_older {
        return Ok(vec![at(root.join(manifest::NAME), Inconsistency::EarlierManifest)]);
    }
    found.extend(listed.into_iter().map(|path| at(path, Inconsistency::Missing)));
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The files that a manifest lists.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn tracked(vault: &Vault, root: &Path) -> Result<Vec<PathBuf>> {
    let items = inventory::items(vault.fs(), root)?;
    Ok(items.into_iter().filter(|item| is_tracked(item.kind)).map(|item| item.path).collect())
}

fn is_tracked(kind: Kind) -> bool {
    kind.role().is_some() || matches!(kind, Kind::Header | Kind::HeaderCopy)
}

/// What a tracked file is read with.
fn reading<'a>(vault: &'a Vault, plain: &'a Vault, item: &Item) -> Option<(&'a Vault, &'static str)> {
    match item.kind {
        Kind::Header | Kind::HeaderCopy => Some((plain, header::ROLE)),
        kind => kind.role().map(|role| (vault, role)),
    }
}

/// Whether the store wrote the file once. Of one that is under a key of former times that is all that can be seen.
fn is_valid(vault: &Vault, item: &Item, role: &'static str) -> Result<bool> {
    match sealed::read_to_end(vault, &item.path, role) {
        Err(Error::WrongKey { path }) => is_of_former_key(vault, &path),
        read => Ok(sealed::damage(read)?.is_ok()),
    }
}

/// Whether a file is under a data key from before the present one.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn is_of_former_key(vault: &Vault, path: &Path) -> Result<bool> {
    let id = sealed::damage(vault.key_id(path))?.ok().flatten();
    Ok(id > Some(0) && id < vault.current_key_id())
}

impl Store {
    /// The [`deviations`] of the store as it is now.
    pub(super) fn deviations(&self) -> Result<Vec<Deviation>> {
        match self.vault.manifest() {
            Some(manifest) => deviations(&self.vault, &self.plain, manifest, &self.root),
            None => Ok(Vec::new()),
        }
    }
}
