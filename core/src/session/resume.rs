//! Between a run under way and its checkpoints.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraPairs, Module};
use nightgraft_gguf::Fingerprint;
use nightgraft_store::CheckpointProblem;
use nightgraft_store::Error as StoreError;
use nightgraft_store::checkpoint::{
    self, EarlyStopping, Evaluation, FirstSteps, Matrices, PairShape, Progress, Snapshot, State, matrices,
};
use nightgraft_store::vault::Vault;
use nightgraft_text::data::Dataset;
use sha2::{Digest, Sha256};

use super::{Event, Leftover};
use crate::Result;
use crate::base::Base;
use crate::config::{RunConfig, TrainConfig};
use crate::train::{
    BestAdapter, DataPosition, GradientAccumulation, LearningRateGuard, PartialEvaluation, RunHistory,
    TrainLoop, set_values,
};
use crate::transformer::LossSum;

/// What must be equal for a run to go on from a checkpoint.
pub(super) struct RunIdentity {
    base: Fingerprint,
    data: String,
    /// TOML lines: the settings that affect the result, and a hash of the adapter at the start.
    settings: String,
}

/// A checkpoint that belongs to this run.
pub(super) struct SavedRun {
    path: PathBuf,
    state: State,
}

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
    let RunConfig { threads, checkpoint_every, keep_checkpoints, resume, .. } = RunConfig::default();
    let run = RunConfig { threads, checkpoint_every, keep_checkpoints, resume, ..config.run.clone() };
    TrainConfig { run, ..config.clone() }.to_toml()
}

/// Bytes that a checkpoint of this run takes, a little more rather than less.
pub(super) fn checkpoint_bytes(train_loop: &TrainLoop) -> u64 {
    let sets = 3
        + u64::from(train_loop.trainer().accumulation().micro_steps > 0)
        + u64::from(train_loop.history().best.adapter.is_some());
    // 16 bytes of tag to every chunk of 64 KiB, and the header.
    sets * 4 * train_loop.trainer().adapter().n_parameters() as u64 * 1001 / 1000 + (64 << 10)
}

