//! Configurations: the keys that they become, and those that are refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use nightgraft_gguf::{Array, Value};
use nightgraft_tiny_model::HuggingFaceFolder;
use serde_json::{Value as Json, json};

use super::describe;
use crate::config::Config;
use crate::error::Expected;
use crate::plan::{Content, Plan};
use crate::{ConfigProblem, Error, Notice, Result};

/// The plan of a recipe's configuration with some keys changed; `null` takes a key away.
fn plan(architecture: &'static str, changes: Json) -> Result<Plan> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = HuggingFaceFolder::new(architecture).config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    describe(&Config::read(folder.path())?)
}

fn problem(architecture: &'static str, changes: Json) -> ConfigProblem {
    match plan(architecture, changes).unwrap_err() {
        Error::Config { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

fn f32(plan: &Plan, key: &str) -> Option<f32> {
    plan.metadata.f32(&format!("{}.{key}", plan.architecture))
}

fn values<'a>(plan: &'a Plan, name: &str) -> &'a [f32] {
    let tensor = plan.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    match &tensor.content {
        Content::Values(values) => values,
        Content::Stored { .. } => panic!("{name} is stored"),
    }
}

#[test]
fn llama_3_s_factors_are_those_of_transformers() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let plan =
        plan("LlamaForCausalLM", json!({ "rope_theta": 500_000.0, "rope_scaling": scaling, "head_dim": 64 }))
            .unwrap();
    let factors = values(&plan, "rope_freqs.weight");
    assert_eq!((factors.len(), factors[0], factors[14], factors[31]), (32, 1.0, 1.0, 32.0));
    // transformers 5.23: the default frequencies over those of `_compute_llama3_parameters`.
    for (pair, expected) in [(15, 1.651_329_2), (16, 3.292_262_6), (17, 9.666_73)] {
        assert!((factors[pair] / expected - 1.0).abs() < 1e-6, "{pair}: {}", factors[pair]);
    }
}

