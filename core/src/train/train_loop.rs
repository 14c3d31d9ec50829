//! A whole run as a stream of short pieces of work. After each of them the run can be saved, and while one is under
//! way it can be stopped: a run that is cut anywhere and goes on ends as one that was not.

use std::borrow::Cow;

use nightgraft_adapter::AdapterTensors;
use nightgraft_text::Example;
use nightgraft_text::data::{self, BatchOptions};

use super::{BestAdapter, LearningRateGuard, RateTooHigh, StepReport, Trainer};
use crate::transformer::{LossSum, Model};
use crate::{Error, Result};

/// Optimizer steps with evaluations between them, until the steps or the patience are used up.
pub struct TrainLoop {
    trainer: Trainer,
    held_out: Vec<Example>,
    /// The held-out examples as micro-batches.
    held_out_plan: Vec<Vec<usize>>,
    schedule: EvalSchedule,
    history: RunHistory,
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

/// What a run has behind it, besides what its trainer knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunHistory {
    /// The best adapter so far.
    pub best: BestAdapter,
    /// Step and mean loss per supervised token of every evaluation so far.
    pub evaluations: Vec<(u64, f64)>,
    /// The evaluation under way, if one is.
    pub evaluating: Option<PartialEvaluation>,
    /// What watches the rate.
    pub guard: LearningRateGuard,
}

/// An evaluation that has run over some of its micro-batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartialEvaluation {
    /// The next micro-batch.
    pub next_batch: u64,
    /// The sums of those before it.
    pub sum: LossSum,
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
        Self { trainer, held_out, held_out_plan, schedule, history: RunHistory::default() }
    }

    /// The adapter that the run has come to, and the step that it is of: the best one, or the last where nothing was evaluated.
    ///
    /// # Errors
    /// Those of reading the adapter that is trained.
    pub fn result(&self) -> Result<(Cow<'_, AdapterTensors>, u64)> {
        match (&self.history.best.adapter, self.history.best.at) {
            (Some(adapter), Some((_, step))) => Ok((Cow::Borrowed(adapter), step)),
            _ => Ok((Cow::Owned(self.trainer.adapter().tensors()?), self.trainer.step())),
        }
    }

    /// What makes the steps.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The model that is trained.
    pub fn model(&mut self) -> &mut Model {
        self.trainer.model()
    }

    /// What lies behind the run: its evaluations, its best adapter.
    pub fn history(&self) -> &RunHistory {
        &self.history
    }

    /// Micro-batches of an evaluation.
    pub fn held_out_batches(&self) -> u64 {
        self.held_out_plan.len() as u64
    }

    /// Sets a run back to a saved moment; `trainer` does so for the trainer.
    pub fn restore(
        &mut self,
        history: RunHistory,
        trainer: impl FnOnce(&mut Trainer) -> Result<()>,
    ) -> Result<()> {
        trainer(&mut self.trainer)?;
        if history.guard.lowered_after.is_some() {
            self.trainer.lower_rate();
        }
        self.history = history;
        Ok(())
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
        if self.history.best.is_out_of_patience(self.schedule.patience) {
            return Ok(StepEvent::Ended(StopReason::OutOfPatience));
        }
        let Some(report) = self.trainer.advance()? else { return Ok(StepEvent::MicroStep) };
        let StepReport { step, loss, grad_norm, .. } = report;
        let too_high = self.history.guard.watch(step, self.trainer.total_steps(), loss, grad_norm);
        if too_high.is_some() {
            self.trainer.lower_rate();
            if let Some(best) = &self.history.best.adapter {
                self.trainer.go_back_to(best)?;
            }
        }
        Ok(StepEvent::Step { report, too_high })
    }

    /// Before the first step, every `eval_every` steps and after the last.
    fn is_evaluation_due(&self) -> bool {
        let step = self.trainer.step();
        let in_mid_step = self.trainer.accumulation().micro_steps > 0;
        let due =
            self.schedule.eval_every.is_some_and(|n| step.is_multiple_of(n) || self.trainer.is_finished());
        let done = self.history.evaluations.last().is_some_and(|&(last, _)| last == step);
        due && !in_mid_step && !done && !self.held_out.is_empty()
    }

    fn evaluate_batch(&mut self) -> Result<StepEvent> {
        let PartialEvaluation { next_batch, mut sum } = self.history.evaluating.unwrap_or_default();
        let members = &self.held_out_plan[next_batch as usize];
        sum += self.trainer.evaluate_batch(&data::assemble(&self.held_out, members))?;
        let next_batch = next_batch + 1;
        if next_batch < self.held_out_batches() {
            self.history.evaluating = Some(PartialEvaluation { next_batch, sum });
            return Ok(StepEvent::EvalBatch);
        }
        let step = self.trainer.step();
        let loss = sum.loss / sum.supervised as f64;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step, place: "the held-out loss".into() });
        }
        let start = self.history.evaluations.first().map_or(loss, |&(_, start)| start);
        let adapter = self.trainer.adapter();
        let best = self.history.best.consider(step, loss, start, |best| adapter.copy_to(best))?;
        self.history.evaluations.push((step, loss));
        self.history.evaluating = None;
        Ok(StepEvent::Evaluated { step, loss, best })
    }
}
