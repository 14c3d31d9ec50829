//! What a custom node carries besides its operands, from where it is made to where it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightgraft_kernels::{Activation, AttentionShape, Direction, LogitTransform, Rotation};

use crate::callbacks::{self, Callback};
use crate::refusal::FirstRefusal;

/// What a custom node needs besides its operands.
pub(crate) struct CustomNode {
    pub(crate) op: CustomOp,
    /// Where a refusal is noted; the same for all nodes of a graph.
    pub(crate) refused: Arc<FirstRefusal>,
}

/// The operations that ggml lacks or does slowly, with their parameters. What their operands are is said where the methods of
/// [`Graph`](crate::Graph) make nodes of them; a target that is overwritten is none of the operands.
pub(crate) enum CustomOp {
    AccumulateOuter,
    Activation {
        f: Activation,
        is_gated: bool,
    },
    ActivationBack {
        f: Activation,
        is_gated: bool,
    },
    AddScaled(f32),
    Attention(AttentionShape),
    AttentionBack(AttentionShape),
    AttentionBackSum(AttentionShape),
    ConcatColumns,
    CrossEntropy(LogitTransform),
    Dropout {
        keep: f32,
        key: DropoutKey,
        salt: u64,
    },
    FromBf16,
    QuantizeRowsInt16,
    RmsNorm(NormParams),
    RmsNormBack {
        norm: NormParams,
        /// The gradient is added to what the result holds.
        accumulate: bool,
    },
    Rope(Rotation),
    RoundToBf16,
    ScaleRows,
    Scaled(f32),
    SumOfProducts(SumOfProducts),
    ToBf16,
    TransformLogits(LogitTransform),
}

impl CustomOp {
    /// The operation's name, for errors.
    pub(crate) fn name(&self) -> &'static str {
        self.name_and_callback().0
    }

    /// What runs it.
    pub(crate) fn callback(&self) -> Callback {
        self.name_and_callback().1
    }

    fn name_and_callback(&self) -> (&'static str, Callback) {
        match self {
            Self::AccumulateOuter => ("accumulate_outer", callbacks::accumulate_outer),
            Self::Activation { .. } => ("activation", callbacks::activation),
            Self::ActivationBack { .. } => ("activation_back", callbacks::activation_back),
            Self::AddScaled(_) => ("add_scaled", callbacks::add_scaled),
            Self::Attention(_) => ("attention", callbacks::attention),
            Self::AttentionBack(_) => ("attention_back", callbacks::attention_back),
            Self::AttentionBackSum(_) => ("attention_back_sum", callbacks::attention_back_sum),
            Self::ConcatColumns => ("concat_columns", callbacks::concat_columns),
            Self::CrossEntropy(_) => ("cross_entropy", callbacks::cross_entropy),
            Self::Dropout { .. } => ("dropout", callbacks::dropout),
            Self::FromBf16 => ("from_bf16", callbacks::from_bf16),
            Self::QuantizeRowsInt16 => ("quantize_rows_int16", callbacks::quantize_rows_int16),
            Self::RmsNorm(_) => ("rms_norm", callbacks::rms_norm),
            Self::RmsNormBack { .. } => ("rms_norm_back", callbacks::rms_norm_back),
            Self::Rope(_) => ("rope", callbacks::rope),
            Self::RoundToBf16 => ("round_to_bf16", callbacks::round_to_bf16),
            Self::ScaleRows => ("scale_rows", callbacks::scale_rows),
            Self::Scaled(_) => ("scaled", callbacks::scaled),
            Self::SumOfProducts(_) => ("sum_of_products", callbacks::sum_of_products),
            Self::ToBf16 => ("to_bf16", callbacks::to_bf16),
            Self::TransformLogits(_) => ("transform_logits", callbacks::transform_logits),
        }
    }
}

/// A norm without its weight.
#[derive(Clone, Copy)]
pub(crate) struct NormParams {
    /// Values of a group.
    pub(crate) width: usize,
    pub(crate) eps: f32,
    /// Whether the last operand is a weight.
    pub(crate) is_weighted: bool,
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
pub struct DropoutKey(Arc<AtomicU64>);

impl DropoutKey {
    /// Sets the key for the computations that follow.
    pub fn set(&self, key: u64) {
        self.0.store(key, Ordering::Relaxed);
    }

    /// The key of the masks that have this salt.
    pub fn salted(&self, salt: u64) -> u64 {
        self.0.load(Ordering::Relaxed).wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
