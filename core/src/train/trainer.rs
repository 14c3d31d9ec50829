//! The training loop as a stream of micro-steps.

use nightgraft_adapter::AdapterTensors;
use nightgraft_random as random;
use nightgraft_store::checkpoint::Progress;
use nightgraft_text::Example;
use nightgraft_text::data::{self, Batch, BatchOptions};

use super::guard::LOWERED_TO;
use super::optimizer::AdamW;
use super::schedule::learning_rate;
use crate::config::{DataConfig, TrainConfig};
use crate::error::ConfigProblem;
use crate::lora::Adapter;
use crate::transformer::{LossSum, Model};
use crate::{Error, Result};

/// Everything that moves during a run, and nothing that a resumed run could not set back exactly.
pub struct Trainer {
    config: TrainConfig,
    model: Model,
    pub(super) adapter: Adapter,
    pub(super) optimizer: AdamW,
    examples: Vec<Example>,
    /// The rate at the end of the warm-up, unless it is lowered.
    rate: f64,
    /// What the run counts, as a checkpoint has it.
    pub(super) progress: Progress,
    epoch_plan: Vec<Vec<usize>>,
    /// The adapter that last had a loss, unless nobody wants it.
    last_good: Option<AdapterTensors>,
    keeps_last_good: bool,
}

/// What one optimizer step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss over its supervised tokens, in nats.
    pub loss: f64,
    /// Tokens run.
    pub tokens: u64,
    /// Tokens with a target.
    pub supervised_tokens: u64,
    /// The rate it moved by.
    pub lr: f64,
    /// The norm of the mean gradient before clipping.
    pub grad_norm: f64,
}

impl Trainer {
    /// Puts the parts together at step 0. `model` must have been made with `adapter`.
    ///
    /// # Errors
    /// [`Error::Config`] if there is nothing to train on, or no rate.
    pub fn new(config: &TrainConfig, model: Model, adapter: Adapter, examples: Vec<Example>) -> Result<Self> {
        if examples.is_empty() {
            return Err(Error::config("--data", ConfigProblem::NoExamples));
        }
        let undecided = || Error::config("--lr", ConfigProblem::Undecided);
        let rate = config.optimizer.lr.given().ok_or_else(undecided)?;
        Ok(Self {
            config: config.clone(),
            model,
            optimizer: AdamW::new(&config.optimizer, &adapter),
            adapter,
            rate,
            progress: Progress { total_steps: total_steps(config, &examples), ..Progress::default() },
            epoch_plan: epoch_plan(&config.data, config.run.seed, &examples, 0),
            examples,
            last_good: None,
            keeps_last_good: true,
        })
    }

    /// What the run counts.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The rate at the end of the warm-up.
    pub fn highest_rate(&self) -> f64 {
        match self.progress.first_steps.lowered_after {
            Some(_) => LOWERED_TO * self.rate,
            None => self.rate,
        }
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.progress.step >= self.progress.total_steps
    }

    /// The adapter in training.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Keeps no copy of the adapter that last had a finite loss, which takes as much memory as the adapter.
    pub fn forget_last_good(&mut self) {
        self.keeps_last_good = false;
        self.last_good = None;
    }

    /// The adapter that last had a finite loss; none before the first micro-step, or if it is not kept.
    pub fn last_good(&self) -> Option<&AdapterTensors> {
        self.last_good.as_ref()
    }

    /// Micro-batches of an epoch.
    pub fn batches_of_epoch(&self, epoch: u64) -> u64 {
        self.plan(epoch).len() as u64
    }

    /// Tokens run so far.
    pub fn tokens(&self) -> u64 {
        let len = |index: usize| self.examples[index].len() as u64;
        let an_epoch: u64 = (0..self.examples.len()).map(len).sum();
        let done = self.epoch_plan.iter().take(self.progress.next_batch as usize).flatten();
        self.progress.epoch * an_epoch + done.map(|&index| len(index)).sum::<u64>()
    }

    /// The model.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The base model.
    pub fn base(&self) -> &crate::base::Base {
        self.model.base()
    }

    /// Sets the adapter back to an earlier one, and forgets which way it was moving. The squares of the gradients, which keep
    /// steps small, stay.
    ///
    /// # Errors
    /// [`Error::Ggml`] if the two do not have the same shapes.
    pub fn go_back_to(&mut self, earlier: &AdapterTensors) -> Result<()> {
        self.set_values(earlier)?;
        self.optimizer.mean.iter_mut().for_each(|mean| mean.fill(0.0));
        Ok(())
    }

    /// Sets what the run counts back to a saved moment. The numbers that are trained are set by the caller.
    pub(super) fn restore_progress(&mut self, progress: Progress) {
        self.epoch_plan = self.plan(progress.epoch);
        self.progress = progress;
    }

    /// Runs one micro-batch, and makes the optimizer step if it completes one.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the stop flag was raised: the interrupted micro-step is as if it had never
    /// started. [`Error::NotFinite`] if the loss, a gradient or what it would lead to is not a finite number; the adapter has
    /// not moved.
    pub fn advance(&mut self) -> Result<Option<StepReport>> {
        self.micro_step()?;
        let epoch_ends = self.progress.next_batch == 0;
        let is_complete = self.progress.micro_step >= self.config.data.accumulate as u64 || epoch_ends;
        is_complete.then(|| self.finish_step()).transpose()
    }

