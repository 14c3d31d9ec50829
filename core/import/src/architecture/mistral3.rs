//! `mistral3`: Ministral 3 and the text part of Mistral Small 3. A llama whose queries are scaled by their position.

use serde_json::Map;

use super::llama;
use super::rope::{n_ctx_original, parameters};
use crate::Result;
use crate::config::{Config, Defaults};
use crate::json::Keys;
use crate::plan::Plan;

const NAME: &str = "mistral3";

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    let (defaults, theta) = if is_ministral(config, &keys)? {
        // What `transformers` takes for them, yarn, is a matter of its version.
        keys.needed("rope_parameters", parameters(&keys, "full_attention")?)?;
        (Defaults { head_dim: Some(128), norm_eps: 1e-5, ..Defaults::USUAL }, 1_000_000.0)
    } else {
        (Defaults::USUAL, 10_000.0)
    };
    let mut plan = llama::describe_as(config, NAME, &defaults, theta)?;
    let empty = Map::new();
    let (prefix, map) = parameters(&keys, "full_attention")?.unwrap_or(("", &empty));
    let own = keys.within(prefix, map);
    // `1 + scale · ln(1 + floor(position / n_ctx_original))`; without the key llama.cpp does not scale.
    if let Some(scale) = own.positive("llama_4_scaling_beta")? {
        plan.set_f32("attention.temperature_scale", scale);
        plan.set_u32("rope.scaling.original_context_length", n_ctx_original(&keys, &own)?);
    }
    Ok(plan)
}

/// The text part of Mistral Small 3 is a `mistral`, with that model's defaults.
fn is_ministral(config: &Config, keys: &Keys) -> Result<bool> {
    Ok(config.architecture == "Ministral3ForCausalLM" || keys.text("model_type")? == Some("ministral3"))
}
