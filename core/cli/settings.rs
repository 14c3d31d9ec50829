//! The options that training, evaluation and gradients share with a configuration file.
//!
//! An option that was not given is `None`, so that the file's value, or else the default, holds.

pub mod device;
mod unused_options;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{
    Args,
    builder::{PathBufValueParser, TypedValueParser},
};
use nightgraft_core::{
    Error, Result,
    config::{Date, Layers, OrAuto, Precision, Resume, Schedule, Targets, TrainConfig},
    error::ConfigProblem,
    session::{DeviceOptions, Format, RequestedShape},
};

use device::DeviceArgs;

/// Every training setting.
#[derive(Args)]
pub struct TrainSettings {
    /// Inner dimension of each adapter pair, 1 to 256 [default: 8]
    #[arg(long, value_name = "N", help_heading = "Adapter")]
    rank: Option<usize>,
    /// The adapter's output is scaled by alpha / rank [default: 16]
    #[arg(long, value_name = "X", help_heading = "Adapter", allow_negative_numbers = true)]
    alpha: Option<f32>,
    /// Adapted matrices: all, attn, mlp, or names such as attn_q,ffn_up [default: all]
    #[arg(long, value_name = "MODULES", help_heading = "Adapter", value_parser = parsed::<Targets>)]
    targets: Option<Targets>,
    /// Adapted layers: all, last:N, or a..b without b; fewer top layers train faster [default: all]
    #[arg(long, value_name = "LAYERS", help_heading = "Adapter", value_parser = parsed::<Layers>)]
    layers: Option<Layers>,
    /// Fraction of the adapter's inputs zeroed while training [default: 0]
    #[arg(long, value_name = "P", help_heading = "Adapter", allow_negative_numbers = true)]
    dropout: Option<f32>,

    /// Passes over the examples, or auto [default: auto, 3]
    #[arg(long, value_name = "N", help_heading = "Length", conflicts_with = "steps", value_parser = parsed::<OrAuto<u64>>)]
    epochs: Option<OrAuto<u64>>,
    /// Optimizer steps, instead of passes
    #[arg(long, value_name = "N", help_heading = "Length")]
    steps: Option<u64>,
    /// Stop after this many evaluations in a row without a new best; 0 never [default: 3]
    #[arg(long, value_name = "N", help_heading = "Length")]
    patience: Option<usize>,

    /// Highest learning rate of the schedule, or auto: by the number of steps and the size of the weights [default: auto]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true, value_parser = parsed::<OrAuto<f64>>)]
    lr: Option<OrAuto<f64>>,
    /// After the warm-up: constant, linear or cosine [default: cosine]
    #[arg(long, value_name = "NAME", help_heading = "Optimizer (AdamW)", value_parser = parsed::<Schedule>)]
    schedule: Option<Schedule>,
    /// Fraction of the steps over which the rate rises from 0 [default: 0.05]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    warmup: Option<f64>,
    /// Gradients are scaled down to this norm; 0 switches it off [default: 1.0]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    clip: Option<f32>,
    /// Decoupled weight decay [default: 0]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Decay of the mean of gradients [default: 0.9]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    beta1: Option<f64>,
    /// Decay of the mean of squared gradients [default: 0.999]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    beta2: Option<f64>,
    /// Added to the root of the second moment [default: 1e-8]
    #[arg(long, value_name = "X", help_heading = "Optimizer (AdamW)", allow_negative_numbers = true)]
    eps: Option<f64>,
    /// Micro-batches whose gradients make one optimizer step [default: 1]
    #[arg(long, value_name = "N", help_heading = "Optimizer (AdamW)")]
    accumulate: Option<usize>,

    /// Fraction of the examples held out when there is no --valid; 0 for none [default: 0.1]
    #[arg(long, value_name = "X", help_heading = "Data", allow_negative_numbers = true)]
    held_out: Option<f32>,
    #[command(flatten)]
    order: OrderSettings,
    /// Matrix products: f32, mixed (16-bit integers with the base's weights), auto (the faster here) [default: auto]
    #[arg(long, value_name = "NAME", help_heading = "Run", value_parser = parsed::<Precision>)]
    precision: Option<Precision>,
    /// Steps between evaluations on held-out examples: auto (ten in the run) or N; 0 for none [default: auto]
    #[arg(long, value_name = "N", help_heading = "Run", value_parser = eval_every)]
    eval_every: Option<OrAuto<u64>>,
    /// Steps between checkpoints; 0 switches them off [default: 20]
    #[arg(long, value_name = "N", help_heading = "Run")]
    checkpoint_every: Option<u64>,
    /// Checkpoints kept beside the best one [default: 2]
    #[arg(long, value_name = "N", help_heading = "Run")]
    keep_checkpoints: Option<usize>,
    /// auto: go on where an earlier run in --out stopped; never: start afresh [default: auto]
    #[arg(long, value_name = "WHEN", help_heading = "Run", value_parser = parsed::<Resume>)]
    resume: Option<Resume>,

