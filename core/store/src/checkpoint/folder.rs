//! The folder of a run's checkpoints: `step-00000123.ngck`.

use std::io::Read;
use std::path::{Path, PathBuf};

use nightgraft_files::atomic;

use super::format::{self, EncodeError, OLDEST, VERSION};
use super::{Snapshot, State};
use crate::vault::{SealedReader, Vault};
use crate::{CheckpointProblem, Error, Result};

/// What the files are sealed as.
pub const ROLE: &str = "checkpoint";
/// What a checkpoint of version 1 began with.
const FIRST_MAGIC: [u8; 8] = *b"NGCKPT\r\n";

/// Writes `state` into `folder`, which is made if need be, and then removes all but the last `keep`
/// checkpoints (at least this one). A later state of the same step replaces an earlier one. Checkpoints of
/// later steps go too: they are damaged, or of a run that this one replaced.
///
/// Returns the file's path.
///
/// # Errors
/// [`Error::Io`], and then the former checkpoints are all still there; [`Error::Checkpoint`] if the sets of
/// numbers do not have the adapter's shapes.
pub fn save(vault: &Vault, folder: &Path, state: Snapshot<'_>, keep: usize) -> Result<PathBuf> {
    let step = state.progress.step;
    let path = folder.join(file_name(step));
    vault.fs().create_dir_all(folder).map_err(Error::io("create", folder))?;
    let mut file = vault.create(&path, ROLE)?;
    format::encode(state, &mut file).map_err(|error| match error {
        EncodeError::Shapes(set) => {
            Error::Checkpoint { path: path.clone(), problem: CheckpointProblem::Shapes(set) }
        }
        EncodeError::Io(error) => file.error(error),
    })?;
    let mut others = list(vault, folder)?;
    others.retain(|(other, _)| *other != step);
    let (stale, old): (Vec<_>, Vec<_>) = others.into_iter().partition(|(other, _)| *other > step);
    let needless = stale.into_iter().chain(old.into_iter().skip(keep.max(1) - 1)).map(|(_, path)| path);
    vault.put(vec![file], &needless.collect::<Vec<_>>())?;
    Ok(path)
}

/// The newest valid checkpoint in `folder`, or `None` if there is none or no such folder. Damaged files are
/// passed over; scratch files of interrupted writes are removed.
///
/// # Errors
/// [`Error::Io`] if the folder or a file cannot be read; [`Error::Checkpoint`] for a file of another version of
/// the format, which another version of this program could still continue; [`Error::WrongKey`] if there are only
/// files that the vault has no key for.
pub fn load_latest(vault: &Vault, folder: &Path) -> Result<Option<(PathBuf, State)>> {
    load_latest_reporting(vault, folder, |_, _| ())
}

/// Loads the checkpoint that [`load_latest`] does; tells `on_damaged` of each file that is passed over, and why.
///
/// # Errors
/// As [`load_latest`].
pub fn load_latest_reporting(
    vault: &Vault,
    folder: &Path,
    mut on_damaged: impl FnMut(&Path, &Error),
) -> Result<Option<(PathBuf, State)>> {
    if vault.fs().metadata(folder).map_err(Error::io("open", folder))?.is_none() {
        return Ok(None);
    }
    atomic::sweep_in(vault.fs(), folder)?;
    let mut locked = None;
    for (_, path) in list(vault, folder)? {
        match load(vault, &path) {
            Ok(state) => return Ok(Some((path, state))),
            Err(error @ Error::Corrupted { .. }) => on_damaged(&path, &error),
            // It is of another store, or has a damaged header.
            Err(error @ Error::WrongKey { .. }) => {
                on_damaged(&path, &error);
                locked = locked.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    locked.map_or(Ok(None), Err)
}

/// Reads one checkpoint.
///
/// # Errors
/// [`Error::Corrupted`] if it is damaged, [`Error::Checkpoint`] if it is of another version, [`Error::WrongKey`] if
/// the vault has no key for it, [`Error::Io`] if it cannot be read.
pub fn load(vault: &Vault, path: &Path) -> Result<State> {
    let mut file = match vault.open(path, ROLE) {
        Err(Error::Corrupted { .. }) if is_of_version_1(vault, path) => {
            return Err(other_version(path, 1));
        }
        Err(error @ Error::Corrupted { .. }) => {
            // Not passed over as damaged: the run would begin anew, and the file be removed in the end.
            return Err(vault.later_version(path).map_or(error, |version| other_version(path, version)));
        }
        opened => opened?,
    };
    let state = read(&mut file, path)?;
    file.finish()?;
    Ok(state)
}

/// Removes all checkpoints in `folder`, for a run that starts anew; tells how many there were.
///
/// # Errors
/// [`Error::Io`].
pub fn clear(vault: &Vault, folder: &Path) -> Result<usize> {
    if vault.fs().metadata(folder).map_err(Error::io("open", folder))?.is_none() {
        return Ok(0);
    }
    atomic::sweep_in(vault.fs(), folder)?;
    let all: Vec<_> = list(vault, folder)?.into_iter().map(|(_, path)| path).collect();
    vault.remove_all(&all)?;
    Ok(all.len())
}

fn read(file: &mut SealedReader, path: &Path) -> Result<State> {
    let version = format::decode_version(file).map_err(|error| file.error(error))?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(other_version(path, version));
    }
    format::decode(file).map_err(|error| file.error(error))
}

fn other_version(path: &Path, version: u32) -> Error {
    let problem = CheckpointProblem::OtherVersion { found: version, known: VERSION };
    Error::Checkpoint { path: path.to_owned(), problem }
}

/// Whether a file that is not sealed is a checkpoint from before there were sealed ones.
fn is_of_version_1(vault: &Vault, path: &Path) -> bool {
    let mut start = [0; FIRST_MAGIC.len()];
    vault.fs().open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == FIRST_MAGIC
}

/// The checkpoints in `folder` with their steps, newest first.
fn list(vault: &Vault, folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = vault.fs().list(folder).map_err(Error::io("list", folder))?;
    let step = |name: &std::ffi::OsString| name.to_str().and_then(step_of);
    let mut found: Vec<_> = entries
        .iter()
        .filter_map(|entry| step(&entry.name).map(|step| (step, folder.join(&entry.name))))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

fn file_name(step: u64) -> String {
    format!("step-{step:08}.ngck")
}

/// Whether a file of that name is a checkpoint.
pub fn is_checkpoint(name: &str) -> bool {
    step_of(name).is_some()
}

/// The step in a checkpoint's name; `None` for any other file.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(".ngck")?.parse().ok()?;
    (file_name(step) == name).then_some(step)
}
