//! Tiny models for tests: about a million random weights in any format and of any architecture that can be trained, with a
//! working tokenizer, that llama.cpp loads too; and models as `transformers` saves them. Nothing here is part of the engine.

#![forbid(unsafe_code)]

mod blocks;
mod hugging_face;
mod split;
mod vocabulary;

pub use blocks::random_weights;
pub use hugging_face::HuggingFaceFolder;
pub use split::split;
pub use vocabulary::{CHATML, Vocabulary};

use std::path::Path;

use nightgraft_gguf::{Error, Metadata, Problem, TensorType, Value, Writer};
use nightgraft_kernels::WeightType;
use nightgraft_random::Random;

/// Width of the residual stream: one block of the K-quants.
pub const N_EMBD: usize = 256;
/// Width of the feed-forward network.
pub const N_FF: usize = 512;
/// Query heads, if a recipe does not say otherwise.
pub const N_HEAD: usize = 4;
/// Key and value heads, likewise.
pub const N_HEAD_KV: usize = 2;
/// Values of a head, likewise.
pub const HEAD_DIM: usize = N_EMBD / N_HEAD;
/// Standard deviation of the matrices' values.
const WEIGHT_STD: f32 = 0.05;

/// A recipe for a tiny model; the same recipe always gives the same file.
#[derive(Clone, Debug)]
pub struct TinyModel {
    /// The architecture, as in `general.architecture`. It brings its own tensors and keys.
    pub architecture: &'static str,
    /// Format of all matrices of the blocks and of an untied head.
    pub kind: WeightType,
    /// Formats of the blocks' matrices, one matrix after the other and again from the first, if they have several.
    pub mixed: Vec<WeightType>,
    /// Format of the embedding, if another one.
    pub embedding_kind: Option<WeightType>,
    /// Number of layers.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads.
    pub n_head_kv: usize,
    /// Values of a head; together they need not be as wide as the residual stream.
    pub head_dim: usize,
    /// The window of `gemma3`, in tokens.
    pub window: u32,
    /// The soft-cap of the logits of `gemma3`.
    pub logit_softcap: Option<f32>,
    /// The context from which `mistral3` and `phi3` are stretched, in tokens.
    pub original_context: u32,
    /// Values of a head that `phi3` turns.
    pub rope_dims: usize,
    /// Whether every matrix of a `llama` has a bias.
    pub biased: bool,
    /// Whether the embedding is the head.
    pub tied: bool,
    /// The tokenizer.
    pub vocabulary: Vocabulary,
    /// A Jinja template, for instance [`CHATML`].
    pub chat_template: Option<String>,
    /// Linear rope scaling by this factor.
    pub linear_scaling: Option<f32>,
    /// Llama 3's divisors of rope frequencies.
    pub rope_factors: bool,
    /// The seed of the weights.
    pub seed: u64,
}

impl TinyModel {
    /// A `llama` of two layers, a tied head and a byte-level tokenizer; all matrices in the format `kind`.
    pub fn new(kind: WeightType) -> Self {
        Self {
            architecture: "llama",
            kind,
            mixed: Vec::new(),
            embedding_kind: None,
            n_layer: 2,
            n_head: N_HEAD,
            n_head_kv: N_HEAD_KV,
            head_dim: HEAD_DIM,
            window: 12,
            logit_softcap: None,
            original_context: 64,
            rope_dims: HEAD_DIM,
            biased: false,
            tied: true,
            vocabulary: Vocabulary::ByteLevel,
            chat_template: None,
            linear_scaling: None,
            rope_factors: false,
            seed: 1,
        }
    }

