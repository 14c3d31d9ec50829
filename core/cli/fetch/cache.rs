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
    if let Some(folder) = path_in("NIGHTGRAFT_CACHE") {
        return Ok(folder);
    }
    if let Some(caches) = path_in("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(caches.join("nightgraft"));
    }
    match env::home_dir().filter(|home| !home.as_os_str().is_empty()) {
        Some(home) => Ok(home.join(".cache").join("nightgraft")),
        None => bail!("no home folder is known; say where to keep models with NIGHTGRAFT_CACHE=FOLDER"),
    }
}

/// The path that an environment variable holds.
pub fn path_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder for the unfinished files of one fetch; it stays when the fetch fails, so that the next one goes on.
pub fn work_folder(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join("downloads").join(name);
    fs::create_dir_all(&folder).map_err(DiskError::from_io("create", &folder))?;
    Ok(folder)
}

/// Waits until no other process has this lock file.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(DiskError::from_io("create", folder))?;
    }
    let file = File::create(path).map_err(DiskError::from_io("create", path))?;
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

/// Fails when the disk of an existing folder has less room than `bytes`; `variable` names the one that moves the folder.
pub fn require_space(folder: &Path, bytes: u64, variable: &str) -> Result<()> {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < bytes {
        let (needed, free) = (format::bytes(bytes), format::bytes(free));
        let text = format!("not enough room in {}: {needed} needed, {free} free", folder.display());
        return Err(
            DiskError(format!("{text}; free some, or set {variable} to a folder on another disk")).into()
        );
    }
    Ok(())
}

/// The bytes of the files in a folder.
pub fn held_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}
