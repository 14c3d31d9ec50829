//! A LoRA adapter at rest: which matrices of which layers are adapted ([`LoraSpec`]), and the numbers beside each of them
//! ([`AdapterTensors`]).

#![forbid(unsafe_code)]

mod module;
mod problem;
mod tensors;

pub use module::Module;
pub use problem::{Factor, Mismatch, PairProblem};
pub use tensors::{AdapterTensors, LoraPair, LoraPairs, LoraSpec};
