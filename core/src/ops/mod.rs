//! The operations of a transformer block, each a pair: `forward` and `backward` side by side.
//!
//! An operation adds nodes to a [`Graph`](nightgraft_ggml::Graph); nothing is computed until the graph is.
//! Matrices have one row a token. In the formulas `x`, `y` are such matrices, `dy` is the gradient of the
//! loss with respect to `y`, and `⊙` multiplies element by element.
//!
//! A backward reads what its forward computed, so both must be in one graph; gradients of adapters are
//! added up in buffers, gradients of activations are returned.

pub mod activation;
pub mod attention;
pub mod head;
pub mod linear;
pub mod norm;
pub mod residual;
pub mod rope;
pub mod temperature;

#[cfg(test)]
mod tests;
