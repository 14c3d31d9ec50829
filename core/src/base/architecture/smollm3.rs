//! `smollm3`: SmolLM3. Every fourth layer sees no positions.

use nightgraft_adapter::Module;

use super::super::{ModelSpec, RopeLayout};
use super::Keys;
use super::decoder::{Decoder, refuse_multipliers};
use super::rope::RopeRules;
use crate::Result;
use crate::model_file::ModelFile;

/// Of so many layers, the last sees no positions; files do not say so.
const NO_ROPE_STEP: usize = 4;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let decoder = Decoder { layout: RopeLayout::Interleaved, rope: RopeRules::PLAIN, biases: &Module::QKV };
    let mut spec = decoder.read(file, keys)?;
    for layer in spec.layers.iter_mut().skip(NO_ROPE_STEP - 1).step_by(NO_ROPE_STEP) {
        layer.attention_mut().rope = None;
    }
    Ok(spec)
}
