//! How much memory a session takes, and what it does with less.

use super::{Session, Stage};
use crate::config::DataConfig;
use crate::session::memory_plan::MemoryPlanner;
use crate::transformer::RecomputePolicy;

/// What a session takes besides what can be counted: its examples, and the tokenizer while they are read. The app around it
/// is not the session's.
pub(super) const SESSION_OVERHEAD: u64 = 16 << 20;

/// Bytes of memory that a session takes, the mapped model not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeeds {
    /// At full speed.
    pub full: u64,
    /// Slower, with the same result.
    pub small: u64,
}

/// What training takes under the chosen policy, and under the one that takes least.
pub(super) fn needs(planner: &MemoryPlanner, recompute: RecomputePolicy) -> MemoryNeeds {
    MemoryNeeds {
        full: planner.plan(recompute).total,
        small: planner.plan(RecomputePolicy::MIN_MEMORY).total,
    }
}

/// The sizes of micro-batches to try, in tokens: what is set, then down to the longest example.
pub(super) fn batch_sizes(data: &DataConfig) -> Vec<usize> {
    let smallest = data.context.min(data.batch_tokens());
    let halves = std::iter::successors(Some(data.batch_tokens()), |n| Some(n / 2));
    halves.take_while(|&n| n > smallest).chain([smallest]).collect()
}

impl Session {
    /// What training takes; none when there is nothing left to train.
    pub fn memory_needs(&self) -> Option<MemoryNeeds> {
        match &self.stage {
            Stage::Training(training) => Some(training.needs),
            _ => None,
        }
    }

    /// From the next micro-step on, takes less memory and more time for the same result; or goes back.
    pub fn set_small(&mut self, small: bool) {
        if let Stage::Training(training) = &mut self.stage {
            training.run.train_loop.model().set_small(small);
        }
    }

    /// Bytes that the next checkpoint and the graft take in the store.
    pub fn storage_needs(&self) -> u64 {
        match &self.stage {
            Stage::Training(training) => 2 * training.run.train_loop.checkpoint_bytes(),
            Stage::Judging(judging) => 4 * judging.candidate.n_parameters() as u64 + (1 << 20),
            Stage::Over(_) => 0,
        }
    }
}
