//! Low-rank adapters: what is trained.
//!
//! [`AdapterTensors`](nightgraft_adapter::AdapterTensors) is an adapter at rest (plain numbers, to be saved or exported);
//! [`Adapter`] is the same adapter in training, in buffers that graphs read and whose gradients they add up.

mod fit;
mod init;
mod training;

pub use fit::mismatch;
pub use init::initialize;
pub use training::{Adapter, Parameter};
