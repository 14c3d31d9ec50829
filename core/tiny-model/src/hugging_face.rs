//! Tiny models as `transformers` saves them: a folder of JSON and safetensors with random weights of bfloat16.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use half::bf16;
use nightgraft_random::Random;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};

use super::{Vocabulary, WEIGHT_STD};

/// A recipe for a folder; the same recipe always gives the same bytes. Names and shapes of tensors are those of `transformers`.
#[derive(Clone, Debug)]
pub struct HuggingFaceFolder {
    /// As in `architectures`.
    pub architecture: &'static str,
    /// Number of blocks.
    pub n_layer: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Width of the feed-forward network.
    pub n_ff: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads.
    pub n_head_kv: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Whether the embedding is the head.
    pub tied: bool,
    /// The tokenizer.
    pub vocabulary: Vocabulary,
    /// Files that the weights are shared out among.
    pub n_shards: usize,
    /// Keys of `config.json` besides those of the recipe, or in their place.
    pub config: Vec<(&'static str, Value)>,
    /// The seed of the weights.
    pub seed: u64,
}

/// A tensor's name and shape.
type Tensor = (String, Vec<usize>);

impl HuggingFaceFolder {
    /// The architectures that there are recipes for.
    pub const ARCHITECTURES: [&'static str; 10] = [
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "Gemma3ForCausalLM",
        "SmolLM3ForCausalLM",
        "GraniteForCausalLM",
        "GraniteMoeHybridForCausalLM",
        "Ministral3ForCausalLM",
        "Phi3ForCausalLM",
    ];

    /// Two layers, an untied head, and a byte-level tokenizer.
    pub fn new(architecture: &'static str) -> Self {
        Self {
            architecture,
            n_layer: 2,
            n_embd: 64,
            n_ff: 96,
            n_head: 4,
            n_head_kv: 2,
            head_dim: 16,
            tied: false,
            vocabulary: Vocabulary::ByteLevel,
            n_shards: 1,
            config: Vec::new(),
            seed: 1,
        }
    }

    /// Writes the files into an existing folder.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join("config.json"), self.config().to_string())?;
        fs::write(folder.join("tokenizer.json"), self.vocabulary.tokenizer_json().to_string())?;
        fs::write(folder.join("tokenizer_config.json"), self.vocabulary.tokenizer_config().to_string())?;
        self.write_weights(folder)
    }

    /// The configuration.
    pub fn config(&self) -> Value {
        let mut config = json!({
            "architectures": [self.architecture],
            "hidden_size": self.n_embd,
            "intermediate_size": self.n_ff,
            "num_hidden_layers": self.n_layer,
            "num_attention_heads": self.n_head,
            "num_key_value_heads": self.n_head_kv,
            "max_position_embeddings": 512,
            "rms_norm_eps": 1e-5,
            "vocab_size": self.vocabulary.len(),
            "tie_word_embeddings": self.tied,
            "rope_theta": 10_000.0,
        });
        let own = match self.architecture {
            "Gemma3ForCausalLM" => json!({
                "head_dim": self.head_dim,
                "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": self.head_dim,
                "sliding_window": 128,
                "rope_theta": 1_000_000.0,
                "rope_local_base_freq": 10_000.0,
            }),
            "GraniteForCausalLM" => multipliers(),
            "GraniteMoeHybridForCausalLM" => {
                let mut own = multipliers();
                own["layer_types"] = json!(vec!["attention"; self.n_layer]);
                own["shared_intermediate_size"] = json!(self.n_ff);
                own["num_local_experts"] = json!(0);
                own["position_embedding_type"] = json!("rope");
                own
            }
            "Ministral3ForCausalLM" => json!({
                "head_dim": self.head_dim,
                "rope_parameters": {
                    "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "beta_fast": 4.0, "beta_slow": 1.0,
                    "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
                    "original_max_position_embeddings": 64,
                },
            }),
            "Phi3ForCausalLM" => {
                let factors: Vec<f64> = (0..self.head_dim / 2).map(|pair| 1.0 + pair as f64 / 8.0).collect();
                json!({
                    "original_max_position_embeddings": 256,
                    "rope_scaling": { "type": "longrope", "long_factor": factors, "short_factor": factors },
                })
            }
            "Qwen2ForCausalLM" | "SmolLM3ForCausalLM" => json!({}),
            _ => json!({ "head_dim": self.head_dim }),
        };
        let mut put = |key: &str, value: Value| config[key] = value;
        for (key, value) in own.as_object().into_iter().flatten() {
            put(key, value.clone());
        }
        for (key, value) in &self.config {
            put(key, value.clone());
        }
        config
    }

