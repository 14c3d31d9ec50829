//! `llama`: Llama 2 and 3, SmolLM 1 and 2, TinyLlama, and Mistral, which has no name of its own.

use super::decoder::{self, Biases};
use super::rope::{Allowed, Rope};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_CONTEXT};
use crate::plan::{Change, Plan};

pub(super) fn describe(config: &Config) -> Result<Plan> {
    describe_as(config, "llama", &Defaults::USUAL, 10_000.0)
}

/// The same tensors and keys under another name.
pub(super) fn describe_as(
    config: &Config,
    architecture: &'static str,
    defaults: &Defaults,
    theta: f64,
) -> Result<Plan> {
    let keys = config.keys();
    let decoder = Decoder::read(config, architecture, defaults)?;
    let allowed = if architecture == "smollm3" { Allowed::Yarn } else { Allowed::Llama3 };
    let rope = Rope::read(config, architecture, theta, allowed)?;
    rope.must_be_whole(config, architecture)?;
    let attention_bias = keys.bool("attention_bias")?.unwrap_or(false);
    let mlp = keys.bool("mlp_bias")?.unwrap_or(false);
    let biases = Biases { qkv: attention_bias, output: attention_bias, mlp };

    let mut plan = decoder::start(architecture, &decoder);
    decoder::notice_window(&mut plan, &decoder, keys.count("sliding_window", 0, MAX_CONTEXT)?);
    plan.set_u32("rope.dimension_count", decoder.head_dim);
    rope.write(&mut plan, &decoder);
    decoder::ends(&mut plan, &decoder, Change::None);
    for layer in 0..decoder.n_layer {
        decoder::two_norms(&mut plan, &decoder, layer);
        let qk = Change::Interleave { head_dim: decoder.head_dim };
        decoder::attention(&mut plan, &decoder, layer, qk, biases);
        decoder::mlp(&mut plan, &decoder, layer, biases);
    }
    Ok(plan)
}
