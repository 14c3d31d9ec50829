//! A frozen matrix with a low-rank adapter beside it (LoRA, arXiv 2106.09685).
//!
//! ```text
//! y  = x Wᵀ + z B                 z = s · drop(x) Aᵀ           x [T, n_in], y [T, n_out], z [T, r]
//! dx = dy W + drop'(u A)          u = s · dy Bᵀ                u [T, r]
//! dA = uᵀ drop(x)                 dB = zᵀ dy                   dA [r, n_in], dB [r, n_out]
//! ```
//!
//! `W [n_out, n_in]` is quantized and never changes. `B` is kept as `[r, n_out]`, the transpose of PEFT's
//! `lora_B`: then both factors have one row a rank, and both of their gradients are the same kernel.
//! `z` and the dropout mask are recomputed in the backward rather than kept.

use nightgraft_ggml::{DropoutKey, Error, Graph, Leaf, Tensor};

/// A frozen matrix and, where the layer is adapted, its adapter.
#[derive(Clone)]
pub struct Linear {
    /// `[n_out, n_in]`, any format.
    pub weight: Leaf,
    /// What is trained.
    pub adapter: Option<LowRank>,
}

/// The two trained factors of one matrix and their gradients.
#[derive(Clone)]
pub struct LowRank {
    /// `[r, n_in]`.
    pub a: Leaf,
    /// `[r, n_out]`.
    pub b: Leaf,
    /// Sum of the gradients of `a` so far.
    pub grad_a: Leaf,
    /// Sum of the gradients of `b` so far.
    pub grad_b: Leaf,
    /// `s = alpha / r`.
    pub scale: f32,
    /// Random zeros in front of `A`, while training.
    pub dropout: Option<Dropout>,
}

/// Dropout of one adapter's input.
#[derive(Clone)]
pub struct Dropout {
    /// The probability that a value stays.
    pub keep: f32,
    /// The seed shared by the whole model; changes with each micro-step.
    pub key: DropoutKey,
    /// Makes this adapter's masks independent of the others'.
    pub salt: u64,
}

impl LowRank {
    fn drop(&self, g: &mut Graph, x: Tensor) -> Result<Tensor, Error> {
        match &self.dropout {
            Some(d) => g.dropout(x, d.keep, &d.key, d.salt),
            None => Ok(x),
        }
    }

    /// `x W'ᵀ` scaled by `s`, for one of the two factors.
    fn project(&self, g: &mut Graph, factor: &Leaf, x: Tensor) -> Result<Tensor, Error> {
        let factor = g.leaf(factor)?;
        let projected = g.linear(factor, x)?;
        g.scale(projected, self.scale)
    }
}

/// `y` from `x`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, linear: &Linear, x: Tensor) -> Result<Tensor, Error> {
    let weight = g.leaf(&linear.weight)?;
    let y = g.linear(weight, x)?;
    let Some(adapter) = &linear.adapter else { return Ok(y) };
    let dropped = adapter.drop(g, x)?;
    let z = adapter.project(g, &adapter.a, dropped)?;
    let b = g.leaf(&adapter.b)?;
    g.linear_transposed_onto(y, b, z)
}

/// Adds the adapter's gradients to its leaves and returns `dx`; added onto `dx`, if one is given.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(
    g: &mut Graph,
    linear: &Linear,
    x: Tensor,
    dy: Tensor,
    dx: Option<Tensor>,
) -> Result<Tensor, Error> {
    let weight = g.leaf(&linear.weight)?;
    let dx = match dx {
        Some(dx) => g.linear_transposed_onto(dx, weight, dy)?,
        None => g.linear_transposed(weight, dy)?,
    };
    let Some(adapter) = &linear.adapter else { return Ok(dx) };
    let dropped = adapter.drop(g, x)?;
    let z = adapter.project(g, &adapter.a, dropped)?;
    let u = adapter.project(g, &adapter.b, dy)?;
    g.accumulate_outer(&adapter.grad_a, u, dropped)?;
    g.accumulate_outer(&adapter.grad_b, z, dy)?;
    let a = g.leaf(&adapter.a)?;
    match &adapter.dropout {
        None => g.linear_transposed_onto(dx, a, u),
        Some(_) => {
            let through = g.linear_transposed(a, u)?;
            let through = adapter.drop(g, through)?;
            g.add(dx, through)
        }
    }
}
