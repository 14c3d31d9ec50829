//! `granite`: a llama with multipliers of the embedding, the residual stream, attention and the logits. Granite 4's dense
//! models are saved as hybrids without experts and without recurrent layers.

use nightgraft_gguf::Value;

use super::decoder::{self, Biases};
use super::llama;
use super::rope::{Allowed, Rope};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_WIDTH};
use crate::plan::{Change, Names, Plan};

const NAME: &str = "granite";

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let mut plan = llama::describe_as(config, NAME, &Defaults::USUAL, 10_000.0)?;
    multipliers(config, &mut plan)?;
    Ok(plan)
}

/// The feed-forward network is the shared expert: `[gate; up]` is one matrix.
pub(super) fn describe_hybrid(config: &Config) -> Result<Plan> {
    const KINDS: &str = "layer_types";
    const POSITIONS: &str = "position_embedding_type";
    let keys = config.keys();
    let kinds = keys.texts(KINDS)?;
    let kinds = keys.needed(KINDS, kinds)?;
    let is_attention = |kind: &str| matches!(kind, "attention" | "full_attention");
    if let Some(found) = kinds.iter().find(|kind| !is_attention(kind)) {
        return Err(keys.unsupported(KINDS, found, NAME, "attention on every layer"));
    }
    keys.must_be_off("attention_bias", NAME)?;
    let n_ff = keys.count("shared_intermediate_size", 1, MAX_WIDTH)?;
    let n_ff = keys.needed("shared_intermediate_size", n_ff)?;
    let decoder = Decoder { n_ff, ..Decoder::read(config, NAME, &Defaults::USUAL)? };
    keys.length(KINDS, kinds.len(), decoder.n_layer)?;
    let rope = Rope::read(config, NAME, 10_000.0, Allowed::Llama3)?;
    rope.must_be_whole(config, NAME)?;

    let mut plan = decoder::start(NAME, &decoder);
    plan.set_u32("rope.dimension_count", decoder.head_dim);
    rope.write(&mut plan, &decoder);
    let has_rope = match keys.text(POSITIONS)? {
        Some("rope") => true,
        Some("nope") | None => false,
        Some(found) => return Err(keys.unsupported(POSITIONS, found, NAME, "rope or nope")),
    };
    // llama.cpp takes this key for the switch of granite's rope.
    plan.set("rope.scaling.finetuned", Value::Bool(has_rope));
    multipliers(config, &mut plan)?;
    decoder::ends(&mut plan, &decoder, Change::None);
    // Without rope no row is rotated, and llama.cpp's own converter reorders all the same: both give the same products.
    let qk = Change::Interleave { head_dim: decoder.head_dim };
    for layer in 0..decoder.n_layer {
        decoder::two_norms(&mut plan, &decoder, layer);
        decoder::attention(&mut plan, &decoder, layer, qk, Biases::default());
        for (part, to) in ["ffn_gate.weight", "ffn_up.weight"].into_iter().enumerate() {
            let names = Names::in_layer(layer, "shared_mlp.input_linear.weight", to);
            plan.part(&names, 2 * n_ff, part as u64 * n_ff, n_ff, decoder.n_embd);
        }
        let names = Names::in_layer(layer, "shared_mlp.output_linear.weight", "ffn_down.weight");
        plan.matrix(&names, decoder.n_embd, n_ff, Change::None);
    }
    Ok(plan)
}

fn multipliers(config: &Config, plan: &mut Plan) -> Result<()> {
    let multipliers = [
        ("attention_multiplier", "attention.scale"),
        ("embedding_multiplier", "embedding_scale"),
        ("residual_multiplier", "residual_scale"),
        ("logits_scaling", "logit_scale"),
    ];
    for (from, to) in multipliers {
        plan.set_f32(to, config.keys().positive(from)?.unwrap_or(1.0));
    }
    Ok(())
}
