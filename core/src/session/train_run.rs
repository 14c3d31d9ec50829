//! A training run under way: worked on piece by piece, saved between them, set back to what was saved.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nightgraft_store::checkpoint::{self, Progress};
use nightgraft_store::vault::Vault;

use super::resume::{RunIdentity, SavedRun};
use super::run_setup::{BegunRun, RunSetup};
use super::{Event, StepMetrics, StopFlag, devices};
use crate::Result;
use crate::config::RunConfig;
use crate::device::{DeviceEvent, FirstStep};
use crate::model_file::{FileHash, HashCheck};
use crate::train::{StepEvent, StopReason, TrainLoop};
use crate::transformer::release_freed_memory;

/// Where a run keeps its checkpoints, and what else is kept there: a folder of its own, or a store.
pub(super) trait RunHome {
    /// The folder of the checkpoints, and what they are written with.
    fn checkpoints(&self) -> (PathBuf, &Vault);

    /// Makes room for a checkpoint of so many bytes.
    fn reserve(&mut self, _bytes: u64) -> Result<()> {
        Ok(())
    }

    /// Keeps the hash of the model that is trained, once it is known.
    fn keep_model_hash(&mut self, hash: FileHash) -> Result<()>;

    /// Keeps what a step was like, before a checkpoint has it behind it.
    fn keep_metrics(&mut self, _metrics: &StepMetrics) -> Result<()> {
        Ok(())
    }
}

/// A train loop and its checkpoints. Nothing is saved before the model's file is known to be the one that the run began with.
pub(super) struct TrainRun {
    pub(super) train_loop: TrainLoop,
    identity: RunIdentity,
    hash_check: HashCheck,
    config: RunConfig,
    save_every: Duration,
    /// What the run had counted when it was last saved, and when that was, or when it was opened.
    saved: Option<Progress>,
    saved_at: Instant,
    /// The time of the micro-steps since the last optimizer step.
    step_seconds: f64,
    /// The mark of the first step with a GPU, until it is made.
    first_step: Option<FirstStep>,
}

impl TrainRun {
    /// A run at its start. It is saved after the steps that its settings say, and when `save_every` has passed.
    ///
    /// # Errors
    /// As [`RunSetup::begin`].
    pub(super) fn new(
        setup: RunSetup,
        hash_check: HashCheck,
        save_every: Duration,
        stop: &StopFlag,
    ) -> Result<Self> {
        let config = setup.config.run.clone();
        let BegunRun { train_loop, identity, first_step } = setup.begin(stop)?;
        let saved_at = Instant::now();
        Ok(Self {
            train_loop,
            identity,
            hash_check,
            config,
            save_every,
            saved: None,
            saved_at,
            step_seconds: 0.0,
            first_step,
        })
    }

    /// Sets a run at its start back to a checkpoint of its own; gives the events that tell so.
    ///
    /// # Errors
    /// As [`TrainLoop::restore`].
    pub(super) fn restore(&mut self, (checkpoint, state): SavedRun) -> Result<Vec<Event>> {
        self.train_loop.restore(&checkpoint, state)?;
        release_freed_memory(); // the many small matrices of the state
        let now = devices::name_of(self.train_loop.model());
        let progress = self.train_loop.progress();
        let mut events = vec![Event::Resumed { step: progress.step, checkpoint }];
        if let Some(before) = progress.devices.last().filter(|before| **before != now) {
            events.push(Event::Device(DeviceEvent::Changed { before: before.clone(), device: now }));
        }
        self.saved = Some(progress.clone());
        Ok(events)
    }

    /// The step after which the run was last saved; none if it was not.
    pub(super) fn saved_step(&self) -> Option<u64> {
        self.saved.as_ref().map(|saved| saved.step)
    }

    /// Does the next piece of work, tells of it, and saves the run if it is time. Gives the reason when the run has ended;
    /// what has come since the last checkpoint is not saved then.
    ///
    /// # Errors
    /// As [`TrainLoop::advance`], and as [`save`](Self::save).
    pub(super) fn advance(
        &mut self,
        home: &mut dyn RunHome,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<Option<StopReason>> {
        if let Some(hash) = self.hash_check.poll()? {
            home.keep_model_hash(hash)?;
        }
        self.first_step.iter_mut().for_each(FirstStep::begin);
        let started = Instant::now();
        let step = self.train_loop.progress().step;
        let step_event = self.train_loop.advance();
        if let Some(failed) = devices::failure_of(self.train_loop.model(), step) {
            self.first_step = None;
            on_event(&failed);
        }
        self.first_step.iter_mut().for_each(FirstStep::pause);
        let step_event = step_event?;
        if matches!(step_event, StepEvent::MicroStep | StepEvent::Step { .. }) {
            let device = devices::name_of(self.train_loop.model());
            self.train_loop.note_device(device);
            if let Some(first_step) = self.first_step.take() {
                first_step.made();
                self.train_loop.model().keep_pipelines();
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let mut due = self.saved_at.elapsed() >= self.save_every;
        match step_event {
            StepEvent::MicroStep => self.step_seconds += seconds,
            StepEvent::Step { report, too_high } => {
                let seconds = std::mem::take(&mut self.step_seconds) + seconds;
                let metrics = StepMetrics::new(&report, seconds);
                home.keep_metrics(&metrics)?;
                on_event(&Event::Step(metrics));
                if let Some(why) = too_high {
                    let lr = self.train_loop.trainer().highest_rate();
                    on_event(&Event::RateLowered { step: report.step, lr, why });
                }
                let every = self.config.checkpoint_every;
                due |= every > 0 && report.step.is_multiple_of(every);
            }
            StepEvent::EvalBatch => {}
            StepEvent::Evaluated { step, loss, best } => {
                on_event(&Event::Evaluated { step, loss, perplexity: libm::exp(loss), best });
            }
            StepEvent::Ended(reason) => return Ok(Some(reason)),
        }
        if due {
            self.save(home, stop, on_event)?;
        }
        Ok(None)
    }

    /// Saves the run, unless it is as it was saved last. If the model's file has to show first that it is the one of an earlier
    /// time, waits for that.
    ///
    /// # Errors
    /// As [`model_hash`](Self::model_hash); those of writing a checkpoint.
    pub(super) fn save(
        &mut self,
        home: &mut dyn RunHome,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<()> {
        if self.saved.as_ref() == Some(self.train_loop.progress()) {
            return Ok(());
        }
        if self.hash_check.is_awaited() {
            self.model_hash(home, stop)?;
        }
        home.reserve(self.train_loop.checkpoint_bytes())?;
        let (folder, vault) = home.checkpoints();
        let snapshot = self.identity.snapshot(&self.train_loop);
        checkpoint::save(vault, &folder, snapshot, self.config.keep_checkpoints)?;
        let progress = self.train_loop.progress().clone();
        on_event(&Event::Saved { step: progress.step });
        (self.saved, self.saved_at) = (Some(progress), Instant::now());
        Ok(())
    }

    /// The hash of the model that is trained: waits until all of its file was read.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) at a stop; [`Error::ModelChanged`](crate::Error::ModelChanged).
    pub(super) fn model_hash(&mut self, home: &mut dyn RunHome, stop: &StopFlag) -> Result<FileHash> {
        if let Some(hash) = self.hash_check.wait(stop.as_atomic())? {
            home.keep_model_hash(hash)?;
        }
        Ok(self.hash_check.known().expect("it was waited for"))
    }
}

#[cfg(test)]
mod tests;
