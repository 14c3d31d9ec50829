//! Which checkpoint a run goes on from, and which it does not.

use std::path::{Path, PathBuf};

use nightgraft_adapter::AdapterTensors;
use nightgraft_gguf::Fingerprint;
use nightgraft_store::CheckpointProblem;
use nightgraft_store::Error as StoreError;
use nightgraft_store::checkpoint::{self, Snapshot, State};
use nightgraft_store::vault::Vault;
use nightgraft_text::data::Dataset;
use sha2::{Digest, Sha256};

use super::{Event, Leftover};
use crate::Result;
use crate::base::Base;
use crate::config::{RunConfig, TrainConfig};
use crate::train::TrainLoop;

/// What must be equal for a run to go on from a checkpoint.
pub(super) struct RunIdentity {
    base: Fingerprint,
    data: String,
    /// TOML lines: the settings that affect the result, and a hash of the adapter at the start.
    settings: String,
}

/// A checkpoint of a run, and its file.
pub(super) type SavedRun = (PathBuf, State);

impl RunIdentity {
    pub(super) fn new(
        config: &TrainConfig,
        base: &Base,
        start: &AdapterTensors,
        train: &Dataset,
        held_out: Option<&Dataset>,
    ) -> Result<Self> {
        let held_out = held_out.map_or("none".to_owned(), Dataset::fingerprint);
        Ok(Self {
            base: *base.fingerprint(),
            data: format!("{} {held_out}", train.fingerprint()),
            settings: format!("{}start = \"{}\"\n", result_affecting_settings(config)?, hash(start)),
        })
    }

    /// The run as it is, with what it is known by.
    pub(super) fn snapshot<'a>(&'a self, train_loop: &'a TrainLoop) -> Snapshot<'a> {
        train_loop.snapshot(&self.settings, &self.data)
    }

    /// Why a checkpoint is not of this run, if so.
    fn difference(&self, state: &State) -> Option<CheckpointProblem> {
        if self.base != state.base {
            return Some(CheckpointProblem::OtherBase);
        }
        // Checkpoints did not always say for which date their data was rendered: if it matters, the data is other data.
        let is_dated = state.config.lines().any(is_date);
        let now: Vec<_> = self.settings.lines().filter(|line| is_dated || !is_date(line)).collect();
        let then: Vec<_> = state.config.lines().collect();
        if now != then {
            let missing = |from: &[&str], other: &[&str]| -> Vec<String> {
                from.iter().filter(|line| !other.contains(line)).map(|&line| line.to_owned()).collect()
            };
            let (then, now) = (missing(&then, &now), missing(&now, &then));
            return Some(CheckpointProblem::OtherSettings { then, now });
        }
        (self.data != state.data).then_some(CheckpointProblem::OtherData)
    }
}

/// Whether a line of the settings is the one with the date.
fn is_date(line: &str) -> bool {
    line.starts_with("date = ")
}

/// What the newest valid checkpoint says of the settings that may be left open: the date that its data was rendered for, and
/// what was decided when the run began.
pub(super) fn saved_settings(vault: &Vault, folder: &Path) -> Result<TrainConfig> {
    let state = match checkpoint::load_latest(vault, folder) {
        Ok(Some((_, state))) => state,
        Ok(None) | Err(StoreError::WrongKey { .. }) => return Ok(TrainConfig::default()),
        Err(error) => return Err(error.into()),
    };
    let is_read = |line: &&str| {
        is_date(line)
            || ["batch_tokens = ", "epochs = ", "lr = ", "precision = "]
                .iter()
                .any(|key| line.starts_with(key))
    };
    let lines: String = state.config.split_inclusive('\n').filter(is_read).collect();
    Ok(TrainConfig::from_toml(&lines).unwrap_or_default())
}

/// The settings that affect the result, as TOML; all others are set to their defaults.
pub(super) fn result_affecting_settings(config: &TrainConfig) -> Result<String> {
    // A run may go on with another device: it is the same run, if not to the last bit.
    let RunConfig { threads, device, checkpoint_every, keep_checkpoints, resume, .. } = RunConfig::default();
    let run = RunConfig { threads, device, checkpoint_every, keep_checkpoints, resume, ..config.run.clone() };
    TrainConfig { run, ..config.clone() }.to_toml()
}

/// The newest valid checkpoint of the run, if there is one.
///
/// # Errors
/// [`StoreError::Checkpoint`] if it belongs to a run with another base, data or settings.
pub(super) fn load(
    vault: &Vault,
    folder: &Path,
    identity: &RunIdentity,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<SavedRun>> {
    let latest = checkpoint::load_latest_reporting(vault, folder, |path, error| {
        on_event(&Event::Discarded { what: Leftover::Checkpoint(path.to_owned()), why: error.into() });
    });
    let Some((path, state)) = latest? else { return Ok(None) };
    match identity.difference(&state) {
        None => Ok(Some((path, state))),
        Some(problem) => Err(StoreError::Checkpoint { path, problem }.into()),
    }
}

fn hash(adapter: &AdapterTensors) -> String {
    let mut hasher = Sha256::new();
    for ((layer, module), pair) in &adapter.pairs {
        hasher.update(format!("{layer} {} {}\n", module.gguf_name(), pair.rank));
        for value in pair.a.iter().chain(&pair.b_t) {
            hasher.update(value.to_le_bytes());
        }
    }
    base16ct::lower::encode_string(&hasher.finalize()[..8])
}
