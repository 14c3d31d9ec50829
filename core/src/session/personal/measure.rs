//! Measuring what the quality gate compares, one example after the other.

use nightgraft_adapter::AdapterTensors;
use nightgraft_policy::gate::{ExampleLoss, ModelLosses, ModelRole, WordOrderLoss};
use nightgraft_text::{Example, data};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Result;
use crate::base::Base;
use crate::lora::Adapter;
use crate::session::StopFlag;
use crate::transformer::{Model, ModelOptions, OpenGpu};

/// The examples on which every candidate and its rivals are measured.
#[derive(Debug, Clone, Default)]
pub(super) struct GateSets {
    /// The user's own, none of which was trained on.
    pub(super) held_out: Vec<Example>,
    /// General text and chats.
    pub(super) retention: Vec<Example>,
    /// A sample of what was trained on.
    pub(super) train: Vec<Example>,
    /// Lines of the user's as they are, and with their words shuffled; for the base only.
    pub(super) order: Vec<ShuffledLine>,
}

/// A line as it is, and with its words shuffled.
#[derive(Debug, Clone)]
pub(super) struct ShuffledLine {
    pub(super) original: Vec<Example>,
    pub(super) shuffled: Vec<Example>,
}

/// What has been measured so far, in the order of [`GateSets::examples`]; kept in the store, so that work which was
/// interrupted goes on with the next example.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Losses {
    /// What was measured, and with which candidate: [`GateSets::fingerprint`].
    #[serde(rename = "of")]
    fingerprint: String,
    pub(super) base: Vec<ExampleLoss>,
    pub(super) current: Vec<ExampleLoss>,
    pub(super) candidate: Vec<ExampleLoss>,
}

/// A model that measures one example after the other.
pub(super) struct Measurer {
    pub(super) role: ModelRole,
    pub(super) model: Model,
}

impl GateSets {
    /// A hash of all examples and of the candidate's numbers.
    fn fingerprint(&self, candidate: &AdapterTensors) -> String {
        let mut hasher = Sha256::new();
        for example in self.examples(ModelRole::Base) {
            hasher.update((example.ids.len() as u64).to_le_bytes());
            example.ids.iter().for_each(|id| hasher.update(id.to_le_bytes()));
            example.targets.iter().for_each(|target| hasher.update(target.to_le_bytes()));
        }
        let sets = [self.held_out.len(), self.retention.len(), self.train.len(), self.order.len()];
        sets.iter().for_each(|len| hasher.update((*len as u64).to_le_bytes()));
        for pair in candidate.pairs.values() {
            pair.a.iter().chain(&pair.b_t).for_each(|value| hasher.update(value.to_le_bytes()));
        }
        base16ct::lower::encode_string(&hasher.finalize())
    }

    /// The examples that a model is measured on, in a fixed order.
    fn examples(&self, role: ModelRole) -> impl Iterator<Item = &Example> {
        let order = self.order.iter().filter(move |_| role == ModelRole::Base);
        let order = order.flat_map(|line| line.original.iter().chain(&line.shuffled));
        self.held_out.iter().chain(&self.retention).chain(&self.train).chain(order)
    }

    /// The losses of all examples by set; none as long as some are missing.
    pub(super) fn model_losses(&self, role: ModelRole, losses: &[ExampleLoss]) -> Option<ModelLosses> {
        if losses.len() != self.examples(role).count() {
            return None;
        }
        let mut losses = losses.iter().copied();
        let mut take = |n: usize| losses.by_ref().take(n).collect::<Vec<_>>();
        let (held_out, retention) = (take(self.held_out.len()), take(self.retention.len()));
        let train = take(self.train.len());
        let order = self.order.iter().filter(|_| role == ModelRole::Base);
        let order = order.map(|line| WordOrderLoss {
            original: total(&take(line.original.len())),
            shuffled: total(&take(line.shuffled.len())),
        });
        let order = order.collect();
        Some(ModelLosses { held_out, retention, train, order })
    }
}

impl Losses {
    /// The losses that were saved, if they are of these sets and this candidate; else none, and whether some were of others.
    pub(super) fn resume(saved: Option<Self>, sets: &GateSets, candidate: &AdapterTensors) -> (Self, bool) {
        let fingerprint = sets.fingerprint(candidate);
        match saved {
            Some(saved) if saved.fingerprint == fingerprint => (saved, false),
            others => (Self { fingerprint, ..Self::default() }, others.is_some()),
        }
    }

    /// The losses of one model.
    pub(super) fn of_model(&mut self, role: ModelRole) -> &mut Vec<ExampleLoss> {
        match role {
            ModelRole::Base => &mut self.base,
            ModelRole::Current => &mut self.current,
            ModelRole::Candidate => &mut self.candidate,
        }
    }
}

impl Measurer {
    /// Prepares `adapter`, or the base alone.
    pub(super) fn new(
        role: ModelRole,
        base: Base,
        adapter: Option<&AdapterTensors>,
        sets: &GateSets,
        n_threads: usize,
        gpu: Option<&OpenGpu>,
        stop: &StopFlag,
    ) -> Result<Self> {
        let adapter = adapter.map(Adapter::new).transpose()?;
        let capacity = sets.examples(role).map(Example::len).max().unwrap_or(1);
        let options = ModelOptions::for_eval(capacity, n_threads, gpu);
        let model = Model::new(base, adapter.as_ref(), options, stop.raw())?;
        Ok(Self { role, model })
    }

    /// Measures the example behind those that `losses` has.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled); nothing is added then.
    pub(super) fn next(&mut self, sets: &GateSets, losses: &mut Vec<ExampleLoss>) -> Result<()> {
        if let Some(example) = sets.examples(self.role).nth(losses.len()) {
            let sum = self.model.evaluate(&data::assemble(std::slice::from_ref(example), &[0]))?;
            losses.push(ExampleLoss { loss: sum.loss, tokens: sum.supervised });
        }
        Ok(())
    }
}

fn total(losses: &[ExampleLoss]) -> ExampleLoss {
    losses.iter().fold(ExampleLoss { loss: 0.0, tokens: 0 }, |sum, one| ExampleLoss {
        loss: sum.loss + one.loss,
        tokens: sum.tokens + one.tokens,
    })
}
