//! The last norm, the head and the cross-entropy loss, fused for a chunk of supervised tokens.
//!
//! ```text
//! h = norm(x)        logits = cap(scale · h Wᵀ)        loss_t = −ln softmax(logits_t)[target_t]
//! dlogits = softmax(logits) − onehot(target)        dx = norm'(x) · (scale · cap'(scale · h Wᵀ) ⊙ dlogits W)
//! ```
//!
//! `cap` is `c tanh(· / c)` where logits have a soft-cap. They are as wide as the vocabulary; they exist for one chunk at a time, and their gradient is written
//! over them. Losses and gradients are sums over tokens: who averages divides once, at the end of a step.

use nightgraft_ggml::{Buffer, ComputeType, Error, Graph, LogitTransform, Output, Tensor};

use super::linear::{self, Linear, MatmulInput};
use super::norm::{self, Norm};

/// The frozen end of a model.
#[derive(Clone)]
pub struct Head {
    /// The last norm.
    pub norm: Norm,
    /// `[n_vocab, n_embd]`, any format; the embedding itself where they are tied.
    pub weight: Buffer,
    /// The type of the numbers that are multiplied for logits.
    pub compute_type: ComputeType,
    /// What makes logits of products.
    pub transform: LogitTransform,
}

impl Head {
    fn linear(&self) -> Linear {
        Linear { weight: self.weight.clone(), bias: None, adapter: None }
    }
}

/// What the backward needs of the forward.
#[derive(Clone, Copy)]
pub struct Saved {
    x: Tensor,
    dlogits: Tensor,
}

/// Computes the loss of `x` `[T, n_embd]` against `targets` (an i32 row of T, negative = none) into the buffer
/// `loss` `[≥ T, 2]`: the loss in nats, and whether the most likely token is the target.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    head: &Head,
    x: Tensor,
    targets: Tensor,
    loss: &Buffer,
) -> Result<Saved, Error> {
    let products = products(g, head, x)?;
    let dlogits = g.cross_entropy(products, head.transform, targets, loss)?;
    g.schedule(dlogits)?;
    Ok(Saved { x, dlogits })
}

/// Adds `dx` of the sum of the losses onto `stream`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, head: &Head, saved: &Saved, stream: Tensor) -> Result<Tensor, Error> {
    // Never quantized: the target's own entry is so large that little would be left of the others.
    let dlogits = MatmulInput::new(g, saved.dlogits, ComputeType::F32)?;
    let (dh, _) = linear::input_gradient(g, &head.linear(), dlogits, None)?;
    norm::backward(g, &head.norm, saved.x, dh, Output::Accumulate(stream))
}

/// `[T, n_vocab]`, for comparing with other engines.
///
/// # Errors
/// If shapes do not fit.
pub fn logits(g: &mut Graph, head: &Head, x: Tensor) -> Result<Tensor, Error> {
    let products = products(g, head, x)?;
    if head.transform == LogitTransform::NONE {
        return Ok(products);
    }
    g.transform_logits(products, head.transform)
}

/// `h Wᵀ`.
fn products(g: &mut Graph, head: &Head, x: Tensor) -> Result<Tensor, Error> {
    let h = norm::forward(g, &head.norm, x)?;
    let h = MatmulInput::new(g, h, head.compute_type)?;
    linear::forward(g, &head.linear(), h, None, Output::Alloc)
}
