//! How much memory a session takes, and what it does with less.

use super::{Session, SessionRequest, Stage};
use crate::train::Course;
use crate::{Error, Result};

/// What a process has besides: code's own data, stacks, the tokenizer while data is read, scratch space of the kernels.
const BESIDES: u64 = 24 << 20;
/// Copies of the adapter's numbers that live while training: values, gradients, two moments, the best and the last
/// good ones, and those that a checkpoint is written from (values, two moments, gradients, the best).
const COPIES: u64 = 6 + 5;

/// Bytes of memory that a session takes, the mapped model not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryNeeds {
    /// At full speed.
    pub full: u64,
    /// Slower, with the same result.
    pub small: u64,
}

/// Of a run whose micro-batches have up to `n_tokens` tokens.
pub(super) fn needs(course: &mut Course, n_tokens: usize) -> Result<MemoryNeeds> {
    let numbers = 4 * COPIES * course.trainer().adapter().n_parameters() as u64 + BESIDES;
    let model = course.model();
    Ok(MemoryNeeds {
        full: numbers + model.memory(n_tokens, false)?,
        small: numbers + model.memory(n_tokens, true)?,
    })
}

/// The sizes of micro-batches to try, in tokens: what was asked for, then down to the longest example.
pub(super) fn sizes(request: &SessionRequest) -> Vec<usize> {
    let data = &request.training.data;
    let smallest = data.context.min(data.batch_tokens);
    let halves = std::iter::successors(Some(data.batch_tokens), |n| Some(n / 2));
    halves.take_while(|&n| n > smallest).chain([smallest]).collect()
}

/// Whether the session fits; `Ok(small)` says in which way.
pub(super) fn fit(needs: MemoryNeeds, limit: Option<u64>) -> Result<bool> {
    match limit {
        Some(available) if needs.small > available => {
            Err(Error::OutOfMemoryBudget { needed: needs.small, available })
        }
        Some(available) => Ok(needs.full > available),
        None => Ok(false),
    }
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
            let small = small || training.only_small;
            training.course.model().set_small(small);
        }
    }

    /// Bytes that the next checkpoint and the graft take in the store.
    pub fn storage_needs(&self) -> u64 {
        match &self.stage {
            Stage::Training(training) => 2 * crate::session::resume::bytes(&training.course),
            Stage::Judging(judging) => 4 * judging.candidate.n_parameters() as u64 + (1 << 20),
            Stage::Over(_) => 0,
        }
    }
}
