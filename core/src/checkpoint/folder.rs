//! The folder of a run's checkpoints: `step-00000123.ngck`.

use std::fs;
use std::path::{Path, PathBuf};

use nightgraft_ggml::MappedFile;

use super::State;
use super::format::{self, Fault};
use crate::atomic::{self, AtomicFile};
use crate::{Error, Result};

/// Writes `state` into `folder`, which is made if need be, and then removes all but the last `keep`
/// checkpoints (at least this one). A later state of the same step replaces an earlier one. Checkpoints of
/// later steps go too: they are damaged, or of a run that this one replaced.
///
/// Returns the file's path.
///
/// # Errors
/// [`Error::Io`], and then the former checkpoints are all still there; [`Error::Checkpoint`] if the sets of
/// numbers do not have the adapter's shapes.
pub fn save(folder: &Path, state: &State, keep: usize) -> Result<PathBuf> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let step = state.progress.step;
    let path = folder.join(file_name(step));
    let mut file = AtomicFile::create(&path)?;
    if let Err(problem) = format::encode(state, &mut file)? {
        return Err(Error::Checkpoint { path, problem });
    }
    file.commit()?;
    let others = list(folder)?;
    let stale = others.iter().filter(|(other, _)| *other > step);
    let old = others.iter().filter(|(other, _)| *other <= step).skip(keep.max(1));
    for (_, path) in stale.chain(old) {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, "an old checkpoint could not be removed");
        }
    }
    Ok(path)
}

/// The newest sound checkpoint in `folder`, or `None` if there is none or no such folder. Damaged files are
/// passed over with a warning; scratch files of interrupted writes are removed.
///
/// # Errors
/// [`Error::Io`] if the folder or a file cannot be read; [`Error::Checkpoint`] for a file of another version of
/// the format, which another version of this program could still continue.
pub fn load_latest(folder: &Path) -> Result<Option<(PathBuf, State)>> {
    if !folder.try_exists().map_err(Error::io("open", folder))? {
        return Ok(None);
    }
    atomic::sweep(folder)?;
    for (_, path) in list(folder)? {
        match read(&path)? {
            Ok(state) => return Ok(Some((path, state))),
            Err(Fault::Damaged(what)) => {
                tracing::warn!(checkpoint = %path.display(), %what, "passing over a damaged checkpoint");
            }
            Err(fault) => return Err(Error::Checkpoint { path, problem: fault.to_string() }),
        }
    }
    Ok(None)
}

/// Reads one checkpoint.
///
/// # Errors
/// [`Error::Checkpoint`] if it is damaged or of another version, [`Error::Io`] if it cannot be read.
pub fn load(path: &Path) -> Result<State> {
    read(path)?.map_err(|fault| Error::Checkpoint { path: path.to_owned(), problem: fault.to_string() })
}

/// Removes all checkpoints in `folder`, for a run that starts anew.
///
/// # Errors
/// [`Error::Io`].
pub fn clear(folder: &Path) -> Result<()> {
    if folder.try_exists().map_err(Error::io("open", folder))? {
        atomic::sweep(folder)?;
        for (_, path) in list(folder)? {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Result<State, Fault>> {
    if fs::metadata(path).map_err(Error::io("open", path))?.len() == 0 {
        return Ok(Err(Fault::Damaged("it is empty".into())));
    }
    // Mapped, not read: the numbers are then in memory once. The file is replaced, never rewritten in place.
    Ok(format::decode(&MappedFile::open(path)?))
}

/// The checkpoints in `folder` with their steps, newest first.
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        if let Some(step) = entry.file_name().to_str().and_then(step_of) {
            found.push((step, entry.path()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

fn file_name(step: u64) -> String {
    format!("step-{step:08}.ngck")
}

/// The step in a checkpoint's name; `None` for any other file.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(".ngck")?.parse().ok()?;
    (file_name(step) == name).then_some(step)
}
