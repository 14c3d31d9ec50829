//! Putting a run together from its settings, the same way for every job that trains.

use nightgraft_adapter::{AdapterTensors, LoraSpec};
use nightgraft_text::Example;

use super::StopFlag;
use super::inputs::threads;
use crate::Result;
use crate::base::Base;
use crate::config::{Layers, LoraConfig, Targets, TrainConfig};
use crate::lora::{Adapter, initialize};
use crate::train::{EvalSchedule, TrainLoop, Trainer, total_steps};
use crate::transformer::{Model, ModelOptions, RecomputePolicy, release_freed_memory, resolve_precision};

/// The adapter that a run starts from: `earlier`, whose shapes then replace the configured ones, or a fresh one. What the
/// settings leave to this machine is decided, so that the run can go on elsewhere.
pub(super) fn initial_adapter(
    config: &mut TrainConfig,
    earlier: Option<AdapterTensors>,
    base: &Base,
) -> Result<AdapterTensors> {
    config.run.precision = resolve_precision(config.run.precision);
    let dropout = config.lora.dropout;
    if let Some(mut tensors) = earlier {
        tensors.spec.dropout = dropout;
        config.lora = LoraConfig {
            rank: tensors.spec.rank,
            alpha: tensors.spec.alpha,
            targets: Targets::of(&tensors.spec.modules),
            layers: Layers::Range(tensors.spec.layers.clone()),
            dropout,
        };
        return Ok(tensors);
    }
    let spec = LoraSpec {
        rank: config.lora.rank,
        alpha: config.lora.alpha,
        modules: config.lora.targets.modules(),
        layers: config.lora.layers.range(base.spec.n_layer)?,
        dropout,
    };
    Ok(initialize(&spec, base, config.run.seed))
}

/// Decides what the settings leave open for training this model on these examples: it then stands in them, and a run that goes
/// on has the same.
pub(super) fn resolve_auto(config: &mut TrainConfig, base: &Base, train: &[Example]) -> Result<()> {
    config.resolve_auto(total_tokens(train), |config| {
        let layers = config.lora.layers.range(base.spec.n_layer)?;
        let row_norm = base.row_norm(&config.lora.targets.modules(), layers)?;
        Ok((total_steps(config, train), row_norm))
    })
}

/// Tokens of all these examples.
pub(super) fn total_tokens(examples: &[Example]) -> usize {
    examples.iter().map(Example::len).sum()
}

/// Tokens of the largest micro-batch: an example that is longer than the others may be is one by itself.
pub(super) fn capacity(config: &TrainConfig, sets: &[&[Example]]) -> usize {
    let longest = sets.iter().copied().flatten().map(Example::len).max().unwrap_or(0);
    config.data.batch_tokens().max(longest)
}

/// The loop of a run at its start.
pub(super) fn train_loop(
    config: &TrainConfig,
    base: Base,
    start: AdapterTensors,
    train: Vec<Example>,
    held_out: Vec<Example>,
    recompute: RecomputePolicy,
    stop: &StopFlag,
) -> Result<TrainLoop> {
    let adapter = Adapter::new(&start)?;
    // Its many small matrices would otherwise stay with the allocator for the whole run.
    drop(start);
    release_freed_memory();
    let capacity = capacity(config, &[&train, &held_out]);
    let options = ModelOptions {
        trains: true,
        capacity,
        n_threads: threads(config.run.threads),
        precision: config.run.precision,
        recompute,
    };
    let model = Model::new(base, Some(&adapter), options, stop.raw())?;
    let trainer = Trainer::new(config, model, adapter, train)?;
    let schedule = EvalSchedule {
        eval_every: config.run.eval_every.interval(trainer.progress().total_steps),
        patience: config.run.patience,
        batch_tokens: config.data.batch_tokens(),
    };
    Ok(TrainLoop::new(trainer, held_out, schedule))
}
