//! Low-rank adapters: what is trained.
//!
//! [`AdapterTensors`] is an adapter at rest (plain numbers, to be saved or exported); [`Adapter`] is the same
//! adapter in training, in buffers that graphs read and whose gradients they add up.

mod adapter;
mod init;
mod training;

pub use adapter::{AdapterTensors, LoraPair, LoraSpec};
pub use init::initialize;
pub use training::{Adapter, Parameter};
