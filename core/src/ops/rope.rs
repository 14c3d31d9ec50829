//! Rotary position embedding (arXiv 2104.09864).
//!
//! ```text
//! (y₁, y₂) = (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)      for each rotated pair i of each head
//! θ = scale · position · base^(−2i / n_dims) / factor_i
//! dx = the same rotation by −θ
//! ```
//!
//! Positions restart at 0 in each packed segment.

use nightgraft_ggml::{Error, Graph, Leaf, RopeParams, Tensor};

/// The rotation that a model uses.
#[derive(Clone)]
pub struct Rope {
    /// Sizes and frequencies.
    pub params: RopeParams,
    /// Divisors of the frequencies, `[1, n_dims / 2]` (Llama 3).
    pub factors: Option<Leaf>,
}

/// Rotates queries or keys `[T, n_heads · head_dim]` by `positions` (an i32 row of T).
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, rope: &Rope, x: Tensor, positions: Tensor) -> Result<Tensor, Error> {
    let factors = rope.factors.as_ref().map(|factors| g.leaf(factors)).transpose()?;
    g.rope(x, positions, factors, &rope.params)
}

/// Rotates the gradient back.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, rope: &Rope, dy: Tensor, positions: Tensor) -> Result<Tensor, Error> {
    let factors = rope.factors.as_ref().map(|factors| g.leaf(factors)).transpose()?;
    g.rope_back(dy, positions, factors, &rope.params)
}
