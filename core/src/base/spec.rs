//! What a model computes, as data.
//!
//! It is wider than what the readers of today's architectures make of files: norms without weights and feed-forward
//! networks without a gate have a forward, a backward and tests, but no reader yet. So an architecture that has them needs
//! a reader and nothing else.

use std::num::NonZeroUsize;

use nightgraft_adapter::Module;
use nightgraft_ggml::Activation;

/// Shapes and constants of a model. One forward and one backward read this; architectures differ only in how their metadata
/// maps to it, and layers only in their [`LayerSpec`].
///
/// A model is `logits = cap(logit_scale · W_head · norm(x))`, where `x` starts as `embedding_scale` times the tokens' embeddings
/// and goes through the layers.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Rows of the embedding and of the head.
    pub n_vocab: usize,
    /// Longest context the model was trained on, in tokens.
    pub n_ctx_train: usize,
    /// Added to the mean square under the root in every RMS norm.
    pub norm_eps: f32,
    /// Multiplies the embeddings.
    pub embedding_scale: f32,
    /// Multiplies the products with the head.
    pub logit_scale: f32,
    /// Logits are `cap · tanh(· / cap)`, if there is a cap.
    pub logit_softcap: Option<f32>,
    /// Whether the head is the embedding matrix.
    pub tied_head: bool,
    /// Which two values of a head make a pair that rope turns; also the order of the rows of queries and keys.
    pub rope_layout: RopeLayout,
    /// The ways in which positions turn queries and keys; layers say which is theirs.
    pub ropes: Vec<Rope>,
    /// By what queries grow with their position, in layers that are `tempered`.
    pub temperature: Option<Temperature>,
    /// The layers, from the embedding up; at least one.
    pub layers: Vec<LayerSpec>,
}

/// One layer: `h = x + residual_scale · mixer(x)`, then `y = h + residual_scale · feed_forward(h)`.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec {
    /// What tokens learn of each other.
    pub mixer: Mixer,
    /// What each token makes of it.
    pub feed_forward: FeedForwardSpec,
    /// Multiplies what is added to the residual stream.
    pub residual_scale: f32,
    /// The matrices to whose outputs a bias is added.
    pub biases: Vec<Module>,
}

/// The part of a layer in which tokens see each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Mixer {
    /// Causal soft-max attention.
    Attention(AttentionSpec),
}

/// `after(W_o · attention(turn(q_norm(W_q n)), turn(k_norm(W_k n)), W_v n))` with `n = before(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionSpec {
    /// Norms at both ends.
    pub norms: BranchNorms,
    /// How queries, keys and values are stored.
    pub projection: QkvProjection,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_head_kv: usize,
    /// Width of a head; even. `n_head · head_dim` need not be `n_embd`.
    pub head_dim: usize,
    /// The norm of each head's queries and keys.
    pub qk_norm: Option<NormKind>,
    /// Which of [`ModelSpec::ropes`] turns queries and keys; none turns them without.
    pub rope: Option<usize>,
    /// Whether queries grow with their position, by [`ModelSpec::temperature`].
    pub is_tempered: bool,
    /// Multiplies the scores.
    pub scale: f32,
    /// Scores are `cap · tanh(· / cap)`, if there is a cap.
    pub softcap: Option<f32>,
    /// The most tokens that one attends to, itself included.
    pub window: Option<NonZeroUsize>,
}

/// `after(W_down · a)` with `n = before(x)` and `a = f(W_gate n) ∘ W_up n`, or `a = f(W_up n)` without a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedForwardSpec {
    /// Norms at both ends.
    pub norms: BranchNorms,
    /// How the matrices before the activation are stored.
    pub projection: FeedForwardProjection,
    /// The function `f`.
    pub activation: Activation,
    /// Width of `a`.
    pub n_ff: usize,
}

/// The norms of a branch of the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchNorms {
    /// Of what the branch takes.
    pub before: Option<NormKind>,
    /// Of what it gives.
    pub after: Option<NormKind>,
}

/// An RMS norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Each value has a factor.
    Weighted,
    /// None has.
    #[allow(dead_code, reason = "no architecture that is read has it; tests have")]
    Plain,
}

/// How the matrices of queries, keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkvProjection {
    /// `attn_q`, `attn_k` and `attn_v`.
    Separate,
    /// `attn_qkv`, with the rows of queries, then keys, then values.
    Fused,
}

/// How the matrices before the activation are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForwardProjection {
    /// `ffn_gate` and `ffn_up`.
    Separate,
    /// `ffn_up` alone, with the rows of the gate, then the others.
    Fused,
    /// `ffn_up` alone, without a gate.
    #[allow(dead_code, reason = "no architecture that is read has it; tests have")]
    Ungated,
}

/// Rotary position embedding: pair `i` of a head turns by `position · frequency(i)`, with
/// `frequency(i) = scaling(base^(−2i/dims) / factor(i))`, and grows by `magnitude`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of frequencies.
    pub base: f32,
    /// How many values of a head are turned; even.
    pub dims: usize,
    /// Divisors of the frequencies.
    pub factors: RopeFactors,
    /// What becomes of the frequencies in long contexts.
    pub scaling: RopeScaling,
    /// Multiplies what is turned: 1, or the attention factor of YaRN and LongRoPE.
    pub magnitude: f32,
}

