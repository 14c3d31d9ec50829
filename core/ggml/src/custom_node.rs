//! What a custom node carries besides its operands, from where it is made to where it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightgraft_kernels::{Activation, AttentionShape, Direction, LogitTransform, Rotation};

use crate::refusal::FirstRefusal;

/// What a custom node needs besides its operands.
pub(crate) struct CustomNode {
    /// The operation's name, for where it is refused.
    pub(crate) op: &'static str,
    pub(crate) params: Option<Params>,
    /// Where a refusal is noted; the same for all nodes of a graph.
    pub(crate) refused: Arc<FirstRefusal>,
}

/// The parameters of an operation, if it has some.
pub(crate) enum Params {
    Activation {
        f: Activation,
        is_gated: bool,
    },
    Attention(AttentionShape),
    Dropout {
        keep: f32,
        key: DropoutKey,
        salt: u64,
    },
    Logits(LogitTransform),
    /// How many operands are matrices.
    Matrices(usize),
    Norm {
        width: usize,
        eps: f32,
        is_weighted: bool,
        accumulate: bool,
    },
    Products(SumOfProducts),
    Rope(Rotation),
    Scale(f32),
}

/// What a node of [`Graph::sum_of_products`](crate::Graph::sum_of_products) computes: its operands are a matrix and rows for
/// each product, then the addend, if there is one.
pub(crate) struct SumOfProducts {
    pub(crate) kinds: Vec<ProductKind>,
    /// The sums are added to what the result holds.
    pub(crate) accumulate: bool,
}

/// A [`Product`](crate::Product) without its tensors.
#[derive(Clone, Copy)]
pub(crate) enum ProductKind {
    Linear { scale: f32 },
    Transposed,
    Int16(Direction),
}

/// The seed of the dropout masks of a whole model; set anew before each micro-step, so that graphs need not
/// be rebuilt. The forward pass and its recomputation in the backward pass see the same masks.
#[derive(Debug, Clone, Default)]
pub struct DropoutKey(pub(crate) Arc<AtomicU64>);

impl DropoutKey {
    /// Sets the key for the computations that follow.
    pub fn set(&self, key: u64) {
        self.0.store(key, Ordering::Relaxed);
    }
}
