//! Which activations a training step saves for the backward, and which it computes again there.

/// What is saved between the forward and the backward, and how much of the head is computed at once. The numbers of a
/// micro-batch do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecomputePolicy {
    /// Trained layers, from the lowest, that save what their attention takes and gives.
    pub saved_attention: usize,
    /// Trained layers that save what their feed-forward part takes.
    pub saved_feed_forward: usize,
    /// Rows of the head computed at once: logits take this many times the vocabulary, in f32.
    pub head_rows: usize,
}

impl RecomputePolicy {
    /// Everything is computed again, and few logits exist at once.
    pub const MIN_MEMORY: Self = Self { saved_attention: 0, saved_feed_forward: 0, head_rows: 16 };
    /// The policy of models that do not train.
    pub const EVAL: Self = Self { saved_attention: 0, saved_feed_forward: 0, head_rows: HEAD_ROWS[0] };
}

/// The choices for [`RecomputePolicy::head_rows`]. More would not be faster.
pub(super) const HEAD_ROWS: [usize; 4] = [128, 64, 32, 16];