/// Divisors of rope's frequencies, `dims / 2` of them.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeFactors {
    /// Frequencies are as they are.
    None,
    /// The same for all lengths (Llama 3).
    All(Vec<f32>),
    /// Those of segments of up to `original_context` tokens, and those of longer ones (LongRoPE, arXiv 2402.13753).
    ByLength {
        /// For short segments.
        short: Vec<f32>,
        /// For long ones.
        long: Vec<f32>,
        /// The longest short one.
        original_context: usize,
    },
}

/// What becomes of rope's frequencies in long contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// All are multiplied by this: 1, or 1/factor.
    Linear(f32),
    /// YaRN (arXiv 2309.00071): pairs up to `low` are as they are, pairs from `high` on are multiplied by `scale`, and those
    /// between by something between.
    Yarn {
        /// 1/factor.
        scale: f32,
        /// The last pair that is as it is.
        low: f32,
        /// The first pair that is scaled fully.
        high: f32,
    },
}

/// Queries at position `p` are multiplied by `1 + scale · ln(1 + ⌊p / original_context⌋)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature {
    /// How fast they grow.
    pub scale: f32,
    /// Positions before it are as they are.
    pub original_context: usize,
}

/// Which two values of a head rope turns together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// Values `2i` and `2i + 1`: what converters make of `llama` and its kin.
    Interleaved,
    /// Values `i` and `i + dims/2`, as in Hugging Face's code.
    Halves,
}

impl ModelSpec {
    /// Number of layers.
    pub fn n_layer(&self) -> usize {
        self.layers.len()
    }

    /// Rows (outputs) and columns (inputs) of a module's matrix; none where the layer has no such matrix.
    pub fn module_shape(&self, layer: usize, module: Module) -> Option<(usize, usize)> {
        self.layers.get(layer)?.module_shape(module, self.n_embd)
    }

    /// The modules that a layer has, in the order of [`Module::ALL`].
    pub fn modules(&self, layer: usize) -> Vec<Module> {
        Module::ALL.into_iter().filter(|&module| self.module_shape(layer, module).is_some()).collect()
    }

    /// The modules that some layer has, in the order of [`Module::ALL`].
    pub fn all_modules(&self) -> Vec<Module> {
        let has = |module: &Module| (0..self.n_layer()).any(|i| self.module_shape(i, *module).is_some());
        Module::ALL.into_iter().filter(has).collect()
    }
}

impl LayerSpec {
    fn module_shape(&self, module: Module, n_embd: usize) -> Option<(usize, usize)> {
        let Mixer::Attention(attention) = &self.mixer;
        let (q, kv) = (attention.n_embd_q(), attention.n_embd_kv());
        let FeedForwardSpec { projection, n_ff, .. } = self.feed_forward;
        match (module, attention.projection, projection) {
            (Module::AttnQ, QkvProjection::Separate, _) => Some((q, n_embd)),
            (Module::AttnK | Module::AttnV, QkvProjection::Separate, _) => Some((kv, n_embd)),
            (Module::AttnQkv, QkvProjection::Fused, _) => Some((q + 2 * kv, n_embd)),
            (Module::AttnOutput, ..) => Some((n_embd, q)),
            (Module::FfnGate, _, FeedForwardProjection::Separate) => Some((n_ff, n_embd)),
            (Module::FfnUp, _, FeedForwardProjection::Fused) => Some((2 * n_ff, n_embd)),
            (Module::FfnUp, ..) => Some((n_ff, n_embd)),
            (Module::FfnDown, ..) => Some((n_embd, n_ff)),
            (Module::AttnQ | Module::AttnK | Module::AttnV, QkvProjection::Fused, _)
            | (Module::AttnQkv, QkvProjection::Separate, _)
            | (Module::FfnGate, _, FeedForwardProjection::Fused | FeedForwardProjection::Ungated) => None,
        }
    }

    /// The layer's attention.
    pub fn attention(&self) -> &AttentionSpec {
        let Mixer::Attention(attention) = &self.mixer;
        attention
    }

    /// The layer's attention, for changing it.
    pub fn attention_mut(&mut self) -> &mut AttentionSpec {
        let Mixer::Attention(attention) = &mut self.mixer;
        attention
    }
}

impl AttentionSpec {
    /// Width of all query heads together.
    pub fn n_embd_q(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of all key heads together; the same for values.
    pub fn n_embd_kv(&self) -> usize {
        self.n_head_kv * self.head_dim
    }
}

impl BranchNorms {
    /// A weighted norm before the branch, as most models have it.
    pub const BEFORE: Self = Self { before: Some(NormKind::Weighted), after: None };
    /// Weighted norms at both ends.
    pub const BOTH: Self = Self { before: Some(NormKind::Weighted), after: Some(NormKind::Weighted) };
}
