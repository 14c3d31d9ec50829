//! One transformer block: attention and feed-forward, each behind a norm and beside a residual stream.
//!
//! ```text
//! h  = norm(x)                  q, k, v = h Wqᵀ, h Wkᵀ, h Wvᵀ (each with its adapter)
//! x1 = x + attention(rope(q), rope(k), v) Woᵀ
//! y  = x1 + (silu(h2 Wgᵀ) ⊙ h2 Wuᵀ) Wdᵀ              h2 = norm(x1)
//! ```

use nightgraft_ggml::{AttentionShape, Error, Graph, Tensor};

use crate::ops::linear::{self, Linear};
use crate::ops::norm::{self, Norm};
use crate::ops::rope::{self, PairLayout};
use crate::ops::{attention, swiglu};

/// What all blocks of a model share.
#[derive(Clone)]
pub struct Geometry {
    /// Heads and their sizes.
    pub attention: AttentionShape,
    /// Which values of a head are rotated together.
    pub layout: PairLayout,
}

/// The matrices of one block, with their adapters.
#[derive(Clone)]
pub struct Block {
    /// Before the attention.
    pub attn_norm: Norm,
    /// Queries.
    pub attn_q: Linear,
    /// Keys.
    pub attn_k: Linear,
    /// Values.
    pub attn_v: Linear,
    /// After the attention.
    pub attn_output: Linear,
    /// Before the feed-forward part.
    pub ffn_norm: Norm,
    /// What the activation is applied to.
    pub ffn_gate: Linear,
    /// What the activation multiplies.
    pub ffn_up: Linear,
    /// Back to the residual stream.
    pub ffn_down: Linear,
}

impl Block {
    /// The block's matrices, for changing them all.
    pub fn linears_mut(&mut self) -> [&mut Linear; 7] {
        [
            &mut self.attn_q,
            &mut self.attn_k,
            &mut self.attn_v,
            &mut self.attn_output,
            &mut self.ffn_gate,
            &mut self.ffn_up,
            &mut self.ffn_down,
        ]
    }
}

/// What a block needs to know of the micro-batch's tokens.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// The angles of their positions, `[T, n_dims]`.
    pub angles: Tensor,
    /// The first token of each token's segment, an i32 row of T.
    pub starts: Tensor,
}

/// What the backward needs of the forward.
pub struct Saved {
    tokens: Tokens,
    x: Tensor,
    h: Tensor,
    attention: attention::Saved,
    attended: Tensor,
    x1: Tensor,
    h2: Tensor,
    swiglu: swiglu::Saved,
    activated: Tensor,
}

/// `y` from `x`, both `[T, n_embd]`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    x: Tensor,
    tokens: Tokens,
) -> Result<(Tensor, Saved), Error> {
    let h = norm::forward(g, &block.attn_norm, x)?;
    let q = linear::forward(g, &block.attn_q, h)?;
    let k = linear::forward(g, &block.attn_k, h)?;
    let v = linear::forward(g, &block.attn_v, h)?;
    let q = rope::forward(g, geometry.layout, q, tokens.angles)?;
    let k = rope::forward(g, geometry.layout, k, tokens.angles)?;
    let (attended, attention) = attention::forward(g, geometry.attention, [q, k, v], tokens.starts)?;
    let o = linear::forward(g, &block.attn_output, attended)?;
    let x1 = g.add(o, x)?;

    let h2 = norm::forward(g, &block.ffn_norm, x1)?;
    let gate = linear::forward(g, &block.ffn_gate, h2)?;
    let up = linear::forward(g, &block.ffn_up, h2)?;
    let (activated, swiglu) = swiglu::forward(g, gate, up)?;
    let down = linear::forward(g, &block.ffn_down, activated)?;
    let y = g.add(down, x1)?;
    Ok((y, Saved { tokens, x, h, attention, attended, x1, h2, swiglu, activated }))
}

/// `dx` from `dy`; adds to the gradients of the block's adapters.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    saved: &Saved,
    dy: Tensor,
) -> Result<Tensor, Error> {
    let dactivated = linear::backward(g, &block.ffn_down, saved.activated, dy, None)?;
    let (dgate, dup) = swiglu::backward(g, &saved.swiglu, dactivated)?;
    let dh2 = linear::backward(g, &block.ffn_gate, saved.h2, dgate, None)?;
    let dh2 = linear::backward(g, &block.ffn_up, saved.h2, dup, Some(dh2))?;
    let dx1 = norm::backward(g, &block.ffn_norm, saved.x1, dh2)?;
    let dx1 = g.add(dx1, dy)?;

    let dattended = linear::backward(g, &block.attn_output, saved.attended, dx1, None)?;
    let [dq, dk, dv] = attention::backward(g, &saved.attention, dattended)?;
    let dq = rope::backward(g, geometry.layout, dq, saved.tokens.angles)?;
    let dk = rope::backward(g, geometry.layout, dk, saved.tokens.angles)?;
    let dh = linear::backward(g, &block.attn_q, saved.h, dq, None)?;
    let dh = linear::backward(g, &block.attn_k, saved.h, dk, Some(dh))?;
    let dh = linear::backward(g, &block.attn_v, saved.h, dv, Some(dh))?;
    let dx = norm::backward(g, &block.attn_norm, saved.x, dh)?;
    g.add(dx, dx1)
}
