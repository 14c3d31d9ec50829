//! The model: blocks of operations over the mapped weights, forward and backward, one micro-batch at a time.
//!
//! [`block`] strings the pairs of [`crate::ops`] together; [`Model`] runs the layers one after the other,
//! keeps each trained layer's input and what else its [`Layout`] says, and computes the rest again in the backward.

pub mod block;
mod layers;
mod layout;
mod model;
pub mod speed;
mod weights;

#[cfg(test)]
mod tests;

pub use layout::{Demand, Layout, ModelBytes};
pub use model::{LossSum, Model, ModelOptions, resolved};
pub use nightgraft_ggml::{check_instructions, release_freed_memory};