    /// The loss of a micro-batch of held-out examples.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn evaluate_batch(&mut self, batch: &Batch) -> Result<LossSum> {
        self.model.evaluate(batch)
    }

    fn micro_step(&mut self) -> Result<()> {
        let members = &self.epoch_plan[self.progress.next_batch as usize];
        let batch = data::assemble(&self.examples, members);
        self.adapter.set_dropout_key(self.dropout_key());
        let is_first = self.progress.micro_step == 0;
        if is_first {
            self.adapter.clear_gradients()?;
        }
        // A micro-step that is aborted half-way has added to some gradients; the earlier ones' sums must stay.
        let before = (!is_first).then(|| self.gradients()).transpose()?;
        let sum = match self.model.accumulate_gradients(&batch) {
            Ok(sum) => sum,
            Err(error) => {
                if let Some(before) = before {
                    self.set_gradients(&before)?;
                }
                return Err(error);
            }
        };
        if !sum.loss.is_finite() {
            let place = match self.model.first_non_finite_layer(batch.ids.len())? {
                Some(layer) => format!("the loss, and before it the output of layer {layer},"),
                None => "the loss".to_owned(),
            };
            return Err(Error::NotFinite { step: self.progress.step + 1, place });
        }
        if self.keeps_last_good && is_first {
            self.adapter.copy_to(&mut self.last_good)?;
        }
        let progress = &mut self.progress;
        progress.micro_step += 1;
        progress.tokens += batch.ids.len() as u64;
        progress.loss_sum += sum.loss;
        progress.supervised_tokens += sum.supervised;
        progress.correct += sum.correct;
        progress.next_batch += 1;
        if progress.next_batch as usize == self.epoch_plan.len() {
            (progress.epoch, progress.next_batch) = (progress.epoch + 1, 0);
            self.epoch_plan = self.plan(self.progress.epoch);
        }
        Ok(())
    }

    fn finish_step(&mut self) -> Result<StepReport> {
        let Progress { step, total_steps, loss_sum, tokens, supervised_tokens, .. } = self.progress;
        let lr = learning_rate(&self.config.optimizer, self.highest_rate(), step, total_steps);
        let step = step + 1;
        let grad_norm = self.optimizer.update(&self.adapter, step, supervised_tokens, lr)?;
        self.progress = Progress {
            step,
            micro_step: 0,
            loss_sum: 0.0,
            tokens: 0,
            supervised_tokens: 0,
            correct: 0,
            ..std::mem::take(&mut self.progress)
        };
        let loss = loss_sum / supervised_tokens.max(1) as f64;
        Ok(StepReport { step, loss, tokens, supervised_tokens, lr, grad_norm })
    }

    /// Sums of gradients, in the order of [`Adapter::parameters`].
    fn gradients(&self) -> Result<Vec<Vec<f32>>> {
        self.adapter.parameters().map(|p| Ok(p.grad.to_vec()?)).collect()
    }

    /// Writes the factors of an adapter over those in training.
    ///
    /// # Errors
    /// [`Error::Ggml`] if the two do not have the same shapes.
    pub(super) fn set_values(&self, tensors: &AdapterTensors) -> Result<()> {
        let values = tensors.pairs.values().flat_map(|pair| [&pair.a, &pair.b_t]);
        self.adapter.parameters().zip(values).try_for_each(|(p, values)| Ok(p.value.write(0, values)?))
    }

    /// Sets the sums of gradients.
    ///
    /// # Errors
    /// [`Error::Ggml`] if a size does not fit.
    pub(super) fn set_gradients(&self, gradients: &[Vec<f32>]) -> Result<()> {
        self.adapter.parameters().zip(gradients).try_for_each(|(p, values)| Ok(p.grad.write(0, values)?))
    }

    /// Different for each micro-step of a run, and the same again when it is repeated.
    fn dropout_key(&self) -> u64 {
        random::key(&[self.config.run.seed, self.progress.epoch, self.progress.next_batch])
    }

    fn plan(&self, epoch: u64) -> Vec<Vec<usize>> {
        epoch_plan(&self.config.data, self.config.run.seed, &self.examples, epoch)
    }
}

/// The members of each micro-batch of an epoch, as indices into `examples`.
pub fn epoch_plan(config: &DataConfig, seed: u64, examples: &[Example], epoch: u64) -> Vec<Vec<usize>> {
    let &DataConfig { packing, shuffle, .. } = config;
    let options = BatchOptions { batch_tokens: config.batch_tokens(), packing, shuffle, seed };
    data::plan_epoch(examples, epoch, &options)
}

/// Optimizer steps of a run: as many as are asked for, or those of all epochs.
pub fn total_steps(config: &TrainConfig, examples: &[Example]) -> u64 {
    let accumulate = config.data.accumulate;
    let micro_batches = |epoch| epoch_plan(&config.data, config.run.seed, examples, epoch).len();
    let of_epoch = |epoch| micro_batches(epoch).div_ceil(accumulate) as u64;
    config.run.steps.unwrap_or_else(|| (0..config.run.epochs()).map(of_epoch).sum())
}

/// The loss of `examples`, packed into micro-batches; calls `on_tokens` with the tokens of each.
///
/// # Errors
/// [`Error::Cancelled`] if the model's stop flag was raised.
pub fn evaluate(
    model: &mut Model,
    examples: &[Example],
    batch_tokens: usize,
    mut on_tokens: impl FnMut(u64),
) -> Result<LossSum> {
    let options = BatchOptions { batch_tokens, packing: true, shuffle: false, seed: 0 };
    let mut sum = LossSum::default();
    for members in data::plan_epoch(examples, 0, &options) {
        let batch: Batch = data::assemble(examples, &members);
        sum += model.evaluate(&batch)?;
        on_tokens(batch.ids.len() as u64);
    }
    Ok(sum)
}
