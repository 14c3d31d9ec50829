//! Checkpoints: everything that a training run needs to go on as if it had never stopped.
//!
//! A [`State`] is one sealed file ([`crate::vault`]): it appears whole or not at all, a damaged file is told from a good
//! one, and numbers are stored as exact bits. [`save`] keeps the last few, [`load_latest`] takes the newest that is
//! valid. [`encode_adapter`] is the part of the format that has one adapter alone.

mod adapter;
mod folder;
mod format;
mod problem;
mod state;

#[cfg(test)]
mod tests;

pub use adapter::{PairShape, decode_adapter, encode_adapter, matrices, shapes};
pub use folder::{ROLE, clear, is_checkpoint, load, load_latest, load_latest_reporting, save};
pub use problem::FormatProblem;
pub use state::{
    EarlyStopping, Evaluation, FirstSteps, Matrices, PartialEvaluation, Progress, Snapshot, State,
};
