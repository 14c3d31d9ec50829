//! A training run, from files to an adapter.

use std::path::PathBuf;
use std::time::Instant;

use nightgraft_adapter::AdapterTensors;
use nightgraft_files::{atomic, file_system};
use nightgraft_store::checkpoint::{self, Progress};
use nightgraft_store::vault::Vault;
use nightgraft_text::Date;
use nightgraft_text::data::{self, Format};

use super::inputs::{Inputs, threads};
use super::memory::{self, AdapterCopies, MemoryPlan, MemoryPlanner};
use super::notice::Notice;
use super::resume::{self, RunIdentity};
use super::run_folder::{self, BaseNote, MetricsFile, RunFolder};
use super::shape::{RequestedShape, overridden_settings};
use super::{
    DiscardReason, Event, Leftover, LossCurve, Outcome, StepMetrics, StopFlag, TrainReport, adapter, inspect,
    run_setup,
};
use crate::base::Base;
use crate::config::{EvalEvery, Resume, RunConfig, TrainConfig};
use crate::export::{InputFile, write_gguf_adapter, write_peft};
use crate::memory::anonymous_bytes;
use crate::model_file::{FileHash, HashCheck};
use crate::train::{StepEvent, StepReport, StopReason, TrainLoop};
use crate::{Error, Result};

/// What to train, on what, and where to put it.
#[derive(Debug, Clone)]
pub struct TrainRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// The training data.
    pub data: PathBuf,
    /// How it is read; none where its name tells, and for a pipe of JSON lines.
    pub format: Option<Format>,
    /// Held-out data; without it a part of `data` is held out, unless evaluation is off.
    pub valid: Option<PathBuf>,
    /// The run's folder.
    pub out: PathBuf,
    /// An adapter to start from; its rank, alpha, layers and modules are used instead of the configured ones.
    pub init_adapter: Option<PathBuf>,
    /// Which of those were asked for: training is refused if the adapter to start from has others.
    pub requested_shape: RequestedShape,
    /// The settings.
    pub config: TrainConfig,
    /// Bytes of anonymous memory that the run may take; none for any. The result does not depend on it.
    pub memory_limit: Option<u64>,
    /// Draws `loss.svg` at the end; without it there is none.
    pub curve: Option<LossCurve>,
}

impl TrainRequest {
    /// The files that are read, and so must not be written.
    fn inputs(&self) -> Vec<InputFile<'_>> {
        let optional = [("--valid", &self.valid), ("--init-adapter", &self.init_adapter)];
        let optional = optional.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?)));
        [("--model", self.model.as_path()), ("--data", &self.data)].into_iter().chain(optional).collect()
    }
}

/// Trains, or goes on with the run that the folder holds. Leaves in the folder: `adapter/` (PEFT),
/// `adapter.gguf` (llama.cpp), `config.toml`, `metrics.jsonl`, `checkpoints/`, and `loss.svg` if it is to be drawn.
///
/// # Errors
/// Any of [`Error`]'s for unusable files and settings, before anything is written.
/// [`Error::NotFinite`] if training diverges; the adapter kept is then the best, or the last before it.
/// [`Error::ModelChanged`] if the model's file is changed, replaced or removed meanwhile; the run is saved as at a stop, and
/// goes on to the same result when the file is back.
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

/// What the chat template takes for now: what was asked for, or else what it was when the run in the folder began, so that
/// the same command renders the same data on any day.
fn date(request: &TrainRequest, vault: &Vault) -> Result<Date> {
    let begun = match request.config.run.resume {
        _ if request.config.data.date.is_some() => None,
        Resume::Auto => run_folder::date_of(&request.out, vault)?,
        Resume::Never => None,
    };
    Ok(request.config.data.date.or(begun).unwrap_or_else(Date::now))
}

