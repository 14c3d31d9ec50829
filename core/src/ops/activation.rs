//! The activation of the feed-forward part, gated (arXiv 2002.05202) or not.
//!
//! ```text
//! y = f(gate) ⊙ up                         or y = f(gate)
//! dup = dy ⊙ f(gate)
//! dgate = f'(gate) ⊙ (dy ⊙ up)             or f'(gate) ⊙ dy
//! ```

use nightgraft_ggml::{Activation, Error, Graph, Tensor};

/// `y` from the projections, all `[T, n_ff]`; `up` where the activation is gated.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, f: Activation, gate: Tensor, up: Option<Tensor>) -> Result<Tensor, Error> {
    g.activation(f, gate, up)
}

/// Computes the gradients from `dy` and the forward's arguments, each in the place of what it needs: `gate` and `up` become
/// their gradients, and `dy` becomes `y`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(
    g: &mut Graph,
    f: Activation,
    gate: Tensor,
    up: Option<Tensor>,
    dy: Tensor,
) -> Result<(), Error> {
    g.activation_back(f, gate, up, dy)
}
