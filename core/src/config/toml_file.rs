//! The flat TOML form of a [`TrainConfig`], read and written.

use std::{fs::File, io::Read, path::Path};

use nightgraft_text::Date;
use serde::{Deserialize, Serialize};

use super::{
    DataConfig, Device, Layers, LoraConfig, OptimizerConfig, OrAuto, Precision, Resume, RunConfig, Schedule,
    Targets, TrainConfig,
};
use crate::error::ConfigProblem;
use crate::{Error, Result};

/// The option that names a file.
const OPTION: &str = "--config";

/// More than any configuration holds; keeps a wrong path from filling the memory.
const MAX_BYTES: u64 = 1 << 20;

/// Settings that every build has written for every run.
const ALWAYS_WRITTEN: [&str; 12] = [
    "rank",
    "alpha",
    "targets",
    "lr",
    "schedule",
    "weight_decay",
    "beta1",
    "eps",
    "context",
    "batch_tokens",
    "checkpoint_every",
    "keep_checkpoints",
];

impl TrainConfig {
    /// Reads a configuration file; what it does not name keeps its default. Values are checked by
    /// [`TrainConfig::validate`], once nothing overrides them any more.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Config`] with the line when it is not a configuration.
    pub fn read(path: &Path) -> Result<Self> {
        let mut text = String::new();
        let file = File::open(path).map_err(Error::io("open", path))?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(Error::io("read", path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::config(OPTION, ConfigProblem::TooLarge { path: path.to_owned() }));
        }
        let config = Self::parse(&text, Some(path))?;
        config.validate()?;
        Ok(config)
    }

    /// Whether a run wrote this file: it then has all of [`ALWAYS_WRITTEN`], where a person names the settings that matter.
    pub(crate) fn is_written_by_a_run(path: &Path) -> bool {
        let table = Self::read(path).ok().and_then(|_| std::fs::read_to_string(path).ok()?.parse().ok());
        table.is_some_and(|table: toml::Table| ALWAYS_WRITTEN.iter().all(|key| table.contains_key(*key)))
    }

    /// As [`TrainConfig::read`], from the text of a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the line, for an unknown key or a value of the wrong type.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::parse(text, None)
    }

    /// The configuration as text, each setting on a line of its own.
    ///
    /// # Errors
    /// [`Error::Config`] when a value cannot be written as TOML, which no valid configuration holds.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::config(OPTION, ConfigProblem::Unwritable(error.to_string())))
    }

    fn parse(text: &str, path: Option<&Path>) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let problem = ConfigProblem::Syntax {
                path: path.map(Path::to_owned),
                line: before.matches('\n').count() + 1,
                message: error.message().replace('\n', " "),
            };
            Error::config(OPTION, problem)
        })
    }
}

/// All settings side by side, in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Flat {
    rank: usize,
    alpha: f32,
    targets: Targets,
    layers: Layers,
    dropout: f32,
    lr: OrAuto<f64>,
    schedule: Schedule,
    warmup: f64,
    clip: f32,
    weight_decay: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    context: usize,
    batch_tokens: OrAuto<usize>,
    accumulate: usize,
    packing: bool,
    shuffle: bool,
    chat: bool,
    skip_bad: bool,
    held_out: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<Date>,
    epochs: OrAuto<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    device: Device,
    precision: Precision,
    eval_every: OrAuto<u64>,
    patience: usize,
    checkpoint_every: u64,
    keep_checkpoints: usize,
    resume: Resume,
}

impl Default for Flat {
    fn default() -> Self {
        Self::from(TrainConfig::default())
    }
}

// Both conversions take the structs apart field by field: one that was forgotten does not compile.

impl From<TrainConfig> for Flat {
    fn from(TrainConfig { lora, optimizer, data, run }: TrainConfig) -> Self {
        let LoraConfig { rank, alpha, targets, layers, dropout } = lora;
        let OptimizerConfig { lr, schedule, warmup, clip, weight_decay, beta1, beta2, eps } = optimizer;
        let DataConfig {
            context,
            batch_tokens,
            accumulate,
            packing,
            shuffle,
            chat,
            skip_bad,
            held_out,
            date,
        } = data;
        let RunConfig {
            epochs,
            steps,
            seed,
            threads,
            device,
            precision,
            eval_every,
            patience,
            checkpoint_every,
            keep_checkpoints,
            resume,
        } = run;
        Self {
            rank,
            alpha,
            targets,
            layers,
            dropout,
            lr,
            schedule,
            warmup,
            clip,
            weight_decay,
            beta1,
            beta2,
            eps,
            context,
            batch_tokens,
            accumulate,
            packing,
            shuffle,
            chat,
            skip_bad,
            held_out,
            date,
            epochs,
            steps,
            seed,
            threads,
            device,
            precision,
            eval_every,
            patience,
            checkpoint_every,
            keep_checkpoints,
            resume,
        }
    }
}

impl From<Flat> for TrainConfig {
    fn from(flat: Flat) -> Self {
        Self {
            lora: LoraConfig {
                rank: flat.rank,
                alpha: flat.alpha,
                targets: flat.targets,
                layers: flat.layers,
                dropout: flat.dropout,
            },
            optimizer: OptimizerConfig {
                lr: flat.lr,
                schedule: flat.schedule,
                warmup: flat.warmup,
                clip: flat.clip,
                weight_decay: flat.weight_decay,
                beta1: flat.beta1,
                beta2: flat.beta2,
                eps: flat.eps,
            },
            data: DataConfig {
                context: flat.context,
                batch_tokens: flat.batch_tokens,
                accumulate: flat.accumulate,
                packing: flat.packing,
                shuffle: flat.shuffle,
                chat: flat.chat,
                skip_bad: flat.skip_bad,
                held_out: flat.held_out,
                date: flat.date,
            },
            run: RunConfig {
                epochs: flat.epochs,
                steps: flat.steps,
                seed: flat.seed,
                threads: flat.threads,
                device: flat.device,
                precision: flat.precision,
                eval_every: flat.eval_every,
                patience: flat.patience,
                checkpoint_every: flat.checkpoint_every,
                keep_checkpoints: flat.keep_checkpoints,
                resume: flat.resume,
            },
        }
    }
}
