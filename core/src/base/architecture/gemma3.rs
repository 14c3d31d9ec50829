//! `gemma3`: the text part of Gemma 3. Norms at both ends of each branch and of queries and keys, GeGLU, scaled embeddings, and
//! five layers of six with a window and a rope of their own.

use std::num::NonZeroUsize;

use nightgraft_adapter::Module;
use nightgraft_ggml::Activation;

use super::super::spec::{BranchNorms, RopeScaling};
use super::super::{ModelSpec, NormKind, Rope, RopeLayout};
use super::decoder::{Decoder, refuse_multipliers};
use super::rope::{RopeRules, YarnKeys};
use super::{Keys, MAX_COUNT};
use crate::Result;
use crate::error::KeyProblem;
use crate::model_file::ModelFile;

/// Says which layers have the window.
const PATTERN_KEY: &str = "attention.sliding_window_pattern";
/// Of so many layers, the last sees everything; files seldom say so.
const WINDOW_PATTERN: usize = 6;
/// Base of the rope of layers with a window; files seldom say so.
const LOCAL_ROPE_BASE: f32 = 10_000.0;
/// The layers of the model whose attention is scaled by the width of the residual stream.
const LAYERS_OF_27B: usize = 62;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let rope = RopeRules { partial: true, yarn: YarnKeys::Refused, ..RopeRules::PLAIN };
    let decoder = Decoder { layout: RopeLayout::Halves, rope, biases: &Module::QKV };
    let mut spec = decoder.read(file, keys)?;
    let window = keys.optional_count_or_zero("attention.sliding_window", MAX_COUNT)?;
    let window = window.and_then(NonZeroUsize::new);
    let n_layer = spec.n_layer();
    let has_window = keys.layer_pattern(PATTERN_KEY, WINDOW_PATTERN, n_layer)?;
    if window.is_some() && !has_window.contains(&true) {
        return Err(keys.wrong(PATTERN_KEY, KeyProblem::NoLayerMarked));
    }
    let local_base = keys.optional_positive("rope.freq_base_swa")?.unwrap_or(LOCAL_ROPE_BASE);
    if window.is_some() {
        let everywhere = &spec.ropes[0];
        spec.ropes.push(Rope { base: local_base, scaling: RopeScaling::Linear(1.0), ..everywhere.clone() });
    }
    let head_width = if n_layer == LAYERS_OF_27B {
        spec.n_embd / spec.layers[0].attention().n_head
    } else {
        spec.layers[0].attention().head_dim
    };
    for (layer, has_window) in spec.layers.iter_mut().zip(has_window) {
        let attention = layer.attention_mut();
        attention.norms = BranchNorms::BOTH;
        attention.qk_norm = Some(NormKind::Weighted);
        attention.scale = 1.0 / (head_width as f32).sqrt();
        if let Some(window) = window.filter(|_| has_window) {
            attention.window = Some(window);
            attention.rope = Some(1);
        }
        layer.feed_forward.norms = BranchNorms::BOTH;
        layer.feed_forward.activation = Activation::GeluTanh;
    }
    spec.embedding_scale = (spec.n_embd as f32).sqrt();
    spec.logit_softcap = keys.optional_factor("final_logit_softcapping")?;
    Ok(spec)
}