    /// Writes the model to `path`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let unwritable = |problem| Error::Unwritable { path: path.to_owned(), problem };
        self.writer(self.metadata()).map_err(unwritable)?.write(path)?;
        Ok(())
    }

    /// The keys of the model.
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        let mut put = |key: &str, value| drop(metadata.insert(key, value));
        put("general.architecture", Value::String(self.architecture.into()));
        put("general.type", Value::String("model".into()));
        put("general.name", Value::String("tiny".into()));
        let mut put = |key: &str, value| put(&format!("{}.{key}", self.architecture), value);
        put("block_count", Value::U32(self.n_layer as u32));
        put("context_length", Value::U32(512));
        put("embedding_length", Value::U32(N_EMBD as u32));
        put("feed_forward_length", Value::U32(N_FF as u32));
        put("attention.head_count", Value::U32(self.n_head as u32));
        put("attention.head_count_kv", Value::U32(self.n_head_kv as u32));
        put("attention.layer_norm_rms_epsilon", Value::F32(1e-5));
        put("rope.freq_base", Value::F32(10_000.0));
        let rope_dims = if self.architecture == "phi3" { self.rope_dims } else { self.head_dim };
        put("rope.dimension_count", Value::U32(rope_dims as u32));
        if self.head_dim != N_EMBD / self.n_head {
            put("attention.key_length", Value::U32(self.head_dim as u32));
            put("attention.value_length", Value::U32(self.head_dim as u32));
        }
        put("vocab_size", Value::U32(self.vocabulary.len() as u32));
        if let Some(factor) = self.linear_scaling {
            put("rope.scaling.type", Value::String("linear".into()));
            put("rope.scaling.factor", Value::F32(factor));
        }
        for (key, value) in self.own_keys() {
            put(key, value);
        }
        self.vocabulary.describe(&mut metadata);
        if let Some(template) = &self.chat_template {
            metadata.insert("tokenizer.chat_template", Value::String(template.clone()));
        }
        metadata
    }

    /// A file with this model's tensors and the given keys, which a test may have changed.
    ///
    /// # Errors
    /// [`Problem`] if the recipe makes no sense, such as no layer at all.
    pub fn writer(&self, metadata: Metadata) -> Result<Writer<'static>, Problem> {
        let mut writer = Writer::new(metadata);
        let mut random = Random::new(self.seed);
        let n_vocab = self.vocabulary.len();
        let mut matrix = |writer: &mut Writer, name: &str, n_rows: usize, n_cols: usize, kind: WeightType| {
            let bytes = random_weights(kind, n_rows * n_cols, WEIGHT_STD, &mut random);
            writer.tensor(name, &[n_cols as u64, n_rows as u64], tensor_type(kind), bytes)
        };
        matrix(&mut writer, "token_embd.weight", n_vocab, N_EMBD, self.embedding_kind.unwrap_or(self.kind))?;
        if !self.tied {
            matrix(&mut writer, "output.weight", n_vocab, N_EMBD, self.kind)?;
        }
        let mut kinds = self.mixed.iter().cycle();
        for layer in 0..self.n_layer {
            for (name, n_rows, n_cols) in self.matrices() {
                let kind = *kinds.next().unwrap_or(&self.kind);
                matrix(&mut writer, &format!("blk.{layer}.{name}.weight"), n_rows, n_cols, kind)?;
            }
        }
        let mut vector = |name: &str, len: usize, low: f32, high: f32| {
            let bytes: Vec<u8> = (0..len).flat_map(|_| random.between(low, high).to_le_bytes()).collect();
            writer.tensor(name, &[len as u64], TensorType::F32, bytes)
        };
        for layer in 0..self.n_layer {
            vector(&format!("blk.{layer}.attn_norm.weight"), N_EMBD, 0.5, 1.5)?;
            vector(&format!("blk.{layer}.ffn_norm.weight"), N_EMBD, 0.5, 1.5)?;
        }
        vector("output_norm.weight", N_EMBD, 0.5, 1.5)?;
        if self.rope_factors {
            vector("rope_freqs.weight", self.head_dim / 2, 1.0, 8.0)?;
        }
        let (q, kv) = self.widths();
        for layer in 0..self.n_layer {
            let mut vector =
                |name: &str, len, low, high| vector(&format!("blk.{layer}.{name}"), len, low, high);
            match self.architecture {
                "qwen2" => {
                    vector("attn_q.bias", q, -2.0, 2.0)?;
                    vector("attn_k.bias", kv, -2.0, 2.0)?;
                    vector("attn_v.bias", kv, -0.5, 0.5)?;
                }
                "qwen3" | "gemma3" => {
                    vector("attn_q_norm.weight", self.head_dim, 0.5, 1.5)?;
                    vector("attn_k_norm.weight", self.head_dim, 0.5, 1.5)?;
                }
                _ => {}
            }
            if self.architecture == "gemma3" {
                vector("post_attention_norm.weight", N_EMBD, 0.5, 1.5)?;
                vector("post_ffw_norm.weight", N_EMBD, 0.5, 1.5)?;
            }
            if self.biased {
                for (name, n_rows, _) in self.matrices() {
                    vector(&format!("{name}.bias"), n_rows, -0.5, 0.5)?;
                }
            }
        }
        if self.architecture == "phi3" {
            vector("rope_factors_long.weight", self.rope_dims / 2, 2.0, 8.0)?;
            vector("rope_factors_short.weight", self.rope_dims / 2, 1.0, 1.5)?;
        }
        Ok(writer)
    }

    /// Widths of all queries, and of all keys or values.
    fn widths(&self) -> (usize, usize) {
        (self.n_head * self.head_dim, self.n_head_kv * self.head_dim)
    }

    /// Name, rows and columns of a layer's matrices.
    fn matrices(&self) -> Vec<(&'static str, usize, usize)> {
        let (q, kv) = self.widths();
        let qkv = [("attn_q", q, N_EMBD), ("attn_k", kv, N_EMBD), ("attn_v", kv, N_EMBD)];
        let output = ("attn_output", N_EMBD, q);
        let down = ("ffn_down", N_EMBD, N_FF);
        if self.architecture == "phi3" {
            return vec![("attn_qkv", q + 2 * kv, N_EMBD), output, ("ffn_up", 2 * N_FF, N_EMBD), down];
        }
        let up = [("ffn_gate", N_FF, N_EMBD), ("ffn_up", N_FF, N_EMBD)];
        qkv.into_iter().chain([output]).chain(up).chain([down]).collect()
    }

    /// Keys, below the architecture's name, that other architectures do not have.
    fn own_keys(&self) -> Vec<(&'static str, Value)> {
        let scaling = |kind: &str| ("rope.scaling.type", Value::String(kind.into()));
        let original = ("rope.scaling.original_context_length", Value::U32(self.original_context));
        match self.architecture {
            "gemma3" => {
                let window = ("attention.sliding_window", Value::U32(self.window));
                let cap = self.logit_softcap.map(|cap| ("final_logit_softcapping", Value::F32(cap)));
                [window, ("rope.freq_base", Value::F32(1e6))].into_iter().chain(cap).collect()
            }
            "granite" => vec![
                ("embedding_scale", Value::F32(6.0)),
                ("residual_scale", Value::F32(0.22)),
                ("attention.scale", Value::F32(0.05)),
                ("logit_scale", Value::F32(4.0)),
            ],
            "mistral3" => vec![
                scaling("yarn"),
                original,
                ("rope.scaling.factor", Value::F32(8.0)),
                ("rope.scaling.yarn_beta_fast", Value::F32(16.0)),
                ("rope.scaling.yarn_beta_slow", Value::F32(2.0)),
                ("rope.scaling.yarn_log_multiplier", Value::F32(0.5)),
                ("attention.temperature_scale", Value::F32(0.25)),
            ],
            "phi3" => vec![scaling("longrope"), original, ("rope.scaling.attn_factor", Value::F32(1.2))],
            _ => Vec::new(),
        }
    }
}

/// The format of weights, as files name it.
///
/// # Panics
/// Never: files have a name for each of them.
pub fn tensor_type(kind: WeightType) -> TensorType {
    TensorType::from_ggml_id(kind.ggml_id()).expect("every format of weights is one of files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_kernels_agree_on_sizes() {
        for kind in WeightType::ALL {
            let tensor_type = tensor_type(kind);
            assert_eq!(tensor_type.name(), kind.name());
            assert_eq!(tensor_type.block_len(), kind.block_len() as u64);
            assert_eq!(tensor_type.block_bytes(), kind.block_bytes() as u64);
        }
    }
}
