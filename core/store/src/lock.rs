//! One process at a time.

use std::fs::File;
use std::path::Path;

use nightgraft_files::file_system;

use crate::{Error, Result};

pub(super) const NAME: &str = ".lock";

/// Taken until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Locks the store in the folder `root`.
    ///
    /// # Errors
    /// [`Error::Locked`] if somebody has it open, [`Error::Io`].
    pub(super) fn take(root: &Path) -> Result<Self> {
        let path = root.join(NAME);
        let file = file_system::open_lock(&path).map_err(Error::io("write to", root))?;
        match file_system::try_lock(&file) {
            Ok(true) => {}
            Ok(false) => return Err(Error::Locked { path: root.to_owned() }),
            // A file system without locks: one careful user is enough.
            Err(error) => tracing::warn!(%error, "the store cannot be locked"),
        }
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would not do: a process that another thread is starting has the open file too, until it runs its
        // own program.
        if let Err(error) = file_system::unlock(&self.file) {
            tracing::debug!(%error, "the store's lock is given back by closing it");
        }
    }
}
