//! Causal soft-max attention inside packed segments, grouped queries.
//!
//! ```text
//! s_ij = scale · q_i·k_j      for start(i) ≤ j ≤ i        p_i = softmax(s_i)        o_i = Σ_j p_ij v_j
//! dv_j = Σ_i p_ij do_i        ds_ij = p_ij (do_i·v_j − do_i·o_i)
//! dq_i = scale Σ_j ds_ij k_j        dk_j = scale Σ_i ds_ij q_i
//! ```
//!
//! Neither pass keeps a T×T matrix: the forward leaves each row's log-sum-exp behind, from which the backward
//! computes `p` again (FlashAttention, arXiv 2205.14135). Keys and values of a group of query heads are
//! shared; their gradients add up over the group.

use nightgraft_ggml::{AttentionShape, Error, Graph, Tensor};

/// What the backward needs of the forward.
#[derive(Clone, Copy)]
pub struct Saved {
    shape: AttentionShape,
    qkv: [Tensor; 3],
    starts: Tensor,
    out: Tensor,
}

/// The output `[T, n_head · head_dim]` for `q` `[T, n_head · head_dim]` and `k`, `v` `[T, n_head_kv ·
/// head_dim]`; `starts` (an i32 row of T) is for each token the first token of its segment.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    shape: AttentionShape,
    qkv: [Tensor; 3],
    starts: Tensor,
) -> Result<(Tensor, Saved), Error> {
    let out = g.attention(shape, qkv, starts)?;
    let y = g.columns(out, 0, shape.n_head * shape.head_dim)?;
    Ok((y, Saved { shape, qkv, starts, out }))
}

/// `[dq, dk, dv]` from `dy` `[T, n_head · head_dim]`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, saved: &Saved, dy: Tensor) -> Result<[Tensor; 3], Error> {
    let &Saved { shape, qkv, starts, out } = saved;
    let width = shape.n_head_kv * shape.head_dim;
    let dq = g.attention_back_q(shape, qkv, starts, out, dy)?;
    let dkv = g.attention_back_kv(shape, qkv, starts, out, dy)?;
    let dk = g.columns(dkv, 0, width)?;
    let dv = g.columns(dkv, width, width)?;
    Ok([dq, dk, dv])
}
