//! Causal soft-max attention inside packed segments, grouped queries.
//!
//! ```text
//! s_ij = scale · q_i·k_j      for start(i) ≤ j ≤ i        p_i = softmax(s_i)        o_i = Σ_j p_ij v_j
//! dv_j = Σ_i p_ij do_i        ds_ij = p_ij (do_i·v_j − do_i·o_i)
//! dq_i = scale Σ_j ds_ij k_j        dk_j = scale Σ_i ds_ij q_i
//! ```
//!
//! A window w moves the first key to `i − w + 1`, and a soft-cap c makes `s = c tanh(scale · q·k / c)`.
//!
//! Neither pass keeps a T×T matrix: the forward leaves each row's log-sum-exp behind, from which the backward
//! computes `p` again (FlashAttention, arXiv 2205.14135). Keys and values of a group of query heads are
//! shared; their gradients add up over the group.

use nightgraft_ggml::{AttentionShape, Error, Graph, Output, Tensor};

/// What the backward needs of the forward: its arguments, and `out`, the output and then each head's log-sum-exp.
#[derive(Clone, Copy)]
pub struct Saved {
    /// The heads.
    pub shape: AttentionShape,
    /// Queries, keys and values.
    pub qkv: [Tensor; 3],
    /// For each token the first of its segment.
    pub starts: Tensor,
    /// `[T, n_head · head_dim + n_head]`.
    pub out: Tensor,
}

impl Saved {
    /// The output without the log-sum-exps: `[T, n_head · head_dim]`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn output(&self, g: &mut Graph) -> Result<Tensor, Error> {
        g.columns(self.out, 0, self.shape.query_columns())
    }
}

/// Attention of `q` `[T, n_head · head_dim]` to `k` and `v` `[T, n_head_kv · head_dim]`; its result goes to `output`.
/// `starts`, an i32 row of T, has for each token the first token of its segment.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    shape: AttentionShape,
    qkv: [Tensor; 3],
    starts: Tensor,
    output: Output,
) -> Result<Saved, Error> {
    let out = g.attention(shape, qkv, starts, output)?;
    Ok(Saved { shape, qkv, starts, out })
}

/// `[dq, dk, dv]` from `dy` `[T, n_head · head_dim]`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, saved: &Saved, dy: Tensor) -> Result<[Tensor; 3], Error> {
    let &Saved { shape, qkv, starts, out } = saved;
    let width = shape.key_columns();
    let [dq, dkv] = g.attention_back(shape, qkv, starts, out, dy)?;
    let dk = g.columns(dkv, 0, width)?;
    let dv = g.columns(dkv, width, width)?;
    Ok([dq, dk, dv])
}