/// The newest valid checkpoint, if there is one.
///
/// # Errors
/// [`StoreError::Checkpoint`] if it belongs to a run with another base, data or settings.
pub(super) fn load(
    vault: &Vault,
    folder: &Path,
    identity: &RunIdentity,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<(PathBuf, SavedRun)>> {
    let latest = checkpoint::load_latest_reporting(vault, folder, |path, error| {
        on_event(&Event::Discarded { what: Leftover::Checkpoint(path.to_owned()), why: error.into() });
    });
    let Some((path, state)) = latest? else { return Ok(None) };
    match identity.difference(&state) {
        None => Ok(Some((path.clone(), SavedRun { path, state }))),
        Some(problem) => Err(StoreError::Checkpoint { path, problem }.into()),
    }
}

/// Saves the run as it is.
pub(super) fn save(
    vault: &Vault,
    folder: &Path,
    identity: &RunIdentity,
    train_loop: &TrainLoop,
    keep: usize,
) -> Result<()> {
    let trainer = train_loop.trainer();
    let RunHistory { best, evaluations, evaluating, guard } = train_loop.history();
    let adapter = trainer.adapter();
    let optimizer = trainer.optimizer();
    let GradientAccumulation { micro_steps, tokens, sum } = trainer.accumulation();
    let DataPosition { epoch, batch } = trainer.position();
    let progress = Progress {
        step: trainer.step(),
        total_steps: trainer.total_steps(),
        micro_step: *micro_steps,
        epoch,
        next_batch: batch,
        loss_sum: sum.loss,
        tokens: *tokens,
        supervised_tokens: sum.supervised,
        correct: sum.correct,
        evaluations: evaluations.iter().map(|&(step, loss)| Evaluation { step, loss }).collect(),
        evaluating: evaluating.map(|PartialEvaluation { next_batch, sum }| checkpoint::PartialEvaluation {
            next_batch,
            loss: sum.loss,
            correct: sum.correct,
            supervised: sum.supervised,
        }),
        early_stopping: EarlyStopping {
            best_loss: best.at.map(|(loss, _)| loss),
            best_step: best.at.map_or(0, |(_, step)| step),
            evaluations_since: best.evaluations_since,
        },
        first_steps: FirstSteps {
            losses: guard.losses.clone(),
            norms: guard.norms.clone(),
            lowered_after: guard.lowered_after,
        },
    };
    let shapes = adapter.pairs().map(|(place, pair)| {
        let ((rank, n_in), (_, n_out)) = (pair.a.shape(), pair.b_t.shape());
        PairShape::new(place, rank, [n_in, n_out])
    });
    // Straight from where they are: copies of all of this would be the largest part of a small run's memory. A matrix that
    // cannot be read has no numbers, which is refused.
    let state = Snapshot {
        config: &identity.settings,
        base: identity.base,
        data: &identity.data,
        progress: &progress,
        spec: adapter.spec(),
        shapes: shapes.collect(),
        sets: [
            Some(Box::new(
                adapter
                    .parameters()
                    .map(|parameter| Cow::Owned(parameter.value.to_vec().unwrap_or_default())),
            )),
            Some(Box::new(optimizer.mean.iter().map(Cow::from))),
            Some(Box::new(optimizer.square.iter().map(Cow::from))),
            (*micro_steps > 0).then(|| -> Matrices<'_> {
                Box::new(
                    adapter
                        .parameters()
                        .map(|parameter| Cow::Owned(parameter.grad.to_vec().unwrap_or_default())),
                )
            }),
            best.adapter.as_ref().map(|best| -> Matrices<'_> { Box::new(matrices(&best.pairs)) }),
        ],
    };
    checkpoint::save(vault, folder, state, keep)?;
    Ok(())
}

impl SavedRun {
    pub(super) fn step(&self) -> u64 {
        self.state.progress.step
    }

    /// Sets a fresh run of the same identity back to this moment.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if the numbers are not of such a run, whatever the checksum says.
    pub(super) fn restore(self, train_loop: &mut TrainLoop) -> Result<()> {
        if let Some(problem) = self.impossible(train_loop) {
            let problem = CheckpointProblem::Impossible(problem);
            return Err(StoreError::Checkpoint { path: self.path, problem }.into());
        }
        let State { progress, adapter, first_moment, second_moment, gradient, best, .. } = self.state;
        let stopping = &progress.early_stopping;
        let history = RunHistory {
            best: BestAdapter {
                at: stopping.best_loss.map(|loss| (loss, stopping.best_step)),
                adapter: (!best.is_empty())
                    .then(|| AdapterTensors { spec: adapter.spec.clone(), pairs: best }),
                evaluations_since: stopping.evaluations_since,
            },
            evaluations: progress.evaluations.iter().map(|at| (at.step, at.loss)).collect(),
            evaluating: progress.evaluating.map(|at| PartialEvaluation {
                next_batch: at.next_batch,
                sum: LossSum { loss: at.loss, correct: at.correct, supervised: at.supervised },
            }),
            guard: LearningRateGuard {
                losses: progress.first_steps.losses.clone(),
                norms: progress.first_steps.norms.clone(),
                lowered_after: progress.first_steps.lowered_after,
            },
        };
        train_loop.restore(history, |trainer| {
            set_values(trainer.adapter(), &adapter)?;
            if !gradient.is_empty() {
                trainer.set_gradients(&to_values(gradient))?;
            }
            let moments = [to_values(first_moment), to_values(second_moment)];
            let optimizer = trainer.optimizer().restored(progress.step, moments);
            let position = DataPosition { epoch: progress.epoch, batch: progress.next_batch };
            let Progress { loss_sum, correct, supervised_tokens, .. } = progress;
            let sum = LossSum { loss: loss_sum, correct, supervised: supervised_tokens };
            let accumulation =
                GradientAccumulation { micro_steps: progress.micro_step, tokens: progress.tokens, sum };
            trainer.restore(optimizer, position, accumulation);
            Ok(())
        })
    }
}

impl SavedRun {
    /// What cannot be in a checkpoint of this run, in words.
    fn impossible(&self, train_loop: &TrainLoop) -> Option<&'static str> {
        let trainer = train_loop.trainer();
        let State { progress, adapter, first_moment, second_moment, gradient, best, .. } = &self.state;
        let same_shape = |pairs: &LoraPairs| {
            let shape = |(&place, pair): (&(usize, Module), &LoraPair)| {
                (place, [(pair.rank, pair.n_in), (pair.rank, pair.n_out)], [pair.a.len(), pair.b_t.len()])
            };
            let expected = trainer.adapter().pairs().map(|(place, pair)| {
                let shapes = [pair.a.shape(), pair.b_t.shape()];
                (place, shapes, shapes.map(|(n_rows, n_cols)| n_rows * n_cols))
            });
            pairs.iter().map(shape).eq(expected)
        };
        let in_mid_step = progress.micro_step > 0;
        if ![&adapter.pairs, first_moment, second_moment].into_iter().all(same_shape) {
            Some("the adapter or its moments have other shapes than the run")
        } else if in_mid_step == gradient.is_empty() || in_mid_step && !same_shape(gradient) {
            Some("the gradients do not fit the step under way")
        } else if !best.is_empty() && !same_shape(best) {
            Some("the best adapter has other shapes than the run")
        } else if progress.total_steps != trainer.total_steps() || progress.step > progress.total_steps {
            Some("the steps do not fit the run")
        } else if progress.next_batch >= trainer.batches_of_epoch(progress.epoch) {
            Some("the place in the data does not fit the run")
        } else if progress
            .evaluating
            .as_ref()
            .is_some_and(|at| at.next_batch >= train_loop.held_out_batches())
        {
            Some("the evaluation under way does not fit the held-out examples")
        } else {
            None
        }
    }
}

/// Turns pairs into values in the order of [`Adapter::parameters`](crate::lora::Adapter::parameters): A, then B of each.
fn to_values(pairs: LoraPairs) -> Vec<Vec<f32>> {
    pairs.into_values().flat_map(|pair| [pair.a, pair.b_t]).collect()
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
