//! The gated activation of the feed-forward part (SwiGLU, arXiv 2002.05202).
//!
//! ```text
//! y = silu(gate) ⊙ up                      silu(v) = v · sigmoid(v)
//! dup = dy ⊙ silu(gate)
//! dgate = silu'(gate) ⊙ (dy ⊙ up)
//! ```

use nightgraft_ggml::{Error, Graph, Tensor};

/// `y` from the two projections, all `[T, n_ff]`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, gate: Tensor, up: Tensor) -> Result<Tensor, Error> {
    g.swiglu(gate, up)
}

/// `[dgate, dup, y]` from `dy` and the forward's arguments, each in the place of what it needs: of `gate`, `up` and `dy`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, gate: Tensor, up: Tensor, dy: Tensor) -> Result<[Tensor; 3], Error> {
    g.swiglu_back(gate, up, dy)?;
    Ok([gate, up, dy])
}
