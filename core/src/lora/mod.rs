//! Low-rank adapters: what is trained.
//!
//! [`AdapterTensors`](nightgraft_adapter::AdapterTensors) is an adapter at rest (plain numbers, to be saved or exported);
//! [`Adapter`] is the same adapter in training, in buffers that graphs read and whose gradients they add up.

mod compatibility;
mod init;
mod targets;
mod training;

pub use compatibility::mismatch;
pub use init::initialize;
pub use targets::{target_modules, targets_of};
pub use training::{Adapter, Parameter};
