//! Root-mean-square norm (arXiv 1910.07467).
//!
//! ```text
//! y  = w ⊙ n(x)        n(x) = x / √(mean(x²) + eps), row by row        w [n_embd], frozen
//! dx = n'(x) · (w ⊙ dy)
//! ```

use nightgraft_ggml::{Buffer, Error, Graph, Tensor};

/// A frozen norm.
#[derive(Clone)]
pub struct Norm {
    /// `[1, n_embd]`, f32.
    pub weight: Buffer,
    /// Added to the mean square.
    pub eps: f32,
}

/// `y` from `x`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, norm: &Norm, x: Tensor) -> Result<Tensor, Error> {
    let weight = g.tensor(&norm.weight)?;
    g.rms_norm(x, weight, norm.eps)
}

/// Adds `dx`, from `dy` and the forward's argument, onto the gradient of the residual stream.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, norm: &Norm, x: Tensor, dy: Tensor, stream: Tensor) -> Result<Tensor, Error> {
    let weight = g.tensor(&norm.weight)?;
    g.rms_norm_back(stream, x, weight, norm.eps, dy)
}
