//! The base's matrices as buffers over the mapped file, and the blocks made of them.

use std::collections::HashMap;

use nightgraft_adapter::Module;
use nightgraft_ggml::{AttentionShape, Buffer, ComputeType, LogitTransform, RopeStyle, TensorLocation};

use super::block::{Attention, Block, Branch, FeedForward, FeedForwardProjection, Mixer, QkvProjection};
use crate::base::{self, Base, LayerWeights, NormKind, RopeFactors, RopeLayout, RopeScaling, Weight};
use crate::lora::Adapter;
use crate::ops::head::Head;
use crate::ops::linear::Linear;
use crate::ops::norm::Norm;
use crate::ops::rope::{Angles, PairLayout, Series};
use crate::{Error, Result};

/// Bytes of all matrices and vectors that a model computes with.
pub fn weight_bytes(base: &Base) -> u64 {
    let weights = base.layers.iter().flat_map(LayerWeights::iter).chain([&base.output_norm, &base.output]);
    weights.map(|weight| weight.n_bytes as u64).sum()
}

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
        let transform = LogitTransform { scale: base.spec.logit_scale, softcap: base.spec.logit_softcap };
        Head {
            norm: Norm {
                weight: Some(self.buffer(&base.output_norm)),
                width: base.spec.n_embd,
                eps: self.eps,
            },
            weight: self.buffer(&base.output),
            compute_type,
            transform,
        }
    }

    /// A layer with the pairs of an adapter beside its matrices.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for heads that the attention cannot compute.
    pub(super) fn block(
        &self,
        base: &Base,
        index: usize,
        adapter: Option<&Adapter>,
        compute_type: ComputeType,
    ) -> Result<Block> {
        let (spec, weights) = (&base.spec.layers[index], &base.layers[index]);
        let linear = |module: Module| Linear {
            weight: self
                .buffer(weights.module(module).expect("opening the model found all that its layers have")),
            bias: weights.bias(module).map(|bias| self.buffer(bias)),
            adapter: adapter.and_then(|adapter| adapter.pair(index, module)).cloned(),
        };
        let n_embd = base.spec.n_embd;
        let norm = |kind: Option<NormKind>, weight: &Option<Weight>, width: usize| {
            kind.map(|_| Norm {
                weight: weight.as_ref().map(|weight| self.buffer(weight)),
                width,
                eps: self.eps,
            })
        };
        let branch = |module: Module, post_norm| Branch {
            linear: linear(module),
            post_norm,
            scale: spec.residual_scale,
        };
        let base::Mixer::Attention(attention) = &spec.mixer;
        let projection = match attention.projection {
            base::QkvProjection::Separate => QkvProjection::Separate(Box::new(Module::QKV.map(linear))),
            base::QkvProjection::Fused => QkvProjection::Fused(Box::new(linear(Module::AttnQkv))),
        };
        // Biases of keys can be a hundred times what else is in a head (Qwen 2.5); quantized with them, the rest would be lost.
        let biased = [Module::AttnQ, Module::AttnK, Module::AttnV, Module::AttnQkv];
        let is_biased = biased.into_iter().any(|module| weights.bias(module).is_some());
        let shape = attention_shape(attention)?.with_compute_type(if is_biased {
            ComputeType::F32
        } else {
            compute_type
        });
        let style = match base.spec.rope_layout {
            RopeLayout::Interleaved => RopeStyle::Interleaved,
            RopeLayout::Halves => RopeStyle::Neox,
        };
        let mixer = Mixer::Attention(Attention {
            norm: norm(attention.norms.before, &weights.attn_norm, n_embd),
            projection,
            q_norm: norm(attention.qk_norm, &weights.attn_q_norm, attention.head_dim),
            k_norm: norm(attention.qk_norm, &weights.attn_k_norm, attention.head_dim),
            rope: attention.rope,
            is_tempered: attention.is_tempered,
            layout: PairLayout { head_dim: attention.head_dim, style },
            shape,
            output: branch(Module::AttnOutput, norm(attention.norms.after, &weights.attn_post_norm, n_embd)),
        });
        let projection = match spec.feed_forward.projection {
            base::FeedForwardProjection::Separate => {
                FeedForwardProjection::Separate(Box::new([linear(Module::FfnGate), linear(Module::FfnUp)]))
            }
            base::FeedForwardProjection::Fused => {
                FeedForwardProjection::Fused(Box::new(linear(Module::FfnUp)))
            }
            base::FeedForwardProjection::Ungated => {
                FeedForwardProjection::Ungated(Box::new(linear(Module::FfnUp)))
            }
        };
        let norms = spec.feed_forward.norms;
        let feed_forward = FeedForward {
            norm: norm(norms.before, &weights.ffn_norm, n_embd),
            projection,
            activation: spec.feed_forward.activation,
            down: branch(Module::FfnDown, norm(norms.after, &weights.ffn_post_norm, n_embd)),
        };
        Ok(Block { mixer, feed_forward, compute_type })
    }

    fn buffer(&self, weight: &Weight) -> Buffer {
        self.buffers.get(&weight.offset).expect("every weight of the base was mapped").clone()
    }
}

fn attention_shape(attention: &base::AttentionSpec) -> Result<AttentionShape> {
    let heads = [attention.n_head, attention.n_head_kv];
    AttentionShape::new(heads, attention.head_dim, attention.scale)
        .and_then(|shape| shape.windowed(attention.window).capped(attention.softcap))
        .map_err(|error| Error::UnsupportedModel { problem: error.into() })
}

/// How positions become angles, for each rope of the model.
pub(super) fn angles(base: &Base) -> Vec<Angles> {
    base.spec.ropes.iter().map(angles_of).collect()
}

fn angles_of(rope: &base::Rope) -> Angles {
    let (scale, ramp) = match rope.scaling {
        RopeScaling::Linear(scale) => (scale, None),
        RopeScaling::Yarn { scale, low, high } => (scale, Some([low, high])),
    };
    let series = Series { n_dims: rope.dims, base: rope.base, factors: None, scale, ramp };
    match &rope.factors {
        RopeFactors::None => Angles::new(series, rope.magnitude),
        RopeFactors::All(factors) => Angles::new(Series { factors: Some(factors), ..series }, rope.magnitude),
        RopeFactors::ByLength { short, long, original_context } => {
            Angles::new(Series { factors: Some(short), ..series }, rope.magnitude)
                .with_long(Series { factors: Some(long), ..series }, *original_context)
        }
    }
}

/// The place of a weight in a file that begins at `start`.
fn location(weight: &Weight, start: usize) -> Result<TensorLocation> {
    Ok(TensorLocation::new(weight.kind, [weight.n_rows, weight.n_cols], weight.offset - start)?)
}
