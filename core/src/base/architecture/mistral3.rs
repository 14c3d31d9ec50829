//! `mistral3`: Ministral 3 and its kin. Rope is scaled by YaRN, and queries grow in long contexts. (Earlier files of Mistral's
//! are called `llama`.)

use nightgraft_adapter::Module;

use super::super::{ModelSpec, RopeLayout, Temperature};
use super::decoder::{Decoder, refuse_multipliers};
use super::rope::{RopeRules, YarnKeys};
use super::{Keys, MAX_COUNT};
use crate::Result;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let rope = RopeRules { yarn: YarnKeys::InFile, ..RopeRules::LLAMA };
    let decoder = Decoder { layout: RopeLayout::Interleaved, rope, biases: &Module::ALL };
    let mut spec = decoder.read(file, keys)?;
    if let Some(scale) = keys.optional_factor("attention.temperature_scale")? {
        let original_context = keys.optional_count("rope.scaling.original_context_length", MAX_COUNT)?;
        let original_context = original_context.unwrap_or(spec.n_ctx_train);
        spec.temperature = Some(Temperature { scale, original_context });
        for layer in &mut spec.layers {
            layer.attention_mut().is_tempered = true;
        }
    }
    Ok(spec)
}