    #[command(flatten)]
    common: CommonSettings,
}

/// The settings that decide speed and memory.
#[derive(Args)]
pub struct BenchSettings {
    /// Settings from a TOML file, with underscores for hyphens; options given here override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tokens of an example [default: 256]
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Tokens of a micro-batch, in examples of --context [default: one example, or as in --config]
    #[arg(long, value_name = "N")]
    batch_tokens: Option<usize>,
    /// Inner dimension of each adapter pair, 1 to 256 [default: 8]
    #[arg(long, value_name = "N")]
    rank: Option<usize>,
    /// Adapted matrices: all, attn, mlp, or names such as attn_q,ffn_up [default: all]
    #[arg(long, value_name = "MODULES", value_parser = parsed::<Targets>)]
    targets: Option<Targets>,
    /// Adapted layers: all, last:N, or a..b without b; fewer top layers train faster [default: all]
    #[arg(long, value_name = "LAYERS", value_parser = parsed::<Layers>)]
    layers: Option<Layers>,
    /// Matrix products: f32, mixed (16-bit integers with the base's weights), auto (the faster here) [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Precision>)]
    precision: Option<Precision>,
    /// Threads that compute [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// How a data file is read.
#[derive(Args)]
pub struct FormatArgs {
    /// How the data is read: jsonl or text [default: as its name says; jsonl for standard input and pipes]
    #[arg(long, value_name = "NAME", help_heading = "Data", value_parser = parsed::<Format>)]
    pub format: Option<Format>,
}

/// The settings of the data that evaluation and gradients have as well.
#[derive(Args)]
pub struct CommonSettings {
    /// Settings from a TOML file, with underscores for hyphens; options given here override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Longest example in tokens; longer ones are split or truncated [default: 256]
    #[arg(long, value_name = "N", help_heading = "Data")]
    context: Option<usize>,
    /// Most tokens in one micro-batch, at least --context; or auto: by how many there are, 64 to 512 [default: auto]
    #[arg(long, value_name = "N", help_heading = "Data", value_parser = parsed::<OrAuto<usize>>)]
    batch_tokens: Option<OrAuto<usize>>,
    /// Render {"prompt", "completion"} lines as a user and an assistant turn
    #[arg(long, help_heading = "Data", overrides_with = "no_chat")]
    chat: bool,
    #[arg(long, hide = true, overrides_with = "chat")]
    no_chat: bool,
    /// Leave out lines that cannot be used, and count them, instead of stopping
    #[arg(long, help_heading = "Data", overrides_with = "no_skip_bad")]
    skip_bad: bool,
    #[arg(long, hide = true, overrides_with = "skip_bad")]
    no_skip_bad: bool,
    /// Today, for a chat template that writes it: 2026-11-29 or 2026-11-29T23:59:30 [default: when the run began]
    #[arg(long, value_name = "DATE", help_heading = "Data", value_parser = parsed::<Date>)]
    date: Option<Date>,
    /// Threads that compute; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Run")]
    threads: Option<usize>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Which examples make the first batch, the second, and so on.
#[derive(Args)]
pub struct OrderSettings {
    /// One example a row, as many rows a step as fit in --batch-tokens
    #[arg(long, help_heading = "Data", overrides_with = "packing")]
    no_packing: bool,
    #[arg(long, hide = true, overrides_with = "no_packing")]
    packing: bool,
    /// Keep the order of the file
    #[arg(long, help_heading = "Data", overrides_with = "shuffle")]
    no_shuffle: bool,
    #[arg(long, hide = true, overrides_with = "no_shuffle")]
    shuffle: bool,
    /// Decides all that is drawn: the initial adapter, the held-out part, the order, the dropout [default: 42]
    #[arg(long, value_name = "N", help_heading = "Data")]
    seed: Option<u64>,
}

impl TrainSettings {
    /// Defaults, overridden by the file, overridden by these options; checked.
    pub fn resolve(&self) -> Result<TrainConfig> {
        let mut config = read(self.common.config.as_deref())?;
        self.apply(&mut config);
        config.validate()?;
        check_batch_holds_an_example(self.common.batch_tokens.and_then(OrAuto::given), config.data.context)?;
        Ok(config)
    }

