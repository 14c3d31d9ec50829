//! A whole run as a stream of short pieces of work. After each of them the run can be saved, and while one is under
//! way it can be stopped: a run that is cut anywhere and goes on ends as one that was not.

use std::borrow::Cow;

use nightgraft_adapter::AdapterTensors;
use nightgraft_store::checkpoint::{Evaluation, PartialEvaluation, Progress};
use nightgraft_text::Example;
use nightgraft_text::data::{self, BatchOptions};

use super::{RateTooHigh, StepReport, Trainer, early_stopping, guard};
use crate::transformer::Model;
use crate::{Error, Result};

/// Optimizer steps with evaluations between them, until the steps or the patience are used up.
pub struct TrainLoop {
    pub(super) trainer: Trainer,
    held_out: Vec<Example>,
    /// The held-out examples as micro-batches.
    held_out_plan: Vec<Vec<usize>>,
    schedule: EvalSchedule,
    /// The adapter with the lowest held-out loss; none before the first evaluation.
    pub(super) best: Option<AdapterTensors>,
}

/// When to evaluate, and when to give up waiting for a better adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalSchedule {
    /// Optimizer steps between two evaluations; none evaluates never.
    pub eval_every: Option<u64>,
    /// Evaluations in a row without a new best that end the run; 0 for any number.
    pub patience: usize,
    /// Tokens of a micro-batch of held-out examples.
    pub batch_tokens: usize,
}

/// What one piece of work was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StepEvent {
    /// The gradients of one more micro-batch were added.
    MicroStep,
    /// The gradients of one more micro-batch were added, and completed an optimizer step.
    Step {
        /// What the step did.
        report: StepReport,
        /// What it has shown if the rate is too high: it is then lowered for the rest of the run, which goes on from the best
        /// adapter so far.
        too_high: Option<RateTooHigh>,
    },
    /// One more micro-batch of held-out examples was measured.
    EvalBatch,
    /// One more micro-batch of held-out examples was measured, and completed an evaluation.
    Evaluated {
        /// After how many optimizer steps.
        step: u64,
        /// Mean loss per supervised token, in nats.
        loss: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// There is nothing left to do.
    Ended(StopReason),
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All steps are done.
    Finished,
    /// The held-out loss stopped improving.
    OutOfPatience,
}

impl TrainLoop {
    /// A run at its start.
    pub fn new(mut trainer: Trainer, held_out: Vec<Example>, schedule: EvalSchedule) -> Self {
        if schedule.eval_every.is_some() && !held_out.is_empty() {
            // Evaluations come first, and there is a best adapter from then on.
            trainer.forget_last_good();
        }
        let options =
            BatchOptions { batch_tokens: schedule.batch_tokens, packing: true, shuffle: false, seed: 0 };
        let held_out_plan = data::plan_epoch(&held_out, 0, &options);
        Self { trainer, held_out, held_out_plan, schedule, best: None }
    }

    /// The adapter that the run has come to, and the step that it is of: the best one, or the last where nothing was evaluated.
    ///
    /// # Errors
    /// Those of reading the adapter that is trained.
    pub fn result(&self) -> Result<(Cow<'_, AdapterTensors>, u64)> {
        let Progress { step, early_stopping, .. } = self.progress();
        match &self.best {
            Some(best) => Ok((Cow::Borrowed(best), early_stopping.best_step)),
            None => Ok((Cow::Owned(self.trainer.adapter().tensors()?), *step)),
        }
    }

    /// What is left of a run that has diverged: the best adapter, or where nothing was evaluated the last that had a finite
    /// loss; none if no micro-step had one.
    pub fn last_good(&self) -> Option<&AdapterTensors> {
        self.best.as_ref().or(self.trainer.last_good())
    }

    /// What makes the steps.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The model that is trained.
    pub fn model(&mut self) -> &mut Model {
        self.trainer.model()
    }

    /// What the run counts: its steps, its evaluations, how far it is in what is under way.
    pub fn progress(&self) -> &Progress {
        self.trainer.progress()
    }

    /// Counts with the run what has computed its last micro-batch.
    pub fn note_device(&mut self, device: String) {
        let devices = &mut self.trainer.progress.devices;
        if devices.last() != Some(&device) {
            devices.push(device);
        }
    }

    /// Micro-batches of an evaluation.
    pub(super) fn held_out_batches(&self) -> u64 {
        self.held_out_plan.len() as u64
    }

    /// Does the next piece of work.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the model's stop flag was raised: the piece is then as if it had never been begun.
    /// [`Error::NotFinite`] if a loss, a gradient or what it would lead to is not a finite number; the adapter has not
    /// moved.
    pub fn advance(&mut self) -> Result<StepEvent> {
        if self.is_evaluation_due() {
            return self.evaluate_batch();
        }
        if self.trainer.is_finished() {
            return Ok(StepEvent::Ended(StopReason::Finished));
        }
        if early_stopping::is_out_of_patience(&self.progress().early_stopping, self.schedule.patience) {
            return Ok(StepEvent::Ended(StopReason::OutOfPatience));
        }
        let Some(report) = self.trainer.advance()? else { return Ok(StepEvent::MicroStep) };
        let StepReport { step, loss, grad_norm, .. } = report;
        let Progress { total_steps, first_steps, .. } = &mut self.trainer.progress;
        let too_high = guard::watch(first_steps, step, *total_steps, loss, grad_norm);
        if too_high.is_some()
            && let Some(best) = &self.best
        {
            self.trainer.go_back_to(best)?;
        }
        Ok(StepEvent::Step { report, too_high })
    }

    /// Before the first step, every `eval_every` steps and after the last.
    fn is_evaluation_due(&self) -> bool {
        let Progress { step, micro_step, evaluations, .. } = self.progress();
        let due =
            self.schedule.eval_every.is_some_and(|n| step.is_multiple_of(n) || self.trainer.is_finished());
        let done = evaluations.last().is_some_and(|last| last.step == *step);
        due && *micro_step == 0 && !done && !self.held_out.is_empty()
    }

    fn evaluate_batch(&mut self) -> Result<StepEvent> {
        let mut at = self.progress().evaluating.unwrap_or_default();
        let members = &self.held_out_plan[at.next_batch as usize];
        let sum = self.trainer.evaluate_batch(&data::assemble(&self.held_out, members))?;
        at = PartialEvaluation {
            next_batch: at.next_batch + 1,
            loss: at.loss + sum.loss,
            correct: at.correct + sum.correct,
            supervised: at.supervised + sum.supervised,
        };
        if at.next_batch < self.held_out_batches() {
            self.trainer.progress.evaluating = Some(at);
            return Ok(StepEvent::EvalBatch);
        }
        let Trainer { adapter, progress, .. } = &mut self.trainer;
        let (step, loss) = (progress.step, at.loss / at.supervised as f64);
        if !loss.is_finite() {
            return Err(Error::NotFinite { step, place: "the held-out loss".into() });
        }
        let start = progress.evaluations.first().map_or(loss, |start| start.loss);
        let keep = || adapter.copy_to(&mut self.best);
        let best = early_stopping::consider(&mut progress.early_stopping, step, loss, start, keep)?;
        progress.evaluations.push(Evaluation { step, loss });
        progress.evaluating = None;
        Ok(StepEvent::Evaluated { step, loss, best })
    }
}
