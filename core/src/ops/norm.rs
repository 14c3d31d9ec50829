//! Root-mean-square norm (arXiv 1910.07467).
//!
//! ```text
//! y  = w ⊙ n(x)        n(x) = x / √(mean(x²) + eps), row by row        w [n_embd], frozen
//! dx = n'(x) · (w ⊙ dy)
//! ```

use nightgraft_ggml::{Error, Graph, Leaf, Tensor};

/// A frozen norm.
#[derive(Clone)]
pub struct Norm {
    /// `[1, n_embd]`, f32.
    pub weight: Leaf,
    /// Added to the mean square.
    pub eps: f32,
}

/// `y` from `x`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, norm: &Norm, x: Tensor) -> Result<Tensor, Error> {
    let normed = g.rms_norm(x, norm.eps)?;
    let weight = g.leaf(&norm.weight)?;
    g.mul(normed, weight)
}

/// `dx` from `dy` and the forward's argument.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, norm: &Norm, x: Tensor, dy: Tensor) -> Result<Tensor, Error> {
    let weight = g.leaf(&norm.weight)?;
    let dn = g.mul(dy, weight)?;
    g.rms_norm_back(dn, x, norm.eps)
}
