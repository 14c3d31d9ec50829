//! `qwen3`: dense Qwen 3. Each head's queries and keys are normed, and heads may be of any width.

use nightgraft_adapter::Module;

use super::super::{ModelSpec, NormKind, RopeLayout};
use super::Keys;
use super::decoder::{Decoder, refuse_multipliers};
use super::rope::RopeRules;
use crate::Result;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let decoder = Decoder { layout: RopeLayout::Halves, rope: RopeRules::PLAIN, biases: &Module::QKV };
    let mut spec = decoder.read(file, keys)?;
    for layer in &mut spec.layers {
        layer.attention_mut().qk_norm = Some(NormKind::Weighted);
    }
    Ok(spec)
}
