//! What a block computes, as data.

use nightgraft_adapter::Module;
use serde::Serialize;

/// Shapes and constants of the model's blocks. One forward and one backward read this; architectures differ
/// only in how their metadata maps to it.
///
/// A block is `h = x + W_o·attention(rope(W_q·n + b_q), rope(W_k·n + b_k), W_v·n + b_v)` with `n = rms_norm(x)`, then
/// `y = h + W_down·(silu(W_gate·m) ∘ W_up·m)` with `m = rms_norm(h)`. The biases are there in some models only.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockSpec {
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_head_kv: usize,
    /// Width of a head; even. `n_head · head_dim` need not be `n_embd`.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub n_ff: usize,
    /// Rows of the embedding and of the head.
    pub n_vocab: usize,
    /// Longest context the model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Added to the mean square under the root in RMS normalization.
    pub norm_eps: f32,
    /// How positions enter.
    pub rope: Rope,
    /// Whether the head is the embedding matrix.
    pub tied_head: bool,
}

/// Rotary position embedding: pair `i` of a head turns by
/// `position · position_scale · base^(−2i/dims) / factors[i]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rope {
    /// Base of the geometric series of frequencies.
    pub base: f32,
    /// How many values of a head are turned; even.
    pub dims: usize,
    /// Which two values make a pair.
    pub layout: RopeLayout,
    /// Divisors of the frequencies, `dims / 2` of them (Llama 3's long context).
    pub factors: Option<Vec<f32>>,
    /// Multiplies positions: 1, or 1/factor with linear scaling.
    pub position_scale: f32,
}

/// Which two values of a head rope turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RopeLayout {
    /// Values `2i` and `2i + 1`: GGUF files of the `llama` architecture.
    Interleaved,
    /// Values `i` and `i + dims/2`, as in Hugging Face's code.
    Halves,
}

impl BlockSpec {
    /// Width of all query heads together.
    pub fn n_embd_q(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of all key heads together; the same for values.
    pub fn n_embd_kv(&self) -> usize {
        self.n_head_kv * self.head_dim
    }

    /// Rows (outputs) and columns (inputs) of a module's matrix.
    pub fn module_shape(&self, module: Module) -> (usize, usize) {
        match module {
            Module::AttnQ => (self.n_embd_q(), self.n_embd),
            Module::AttnK | Module::AttnV => (self.n_embd_kv(), self.n_embd),
            Module::AttnOutput => (self.n_embd, self.n_embd_q()),
            Module::FfnGate | Module::FfnUp => (self.n_ff, self.n_embd),
            Module::FfnDown => (self.n_embd, self.n_ff),
        }
    }
}