    /// The tensors in the order of the file.
    pub fn tensors(&self) -> Vec<Tensor> {
        let Self { n_embd, n_ff, head_dim, .. } = *self;
        let (n_q, n_kv) = (self.n_head * head_dim, self.n_head_kv * head_dim);
        let mut tensors = vec![
            ("model.embed_tokens.weight".to_owned(), vec![self.vocabulary.len(), n_embd]),
            ("model.norm.weight".to_owned(), vec![n_embd]),
        ];
        if !self.tied {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocabulary.len(), n_embd]));
        }
        for layer in 0..self.n_layer {
            let mut add = |name: &str, shape: &[usize]| {
                tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
            };
            add("input_layernorm.weight", &[n_embd]);
            add("post_attention_layernorm.weight", &[n_embd]);
            add("self_attn.o_proj.weight", &[n_embd, n_q]);
            if self.architecture == "Phi3ForCausalLM" {
                add("self_attn.qkv_proj.weight", &[n_q + 2 * n_kv, n_embd]);
                add("mlp.gate_up_proj.weight", &[2 * n_ff, n_embd]);
                add("mlp.down_proj.weight", &[n_embd, n_ff]);
                continue;
            }
            for (name, n) in [("q", n_q), ("k", n_kv), ("v", n_kv)] {
                add(&format!("self_attn.{name}_proj.weight"), &[n, n_embd]);
                if self.architecture == "Qwen2ForCausalLM" {
                    add(&format!("self_attn.{name}_proj.bias"), &[n]);
                }
            }
            if self.architecture == "GraniteMoeHybridForCausalLM" {
                add("shared_mlp.input_linear.weight", &[2 * n_ff, n_embd]);
                add("shared_mlp.output_linear.weight", &[n_embd, n_ff]);
                continue;
            }
            add("mlp.gate_proj.weight", &[n_ff, n_embd]);
            add("mlp.up_proj.weight", &[n_ff, n_embd]);
            add("mlp.down_proj.weight", &[n_embd, n_ff]);
            if matches!(self.architecture, "Qwen3ForCausalLM" | "Gemma3ForCausalLM") {
                add("self_attn.q_norm.weight", &[head_dim]);
                add("self_attn.k_norm.weight", &[head_dim]);
            }
            if self.architecture == "Gemma3ForCausalLM" {
                add("pre_feedforward_layernorm.weight", &[n_embd]);
                add("post_feedforward_layernorm.weight", &[n_embd]);
            }
        }
        tensors
    }

    /// Norms about 1, or about 0 where they multiply by `1 + w`; everything else about 0.
    fn write_weights(&self, folder: &Path) -> io::Result<()> {
        let mut random = Random::new(self.seed);
        let middle = if self.architecture == "Gemma3ForCausalLM" { 0.0 } else { 1.0 };
        let tensors: Vec<(Tensor, Vec<u8>)> = self
            .tensors()
            .into_iter()
            .map(|(name, shape)| {
                let (low, high) = if name.ends_with("norm.weight") {
                    (middle - 0.5, middle + 0.5)
                } else {
                    (-2.0 * WEIGHT_STD, 2.0 * WEIGHT_STD)
                };
                let mut value = || bf16::from_f32(random.between(low, high)).to_le_bytes();
                let bytes = (0..shape.iter().product()).flat_map(|_| value()).collect();
                ((name, shape), bytes)
            })
            .collect();
        if self.n_shards == 1 {
            return write_shard(&folder.join("model.safetensors"), tensors.iter().collect());
        }
        let mut map = Map::new();
        for shard in 0..self.n_shards {
            let name = format!("model-{:05}-of-{:05}.safetensors", shard + 1, self.n_shards);
            let of_shard: Vec<_> = tensors.iter().skip(shard).step_by(self.n_shards).collect();
            map.extend(of_shard.iter().map(|((tensor, _), _)| (tensor.clone(), name.clone().into())));
            write_shard(&folder.join(name), of_shard)?;
        }
        let index = json!({ "metadata": {}, "weight_map": map });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string())
    }
}

fn multipliers() -> Value {
    json!({
        "attention_multiplier": 0.0625,
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
    })
}

fn write_shard(path: &Path, tensors: Vec<&(Tensor, Vec<u8>)>) -> io::Result<()> {
    let views = tensors.into_iter().map(|((name, shape), bytes)| {
        TensorView::new(Dtype::BF16, shape.clone(), bytes).map(|view| (name, view))
    });
    let views: Result<Vec<_>, _> = views.collect();
    let bytes = views.and_then(|views| safetensors::serialize(views, None::<HashMap<_, _>>));
    fs::write(path, bytes.map_err(io::Error::other)?)
}
