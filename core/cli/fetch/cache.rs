//! The cache folder: where it is, one fetch of a model at a time, room on its disk.

use std::{
    env, fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{format, output};

/// A problem with this machine's disk, which another source would not mend.
#[derive(Debug)]
pub struct DiskError(pub String);

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiskError {}

impl DiskError {
    /// For `map_err` on a file operation.
    pub fn from_io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> anyhow::Error + use<> {
        let path = path.to_owned();
        move |error| Self(format!("cannot {action} {}: {error}", path.display())).into()
    }
}

/// `$NIGHTGRAFT_CACHE`, else `$XDG_CACHE_HOME/nightgraft`, else `~/.cache/nightgraft`.
pub fn folder() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("NIGHTGRAFT_CACHE") {
        return Ok(folder);
    }
    if let Some(caches) = set("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(caches.join("nightgraft"));
    }
    match env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(".cache").join("nightgraft")),
        None => bail!("no home folder is known; say where to keep models with NIGHTGRAFT_CACHE=FOLDER"),
    }
}

/// The folder for the unfinished files of one fetch; it stays when the fetch fails, so that the next one goes on.
pub fn work_folder(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join("downloads").join(name);
    fs::create_dir_all(&folder).map_err(DiskError::from_io("create", &folder))?;
    Ok(folder)
}

/// Waits until no other process fetches into this folder.
pub fn lock(work: &Path) -> Result<File> {
    let path = work.join("lock");
    let file = File::create(&path).map_err(DiskError::from_io("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            output::note("another process is fetching this model; waiting for it ...");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => tracing::debug!("no locks on this file system: {error}"),
    }
    Ok(file)
}

/// Fails when the disk has less room than `bytes`, less what the folder already holds of them.
pub fn require_space(folder: &Path, bytes: u64) -> Result<()> {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let held = fs::read_dir(folder)
        .map(|entries| {
            entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
        })
        .unwrap_or(0);
    let needed = bytes.saturating_sub(held);
    if free < needed {
        let (needed, free) = (format::bytes(needed), format::bytes(free));
        let text = format!("not enough room in {}: {needed} needed, {free} free", folder.display());
        return Err(
            DiskError(text + "; free some, or set NIGHTGRAFT_CACHE to a folder on another disk").into()
        );
    }
    Ok(())
}
