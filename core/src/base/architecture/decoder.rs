//! What the metadata of all architectures has in common: keys that differ in their prefix only.
//!
//! Keys and defaults are those of llama.cpp (`llama-model.cpp`), so that both compute the same model.

use super::super::weight::unsupported;
use super::super::{BlockSpec, Rope, RopeLayout};
use super::Keys;
use crate::Result;
use crate::error::{KeyProblem, ModelProblem};
use crate::model_file::ModelFile;

/// llama.cpp aborts on more layers.
const MAX_LAYERS: usize = 512;
/// Far above any model; keeps products of two such numbers within 64 bits.
const MAX_WIDTH: usize = 1 << 24;
/// Token ids and positions are 32-bit signed numbers.
const MAX_COUNT: usize = i32::MAX as usize;

/// The specification, but for factors of rope's frequencies.
pub(super) fn read(file: &ModelFile, keys: &Keys, layout: RopeLayout) -> Result<BlockSpec> {
    keys.must_be_zero("expert_count", "a mixture of experts")?;
    keys.must_be_zero("expert_used_count", "a mixture of experts")?;
    keys.must_be_zero("expert_group_count", "a mixture of experts")?;
    keys.must_be_zero("nextn_predict_layers", "multi-token prediction")?;
    keys.must_be_zero("attention.scale", "another attention scale")?;
    keys.must_be_zero("embedding_scale", "a scaled embedding")?;

    let n_embd = keys.count("embedding_length", MAX_WIDTH)?;
    let n_head = keys.count("attention.head_count", n_embd)?;
    let n_head_kv = keys.optional_count("attention.head_count_kv", n_head)?.unwrap_or(n_head);
    if n_head % n_head_kv != 0 {
        let problem = KeyProblem::Indivisible { found: n_head_kv, n_head };
        return Err(keys.wrong("attention.head_count_kv", problem));
    }
    let head_dim = head_dim(keys, n_embd, n_head)?;
    if n_head.checked_mul(head_dim).is_none_or(|width| width > MAX_WIDTH) {
        return Err(unsupported(ModelProblem::Heads { n_head, head_dim }));
    }
    if keys.bool("attention.causal") == Some(false) {
        return Err(keys.wrong("attention.causal", KeyProblem::NotCausal));
    }
    let n_vocab = n_vocab(file, keys)?;
    Ok(BlockSpec {
        n_embd,
        n_layer: keys.count("block_count", MAX_LAYERS)?,
        n_head,
        n_head_kv,
        head_dim,
        n_ff: keys.count("feed_forward_length", MAX_WIDTH)?,
        n_vocab,
        n_ctx_train: keys.count("context_length", MAX_COUNT)?,
        norm_eps: keys
            .optional_positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| keys.wrong("attention.layer_norm_rms_epsilon", KeyProblem::Missing))?,
        rope: rope(keys, head_dim, layout)?,
        tied_head: file.tensor("output.weight").is_none(),
    })
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

fn rope(keys: &Keys, head_dim: usize, layout: RopeLayout) -> Result<Rope> {
    let dims = keys.optional_count("rope.dimension_count", MAX_WIDTH)?.unwrap_or(head_dim);
    if dims != head_dim {
        return Err(keys.wrong("rope.dimension_count", KeyProblem::PartialRope { found: dims, head_dim }));
    }
    let factor = match keys.optional_factor("rope.scaling.factor") {
        Ok(None) => keys.optional_factor("rope.scale_linear"),
        other => other,
    };
    let position_scale = match keys.optional_string("rope.scaling.type")? {
        Some("none") => 1.0,
        // Without a type llama.cpp assumes linear scaling too.
        None | Some("linear") => factor?.map_or(1.0, |factor| 1.0 / factor),
        Some(other) => {
            return Err(keys.wrong("rope.scaling.type", KeyProblem::RopeScaling { found: other.to_owned() }));
        }
    };
    if !position_scale.is_finite() || position_scale <= 0.0 {
        return Err(keys.wrong("rope.scaling.factor", KeyProblem::OutOfRange));
    }
    if keys.optional_positive("rope.scaling.attn_factor")?.is_some_and(|factor| factor != 1.0) {
        return Err(keys.wrong("rope.scaling.attn_factor", KeyProblem::NotOne));
    }
    Ok(Rope {
        base: keys.optional_positive("rope.freq_base")?.unwrap_or(10_000.0),
        dims,
        layout,
        factors: None,
        position_scale,
    })
}
