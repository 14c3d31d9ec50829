//! Every operation of a training step but for the products with frozen weights, one `.wgsl` file each.
//!
//! Shapes are those that the graph's builder has checked; shaders check their indices all the same, so that a fault here reads or
//! writes a wrong place of its own buffers at worst. Sums are made in a fixed order: one device gives the same bits again and again.

mod adapter;
mod attention;
mod call;
mod elementwise;
mod loss;
mod norm;

pub(crate) use adapter::{Addend, accumulate_outer, adapter_linear, adapter_transposed};
pub(crate) use attention::{AttentionCall, attention, attention_back};
pub(crate) use elementwise::{
    activation, activation_back, add_scaled, copy, copy_rows, dropout, from_bf16, rope, round_to_bf16,
    scale_rows, scaled, to_bf16,
};
pub(crate) use loss::{cross_entropy, transform_logits};
pub(crate) use norm::{NormCall, rms_norm, rms_norm_back, row_scales};