    /// How GPUs may be used.
    pub fn devices(&self) -> DeviceOptions {
        self.common.devices()
    }

    /// The adapter's shape, as far as these options say it.
    pub fn requested_shape(&self) -> RequestedShape {
        let Self { rank, alpha, targets, layers, .. } = self;
        RequestedShape { rank: *rank, alpha: *alpha, targets: targets.clone(), layers: layers.clone() }
    }

    fn apply(&self, config: &mut TrainConfig) {
        self.common.apply(config);
        self.order.apply(config);
        let lora = &mut config.lora;
        set(&mut lora.rank, &self.rank);
        set(&mut lora.alpha, &self.alpha);
        set(&mut lora.targets, &self.targets);
        set(&mut lora.layers, &self.layers);
        set(&mut lora.dropout, &self.dropout);
        let optimizer = &mut config.optimizer;
        set(&mut optimizer.lr, &self.lr);
        set(&mut optimizer.schedule, &self.schedule);
        set(&mut optimizer.warmup, &self.warmup);
        set(&mut optimizer.clip, &self.clip);
        set(&mut optimizer.weight_decay, &self.weight_decay);
        set(&mut optimizer.beta1, &self.beta1);
        set(&mut optimizer.beta2, &self.beta2);
        set(&mut optimizer.eps, &self.eps);
        set(&mut config.data.accumulate, &self.accumulate);
        set(&mut config.data.held_out, &self.held_out);
        let run = &mut config.run;
        if let Some(epochs) = self.epochs {
            run.epochs = epochs;
            run.steps = None; // a file's `steps` would override it
        }
        if self.steps.is_some() {
            run.steps = self.steps;
        }
        set(&mut run.patience, &self.patience);
        set(&mut run.precision, &self.precision);
        set(&mut run.eval_every, &self.eval_every);
        set(&mut run.checkpoint_every, &self.checkpoint_every);
        set(&mut run.keep_checkpoints, &self.keep_checkpoints);
        set(&mut run.resume, &self.resume);
    }
}

impl BenchSettings {
    /// As [`TrainSettings::resolve`].
    pub fn resolve(&self) -> Result<TrainConfig> {
        let mut config = read(self.config.as_deref())?;
        set(&mut config.data.context, &self.context);
        let data = &mut config.data;
        data.batch_tokens = OrAuto::from(self.batch_tokens).or(data.batch_tokens);
        if self.config.is_none() {
            data.batch_tokens = data.batch_tokens.or(data.context);
        }
        check_batch_holds_an_example(self.batch_tokens, data.context)?;
        set(&mut config.lora.rank, &self.rank);
        set(&mut config.lora.targets, &self.targets);
        set(&mut config.lora.layers, &self.layers);
        set(&mut config.run.precision, &self.precision);
        if self.threads.is_some() {
            config.run.threads = self.threads;
        }
        self.device.apply(&mut config);
        config.validate()?;
        Ok(config)
    }

    /// How GPUs may be used.
    pub fn devices(&self) -> DeviceOptions {
        self.device.options()
    }
}

impl CommonSettings {
    /// How GPUs may be used.
    pub fn devices(&self) -> DeviceOptions {
        self.device.options()
    }

    /// As [`TrainSettings::resolve`], for commands without the training settings.
    pub fn resolve(&self, order: Option<&OrderSettings>) -> Result<TrainConfig> {
        let mut config = read(self.config.as_deref())?;
        self.apply(&mut config);
        if let Some(order) = order {
            order.apply(&mut config);
        }
        config.validate()?;
        check_batch_holds_an_example(self.batch_tokens.and_then(OrAuto::given), config.data.context)?;
        Ok(config)
    }

