//! `phi3`: Phi 3, 3.5 and 4, mini models among them. Queries, keys and values are one matrix, as are gate and up projection;
//! LongRoPE, over a part of each head.
//!
//! Windows that a file may name are not applied: neither does llama.cpp, with which answers are computed.

use nightgraft_adapter::Module;

use super::super::{FeedForwardProjection, ModelSpec, QkvProjection, RopeLayout};
use super::Keys;
use super::decoder::{Decoder, check_plain_heads, refuse_multipliers};
use super::rope::{FactorTensors, RopeRules};
use crate::Result;
use crate::model_file::ModelFile;

/// What may have a bias.
const BIASED: [Module; 4] = [Module::AttnQkv, Module::AttnQ, Module::AttnK, Module::AttnV];

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let rope = RopeRules { partial: true, factors: FactorTensors::ByLength, ..RopeRules::PLAIN };
    let decoder = Decoder { layout: RopeLayout::Halves, rope, biases: &BIASED };
    let mut spec = decoder.read(file, keys)?;
    check_plain_heads(&spec, keys)?;
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        if file.tensor(&Module::AttnQkv.tensor_name(index)).is_some() {
            layer.attention_mut().projection = QkvProjection::Fused;
        }
        layer.feed_forward.projection = FeedForwardProjection::Fused;
    }
    Ok(spec)
}
