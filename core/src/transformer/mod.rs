//! The model: blocks of operations over the mapped weights, forward and backward, one micro-batch at a time.
//!
//! [`block`] strings the pairs of [`crate::ops`] together; [`Model`] runs the layers one after the other,
//! saves each trained layer's input and what else its [`RecomputePolicy`] says, and computes the rest again in the
//! backward.

pub mod block;
mod head_graph;
mod layers;
mod memory_estimate;
mod model;
mod precision;
mod recompute;
pub mod speed;
mod weights;

#[cfg(test)]
mod tests;

pub use memory_estimate::{MemoryEstimate, ModelBytes};
pub use model::{LossSum, Model, ModelOptions};
pub use nightgraft_ggml::release_freed_memory;
pub use precision::resolve_precision;
pub use recompute::RecomputePolicy;
