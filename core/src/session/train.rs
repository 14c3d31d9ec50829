//! A training run, from files to an adapter.

use std::path::PathBuf;
use std::time::Duration;

use nightgraft_adapter::AdapterTensors;
use nightgraft_files::{atomic, file_system};
use nightgraft_store::checkpoint::{self, Progress};
use nightgraft_store::vault::Vault;
use nightgraft_text::Date;
use nightgraft_text::data::{self, Dataset, Format};

use super::adapter_shape::RequestedShape;
use super::inputs::{Inputs, threads};
use super::memory_plan::{MemoryWatch, process_bytes};
use super::run_folder::{self, BaseNote, MetricsFile, RunFolder};
use super::run_setup::RunParts;
use super::train_run::{RunHome, TrainRun};
use super::{
    DeviceOptions, DiscardReason, Event, Leftover, LossAt, LossCurve, Outcome, StepMetrics, StopFlag,
    TrainReport, adapter, devices, inspect, resume,
};
use crate::config::{OrAuto, Resume, TrainConfig};
use crate::export::{InputFile, write_gguf_adapter, write_peft};
use crate::model_file::{FileHash, HashCheck};
use crate::train::StopReason;
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
    /// How GPUs may be used, if the settings ask for one.
    pub devices: DeviceOptions,
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
    let mut memory = MemoryWatch::default();
    let on_event: &mut dyn FnMut(&Event) = &mut |event| {
        match event {
            Event::Memory(plan) => memory.planned = plan.total,
            Event::Step(_) | Event::Saved { .. } => memory.look(),
            _ => {}
        }
        on_event(event);
    };
    let mut job = Job::open(request, stop, on_event)?;
    match job.work(on_event) {
        Ok(outcome) => job.finish(outcome, on_event),
        Err(error @ Error::NotFinite { .. }) => {
            job.keep_last_good()?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// A run, and what it leaves in its folder.
struct Job<'a> {
    request: &'a TrainRequest,
    run: TrainRun,
    results: Results,
    stop: StopFlag,
}

/// The folder of a run, and what its steps were like.
struct Results {
    folder: RunFolder,
    /// What the checkpoints are written with.
    vault: Vault,
    base: BaseNote,
    metrics: MetricsFile,
    losses: Vec<LossAt>,
    tokens: u64,
    seconds: f64,
}

impl<'a> Job<'a> {
    fn open(request: &'a TrainRequest, stop: &StopFlag, on_event: &mut dyn FnMut(&Event)) -> Result<Self> {
        RunFolder::check(&request.out, &request.inputs(), request.curve.as_ref())?;
        let vault = Vault::plain(file_system::system());
        let (parts, process) = parts(request, &vault, stop, on_event)?;
        let setup = parts.fit(|data| vec![data.batch_tokens()], process, request.memory_limit)?;
        setup.refused_gpu().iter().for_each(&mut *on_event);
        let folder = RunFolder::open(&request.out)?;
        let saved = match request.config.run.resume {
            Resume::Auto => resume::load(&vault, &folder.checkpoints(), &setup.identity, on_event)?,
            Resume::Never => None,
        };
        // What goes on has to go on with the same bytes, of which a fingerprint sees a few.
        let recorded = saved.as_ref().and_then(|_| folder.base()?.hash);
        let hash_check = HashCheck::start(setup.base.file(), recorded.clone())?;
        let model = std::path::absolute(&request.model).map_err(Error::io("find", &request.model))?;
        let base = BaseNote { model, fingerprint: *setup.base.fingerprint(), hash: recorded };
        let config = setup.config.to_toml()?;
        let planned = setup.planner.plan(setup.recompute);
        let mut run = TrainRun::new(setup, hash_check, Duration::MAX, stop)?;
        let resumed = saved.map(|saved| run.restore(saved)).transpose()?.unwrap_or_default();
        on_event(&Event::planned(&run.train_loop, threads(request.config.run.threads)));
        on_event(&Event::Memory(planned));
        // From here on only the disk can fail: what an earlier run left is not touched for one that cannot start.
        if request.config.run.resume == Resume::Never && checkpoint::clear(&vault, &folder.checkpoints())? > 0
        {
            on_event(&Event::Discarded { what: Leftover::Checkpoints, why: DiscardReason::Asked });
        }
        let (metrics, earlier) = folder.metrics(run.train_loop.progress().step)?;
        folder.write_base(&base)?;
        atomic::write_file(&folder.config(), config.as_bytes())?;
        resumed.iter().for_each(&mut *on_event);
        let losses = earlier.iter().map(|metrics| (metrics.step, metrics.loss)).collect();
        let results = Results { folder, vault, base, metrics, losses, tokens: 0, seconds: 0.0 };
        Ok(Self { request, run, results, stop: stop.clone() })
    }

    /// Works until the end, a stop or the end of patience, and saves what a stop or a failure leaves.
    fn work(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        let ended = self.work_to_the_end(on_event);
        if matches!(ended, Ok(_) | Err(Error::NotFinite { .. })) {
            return ended;
        }
        match (ended, self.save(on_event)) {
            (Err(Error::Cancelled), Ok(())) => Ok(Outcome::Interrupted),
            // The model has not shown yet that it is the run's, and a stop does not wait for that.
            (Err(Error::Cancelled), Err(Error::Cancelled)) => {
                let step = self.run.saved_step().unwrap_or(0);
                let text =
                    format!("stopped before all of the model was read: the run goes on after step {step}");
                on_event(&Event::Warning { text });
                Ok(Outcome::Interrupted)
            }
            // What was computed with other weights than the run's was not counted; the rest is as good as at any stop.
            (ended, Ok(()) | Err(Error::Cancelled)) => ended,
            (_, Err(problem)) => Err(problem),
        }
    }

    fn work_to_the_end(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<Outcome> {
        loop {
            if let Some(reason) = self.run.advance(&mut self.results, &self.stop, on_event)? {
                self.run.model_hash(&mut self.results, &self.stop)?;
                return Ok(match reason {
                    StopReason::Finished => Outcome::Finished,
                    StopReason::OutOfPatience => Outcome::EarlyStopped,
                });
            }
            if self.stop.is_raised() {
                return Err(Error::Cancelled);
            }
        }
    }

    fn save(&mut self, on_event: &mut dyn FnMut(&Event)) -> Result<()> {
        self.run.save(&mut self.results, &self.stop, on_event)
    }

    fn finish(mut self, outcome: Outcome, on_event: &mut dyn FnMut(&Event)) -> Result<TrainReport> {
        self.run.train_loop.model().release(); // room for writing the result
        let Progress { step, evaluations, early_stopping, .. } = self.run.train_loop.progress().clone();
        if let Some(curve) = &self.request.curve {
            let held_out: Vec<_> = evaluations.iter().map(|at| (at.step, at.loss)).collect();
            let plot = (curve.draw)(&self.results.losses, &held_out);
            atomic::write_file(&self.results.folder.plot(), plot.as_bytes())?;
        }
        let mut best_step = step;
        let interrupted = outcome == Outcome::Interrupted;
        if !interrupted {
            if self.request.config.run.checkpoint_every > 0 && self.run.saved_step() != Some(step) {
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
        let devices = self.run.train_loop.progress().devices.clone();
        let model = self.run.train_loop.model();
        let (device, operations) = (devices::name_of(model), model.operations());
        let Results { folder, losses, tokens, seconds, .. } = &self.results;
        Ok(TrainReport {
            device,
            devices,
            operations,
            outcome,
            steps: step,
            first_loss: losses.first().map(|&(_, loss)| loss),
            last_loss: losses.last().map(|&(_, loss)| loss),
            held_out_before: evaluations.first().map(|at| at.loss),
            held_out_after: early_stopping.best_loss,
            best_step,
            adapter: (!interrupted).then(|| folder.peft()),
            checkpoint: interrupted.then(|| folder.checkpoints()),
            tokens: *tokens,
            seconds: *seconds,
        })
    }

    /// Keeps the run's result. Returns its step.
    fn keep_adapter(&self) -> Result<u64> {
        let (adapter, step) = self.run.train_loop.result()?;
        self.write(&adapter).map(|()| step)
    }

    /// After a divergence: keeps what is left.
    fn keep_last_good(&self) -> Result<()> {
        self.run.train_loop.last_good().map_or(Ok(()), |adapter| self.write(adapter))
    }

    /// Writes an adapter in both formats.
    fn write(&self, adapter: &AdapterTensors) -> Result<()> {
        let (folder, base) = (&self.results.folder, self.run.train_loop.trainer().base());
        write_peft(&folder.peft(), adapter, base)?;
        write_gguf_adapter(&folder.gguf(), adapter, base)
    }
}

impl RunHome for Results {
    fn checkpoints(&self) -> (PathBuf, &Vault) {
        (self.folder.checkpoints(), &self.vault)
    }

    fn keep_model_hash(&mut self, hash: FileHash) -> Result<()> {
        self.base.hash = Some(hash);
        self.folder.write_base(&self.base)
    }

    fn keep_metrics(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.tokens += metrics.tokens;
        self.seconds += metrics.seconds;
        self.losses.push((metrics.step, metrics.loss));
        self.metrics.append(metrics)
    }
}

/// Reads the model, the data and the adapter to start from. Tells as well what the process takes with all of these.
fn parts(
    request: &TrainRequest,
    vault: &Vault,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&Event),
) -> Result<(RunParts, u64)> {
    let mut config = request.config.clone();
    let date = date(request, vault)?;
    config.data.date = Some(date);
    let inputs = Inputs::open(&request.model, date)?;
    on_event(&Event::Model(inspect(&request.model)?));
    let (train, held_out) = datasets(request, &inputs)?;
    on_event(&Event::Data {
        train: train.report.clone(),
        held_out: held_out.as_ref().map(|held_out| held_out.report.clone()),
    });

    let base = inputs.into_base();
    let earlier =
        request.init_adapter.as_ref().map(|path| adapter::read_with_notice(path, &base)).transpose()?;
    let (earlier, other_base) = earlier.unzip();
    // A driver is then counted with the process.
    let gpu = devices::choose(&config.run, &request.devices, &base, stop, on_event)?;
    let process = process_bytes();
    // Before what is still open is left to this machine.
    if config.run.resume == Resume::Auto
        && let Some(begun) = run_folder::settings_under_way(&request.out)
    {
        config.resolve_auto_as(&begun);
    }
    let parts = RunParts::new(config, earlier, base, train, held_out)?.with_gpu(gpu);
    if request.init_adapter.is_some() {
        request.requested_shape.check(&parts.config.lora, &parts.base)?;
    }
    for notice in other_base.flatten().into_iter().chain(parts.notices()) {
        on_event(&Event::Warning { text: notice.to_string() });
    }
    Ok((parts, process))
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

/// What is trained on, and what is held out, if anything.
fn datasets(request: &TrainRequest, inputs: &Inputs) -> Result<(Dataset, Option<Dataset>)> {
    let config = &request.config;
    let dataset = inputs.load(&request.data, request.format, &config.data)?;
    let evaluates = config.run.eval_every != OrAuto::Given(0);
    Ok(match &request.valid {
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
    })
}
