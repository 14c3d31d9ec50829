//! The training loop as a stream of micro-steps.

use nightgraft_adapter::AdapterTensors;
use nightgraft_random as random;
use nightgraft_text::Example;
use nightgraft_text::data::{self, Batch, BatchOptions};

use super::guard::LOWERED_TO;
use super::optimizer::AdamW;
use super::schedule::learning_rate;
use crate::config::TrainConfig;
use crate::lora::Adapter;
use crate::transformer::{LossSum, Model};
use crate::{Error, Result};

/// Everything that moves during a run, and nothing that a resumed run could not set back exactly.
pub struct Trainer {
    config: TrainConfig,
    model: Model,
    adapter: Adapter,
    optimizer: AdamW,
    examples: Vec<Example>,
    total_steps: u64,
    highest_rate: f64,
    position: DataPosition,
    accumulation: GradientAccumulation,
    epoch_plan: Vec<Vec<usize>>,
    /// The adapter that last had a loss, unless nobody wants it.
    last_good: Option<AdapterTensors>,
    keeps_last_good: bool,
}

/// Where the data stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DataPosition {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The next micro-batch of it.
    pub batch: u64,
}

/// The optimizer step under way: what its micro-steps so far have added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GradientAccumulation {
    /// Micro-steps done.
    pub micro_steps: u64,
    /// Tokens run.
    pub tokens: u64,
    /// The sum of their losses.
    pub sum: LossSum,
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
            return Err(Error::Config { option: "--data", problem: "no example is left to train on".into() });
        }
        let optimizer = AdamW::new(&config.optimizer, &adapter);
        let total_steps = total_steps(config, &examples);
        let undecided = || Error::Config { option: "--lr", problem: "it is not decided yet".into() };
        let highest_rate = config.optimizer.lr.given().ok_or_else(undecided)?;
        let mut trainer = Self {
            config: config.clone(),
            model,
            adapter,
            optimizer,
            examples,
            total_steps,
            highest_rate,
            position: DataPosition::default(),
            accumulation: GradientAccumulation::default(),
            epoch_plan: Vec::new(),
            last_good: None,
            keeps_last_good: true,
        };
        trainer.epoch_plan = trainer.plan(0);
        Ok(trainer)
    }

    /// Optimizer steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// The rate at the end of the warm-up.
    pub fn highest_rate(&self) -> f64 {
        self.highest_rate
    }

    /// Optimizer steps done.
    pub fn step(&self) -> u64 {
        self.optimizer.updates
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.step() >= self.total_steps
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

    /// The moments.
    pub fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    /// Micro-batches of an epoch.
    pub fn batches_of_epoch(&self, epoch: u64) -> u64 {
        self.plan(epoch).len() as u64
    }

    /// Tokens run so far.
    pub fn tokens(&self) -> u64 {
        let len = |index: usize| self.examples[index].len() as u64;
        let an_epoch: u64 = (0..self.examples.len()).map(len).sum();
        let done = self.epoch_plan.iter().take(self.position.batch as usize).flatten();
        self.position.epoch * an_epoch + done.map(|&index| len(index)).sum::<u64>()
    }

    /// Where the data stream stands.
    pub fn position(&self) -> DataPosition {
        self.position
    }

    /// What the micro-steps of the step under way have added up.
    pub fn accumulation(&self) -> &GradientAccumulation {
        &self.accumulation
    }

    /// The model.
    pub fn model(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The base model.
    pub fn base(&self) -> &crate::base::Base {
        self.model.base()
    }

    /// Lowers the rate of all steps to come.
    pub fn lower_rate(&mut self) {
        self.highest_rate *= LOWERED_TO;
    }

    /// Sets the adapter back to an earlier one, and forgets which way it was moving. The squares of the gradients, which keep
    /// steps small, stay.
    ///
    /// # Errors
    /// [`Error::Ggml`] if the two do not have the same shapes.
    pub fn go_back_to(&mut self, earlier: &AdapterTensors) -> Result<()> {
        set_values(&self.adapter, earlier)?;
        self.optimizer.mean.iter_mut().for_each(|mean| mean.fill(0.0));
        Ok(())
    }

    /// Goes back to a saved moment. The adapter's values and gradients are set by the caller.
    pub fn restore(&mut self, optimizer: AdamW, position: DataPosition, accumulation: GradientAccumulation) {
        self.optimizer = optimizer;
        self.position = position;
        self.accumulation = accumulation;
        self.epoch_plan = self.plan(position.epoch);
    }

    /// Runs one micro-batch, and makes the optimizer step if it completes one.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the stop flag was raised: the interrupted micro-step is as if it had never
    /// started. [`Error::NotFinite`] if the loss, a gradient or what it would lead to is not a finite number; the adapter has
    /// not moved.
    pub fn advance(&mut self) -> Result<Option<StepReport>> {
        self.micro_step()?;
        let epoch_ends = self.position.batch == 0;
        let is_complete = self.accumulation.micro_steps >= self.config.data.accumulate as u64 || epoch_ends;
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
        let members = &self.epoch_plan[self.position.batch as usize];
        let batch = data::assemble(&self.examples, members);
        self.adapter.set_dropout_key(self.dropout_key());
        if self.accumulation.micro_steps == 0 {
            self.adapter.clear_gradients()?;
        }
        // A micro-step that is aborted half-way has added to some gradients; the earlier ones' sums must stay.
        let before = (self.accumulation.micro_steps > 0).then(|| self.gradients()).transpose()?;
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
            return Err(Error::NotFinite { step: self.step() + 1, place });
        }
        if self.keeps_last_good && self.accumulation.micro_steps == 0 {
            self.adapter.copy_to(&mut self.last_good)?;
        }
        self.accumulation.micro_steps += 1;
        self.accumulation.tokens += batch.ids.len() as u64;
        self.accumulation.sum += sum;
        self.position.batch += 1;
        if self.position.batch as usize == self.epoch_plan.len() {
            self.position = DataPosition { epoch: self.position.epoch + 1, batch: 0 };
            self.epoch_plan = self.plan(self.position.epoch);
        }
        Ok(())
    }

    fn finish_step(&mut self) -> Result<StepReport> {
        let lr = learning_rate(&self.config.optimizer, self.highest_rate, self.step(), self.total_steps);
        let supervised_tokens = self.accumulation.sum.supervised;
        let grad_norm = self.optimizer.update(&self.adapter, supervised_tokens, lr)?;
        let done = std::mem::take(&mut self.accumulation);
        let loss = done.sum.loss / supervised_tokens.max(1) as f64;
        Ok(StepReport { step: self.step(), loss, tokens: done.tokens, supervised_tokens, lr, grad_norm })
    }

    /// Sums of gradients, in the order of [`Adapter::parameters`].
    ///
    /// # Errors
    /// Never for an adapter made by [`Adapter::new`].
    pub fn gradients(&self) -> Result<Vec<Vec<f32>>> {
        self.adapter.parameters().map(|p| Ok(p.grad.to_vec()?)).collect()
    }

    /// Sets the sums of gradients.
    ///
    /// # Errors
    /// [`Error::Ggml`] if a size does not fit.
    pub fn set_gradients(&self, gradients: &[Vec<f32>]) -> Result<()> {
        self.adapter.parameters().zip(gradients).try_for_each(|(p, values)| Ok(p.grad.write(0, values)?))
    }

    /// Different for each micro-step of a run, and the same again when it is repeated.
    fn dropout_key(&self) -> u64 {
        let DataPosition { epoch, batch } = self.position;
        random::key(&[self.config.run.seed, epoch, batch])
    }

    fn plan(&self, epoch: u64) -> Vec<Vec<usize>> {
        plan(&self.config, &self.examples, epoch)
    }
}

fn plan(config: &TrainConfig, examples: &[Example], epoch: u64) -> Vec<Vec<usize>> {
    let options = BatchOptions {
        batch_tokens: config.data.batch_tokens(),
        packing: config.data.packing,
        shuffle: config.data.shuffle,
        seed: config.run.seed,
    };
    data::plan_epoch(examples, epoch, &options)
}

/// Optimizer steps of a run: as many as are asked for, or those of all epochs.
pub fn total_steps(config: &TrainConfig, examples: &[Example]) -> u64 {
    let accumulate = config.data.accumulate;
    let of_epoch = |epoch| plan(config, examples, epoch).len().div_ceil(accumulate) as u64;
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

/// Writes the factors of an adapter over those of one in training.
///
/// # Errors
/// [`Error::Ggml`] if the two do not have the same shapes.
pub fn set_values(adapter: &Adapter, tensors: &AdapterTensors) -> Result<()> {
    let values = tensors.pairs.values().flat_map(|pair| [&pair.a, &pair.b_t]);
    adapter.parameters().zip(values).try_for_each(|(p, values)| Ok(p.value.write(0, values)?))
}
