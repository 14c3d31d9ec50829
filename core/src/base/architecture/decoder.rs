//! What the metadata of all architectures has in common: keys that differ in their prefix only.
//!
//! Keys and defaults are those of llama.cpp (`llama-model.cpp`), so that both compute the same model.

use nightgraft_adapter::Module;
use nightgraft_ggml::Activation;

use super::super::spec::{
    AttentionSpec, BranchNorms, FeedForwardProjection, FeedForwardSpec, LayerSpec, Mixer, ModelSpec,
    QkvProjection, RopeLayout,
};
use super::super::weight::unsupported;
use super::rope::{self, RopeRules};
use super::{Keys, MAX_COUNT, MAX_WIDTH};
use crate::Result;
use crate::error::{KeyProblem, ModelProblem};
use crate::model_file::ModelFile;

/// llama.cpp aborts on more layers.
const MAX_LAYERS: usize = 512;

/// In what the architectures differ that can be said without looking at other keys.
pub(super) struct Decoder {
    /// Which two values of a head make a pair.
    pub(super) layout: RopeLayout,
    /// What rope may be like.
    pub(super) rope: RopeRules,
    /// The matrices that have a bias if the file has it.
    pub(super) biases: &'static [Module],
}

impl Decoder {
    /// The specification of a model whose layers are all alike: a norm before each branch, no norms of queries and keys, SwiGLU.
    pub(super) fn read(&self, file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
        for key in ["expert_count", "expert_used_count", "expert_group_count"] {
            keys.must_be_zero(key, "a mixture of experts")?;
        }
        keys.must_be_zero("nextn_predict_layers", "multi-token prediction")?;

        let n_layer = keys.count("block_count", MAX_LAYERS)?;
        let n_embd = keys.count("embedding_length", MAX_WIDTH)?;
        let n_head = keys.uniform_count("attention.head_count", n_embd, n_layer)?;
        let n_head_kv =
            keys.optional_uniform_count("attention.head_count_kv", n_head, n_layer)?.unwrap_or(n_head);
        if n_head % n_head_kv != 0 {
            let problem = KeyProblem::Indivisible { found: n_head_kv, n_head };
            return Err(keys.wrong("attention.head_count_kv", problem));
        }
        let head_dim = head_dim(keys, n_embd, n_head)?;
        if n_head.checked_mul(head_dim).is_none_or(|width| width > MAX_WIDTH) {
            return Err(unsupported(ModelProblem::Heads { n_head, head_dim }));
        }
        if keys.optional_bool("attention.causal")? == Some(false) {
            return Err(keys.wrong("attention.causal", KeyProblem::NotCausal));
        }
        let n_vocab = n_vocab(file, keys)?;
        let n_ff = keys.uniform_count("feed_forward_length", MAX_WIDTH, n_layer)?;
        let n_ctx_train = keys.count("context_length", MAX_COUNT)?;
        let norm_eps = keys
            .optional_positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| keys.wrong("attention.layer_norm_rms_epsilon", KeyProblem::Missing))?;
        let rope = rope::read(file, keys, head_dim, n_ctx_train, &self.rope)?;
        let layer = |index: usize| {
            let has_bias = |module: &Module| file.tensor(&module.bias_name(index)).is_some();
            LayerSpec {
                mixer: Mixer::Attention(AttentionSpec {
                    norms: BranchNorms::BEFORE,
                    projection: QkvProjection::Separate,
                    n_head,
                    n_head_kv,
                    head_dim,
                    qk_norm: None,
                    rope: Some(0),
                    is_tempered: false,
                    scale: 1.0 / (head_dim as f32).sqrt(),
                    softcap: None,
                    window: None,
                }),
                feed_forward: FeedForwardSpec {
                    norms: BranchNorms::BEFORE,
                    projection: FeedForwardProjection::Separate,
                    activation: Activation::Silu,
                    n_ff,
                },
                residual_scale: 1.0,
                biases: self.biases.iter().copied().filter(has_bias).collect(),
            }
        };
        Ok(ModelSpec {
            n_embd,
            n_vocab,
            n_ctx_train,
            norm_eps,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            tied_head: file.tensor("output.weight").is_none(),
            rope_layout: self.layout,
            ropes: vec![rope],
            temperature: None,
            layers: (0..n_layer).map(layer).collect(),
        })
    }
}

/// Refuses keys of models whose outputs are multiplied by something, where llama.cpp does not read them.
pub(super) fn refuse_multipliers(keys: &Keys) -> Result<()> {
    keys.must_be_zero("attention.scale", "another attention scale")?;
    keys.must_be_zero("embedding_scale", "a scaled embedding")
}

/// Refuses heads that are not `n_embd / n_head` wide, where llama.cpp takes no others.
pub(super) fn check_plain_heads(spec: &ModelSpec, keys: &Keys) -> Result<()> {
    match spec.layers.iter().map(LayerSpec::attention).find(|layer| layer.n_embd_q() != spec.n_embd) {
        None => Ok(()),
        Some(layer) => {
            Err(keys.wrong("attention.key_length", KeyProblem::HeadWidth { found: layer.head_dim }))
        }
    }
}

fn head_dim(keys: &Keys, n_embd: usize, n_head: usize) -> Result<usize> {
    let default = n_embd / n_head;
    let head_dim = keys.optional_count("attention.key_length", MAX_WIDTH)?.unwrap_or(default);
    let value_dim = keys.optional_count("attention.value_length", MAX_WIDTH)?.unwrap_or(default);
    if value_dim != head_dim {
        return Err(
            keys.wrong("attention.value_length", KeyProblem::ValueWidth { found: value_dim, head_dim })
        );
    }
    if head_dim > nightgraft_kernels::MAX_HEAD_DIM {
        return Err(unsupported(ModelProblem::WideHead { head_dim }));
    }
    if head_dim % 2 != 0 {
        return Err(unsupported(ModelProblem::OddHead { head_dim }));
    }
    Ok(head_dim)
}

fn n_vocab(file: &ModelFile, keys: &Keys) -> Result<usize> {
    let tensor = || "token_embd.weight".to_owned();
    let rows = match file.tensor(&tensor()).map(|tensor| tensor.dims.as_slice()) {
        None => return Err(unsupported(ModelProblem::Missing { tensor: tensor() })),
        Some([_, rows, rest @ ..]) if rest.iter().all(|&dim| dim == 1) => *rows,
        Some(dims) => {
            let found = dims.to_vec();
            return Err(unsupported(ModelProblem::Dimensions { tensor: tensor(), found, expected: None }));
        }
    };
    let n_vocab = usize::try_from(rows)
        .ok()
        .filter(|&n| n <= MAX_COUNT)
        .ok_or_else(|| unsupported(ModelProblem::Vocabulary { rows }))?;
    let tokens = file.metadata().strings("tokenizer.ggml.tokens").map(<[String]>::len);
    let said = keys.optional_count("vocab_size", MAX_COUNT)?;
    match tokens.into_iter().chain(said).find(|&n| n != n_vocab) {
        None => Ok(n_vocab),
        Some(tokens) => Err(unsupported(ModelProblem::Tokens { tokens, embeddings: n_vocab })),
    }
}
