//! The frozen base model: what its layers compute and where their weights lie in the mapped file.
//!
//! [`Base::open`] turns a GGUF file into a [`ModelSpec`] and one [`Weight`] for each tensor. Everything is
//! checked here, once: that the architecture is one whose arithmetic is known, that each tensor is there with
//! the shape that the metadata implies and in a format that the kernels read, and that nothing in the file
//! goes unused. Afterwards no weight can be missing, short or misread.

mod architecture;
mod open;
mod row_norm;
mod spec;
mod weight;

#[cfg(test)]
mod tests;

pub use architecture::supported_architectures;
pub use open::Base;
pub use spec::{
    AttentionSpec, FeedForwardProjection, LayerSpec, Mixer, ModelSpec, NormKind, QkvProjection, Rope,
    RopeFactors, RopeLayout, RopeScaling, Temperature,
};
pub use weight::{LayerWeights, Weight};

#[cfg(test)]
pub use spec::BranchNorms;
