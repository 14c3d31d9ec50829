//! `gemma3`: the text part of Gemma 3. Four norms a layer, which multiply by `1 + w`; windows on most layers, whose rope has
//! another base.

use nightgraft_gguf::{Array, Value};
use serde_json::Map;

use super::decoder::{self, Biases};
use super::rope::{Allowed, Rope, form};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_CONTEXT};
use crate::json::Keys;
use crate::plan::{Change, Names, Plan};

const NAME: &str = "gemma3";
/// One layer of so many has no window, where nothing else is said.
const PERIOD: u64 = 6;

/// What `Gemma3TextConfig` has for keys that are left out, as they are in the files of the larger models.
const DEFAULTS: Defaults = Defaults {
    n_head: Some(8),
    n_head_kv: Some(4),
    head_dim: Some(256),
    n_vocab: Some(262_208),
    n_ctx: Some(131_072),
    activation: "gelu_pytorch_tanh",
    norm_eps: 1e-6,
    tied: true,
};

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    keys.must_be_off("attention_bias", NAME)?;
    keys.must_be_off("use_bidirectional_attention", NAME)?;
    if let Some(found) = keys.positive("attn_logit_softcapping")? {
        return Err(keys.unsupported("attn_logit_softcapping", found, NAME, "null"));
    }
    let decoder = Decoder::read(config, NAME, &DEFAULTS)?;
    check_scale(config, &decoder)?;
    let rope = Rope::read(config, NAME, 1_000_000.0, Allowed::Linear)?;
    rope.must_be_whole(config, NAME)?;

    let mut plan = decoder::start(NAME, &decoder);
    rope.write(&mut plan, &decoder);
    windows(config, &decoder, &mut plan)?;
    if let Some(cap) = keys.positive("final_logit_softcapping")? {
        plan.set_f32("final_logit_softcapping", cap);
    }
    decoder::ends(&mut plan, &decoder, Change::AddOne);
    for layer in 0..decoder.n_layer {
        let norms = [
            ("input_layernorm.weight", "attn_norm.weight"),
            ("post_attention_layernorm.weight", "post_attention_norm.weight"),
            ("pre_feedforward_layernorm.weight", "ffn_norm.weight"),
            ("post_feedforward_layernorm.weight", "post_ffw_norm.weight"),
        ];
        for (from, to) in norms {
            plan.vector(&Names::in_layer(layer, from, to), decoder.n_embd, Change::AddOne);
        }
        decoder::attention(&mut plan, &decoder, layer, Change::None, Biases::default());
        decoder::head_norms(&mut plan, &decoder, layer, Change::AddOne);
        decoder::mlp(&mut plan, &decoder, layer, Biases::default());
    }
    Ok(plan)
}

/// llama.cpp scales by the head's size, and at 62 layers, the size of 27 billion parameters, by `n_embd / n_head`.
fn check_scale(config: &Config, decoder: &Decoder) -> Result<()> {
    let keys = config.keys();
    let found = keys.positive("query_pre_attn_scalar")?.unwrap_or(256.0);
    let expected = if decoder.n_layer == 62 { decoder.n_embd / decoder.n_head } else { decoder.head_dim };
    if found == expected as f64 {
        return Ok(());
    }
    Err(keys.unsupported("query_pre_attn_scalar", found, NAME, expected))
}

/// Which layers see a window only, how long it is, and the base of their rope.
fn windows(config: &Config, decoder: &Decoder, plan: &mut Plan) -> Result<()> {
    const KINDS: &str = "layer_types";
    let keys = config.keys();
    let period = keys.count("sliding_window_pattern", 1, u64::from(u32::MAX))?;
    let period = period.or(keys.count("_sliding_window_pattern", 1, u64::from(u32::MAX))?).unwrap_or(PERIOD);
    let has_window: Vec<bool> = match keys.texts(KINDS)? {
        Some(kinds) => {
            keys.length(KINDS, kinds.len(), decoder.n_layer)?;
            let known = ["sliding_attention", "full_attention"];
            if let Some(found) = kinds.iter().find(|kind| !known.contains(kind)) {
                return Err(keys.unsupported(KINDS, found, NAME, known.join(" or ")));
            }
            kinds.iter().map(|&kind| kind == "sliding_attention").collect()
        }
        None => (1..=decoder.n_layer).map(|layer| !layer.is_multiple_of(period)).collect(),
    };
    if has_window.contains(&true) {
        let window = keys.count("sliding_window", 1, MAX_CONTEXT)?;
        plan.set_u32("attention.sliding_window", keys.needed("sliding_window", window)?);
        // Older programs know the usual pattern only, and no key for it.
        let usual =
            (1..).zip(&has_window).all(|(layer, &window)| window != u64::is_multiple_of(layer, PERIOD));
        if !usual {
            plan.set("attention.sliding_window_pattern", Value::Array(Array::Bool(has_window)));
        }
    }
    plan.set_f32("rope.freq_base_swa", window_theta(&keys)?);
    Ok(())
}

/// The base of the rope of layers with a window. llama.cpp scales only that of the others.
fn window_theta(keys: &Keys) -> Result<f64> {
    let empty = Map::new();
    let all = keys.object("rope_parameters")?.unwrap_or(&empty);
    let own = keys.within("rope_parameters.", all).object("sliding_attention")?.unwrap_or(&empty);
    let own = keys.within("rope_parameters.sliding_attention.", own);
    let (key, form) = form(&own)?;
    if form != "default" {
        return Err(own.unsupported(key, form, NAME, "default"));
    }
    if let Some(found) = own.positive("partial_rotary_factor")?.filter(|&part| part != 1.0) {
        return Err(own.unsupported("partial_rotary_factor", found, NAME, 1));
    }
    Ok(own.positive("rope_theta")?.or(keys.positive("rope_local_base_freq")?).unwrap_or(10_000.0))
}
