//! The folders of a store.

use std::path::Path;
use std::sync::Arc;

use nightgraft_files::file_system::{Entry, FileSystem};

use crate::{Error, Result};

/// The folder of the examples.
pub(super) const JOURNAL: &str = "journal";
/// The folder of the adapter's versions.
pub(super) const GRAFTS: &str = "grafts";
/// The folder of the unfinished session.
pub(super) const SESSION: &str = "session";

/// What is in a folder, by name.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn list(fs: &Arc<dyn FileSystem>, folder: &Path) -> Result<Vec<Entry>> {
    let mut entries = fs.list(folder).map_err(Error::io("list", folder))?;
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}
