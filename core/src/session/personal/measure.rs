//! Measuring what the quality gate compares.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::base::Base;
use crate::data;
use crate::gate::{ExampleLoss, Measured, OrderLoss};
use crate::lora::{Adapter, AdapterTensors};
use crate::session::StopFlag;
use crate::text::Example;
use crate::transformer::Model;

/// The examples on which every candidate and its rivals are measured.
#[derive(Debug, Clone, Default)]
pub(super) struct GateSets {
    /// The user's own, none of which was trained on.
    pub(super) held_out: Vec<Example>,
    /// General text and chats.
    pub(super) retention: Vec<Example>,
    /// A sample of what was trained on.
    pub(super) train: Vec<Example>,
    /// Lines of the user's as they are, and with their words shuffled.
    pub(super) order: Vec<Shuffled>,
}

/// One line twice.
#[derive(Debug, Clone)]
pub(super) struct Shuffled {
    pub(super) original: Vec<Example>,
    pub(super) shuffled: Vec<Example>,
}

impl GateSets {
    fn longest(&self) -> usize {
        let lines = self.order.iter().flat_map(|line| line.original.iter().chain(&line.shuffled));
        let all = self.held_out.iter().chain(&self.retention).chain(&self.train).chain(lines);
        all.map(Example::len).max().unwrap_or(1)
    }
}

/// Who has been measured so far; kept in the store, so that a slice that ends in between loses one of them at most.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measurements {
    pub(super) base: Option<Measured>,
    pub(super) current: Option<Measured>,
    pub(super) candidate: Option<Measured>,
}

/// Measures `adapter`, or the base alone.
///
/// # Errors
/// [`Error::Cancelled`](crate::Error::Cancelled).
pub(super) fn measure(
    base: Base,
    adapter: Option<&AdapterTensors>,
    sets: &GateSets,
    n_threads: usize,
    stop: &StopFlag,
) -> Result<Measured> {
    let adapter = adapter.map(Adapter::new).transpose()?;
    let is_base = adapter.is_none();
    let mut model = Model::new(base, adapter.as_ref(), false, sets.longest(), n_threads, stop.raw())?;
    let mut loss = |example: &Example| -> Result<ExampleLoss> {
        let sum = model.evaluate(&data::assemble(std::slice::from_ref(example), &[0]))?;
        Ok(ExampleLoss { loss: sum.loss, tokens: sum.supervised })
    };
    let mut losses = |examples: &[Example]| examples.iter().map(&mut loss).collect::<Result<Vec<_>>>();
    let mut order = Vec::new();
    for line in sets.order.iter().filter(|_| is_base) {
        let (original, shuffled) = (total(&losses(&line.original)?), total(&losses(&line.shuffled)?));
        order.push(OrderLoss { original, shuffled });
    }
    Ok(Measured {
        held_out: losses(&sets.held_out)?,
        retention: losses(&sets.retention)?,
        train: losses(&sets.train)?,
        order,
    })
}

fn total(losses: &[ExampleLoss]) -> ExampleLoss {
    losses.iter().fold(ExampleLoss { loss: 0.0, tokens: 0 }, |sum, one| ExampleLoss {
        loss: sum.loss + one.loss,
        tokens: sum.tokens + one.tokens,
    })
}
