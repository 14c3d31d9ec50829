//! What joins the residual stream.
//!
//! ```text
//! y  = x + scale · o
//! do = scale · dy                          dx = dy
//! ```

use nightgraft_ggml::{Error, Graph, Output, Tensor};

/// `y` from `x` and `o`, all `[T, n_embd]`, to `output`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, x: Tensor, o: Tensor, scale: f32, output: Output) -> Result<Tensor, Error> {
    g.add_scaled(x, o, scale, output)
}

/// `do` from `dy`, which is itself where the scale is 1.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, dy: Tensor, scale: f32) -> Result<Tensor, Error> {
    if scale == 1.0 { Ok(dy) } else { g.scaled(dy, scale) }
}
