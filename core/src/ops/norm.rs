//! Root-mean-square norm (arXiv 1910.07467), of whole rows or of each head's values.
//!
//! ```text
//! y  = w ⊙ n(x)        n(x) = x / √(mean(x²) + eps), group by group of a row        w [width], frozen, or all 1
//! dx = n'(x) · (w ⊙ dy)
//! ```

use nightgraft_ggml::{Buffer, Error, Graph, Output, Tensor};

/// A frozen norm.
#[derive(Clone)]
pub struct Norm {
    /// `[1, width]`, f32; all 1 without.
    pub weight: Option<Buffer>,
    /// Values of a group: a row's, or a head's.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// `y` from `x`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, norm: &Norm, x: Tensor) -> Result<Tensor, Error> {
    let weight = norm.weight.as_ref().map(|weight| g.tensor(weight)).transpose()?;
    g.rms_norm(x, weight, norm.width, norm.eps)
}

/// `dx`, from `dy` and the forward's argument, to `output`; the gradient of the residual stream is one to add it to.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, norm: &Norm, x: Tensor, dy: Tensor, output: Output) -> Result<Tensor, Error> {
    let weight = norm.weight.as_ref().map(|weight| g.tensor(weight)).transpose()?;
    g.rms_norm_back(x, weight, (norm.width, norm.eps), dy, output)
}