#[test]
fn both_forms_of_rope_parameters_are_read() {
    let old =
        plan("Qwen3ForCausalLM", json!({ "rope_scaling": { "type": "linear", "factor": 4.0 } })).unwrap();
    let new = plan(
        "Qwen3ForCausalLM",
        json!({ "rope_theta": null, "rope_parameters": { "rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0 } }),
    )
    .unwrap();
    assert_eq!(old.metadata, new.metadata);
    assert_eq!(f32(&new, "rope.scaling.factor"), Some(4.0));
    assert_eq!(new.metadata.string("qwen3.rope.scaling.type"), Some("linear"));
}

#[test]
fn yarn_s_magnitude_is_written_where_it_is_not_the_usual_one() {
    let yarn = |more: Json| {
        let mut scaling =
            json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128 });
        for (key, value) in more.as_object().unwrap() {
            scaling[key] = value.clone();
        }
        plan("Qwen2ForCausalLM", json!({ "rope_scaling": scaling })).unwrap()
    };
    let usual = yarn(json!({}));
    assert_eq!(
        (f32(&usual, "rope.scaling.factor"), f32(&usual, "rope.scaling.attn_factor")),
        (Some(4.0), None)
    );
    assert_eq!(usual.metadata.u64("qwen2.rope.scaling.original_context_length"), Some(128));
    let plain = yarn(json!({ "attention_factor": 1.0 }));
    let expected = 1.0 / (0.1 * 4.0f64.ln() + 1.0);
    assert_eq!(f32(&plain, "rope.scaling.attn_factor"), Some(expected as f32));
    assert_eq!(
        f32(&yarn(json!({ "mscale": 2.0, "mscale_all_dim": 2.0 })), "rope.scaling.attn_factor"),
        Some(expected as f32)
    );

    let ministral = plan("Ministral3ForCausalLM", json!({})).unwrap();
    assert_eq!(f32(&ministral, "rope.scaling.yarn_log_multiplier"), Some(1.0));
    assert_eq!(f32(&ministral, "rope.scaling.attn_factor"), None);
    assert_eq!(f32(&ministral, "attention.temperature_scale"), Some(0.1));
}

#[test]
fn longrope_becomes_two_tensors_and_a_factor() {
    let phi = plan("Phi3ForCausalLM", json!({})).unwrap();
    assert_eq!(values(&phi, "rope_factors_long.weight").len(), 8);
    assert_eq!(values(&phi, "rope_factors_short.weight")[7], 1.875);
    let expected = (1.0 + 2.0f64.ln() / 256.0f64.ln()).sqrt();
    assert_eq!(f32(&phi, "rope.scaling.attn_factor"), Some(expected as f32));
    assert_eq!(phi.metadata.u64("phi3.rope.dimension_count"), Some(16));

    let factors = json!([1.0, 2.0]);
    let scaling = json!({ "type": "longrope", "long_factor": factors, "short_factor": factors });
    let length = ConfigProblem::Length { key: "rope_scaling.long_factor".into(), found: 2, expected: 8 };
    assert_eq!(problem("Phi3ForCausalLM", json!({ "rope_scaling": scaling })), length);
    let partial =
        plan("Phi3ForCausalLM", json!({ "rope_scaling": null, "partial_rotary_factor": 0.75 })).unwrap();
    assert_eq!(partial.metadata.u64("phi3.rope.dimension_count"), Some(12));
}

#[test]
fn gemma_s_windows_have_a_key_where_they_are_not_the_usual_ones() {
    const KEY: &str = "gemma3.attention.sliding_window_pattern";
    let usual = plan("Gemma3ForCausalLM", json!({})).unwrap();
    assert_eq!(
        (usual.metadata.u64("gemma3.attention.sliding_window"), usual.metadata.get(KEY)),
        (Some(128), None)
    );
    assert_eq!((f32(&usual, "rope.freq_base"), f32(&usual, "rope.freq_base_swa")), (Some(1e6), Some(1e4)));

    let other =
        plan("Gemma3ForCausalLM", json!({ "layer_types": ["full_attention", "sliding_attention"] })).unwrap();
    assert_eq!(other.metadata.get(KEY), Some(&Value::Array(Array::Bool(vec![false, true]))));
    let none = plan("Gemma3ForCausalLM", json!({ "sliding_window_pattern": 1 })).unwrap();
    assert_eq!(none.metadata.u64("gemma3.attention.sliding_window"), None);
    let unknown =
        problem("Gemma3ForCausalLM", json!({ "layer_types": ["full_attention", "linear_attention"] }));
    assert!(matches!(unknown, ConfigProblem::Unsupported { found, .. } if found == "linear_attention"));
    let scale = problem("Gemma3ForCausalLM", json!({ "query_pre_attn_scalar": 32 }));
    assert!(matches!(scale, ConfigProblem::Unsupported { expected, .. } if expected == "16"));
}

#[test]
fn gemma_s_windowed_layers_have_their_own_base_only() {
    let local = |parameters: Json| {
        let plan = plan("Gemma3ForCausalLM", json!({ "rope_theta": null, "rope_parameters": parameters }));
        let plan = plan.unwrap();
        (f32(&plan, "rope.freq_base"), f32(&plan, "rope.freq_base_swa"))
    };
    assert_eq!(local(json!({ "rope_type": "default", "rope_theta": 5e5 })), (Some(5e5), Some(1e4)));
    let both = json!({
        "full_attention": { "rope_type": "linear", "factor": 8.0, "rope_theta": 2e6 },
        "sliding_attention": { "rope_type": "default", "rope_theta": 3e4 },
    });
    assert_eq!(local(both), (Some(2e6), Some(3e4)));
}

#[test]
fn keys_that_are_left_out_have_the_values_of_transformers() {
    let eps = |architecture| {
        let plan = plan(architecture, json!({ "rms_norm_eps": null })).unwrap();
        f32(&plan, "attention.layer_norm_rms_epsilon")
    };
    assert_eq!(eps("LlamaForCausalLM"), Some(1e-6));
    assert_eq!([eps("Phi3ForCausalLM"), eps("Ministral3ForCausalLM")], [Some(1e-5); 2]);
    let rope = problem("Ministral3ForCausalLM", json!({ "rope_parameters": null }));
    assert_eq!(rope, ConfigProblem::MissingKey { key: "rope_parameters".into() });
    // Mistral Small 3's text part is a mistral, saved with a base alone.
    let small = json!({
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral",
        "rope_parameters": null,
        "rope_theta": 1e9,
        "rms_norm_eps": null,
    });
    let small = plan("Ministral3ForCausalLM", small).unwrap();
    assert_eq!(
        (f32(&small, "rope.freq_base"), f32(&small, "attention.layer_norm_rms_epsilon")),
        (Some(1e9), Some(1e-6))
    );
}

#[test]
fn forms_of_rope_are_refused_with_those_that_are_allowed() {
    let refused = |architecture, key: &str| {
        let form = json!({ key: "dynamic", "factor": 2.0 });
        problem(architecture, json!({ "rope_scaling": form })).to_string()
    };
    assert_eq!(
        refused("LlamaForCausalLM", "type"),
        "rope_scaling.type is dynamic, which llama files cannot hold: default, linear, yarn or llama3 is expected"
    );
    assert_eq!(
        refused("Phi3ForCausalLM", "rope_type"),
        "rope_scaling.rope_type is dynamic, which phi3 files cannot hold: default or longrope is expected"
    );
}

#[test]
fn a_window_that_is_lost_is_noticed() {
    let notices = |architecture, changes| plan(architecture, changes).unwrap().notices;
    let window = [Notice::Window { tokens: 128 }];
    assert_eq!(notices("MistralForCausalLM", json!({ "sliding_window": 128 })), window);
    assert_eq!(notices("Phi3ForCausalLM", json!({ "sliding_window": 128 })), window);
    assert_eq!(
        notices("Qwen2ForCausalLM", json!({ "sliding_window": 128, "use_sliding_window": true })),
        window
    );
    assert_eq!(notices("Qwen2ForCausalLM", json!({ "sliding_window": 128 })), []);
    assert_eq!(notices("MistralForCausalLM", json!({ "sliding_window": 4096 })), []);
    for architecture in ["MistralForCausalLM", "LlamaForCausalLM", "Phi3ForCausalLM"] {
        assert_eq!(notices(architecture, json!({ "sliding_window": 0 })), []);
    }
    assert!(window[0].to_string().contains("a window of 128 tokens"));
}

#[test]
fn what_files_cannot_hold_is_refused_by_key() {
    for (architecture, changes, key) in [
        ("LlamaForCausalLM", json!({ "hidden_act": "gelu" }), "hidden_act"),
        ("LlamaForCausalLM", json!({ "partial_rotary_factor": 0.5 }), "partial_rotary_factor"),
        (
            "LlamaForCausalLM",
            json!({ "rope_scaling": { "type": "dynamic", "factor": 2.0 } }),
            "rope_scaling.type",
        ),
        ("Qwen2ForCausalLM", json!({ "head_dim": 32 }), "head_dim"),
        ("Qwen3ForCausalLM", json!({ "attention_bias": true }), "attention_bias"),
        ("Gemma3ForCausalLM", json!({ "attn_logit_softcapping": 50.0 }), "attn_logit_softcapping"),
        ("SmolLM3ForCausalLM", json!({ "no_rope_layers": [1, 0] }), "no_rope_layers"),
        ("SmolLM3ForCausalLM", json!({ "no_rope_layer_interval": 2 }), "no_rope_layer_interval"),
        ("GraniteMoeHybridForCausalLM", json!({ "layer_types": ["attention", "mamba"] }), "layer_types"),
        ("Phi3ForCausalLM", json!({ "partial_rotary_factor": 1.5 }), "partial_rotary_factor"),
        (
            "GraniteMoeHybridForCausalLM",
            json!({ "position_embedding_type": "alibi" }),
            "position_embedding_type",
        ),
        (
            "Gemma3ForCausalLM",
            json!({ "rope_parameters": { "sliding_attention": { "rope_type": "linear", "factor": 8.0 } } }),
            "rope_parameters.sliding_attention.rope_type",
        ),
        (
            "Gemma3ForCausalLM",
            json!({ "rope_parameters": { "sliding_attention": { "partial_rotary_factor": 0.5 } } }),
            "rope_parameters.sliding_attention.partial_rotary_factor",
        ),
    ] {
        let found = problem(architecture, changes);
        assert!(matches!(&found, ConfigProblem::Unsupported { key: found, .. } if found == key), "{found}");
    }
}

#[test]
fn unknown_architectures_mixtures_and_quantized_weights_are_refused() {
    let unknown = problem("LlamaForCausalLM", json!({ "architectures": ["MambaForCausalLM"] }));
    assert_eq!(unknown, ConfigProblem::Architecture { name: "MambaForCausalLM".into() });
    let text = unknown.to_string();
    assert!(text.contains("MambaForCausalLM does not import") && text.contains("Qwen3ForCausalLM"), "{text}");
    for (name, key) in [("MixtralForCausalLM", "num_local_experts"), ("Qwen3MoeForCausalLM", "num_experts")] {
        let found = problem("LlamaForCausalLM", json!({ "architectures": [name], key: 8 }));
        assert_eq!(found, ConfigProblem::MixtureOfExperts { name: name.into(), key: key.into() });
    }
    for experts in [json!(8.0), json!("8"), json!([8, 8])] {
        let found = problem("LlamaForCausalLM", json!({ "num_experts": experts }));
        assert!(matches!(found, ConfigProblem::MixtureOfExperts { .. }), "{found}");
    }
    plan("LlamaForCausalLM", json!({ "num_experts": 0, "num_local_experts": null })).unwrap();
    let quantized = json!({ "quantization_config": { "quant_method": "gptq", "bits": 4 } });
    assert_eq!(problem("LlamaForCausalLM", quantized), ConfigProblem::Quantized { method: "gptq".into() });
}

#[test]
fn numbers_that_cannot_be_are_refused() {
    let wrong = |changes: Json| problem("LlamaForCausalLM", changes);
    let count = |key: &str, least, most| ConfigProblem::WrongValue {
        key: key.into(),
        expected: Expected::Count { least, most },
    };
    assert_eq!(wrong(json!({ "num_hidden_layers": 513 })), count("num_hidden_layers", 1, 512));
    assert_eq!(wrong(json!({ "num_key_value_heads": 5 })), count("num_key_value_heads", 1, 4));
    assert_eq!(wrong(json!({ "hidden_size": -64 })), count("hidden_size", 1, 1 << 24));
    assert!(matches!(
        wrong(json!({ "num_key_value_heads": 3 })),
        ConfigProblem::Indivisible { found: 4, divisor: 3, .. }
    ));
    assert!(matches!(
        wrong(json!({ "head_dim": 15 })),
        ConfigProblem::Indivisible { found: 15, divisor: 2, .. }
    ));
    assert_eq!(wrong(json!({ "vocab_size": null })), ConfigProblem::MissingKey { key: "vocab_size".into() });
    assert_eq!(
        wrong(json!({ "architectures": null })),
        ConfigProblem::MissingKey { key: "architectures".into() }
    );
    let number = ConfigProblem::WrongValue { key: "rms_norm_eps".into(), expected: Expected::PositiveNumber };
    assert_eq!(wrong(json!({ "rms_norm_eps": 0.0 })), number);
    assert_eq!(number.to_string(), "rms_norm_eps is not a positive number");
}
