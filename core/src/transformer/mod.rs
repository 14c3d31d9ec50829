//! The model: blocks of operations over the mapped weights, forward and backward, one micro-batch at a time.
//!
//! [`block`] strings the pairs of [`crate::ops`] together; [`Model`] runs the layers one after the other,
//! saves each trained layer's input and what else its [`RecomputePolicy`] says, and computes the rest again in the
//! backward.

pub mod block;
#[cfg_attr(not(feature = "gpu"), path = "no_gpu.rs")]
mod gpu;
#[cfg(feature = "gpu")]
mod gpu_fault;
mod head_graph;
mod layers;
mod memory_estimate;
mod model;
mod precision;
#[cfg(feature = "gpu")]
mod probe;
mod processor;
mod recompute;
pub mod speed;
mod weights;

#[cfg(test)]
mod tests;

pub use gpu::OpenGpu;
#[cfg(feature = "gpu")]
pub use gpu::keep_pipelines;
#[cfg(feature = "gpu")]
pub use gpu_fault::GpuFault;
pub use memory_estimate::{MemoryEstimate, ModelBytes};
pub use model::{LossSum, Model, ModelGpu, ModelOptions};
pub use nightgraft_ggml::release_freed_memory;
pub use precision::resolve_precision;
#[cfg(feature = "gpu")]
pub use probe::{Agreement, ProbeReport, TensorCheck, TileChoice, probe};
pub use processor::{GpuActivity, OperationCount};
pub use recompute::RecomputePolicy;
pub use weights::weight_bytes;
