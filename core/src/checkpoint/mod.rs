//! Checkpoints: everything that a training run needs to go on as if it had never stopped.
//!
//! A [`State`] is one file. It appears whole or not at all ([`crate::atomic`]), numbers are stored as exact bits,
//! and a checksum over everything tells a damaged file from a good one. [`save`] keeps the last few,
//! [`load_latest`] takes the newest that is sound.

mod folder;
mod format;
mod state;

#[cfg(test)]
mod tests;

pub use folder::{clear, load, load_latest, save};
pub use format::{Fault, decode};
pub use state::{EarlyStopping, Evaluation, Pairs, PartialEvaluation, Progress, State};