/// A run under way.
struct Run<'a> {
    request: &'a TrainRequest,
    folder: RunFolder,
    /// What the checkpoints are written with.
    vault: Vault,
    identity: RunIdentity,
    train_loop: TrainLoop,
    hash_check: HashCheck,
    metrics: MetricsFile,
    losses: Vec<(u64, f64)>,
    saved_at: Option<u64>,
    stop: StopFlag,
    tokens: u64,
    seconds: f64,
    /// The time of the micro-steps since the last optimizer step.
    step_seconds: f64,
    planned: MemoryPlan,
    /// The most anonymous memory seen after a step or a checkpoint.
    peak: u64,
}

impl<'a> Run<'a> {
    fn open(request: &'a TrainRequest, stop: &StopFlag, on_event: &mut dyn FnMut(&Event)) -> Result<Self> {
        let mut config = request.config.clone();
        RunFolder::check(&request.out, &request.inputs(), request.curve.as_ref())?;
        let vault = Vault::plain(file_system::system());
        let date = date(request, &vault)?;
        config.data.date = Some(date);
        let inputs = Inputs::open(&request.model, date)?;
        on_event(&Event::Model(inspect(&request.model)?));

        let dataset = inputs.load(&request.data, request.format, &config.data)?;
        let evaluates = config.run.eval_every != EvalEvery::Steps(0);
        let (train, held_out) = match &request.valid {
            Some(path) if evaluates => {
                // Its own name goes before what was said of the training data.
                let format = Format::of(path).ok().or(request.format);
                (dataset, Some(inputs.load(path, format, &config.data)?))
            }
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

        let base = inputs.into_base();
        let earlier =
            request.init_adapter.as_ref().map(|path| adapter::read_with_notice(path, &base)).transpose()?;
        let (earlier, other_base) = earlier.unzip();
        let process = memory::process_bytes();
        let is_earlier = earlier.is_some();
        // Before what is still open is left to this machine.
        if config.run.resume == Resume::Auto
            && let Some(begun) = run_folder::settings_under_way(&request.out)
        {
            config.resolve_auto_as(&begun);
        }
        let start = run_setup::initial_adapter(&mut config, earlier, &base)?;
        let mut notices: Vec<_> =
            other_base.flatten().into_iter().chain(Notice::of_context(&config.data, &base)).collect();
        if is_earlier {
            let n_layer = base.spec.n_layer;
            request.requested_shape.check(&config.lora, n_layer)?;
            notices.extend(Notice::of_shape(overridden_settings(
                &request.config.lora,
                &config.lora,
                n_layer,
            )?));
        }
        for notice in notices {
            on_event(&Event::Warning { text: notice.to_string() });
        }
        run_setup::resolve_auto(&mut config, &base, &train.examples)?;
        let identity = RunIdentity::new(&config, &base, &start, &train, held_out.as_ref())?;
        let held_out = held_out.map(|held_out| held_out.examples).unwrap_or_default();
        let capacity = run_setup::capacity(&config, &[&train.examples, &held_out]) as u64;
        let planner =
            MemoryPlanner::new(&base, &start, &config, AdapterCopies::of(&config), [capacity, process])?;
        let recompute = planner.choose_policy(request.memory_limit)?;
        let folder = RunFolder::open(&request.out)?;
        let saved = match config.run.resume {
            Resume::Auto => resume::load(&vault, &folder.checkpoints(), &identity, on_event)?,
            Resume::Never => None,
        };

        let mut train_loop =
            run_setup::train_loop(&config, base, start, train.examples, held_out, recompute, stop)?;
        let resumed = match saved {
            Some((checkpoint, state)) => {
                let step = state.progress.step;
                train_loop.restore(&checkpoint, state)?;
                Some((step, checkpoint))
            }
            None => None,
        };
        on_event(&Event::planned(&train_loop, threads(config.run.threads)));
        let planned = planner.plan(recompute);
        on_event(&Event::Memory(planned));
        // From here on only the disk can fail: what an earlier run left is not touched for one that cannot start.
        if config.run.resume == Resume::Never && checkpoint::clear(&vault, &folder.checkpoints())? > 0 {
            on_event(&Event::Discarded { what: Leftover::Checkpoints, why: DiscardReason::Asked });
        }
        let step = resumed.as_ref().map_or(0, |(step, _)| *step);
        let (metrics, earlier) = folder.metrics(step)?;
        // What goes on has to go on with the same bytes, of which a fingerprint sees a few.
        let recorded = resumed.as_ref().and_then(|_| folder.base()?.hash);
        let hash_check = HashCheck::start(train_loop.trainer().base().file(), recorded)?;
        let mut run = Self {
            request,
            folder,
            vault,
            identity,
            train_loop,
            hash_check,
            metrics,
            losses: earlier.iter().map(|metrics| (metrics.step, metrics.loss)).collect(),
            saved_at: None,
            stop: stop.clone(),
            tokens: 0,
            seconds: 0.0,
            step_seconds: 0.0,
            planned,
            peak: 0,
        };
        run.note_base(recorded)?;
        atomic::write_file(&run.folder.config(), config.to_toml()?.as_bytes())?;
        if let Some((step, checkpoint)) = resumed {
            run.saved_at = Some(step);
            on_event(&Event::Resumed { step, checkpoint });
        }
        Ok(run)
    }

    fn note_base(&self, hash: Option<FileHash>) -> Result<()> {
        let model = &self.request.model;
        self.folder.write_base(&BaseNote {
            model: std::path::absolute(model).map_err(Error::io("find", model))?,
            fingerprint: *self.base().fingerprint(),
            hash,
        })
    }

    /// Waits until all of the model has been hashed, and notes the result.
    ///
    /// # Errors
    /// [`Error::Cancelled`] at a stop; [`Error::ModelChanged`].
    fn wait_for_hash(&mut self) -> Result<()> {
        let hash = self.hash_check.wait(self.stop.as_atomic())?;
        hash.map_or(Ok(()), |hash| self.note_base(Some(hash)))
    }

    fn base(&self) -> &Base {
        self.train_loop.trainer().base()
    }

    /// Works until the end, a stop or the end of patience.
    fn run(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        match self.work(on_event) {
            Err(Error::Cancelled) => match self.save(on_event) {
                // The model has not shown yet that it is the run's, and a stop does not wait for that.
                Err(Error::Cancelled) => {
                    let step = self.saved_at.unwrap_or(0);
                    let text = format!(
                        "stopped before all of the model was read: the run goes on after step {step}"
                    );
                    on_event(&Event::Warning { text });
                    Ok(Outcome::Interrupted)
                }
                saved => saved.map(|()| Outcome::Interrupted),
            },
            Err(error @ Error::NotFinite { .. }) => Err(error),
            // What was computed with other weights than the run's was not counted; the rest is as good as at any stop.
            Err(error) => match self.save(on_event) {
                Ok(()) | Err(Error::Cancelled) => Err(error),
                Err(problem) => Err(problem),
            },
            ended => ended,
        }
    }

    fn work(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        let RunConfig { checkpoint_every, .. } = self.request.config.run;
        loop {
            if let Some(hash) = self.hash_check.poll()? {
                self.note_base(Some(hash))?;
            }
            let started = Instant::now();
            let step_event = self.train_loop.advance()?;
            let seconds = started.elapsed().as_secs_f64();
            match step_event {
                StepEvent::MicroStep => self.step_seconds += seconds,
                StepEvent::Step { report, too_high } => {
                    let seconds = std::mem::take(&mut self.step_seconds) + seconds;
                    self.record(&report, seconds, on_event)?;
                    if let Some(event) = Event::rate_lowered(&self.train_loop, too_high) {
                        on_event(&event);
                    }
                    if checkpoint_every > 0 && report.step.is_multiple_of(checkpoint_every) {
                        self.save(on_event)?;
                    }
                }
                StepEvent::EvalBatch => {}
                StepEvent::Evaluated { step, loss, best } => {
                    on_event(&Event::Evaluated { step, loss, perplexity: libm::exp(loss), best });
                }
                StepEvent::Ended(reason) => {
                    self.wait_for_hash()?;
                    return Ok(match reason {
                        StopReason::Finished => Outcome::Finished,
                        StopReason::OutOfPatience => Outcome::EarlyStopped,
                    });
                }
            }
            if self.stop.is_raised() {
                return Err(Error::Cancelled);
            }
        }
    }

    fn record(&mut self, report: &StepReport, seconds: f64, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        let metrics = StepMetrics::new(report, seconds);
        self.tokens += report.tokens;
        self.seconds += seconds;
        self.losses.push((report.step, report.loss));
        self.metrics.append(&metrics)?;
        self.look_at_memory();
        on_event(&Event::Step(metrics));
        Ok(())
    }

    /// Compares what is taken with the plan.
    fn look_at_memory(&mut self) {
        let (bytes, planned) = (anonymous_bytes(), self.planned.total);
        if bytes > self.peak {
            tracing::debug!(bytes, planned, "memory");
            if bytes > planned && self.peak <= planned {
                tracing::warn!(bytes, planned, "more memory is taken than was planned");
            }
            self.peak = bytes;
        }
    }

    fn save(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        if self.hash_check.is_awaited() {
            self.wait_for_hash()?;
        }
        let keep = self.request.config.run.keep_checkpoints;
        resume::save(&self.vault, &self.folder.checkpoints(), &self.identity, &self.train_loop, keep)?;
        self.look_at_memory();
        let step = self.train_loop.progress().step;
        self.saved_at = Some(step);
        on_event(&Event::Saved { step });
        Ok(())
    }

    fn finish(mut self, outcome: Outcome, on_event: &mut dyn FnMut(&Event)) -> Result<TrainReport> {
        self.train_loop.model().release(); // room for writing the result
        let Progress { step, evaluations, early_stopping, .. } = self.train_loop.progress().clone();
        if let Some(curve) = &self.request.curve {
            let held_out: Vec<_> = evaluations.iter().map(|at| (at.step, at.loss)).collect();
            let plot = (curve.draw)(&self.losses, &held_out);
            atomic::write_file(&self.folder.plot(), plot.as_bytes())?;
        }
        let mut best_step = step;
        let interrupted = outcome == Outcome::Interrupted;
        if !interrupted {
            if self.request.config.run.checkpoint_every > 0 && self.saved_at != Some(step) {
                self.save(on_event)?;
            }
            best_step = match self.keep_adapter() {
                Ok(step) => step,
                Err(error) => {
                    // The disk is full, say. The work must not be lost with the result, if there is room for that at least.
                    self.save(on_event)?;
                    return Err(error);
                }
            };
            if best_step == 0 && step > 0 {
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
            held_out_before: evaluations.first().map(|at| at.loss),
            held_out_after: early_stopping.best_loss,
            best_step,
            adapter: (!interrupted).then(|| self.folder.peft()),
            checkpoint: interrupted.then(|| self.folder.checkpoints()),
            tokens: self.tokens,
            seconds: self.seconds,
        })
    }

    /// Keeps the run's result. Returns its step.
    fn keep_adapter(&self) -> Result<u64> {
        let (adapter, step) = self.train_loop.result()?;
        self.write(&adapter).map(|()| step)
    }

    /// After a divergence: keeps what is left.
    fn keep_last_good(&self) -> Result<()> {
        self.train_loop.last_good().map_or(Ok(()), |tensors| self.write(tensors))
    }

    /// Writes an adapter in both formats.
    fn write(&self, tensors: &AdapterTensors) -> Result<()> {
        write_peft(&self.folder.peft(), tensors, self.base())?;
        write_gguf_adapter(&self.folder.gguf(), tensors, self.base())
    }
}
