//! What the files of all architectures have in common.

use nightgraft_gguf::Value;

use crate::Notice;
use crate::config::Decoder;
use crate::plan::{Change, Names, Plan};

/// Whether the matrices of a layer have biases.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Biases {
    pub qkv: bool,
    pub output: bool,
    pub mlp: bool,
}

/// The keys that are the same numbers under every prefix.
pub(super) fn start(architecture: &'static str, decoder: &Decoder) -> Plan {
    let mut plan = Plan::new(architecture, decoder.n_layer, decoder.n_vocab);
    plan.set_u32("block_count", decoder.n_layer);
    plan.set_u32("context_length", decoder.n_ctx);
    plan.set_u32("embedding_length", decoder.n_embd);
    plan.set_u32("feed_forward_length", decoder.n_ff);
    plan.set_u32("attention.head_count", decoder.n_head);
    plan.set_u32("attention.head_count_kv", decoder.n_head_kv);
    plan.set_u32("attention.key_length", decoder.head_dim);
    plan.set_u32("attention.value_length", decoder.head_dim);
    plan.set("attention.layer_norm_rms_epsilon", Value::F32(decoder.norm_eps as f32));
    plan.set_u32("vocab_size", decoder.n_vocab);
    plan
}

/// Says so if texts that are longer than the window of a model fit into its context. A window of zero is none.
pub(super) fn notice_window(plan: &mut Plan, decoder: &Decoder, window: Option<u64>) {
    plan.notices.extend(
        window.filter(|tokens| (1..decoder.n_ctx).contains(tokens)).map(|tokens| Notice::Window { tokens }),
    );
}

/// The embedding, the last norm and the head, unless that is the embedding again.
pub(super) fn ends(plan: &mut Plan, decoder: &Decoder, norm: Change) {
    let (n_vocab, n_embd) = (decoder.n_vocab, decoder.n_embd);
    plan.matrix(&Names::of("model.embed_tokens.weight", "token_embd.weight"), n_vocab, n_embd, Change::None);
    plan.vector(&Names::of("model.norm.weight", "output_norm.weight"), n_embd, norm);
    if !decoder.tied {
        plan.matrix(&Names::of("lm_head.weight", "output.weight"), n_vocab, n_embd, Change::None);
    }
}

/// The norms before attention and before the feed-forward network.
pub(super) fn two_norms(plan: &mut Plan, decoder: &Decoder, layer: u64) {
    let norms = [
        ("input_layernorm.weight", "attn_norm.weight"),
        ("post_attention_layernorm.weight", "ffn_norm.weight"),
    ];
    for (from, to) in norms {
        plan.vector(&Names::in_layer(layer, from, to), decoder.n_embd, Change::None);
    }
}

/// Queries, keys, values and the matrix behind them; `qk` reorders the rows of queries and keys.
pub(super) fn attention(plan: &mut Plan, decoder: &Decoder, layer: u64, qk: Change, biases: Biases) {
    let (n_q, n_kv, n_embd) = (decoder.n_embd_q(), decoder.n_embd_kv(), decoder.n_embd);
    let matrices = [
        ("self_attn.q_proj", "attn_q", n_q, n_embd, qk, biases.qkv),
        ("self_attn.k_proj", "attn_k", n_kv, n_embd, qk, biases.qkv),
        ("self_attn.v_proj", "attn_v", n_kv, n_embd, Change::None, biases.qkv),
        ("self_attn.o_proj", "attn_output", n_embd, n_q, Change::None, biases.output),
    ];
    for (from, to, n_rows, n_cols, change, has_bias) in matrices {
        linear(plan, layer, (from, to), [n_rows, n_cols], change, has_bias);
    }
}

/// The gated feed-forward network.
pub(super) fn mlp(plan: &mut Plan, decoder: &Decoder, layer: u64, biases: Biases) {
    let (n_ff, n_embd) = (decoder.n_ff, decoder.n_embd);
    let matrices = [
        ("mlp.gate_proj", "ffn_gate", [n_ff, n_embd]),
        ("mlp.up_proj", "ffn_up", [n_ff, n_embd]),
        ("mlp.down_proj", "ffn_down", [n_embd, n_ff]),
    ];
    for (from, to, shape) in matrices {
        linear(plan, layer, (from, to), shape, Change::None, biases.mlp);
    }
}

/// The norms of each head's queries and keys.
pub(super) fn head_norms(plan: &mut Plan, decoder: &Decoder, layer: u64, change: Change) {
    for (from, to) in
        [("self_attn.q_norm.weight", "attn_q_norm.weight"), ("self_attn.k_norm.weight", "attn_k_norm.weight")]
    {
        plan.vector(&Names::in_layer(layer, from, to), decoder.head_dim, change);
    }
}

/// A matrix `[n_rows, n_cols]` and its bias, if it has one, whose order follows the rows.
fn linear(
    plan: &mut Plan,
    layer: u64,
    (from, to): (&str, &str),
    [n_rows, n_cols]: [u64; 2],
    change: Change,
    has_bias: bool,
) {
    let names = |end: &str| Names::in_layer(layer, &format!("{from}.{end}"), &format!("{to}.{end}"));
    plan.matrix(&names("weight"), n_rows, n_cols, change);
    if has_bias {
        plan.vector(&names("bias"), n_rows, change);
    }
}
