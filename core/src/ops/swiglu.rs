//! The gated activation of the feed-forward part (SwiGLU, arXiv 2002.05202).
//!
//! ```text
//! y = silu(gate) ⊙ up                      silu(v) = v · sigmoid(v)
//! dup = dy ⊙ silu(gate)
//! dgate = silu'(gate) ⊙ (dy ⊙ up)
//! ```

use nightgraft_ggml::{Error, Graph, Tensor};

/// What the backward needs of the forward.
#[derive(Clone, Copy)]
pub struct Saved {
    gate: Tensor,
    up: Tensor,
    silu: Tensor,
}

/// `y` from the two projections, all `[T, n_ff]`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, gate: Tensor, up: Tensor) -> Result<(Tensor, Saved), Error> {
    let silu = g.silu(gate)?;
    let y = g.mul(silu, up)?;
    Ok((y, Saved { gate, up, silu }))
}

/// `(dgate, dup)` from `dy`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, saved: &Saved, dy: Tensor) -> Result<(Tensor, Tensor), Error> {
    let dup = g.mul(dy, saved.silu)?;
    let dsilu = g.mul(dy, saved.up)?;
    let dgate = g.silu_back(dsilu, saved.gate)?;
    Ok((dgate, dup))
}
