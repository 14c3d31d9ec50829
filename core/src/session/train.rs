//! A training run, from files to an adapter.

use std::path::PathBuf;
use std::time::Instant;

use super::inputs::{Inputs, threads};
use super::resume::{self, Identity};
use super::run_folder::{BaseNote, MetricsFile, RunFolder};
use super::{Event, Outcome, StepMetrics, StopFlag, TrainReport, inspect};
use crate::atomic;
use crate::checkpoint;
use crate::config::{EvalEvery, Layers, LoraConfig, Resume, RunConfig, Targets, TrainConfig};
use crate::data;
use crate::export::{read_adapter, write_gguf_adapter, write_peft};
use crate::lora::{Adapter, AdapterTensors, LoraSpec, initialize};
use crate::text::Example;
use crate::train::{Best, Stepped, Trainer, loss_svg};
use crate::transformer::Model;
use crate::{Error, Result};

/// What to train, on what, and where to put it.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// The training data.
    pub data: PathBuf,
    /// Held-out data; without it a part of `data` is held out, unless evaluation is off.
    pub valid: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// An adapter to start from; its rank, alpha, layers and modules are used instead of the configured ones.
    pub init_adapter: Option<PathBuf>,
    /// The settings.
    pub config: TrainConfig,
}

/// Trains, or goes on with the run that the folder holds. Leaves in the folder: `adapter/` (PEFT),
/// `adapter.gguf` (llama.cpp), `config.toml`, `metrics.jsonl`, `loss.svg` and `checkpoints/`.
///
/// # Errors
/// Any of [`Error`]'s for unusable files and settings, before anything is written.
/// [`Error::NotFinite`] if training diverges; the adapter kept is then the best, or the last before it.
pub fn train(
    request: &TrainRequest,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&Event),
) -> Result<TrainReport> {
    request.config.validate()?;
    let mut run = Run::open(request, stop, on_event)?;
    let ended = run.run(on_event);
    match ended {
        Ok(outcome) => run.finish(outcome, on_event),
        Err(error @ Error::NotFinite { .. }) => {
            run.keep_last_good()?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// A run under way.
struct Run<'a> {
    request: &'a TrainRequest,
    folder: RunFolder,
    identity: Identity,
    trainer: Trainer,
    held_out: Vec<Example>,
    eval_every: Option<u64>,
    best: Best,
    metrics: MetricsFile,
    losses: Vec<(u64, f64)>,
    evaluations: Vec<(u64, f64)>,
    saved_at: Option<u64>,
    stop: StopFlag,
    tokens: u64,
    seconds: f64,
}

impl<'a> Run<'a> {
    fn open(request: &'a TrainRequest, stop: &StopFlag, on_event: &mut dyn FnMut(&Event)) -> Result<Self> {
        let mut config = request.config.clone();
        let inputs = Inputs::open(&request.model)?;
        on_event(&Event::Model(inspect(&request.model)?));

        let dataset = inputs.load(&request.data, &config.data)?;
        let evaluates = config.run.eval_every != EvalEvery::Steps(0);
        let (train, held_out) = match &request.valid {
            Some(path) if evaluates => (dataset, Some(inputs.load(path, &config.data)?)),
            None if evaluates && config.data.held_out > 0.0 => {
                let (train, held_out) = data::split(dataset, config.data.held_out, config.run.seed);
                (train, Some(held_out).filter(|held_out| !held_out.examples.is_empty()))
            }
            _ => (dataset, None),
        };
        on_event(&Event::Data {
            train: train.report.clone(),
            held_out: held_out.as_ref().map(|held_out| held_out.report.clone()),
        });

        let Inputs { base, .. } = inputs; // the tokenizer is not needed any more
        let start = match &request.init_adapter {
            Some(path) => {
                let mut tensors = read_adapter(path, &base)?;
                tensors.spec.dropout = config.lora.dropout;
                config.lora = LoraConfig {
                    rank: tensors.spec.rank,
                    alpha: tensors.spec.alpha,
                    targets: Targets::of(&tensors.spec.modules),
                    layers: Layers::Range(tensors.spec.layers.clone()),
                    dropout: config.lora.dropout,
                };
                tensors
            }
            None => {
                let spec = LoraSpec {
                    rank: config.lora.rank,
                    alpha: config.lora.alpha,
                    modules: config.lora.targets.modules(),
                    layers: config.lora.layers.range(base.spec.n_layer)?,
                    dropout: config.lora.dropout,
                };
                initialize(&spec, &base, config.run.seed)
            }
        };
        let identity = Identity::new(&config, &base, &start, &train, held_out.as_ref())?;
        let folder = RunFolder::open(&request.out)?;
        let saved = match config.run.resume {
            Resume::Auto => resume::load(&folder.checkpoints(), &identity)?,
            Resume::Never => None,
        };

        let adapter = Adapter::new(&start)?;
        let n_threads = threads(config.run.threads);
        let longest = train.examples.iter().chain(held_out.iter().flat_map(|h| &h.examples));
        let longest = longest.map(|example| example.ids.len()).max().unwrap_or(0);
        let capacity = config.data.batch_tokens.max(longest);
        let model = Model::new(base, Some(&adapter), true, capacity, n_threads, stop.raw())?;
        let trainer = Trainer::new(&config, model, adapter, train.examples)?;
        on_event(&Event::Planned {
            steps: trainer.total_steps(),
            trainable_parameters: trainer.adapter().n_parameters(),
            adapted_layers: trainer.base().spec.n_layer - trainer.adapter().lowest_layer().unwrap_or(0),
            threads: n_threads,
        });
        let eval_every = config.run.eval_every.interval(trainer.total_steps());
        // From here on only the disk can fail: what an earlier run left is not touched for one that cannot start.
        if config.run.resume == Resume::Never {
            checkpoint::clear(&resume::vault(), &folder.checkpoints())?;
        }
        let step = saved.as_ref().map_or(0, |(_, state)| state.step());
        let (metrics, earlier) = folder.metrics(step)?;
        let mut run = Self {
            request,
            folder,
            identity,
            trainer,
            held_out: held_out.map(|held_out| held_out.examples).unwrap_or_default(),
            eval_every,
            best: Best::default(),
            metrics,
            losses: earlier.iter().map(|metrics| (metrics.step, metrics.loss)).collect(),
            evaluations: Vec::new(),
            saved_at: None,
            stop: stop.clone(),
            tokens: 0,
            seconds: 0.0,
        };
        let note = BaseNote {
            model: std::path::absolute(&request.model).map_err(Error::io("find", &request.model))?,
            fingerprint: run.trainer.base().fingerprint().to_string(),
        };
        atomic::write_file(&run.folder.base(), &serde_json::to_vec(&note).expect("two strings serialize"))?;
        atomic::write_file(&run.folder.config(), config.to_toml()?.as_bytes())?;
        if let Some((checkpoint, state)) = saved {
            run.evaluations = state.evaluations();
            run.best = state.restore(&mut run.trainer)?;
            run.saved_at = Some(step);
            on_event(&Event::Resumed { step, checkpoint });
        }
        Ok(run)
    }

    /// Steps until the end, a stop or the end of patience.
    fn run(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        match self.steps(on_event) {
            Err(Error::Cancelled) => {
                self.save(on_event)?;
                Ok(Outcome::Interrupted)
            }
            ended => ended,
        }
    }

    fn steps(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        let RunConfig { checkpoint_every, patience, .. } = self.request.config.run;
        self.evaluate_if_due(on_event)?;
        while !self.trainer.is_finished() {
            if self.best.is_out_of_patience(patience) {
                return Ok(Outcome::EarlyStopped);
            }
            if self.stop.is_raised() {
                return Err(Error::Cancelled);
            }
            let started = Instant::now();
            let stepped = self.trainer.run_step()?;
            self.record(&stepped, started.elapsed().as_secs_f64(), on_event)?;
            self.evaluate_if_due(on_event)?;
            if checkpoint_every > 0 && stepped.step.is_multiple_of(checkpoint_every) {
                self.save(on_event)?;
            }
        }
        Ok(Outcome::Finished)
    }

    fn record(&mut self, stepped: &Stepped, seconds: f64, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        let &Stepped { step, loss, tokens, supervised_tokens, lr, grad_norm } = stepped;
        let metrics = StepMetrics {
            step,
            loss,
            tokens,
            supervised_tokens,
            lr,
            grad_norm,
            seconds,
            tokens_per_second: tokens as f64 / seconds,
            rss_bytes: memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem as u64),
        };
        self.tokens += tokens;
        self.seconds += seconds;
        self.losses.push((step, loss));
        self.metrics.append(&metrics)?;
        on_event(&Event::Step(metrics));
        Ok(())
    }

    /// Measures the adapter before the first step, every `eval_every` steps and after the last.
    fn evaluate_if_due(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        let step = self.trainer.step();
        let in_mid_step = self.trainer.pending().micro_steps > 0;
        let due = self.eval_every.is_some_and(|n| step.is_multiple_of(n) || self.trainer.is_finished());
        let done = self.evaluations.last().is_some_and(|&(last, _)| last == step);
        if self.held_out.is_empty() || in_mid_step || !due || done {
            return Ok(());
        }
        let sum = self.trainer.evaluate(&self.held_out)?;
        let loss = sum.loss / sum.supervised as f64;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step, place: "the held-out loss".into() });
        }
        let adapter = self.trainer.adapter();
        let best = self.best.consider(step, loss, || adapter.tensors())?;
        self.evaluations.push((step, loss));
        on_event(&Event::Evaluated { step, loss, perplexity: loss.exp(), best });
        Ok(())
    }

    fn save(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        let keep = self.request.config.run.keep_checkpoints;
        let folder = self.folder.checkpoints();
        resume::save(&folder, &self.identity, &self.trainer, &self.best, &self.evaluations, keep)?;
        self.saved_at = Some(self.trainer.step());
        on_event(&Event::Saved { step: self.trainer.step() });
        Ok(())
    }

    fn finish(mut self, outcome: Outcome, on_event: &mut dyn FnMut(&Event)) -> Result<TrainReport> {
        let step = self.trainer.step();
        atomic::write_file(&self.folder.plot(), loss_svg(&self.losses, &self.evaluations).as_bytes())?;
        let mut kept_step = step;
        let interrupted = outcome == Outcome::Interrupted;
        if !interrupted {
            if self.request.config.run.checkpoint_every > 0 && self.saved_at != Some(step) {
                self.save(on_event)?;
            }
            kept_step = match self.keep_adapter() {
                Ok(step) => step,
                Err(error) => {
                    // The disk is full, say. The work must not be lost with the result, if there is room for that at least.
                    self.save(on_event)?;
                    return Err(error);
                }
            };
            if kept_step == 0 && step > 0 {
                let text = "the held-out loss never improved: the adapter kept is the one from before training. \
                            Try a lower --lr, more data, or --patience 0 --eval-every 0 to keep the last";
                on_event(&Event::Warning { text: text.to_owned() });
            }
        }
        Ok(TrainReport {
            outcome,
            steps: step,
            first_loss: self.losses.first().map(|&(_, loss)| loss),
            last_loss: self.losses.last().map(|&(_, loss)| loss),
            held_out_before: self.evaluations.first().map(|&(_, loss)| loss),
            held_out_after: self.best.at.map(|(loss, _)| loss),
            kept_step,
            adapter: (!interrupted).then(|| self.folder.peft()),
            checkpoint: interrupted.then(|| self.folder.checkpoints()),
            tokens: self.tokens,
            seconds: self.seconds,
        })
    }

    /// Keeps the best adapter, or without held-out data the current one. Returns its step.
    fn keep_adapter(&self) -> Result<u64> {
        match (&self.best.adapter, self.best.at) {
            (Some(best), Some((_, step))) => self.write(best).map(|()| step),
            _ => self.write(&self.trainer.adapter().tensors()?).map(|()| self.trainer.step()),
        }
    }

    /// After a divergence: keeps the best adapter, or without held-out data the last that had a finite loss.
    fn keep_last_good(&self) -> Result<()> {
        self.best.adapter.as_ref().or(self.trainer.last_good()).map_or(Ok(()), |tensors| self.write(tensors))
    }

    /// Writes an adapter in both formats.
    fn write(&self, tensors: &AdapterTensors) -> Result<()> {
        let base = self.trainer.base();
        write_peft(&self.folder.peft(), tensors, base)?;
        write_gguf_adapter(&self.folder.gguf(), tensors, base)
    }
}
