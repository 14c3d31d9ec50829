//! `granite`: dense Granite 3 and 4. Embeddings, scores, what joins the residual stream and logits are multiplied by constants.

use nightgraft_adapter::Module;

use super::super::{ModelSpec, RopeLayout};
use super::Keys;
use super::decoder::Decoder;
use super::rope::RopeRules;
use crate::Result;
use crate::error::KeyProblem;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    keys.must_be_zero("deepstack_mapping", "a model with pictures")?;
    keys.must_be_zero("expert_shared_feed_forward_length", "a mixture of experts")?;
    let decoder = Decoder { layout: RopeLayout::Interleaved, rope: RopeRules::LLAMA, biases: &Module::ALL };
    let mut spec = decoder.read(file, keys)?;
    let divisor = keys
        .optional_positive("logit_scale")?
        .ok_or_else(|| keys.wrong("logit_scale", KeyProblem::Missing))?;
    spec.logit_scale = 1.0 / divisor;
    if !(spec.logit_scale.is_finite() && spec.logit_scale > 0.0) {
        return Err(keys.wrong("logit_scale", KeyProblem::OutOfRange));
    }
    spec.embedding_scale = keys.optional_factor("embedding_scale")?.unwrap_or(1.0);
    let residual_scale = keys.optional_factor("residual_scale")?.unwrap_or(1.0);
    let attention_scale = keys.optional_factor("attention.scale")?;
    // This key says whether there is rope at all.
    let has_rope = keys.optional_bool("rope.scaling.finetuned")?.unwrap_or(true);
    for layer in &mut spec.layers {
        layer.residual_scale = residual_scale;
        let attention = layer.attention_mut();
        attention.scale = attention_scale.unwrap_or(attention.scale);
        attention.rope = attention.rope.filter(|_| has_rope);
    }
    Ok(spec)
}