    fn apply(&self, config: &mut TrainConfig) {
        let data = &mut config.data;
        set(&mut data.context, &self.context);
        set(&mut data.batch_tokens, &self.batch_tokens);
        set(&mut data.chat, &switch(self.chat, self.no_chat));
        set(&mut data.skip_bad, &switch(self.skip_bad, self.no_skip_bad));
        if self.date.is_some() {
            data.date = self.date;
        }
        if self.threads.is_some() {
            config.run.threads = self.threads;
        }
        self.device.apply(config);
    }
}

impl OrderSettings {
    fn apply(&self, config: &mut TrainConfig) {
        set(&mut config.data.packing, &switch(self.packing, self.no_packing));
        set(&mut config.data.shuffle, &switch(self.shuffle, self.no_shuffle));
        set(&mut config.run.seed, &self.seed);
    }
}

fn read(file: Option<&Path>) -> Result<TrainConfig> {
    file.map_or_else(|| Ok(TrainConfig::default()), TrainConfig::read)
}

fn set<T: Clone>(setting: &mut T, option: &Option<T>) {
    if let Some(value) = option {
        setting.clone_from(value);
    }
}

fn switch(on: bool, off: bool) -> Option<bool> {
    match (on, off) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// The path of a data file, for clap: `-` is standard input.
pub fn data_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| if path.as_os_str() == "-" { "/dev/stdin".into() } else { path })
}

/// Refuses a size of micro-batches that is given and below the context: whoever gives it expects it to hold. One that is chosen may
/// be below, and then a longer example is a micro-batch by itself.
fn check_batch_holds_an_example(batch_tokens: Option<usize>, context: usize) -> Result<()> {
    match batch_tokens {
        Some(tokens) if tokens < context => {
            let problem = ConfigProblem::BatchBelowContext { batch_tokens: tokens, context };
            Err(Error::config("--batch-tokens", problem))
        }
        _ => Ok(()),
    }
}

/// For clap, which names the option itself.
pub fn parsed<T: FromStr<Err: Into<Error>>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|error: T::Err| match error.into() {
        Error::Config { problem, .. } => problem.to_string(),
        other => other.to_string(),
    })
}

/// For clap, in the words of this option.
fn eval_every(text: &str) -> std::result::Result<OrAuto<u64>, String> {
    text.parse().map_err(|_: Error| format!("'{text}' is neither auto nor a number of steps (0 for never)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Train {
        #[command(flatten)]
        settings: TrainSettings,
    }

    fn resolve(args: &[&str]) -> Result<TrainConfig> {
        Train::try_parse_from([&["train"], args].concat()).unwrap().settings.resolve()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(resolve(&[]).unwrap(), TrainConfig::default());
    }

    /// Every key of a file has an option that sets it: the file's values come back through the options.
    #[test]
    fn options_override_the_file_and_the_file_the_defaults() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"rank = 4\nlr = 1e-3\nsteps = 9\npacking = false\nchat = true\nthreads = 3\n")
            .unwrap();
        let path = file.path().to_str().unwrap();

        let config = resolve(&["--config", path]).unwrap();
        assert_eq!((config.lora.rank, config.optimizer.lr, config.run.steps), (4, 1e-3.into(), Some(9)));
        assert!(!config.data.packing && config.data.chat);
        assert_eq!(config.lora.alpha, 16.0);

        let config =
            resolve(&["--config", path, "--rank", "2", "--epochs", "5", "--packing", "--no-chat"]).unwrap();
        assert_eq!((config.lora.rank, config.run.epochs, config.run.steps), (2, 5.into(), None));
        assert!(config.data.packing && !config.data.chat);
        assert_eq!((config.optimizer.lr, config.run.threads), (1e-3.into(), Some(3)));
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let args = "--rank 3 --alpha 5 --targets mlp --layers last:2 --dropout 0.1 --steps 77 --patience 4 --lr 1e-3 \
            --schedule linear --warmup 0.2 --clip 0 --weight-decay 0.01 --beta1 0.8 --beta2 0.98 --eps 1e-6 \
            --accumulate 2 --held-out 0.3 --seed 7 --device cpu --precision f32 --eval-every 5 --checkpoint-every 0 \
            --keep-checkpoints 6 --resume never --context 64 --batch-tokens 128 --chat --skip-bad --no-packing \
            --no-shuffle --threads 2 --date 2026-11-29";
        let args: Vec<_> = args.split_whitespace().collect();
        let changed = resolve(&args).unwrap().to_toml().unwrap();
        let default = TrainConfig::default().to_toml().unwrap();
        for line in changed.lines() {
            let fixed = ["epochs = ", "device = ", "precision = "].iter().any(|key| line.starts_with(key));
            assert!(fixed || !default.lines().any(|other| other == line), "not set: {line}");
        }
    }

    #[test]
    fn nonsense_names_the_option() {
        let error = resolve(&["--lr", "-1"]).unwrap_err().to_string();
        assert!(error.starts_with("--lr: -1 is not"), "{error}");
        assert!(Train::try_parse_from(["train", "--layers", "top"]).is_err());
        assert!(Train::try_parse_from(["train", "--epochs", "2", "--steps", "3"]).is_err());
    }
}
