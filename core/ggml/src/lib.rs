//! Safe graphs, buffers and devices over [ggml](https://github.com/ggml-org/ggml).
//!
//! ggml aborts the process when it is misused. This crate checks every precondition first and returns an
//! [`Error`] instead, so that no input file and no caller can reach an abort. What cannot be written to, a weight in a
//! mapped file, no operation writes to; and what a kernel refuses to compute is an error of [`Cpu::compute`].
//!
//! - A [`Buffer`] is a matrix that outlives a computation: a weight inside a [`MappedFile`], an adapter
//!   matrix, a hidden state. Rust code reads and writes buffers, graphs read and store into them.
//! - A [`Graph`] is a list of operations on buffers. Building one checks shapes; nothing is computed yet.
//! - A [`Cpu`] runs graphs on a pool of threads. All graphs share its one arena for intermediate results.
//!
//! Matrices are row-major, `[n_rows, n_cols]` with one row a token; ggml calls the same thing
//! `ne = {n_cols, n_rows}`. Where ggml has no suitable operation (products with quantized weights in both
//! orientations, attention by segments, the loss) the graph holds a custom node that calls
//! [`nightgraft_kernels`].
//!
//! ```
//! use nightgraft_ggml::{Buffer, Cpu, Graph};
//!
//! let x = Buffer::f32(1, 3)?;
//! x.write(0, &[1.0, 2.0, 3.0])?;
//! let y = Buffer::f32(1, 3)?;
//! let mut graph = Graph::new(8)?;
//! let t = graph.tensor(&x)?;
//! let doubled = graph.add(t, t)?;
//! graph.store(doubled, &y)?;
//! Cpu::new(1, Default::default())?.compute(&mut graph)?;
//! assert_eq!(y.to_vec()?, [2.0, 4.0, 6.0]);
//! # Ok::<(), nightgraft_ggml::Error>(())
//! ```

#![allow(unsafe_code)]

mod adapted_model;
mod allocator;
mod arena;
mod buffer;
mod callbacks;
mod cpu;
mod custom;
mod custom_node;
mod describe;
mod device;
mod error;
pub mod faults;
mod file_stamp;
mod footprint;
mod graph;
mod kernel_ops;
mod log;
mod mapping;
mod matrix_size;
mod ops;
mod planned_graph;
mod pool;
mod products;
mod profile;
mod quantize;
mod raw;
mod reference;
mod refusal;
mod tensor_location;
mod weight_types;

#[cfg(test)]
mod describe_tests;
#[cfg(test)]
mod import_tests;
#[cfg(test)]
mod safety_tests;
#[cfg(test)]
mod tests;

pub use adapted_model::AdaptedModel;
pub use allocator::release_freed_memory;
pub use buffer::{Buffer, BufferId};
pub use cpu::Cpu;
pub use custom::Output;
pub use custom_node::DropoutKey;
pub use device::{Device, devices};
pub use error::Error;
pub use file_stamp::{FileChange, FileStamp};
pub use footprint::footprint;
pub use graph::{Graph, Tensor};
pub use log::route_log_to_tracing;
pub use mapping::{MappedFile, SharedFile};
pub use nightgraft_kernels::{
    Activation, AttentionShape, ComputeType, Direction, KernelError, LogitTransform, MAX_HEAD_DIM, RopeStyle,
    Rotation, TIER_VARIABLE as INSTRUCTIONS_VARIABLE, TierError, WeightType, bf16_columns,
};
pub use planned_graph::{
    Accumulator, Indices, Matrix, Memory, Norm, Operation, PlannedGraph, PlannedNode, PlannedProduct,
    WeightMatrix,
};
pub use products::Product;
pub use profile::{OpTime, op_times, set_profiling};
pub use quantize::{is_quantizable, quantize};
pub use refusal::Refusal;
pub use tensor_location::TensorLocation;
pub use weight_types::{weight_type, weight_types};

/// Whether the instructions that `NIGHTGRAFT_ISA` asks for, if it does, are there; computing asks, too.
///
/// # Errors
/// [`Error::Instructions`] if it names none that this machine has.
pub fn check_instructions() -> Result<(), Error> {
    nightgraft_kernels::Tier::requested()?;
    Ok(())
}

/// The name of the instructions in use, such as `avx2`.
pub fn instructions() -> &'static str {
    nightgraft_kernels::Tier::current().name()
}

/// Whether products of 16-bit integers ([`Product::Int16`]) are faster here than products of floats.
pub fn int16_is_faster() -> bool {
    nightgraft_kernels::Tier::current().int16_is_faster()
}
