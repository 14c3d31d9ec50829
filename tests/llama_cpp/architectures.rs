//! Tiny models of every architecture, of several shapes and seeds, and adapters on all of their matrices.

use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::TinyModel;

use super::assert_agreement_in_f32;

/// Both engines on two models of this recipe, with other weights each.
fn check(name: &str, tiny: &TinyModel) {
    for seed in 1..=2 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        TinyModel { seed, ..tiny.clone() }.write(&path).unwrap();
        assert_agreement_in_f32(&format!("tiny {name}, seed {seed}"), &path, 2.0);
    }
}

fn tiny(architecture: &'static str) -> TinyModel {
    TinyModel { architecture, ..TinyModel::new(WeightType::F32) }
}

/// Biases of every matrix, factors of rope, linear scaling; and none of them.
#[test]
fn llama() {
    check("llama", &tiny("llama"));
    let whole = TinyModel { biased: true, rope_factors: true, linear_scaling: Some(2.0), ..tiny("llama") };
    check("llama with biases", &whole);
    check("llama with narrow heads", &TinyModel { head_dim: 32, n_layer: 3, tied: false, ..tiny("llama") });
}

/// Biases, and rope over halves of heads.
#[test]
fn qwen2() {
    check("qwen2", &TinyModel { tied: false, ..tiny("qwen2") });
}

/// Norms of heads, which are narrower or wider than the residual stream divided by them.
#[test]
fn qwen3() {
    check("qwen3", &tiny("qwen3"));
    check("qwen3 with narrow heads", &TinyModel { head_dim: 32, n_layer: 3, tied: false, ..tiny("qwen3") });
    check("qwen3 with wide heads", &TinyModel { head_dim: 128, n_head: 5, n_head_kv: 1, ..tiny("qwen3") });
}

/// Windows much shorter than the text on five layers of six, two ropes, norms at both ends, GELU.
#[test]
fn gemma3() {
    check("gemma3", &TinyModel { n_layer: 7, ..tiny("gemma3") });
    let capped =
        TinyModel { n_layer: 6, window: 33, logit_softcap: Some(10.0), tied: false, ..tiny("gemma3") };
    check("gemma3 with a cap", &capped);
    check("gemma3 with wide heads", &TinyModel { head_dim: 256, n_head: 2, n_head_kv: 1, ..tiny("gemma3") });
}

/// A layer that sees no positions.
#[test]
fn smollm3() {
    check("smollm3", &TinyModel { n_layer: 5, ..tiny("smollm3") });
    check(
        "smollm3 with narrow heads",
        &TinyModel { n_layer: 4, head_dim: 32, tied: false, ..tiny("smollm3") },
    );
}

/// Multipliers.
#[test]
fn granite() {
    check("granite", &tiny("granite"));
    check(
        "granite with factors",
        &TinyModel { n_layer: 3, rope_factors: true, biased: true, ..tiny("granite") },
    );
}

/// YaRN, and queries that grow within the text.
#[test]
fn mistral3() {
    check("mistral3", &tiny("mistral3"));
    check(
        "mistral3 with wide heads",
        &TinyModel { head_dim: 128, n_layer: 3, original_context: 16, tied: false, ..tiny("mistral3") },
    );
    check("mistral3 in its context", &TinyModel { original_context: 4096, ..tiny("mistral3") });
}

/// Matrices that are fused; LongRoPE over a part of each head, in a text that is longer than the context and in one that is not.
#[test]
fn phi3() {
    check("phi3, long", &TinyModel { rope_dims: 48, ..tiny("phi3") });
    check("phi3, short", &TinyModel { original_context: 4096, n_layer: 3, tied: false, ..tiny("phi3") });
}
