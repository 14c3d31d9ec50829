//! `phi3`: Phi 3, 3.5 and 4. Queries, keys and values are one matrix, gate and up another; LongRoPE in two tensors.

use super::decoder;
use super::rope::{Allowed, Rope, Scaling, n_ctx_original, parameters};
use crate::Result;
use crate::config::{Config, Decoder, Defaults, MAX_CONTEXT};
use crate::json::Keys;
use crate::plan::{Change, Names, Plan};

const NAME: &str = "phi3";

pub(super) fn describe(config: &Config) -> Result<Plan> {
    let keys = config.keys();
    keys.must_be_off("attention_bias", NAME)?;
    let decoder = Decoder::read(config, NAME, &Defaults { norm_eps: 1e-5, ..Defaults::USUAL })?;
    // llama.cpp takes the width of all queries from the embedding.
    if decoder.n_embd_q() != decoder.n_embd {
        let expected = format!("hidden_size / num_attention_heads = {}", decoder.n_embd / decoder.n_head);
        return Err(keys.unsupported("head_dim", decoder.head_dim, NAME, expected));
    }
    let rope = Rope::read(config, NAME, 10_000.0, Allowed::LongRope)?;

    let mut plan = decoder::start(NAME, &decoder);
    rope.write(&mut plan, &decoder);
    let n_rot = (rope.partial * decoder.head_dim as f64) as u64;
    if !n_rot.is_multiple_of(2) || !(2..=decoder.head_dim).contains(&n_rot) {
        let expected = "an even part of head_dim";
        return Err(keys.unsupported("partial_rotary_factor", rope.partial, NAME, expected));
    }
    plan.set_u32("rope.dimension_count", n_rot);
    long_rope(&keys, &decoder, &rope, n_rot, &mut plan)?;
    let window = keys.count("sliding_window", 0, MAX_CONTEXT)?.unwrap_or(0);
    // Zero is how llama.cpp knows Phi 4, which has no window. It reads others, and computes without.
    plan.set_u32("attention.sliding_window", window);
    decoder::notice_window(&mut plan, &decoder, Some(window));
    decoder::ends(&mut plan, &decoder, Change::None);
    let (n_q, n_kv, n_embd, n_ff) = (decoder.n_embd_q(), decoder.n_embd_kv(), decoder.n_embd, decoder.n_ff);
    for layer in 0..decoder.n_layer {
        decoder::two_norms(&mut plan, &decoder, layer);
        let matrices = [
            ("self_attn.qkv_proj.weight", "attn_qkv.weight", n_q + 2 * n_kv, n_embd),
            ("self_attn.o_proj.weight", "attn_output.weight", n_embd, n_q),
            ("mlp.gate_up_proj.weight", "ffn_up.weight", 2 * n_ff, n_embd),
            ("mlp.down_proj.weight", "ffn_down.weight", n_embd, n_ff),
        ];
        for (from, to, n_rows, n_cols) in matrices {
            plan.matrix(&Names::in_layer(layer, from, to), n_rows, n_cols, Change::None);
        }
    }
    Ok(plan)
}

/// The divisors of the frequencies, `[n_rot / 2]` each, and what cosine and sine are multiplied by.
fn long_rope(top: &Keys, decoder: &Decoder, rope: &Rope, n_rot: u64, plan: &mut Plan) -> Result<()> {
    let Some((prefix, map)) = parameters(top, "full_attention")? else {
        plan.set_u32("rope.scaling.original_context_length", n_ctx_original(top, top)?);
        return Ok(());
    };
    let own = top.within(prefix, map);
    let n_ctx_original = n_ctx_original(top, &own)?;
    plan.set_u32("rope.scaling.original_context_length", n_ctx_original);
    let Scaling::LongRope { short, long } = &rope.scaling else { return Ok(()) };
    for (key, name, factors) in [
        ("long_factor", "rope_factors_long.weight", long),
        ("short_factor", "rope_factors_short.weight", short),
    ] {
        own.length(key, factors.len(), n_rot / 2)?;
        plan.values(name, factors.iter().map(|&factor| factor as f32).collect());
    }
    let computed = || {
        let extension = decoder.n_ctx as f64 / n_ctx_original as f64;
        let is_longer = extension > 1.0 && n_ctx_original > 1;
        if is_longer { (1.0 + extension.ln() / (n_ctx_original as f64).ln()).sqrt() } else { 1.0 }
    };
    plan.set_f32("rope.scaling.attn_factor", own.positive("attention_factor")?.unwrap_or_else(computed));
    Ok(())
}
