//! The base's matrices as buffers over the mapped file, and the blocks made of them.

use std::collections::HashMap;

use nightgraft_adapter::Module;
use nightgraft_ggml::{AttentionShape, Buffer, ComputeType, RopeStyle, TensorLocation};

use super::block::{Block, Geometry};
use crate::base::{Base, LayerWeights, RopeLayout, Weight};
use crate::lora::Adapter;
use crate::ops::head::Head;
use crate::ops::linear::Linear;
use crate::ops::norm::Norm;
use crate::ops::rope::{Angles, PairLayout};
use crate::{Error, Result};

/// Buffers over the mapped weights, by their place in the model's files; tied matrices share one.
pub(super) struct MappedWeights {
    buffers: HashMap<usize, Buffer>,
    eps: f32,
}

impl MappedWeights {
    pub(super) fn new(base: &Base) -> Result<Self> {
        let layers = base.layers.iter().flat_map(LayerWeights::iter);
        let weights: Vec<&Weight> = layers.chain([&base.output_norm, &base.output]).collect();
        let mut buffers = HashMap::new();
        for part in base.file().parts() {
            let places = part.start..part.start + part.mapping.len();
            let weights = || weights.iter().filter(|weight| places.contains(&weight.offset));
            let locations =
                weights().map(|weight| location(weight, part.start)).collect::<Result<Vec<_>>>()?;
            let mapped = Buffer::map_weights(&part.mapping, &locations)?;
            buffers.extend(weights().map(|weight| weight.offset).zip(mapped));
        }
        Ok(Self { buffers, eps: base.spec.norm_eps })
    }

    pub(super) fn head(&self, base: &Base, compute_type: ComputeType) -> Head {
        Head { norm: self.norm(&base.output_norm), weight: self.buffer(&base.output), compute_type }
    }

    pub(super) fn block(&self, base: &Base, index: usize, adapter: Option<&Adapter>) -> Block {
        let layer: &LayerWeights = &base.layers[index];
        let linear = |module| Linear {
            weight: self.buffer(layer.module(module)),
            bias: layer.bias(module).map(|bias| self.buffer(bias)),
            adapter: adapter.and_then(|adapter| adapter.pair(index, module)).cloned(),
        };
        Block {
            attn_norm: self.norm(&layer.attn_norm),
            attn_q: linear(Module::AttnQ),
            attn_k: linear(Module::AttnK),
            attn_v: linear(Module::AttnV),
            attn_output: linear(Module::AttnOutput),
            ffn_norm: self.norm(&layer.ffn_norm),
            ffn_gate: linear(Module::FfnGate),
            ffn_up: linear(Module::FfnUp),
            ffn_down: linear(Module::FfnDown),
        }
    }

    fn norm(&self, weight: &Weight) -> Norm {
        Norm { weight: self.buffer(weight), eps: self.eps }
    }

    fn buffer(&self, weight: &Weight) -> Buffer {
        self.buffers.get(&weight.offset).expect("every weight of the base was mapped").clone()
    }
}

/// What all blocks share.
///
/// # Errors
/// [`Error::UnsupportedModel`] for heads that the attention cannot compute.
pub(super) fn geometry(base: &Base, compute_type: ComputeType) -> Result<Geometry> {
    let spec = &base.spec;
    // Biases of keys can be a hundred times what else is in a head (Qwen 2.5); quantized with them, the rest would be lost.
    let is_biased = base.layers.iter().any(|layer| layer.qkv_bias.iter().any(Option::is_some));
    let heads = [spec.n_head, spec.n_head_kv];
    let attention = AttentionShape::new(heads, spec.head_dim, 1.0 / (spec.head_dim as f32).sqrt())
        .map_err(|error| Error::UnsupportedModel { problem: error.into() })?
        .with_compute_type(if is_biased { ComputeType::F32 } else { compute_type });
    let style = match spec.rope.layout {
        RopeLayout::Interleaved => RopeStyle::Interleaved,
        RopeLayout::Halves => RopeStyle::Neox,
    };
    Ok(Geometry { attention, layout: PairLayout { head_dim: spec.head_dim, style }, compute_type })
}

/// How positions become angles.
pub(super) fn angles(base: &Base) -> Angles {
    let rope = &base.spec.rope;
    Angles::new(rope.dims, rope.base, rope.factors.as_deref(), rope.position_scale)
}

/// The place of a weight in a file that begins at `start`.
fn location(weight: &Weight, start: usize) -> Result<TensorLocation> {
    Ok(TensorLocation::new(weight.kind, [weight.n_rows, weight.n_cols], weight.offset - start)?)
}
