//! What files of each architecture say, and what of it is refused.
#![allow(clippy::unwrap_used)]

use nightgraft_adapter::Module;
use nightgraft_ggml::Activation;
use nightgraft_gguf::{Array, TensorType, Value, Writer};
use nightgraft_kernels::WeightType;
use nightgraft_tiny_model::TinyModel;

use super::super::spec::{
    BranchNorms, FeedForwardProjection, NormKind, QkvProjection, RopeFactors, RopeScaling,
};
use super::super::{Base, ModelSpec, Temperature};
use crate::Error;
use crate::error::{KeyProblem, ModelProblem};
use crate::model_file::ModelFile;

fn tiny(architecture: &'static str) -> TinyModel {
    TinyModel { architecture, ..TinyModel::new(WeightType::Q4_0) }
}

fn open(writer: Writer) -> crate::Result<ModelSpec> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    writer.write(&path).unwrap();
    Base::open(ModelFile::open(&path).unwrap()).map(|base| base.spec)
}

/// The specification of a model with some keys, below the architecture's name, changed.
fn spec_with(tiny: &TinyModel, keys: &[(&str, Value)]) -> crate::Result<ModelSpec> {
    let mut metadata = tiny.metadata();
    for (key, value) in keys {
        metadata.insert(format!("{}.{key}", tiny.architecture), value.clone());
    }
    open(tiny.writer(metadata).unwrap())
}

fn spec(tiny: &TinyModel) -> ModelSpec {
    spec_with(tiny, &[]).unwrap()
}

fn problem(result: crate::Result<ModelSpec>) -> ModelProblem {
    match result.unwrap_err() {
        Error::UnsupportedModel { problem } => problem,
        other => unreachable!("{other}"),
    }
}

#[test]
fn qwen3_norms_its_heads() {
    let spec = spec(&TinyModel { head_dim: 96, ..tiny("qwen3") });
    for layer in &spec.layers {
        let attention = layer.attention();
        assert_eq!(attention.qk_norm, Some(NormKind::Weighted));
        assert_eq!((attention.n_embd_q(), attention.n_embd_kv()), (4 * 96, 2 * 96));
        assert_eq!(attention.scale, 1.0 / 96f32.sqrt());
    }
    assert_eq!(spec.module_shape(0, Module::AttnOutput), Some((256, 4 * 96)));
}

#[test]
fn gemma3_has_windows_and_two_ropes() {
    let gemma = TinyModel { n_layer: 7, window: 5, ..tiny("gemma3") };
    let spec = spec(&gemma);
    let bases: Vec<f32> = spec.ropes.iter().map(|rope| rope.base).collect();
    assert_eq!(bases, [1e6, 1e4]);
    assert_eq!((spec.embedding_scale, spec.logit_softcap), (16.0, None));
    for (index, layer) in spec.layers.iter().enumerate() {
        let sees_all = index == 5;
        let attention = layer.attention();
        assert_eq!(attention.window.map(|window| window.get()), (!sees_all).then_some(5), "{index}");
        assert_eq!(attention.rope, Some(usize::from(!sees_all)), "{index}");
        assert_eq!((attention.norms, layer.feed_forward.norms), (BranchNorms::BOTH, BranchNorms::BOTH));
        assert_eq!((layer.feed_forward.activation, attention.scale), (Activation::GeluTanh, 0.125));
    }
    let windows = |value: Value| -> Vec<bool> {
        let spec = spec_with(&gemma, &[("attention.sliding_window_pattern", value)]).unwrap();
        spec.layers.iter().map(|layer| layer.attention().window.is_some()).collect()
    };
    assert_eq!(windows(Value::U32(2)), [true, false, true, false, true, false, true]);
    assert_eq!(windows(Value::U32(0)), [true; 7]);
    let list = vec![false, true, true, false, false, false, true];
    assert_eq!(windows(Value::Array(Array::Bool(list.clone()))), list);
    // llama.cpp aborts on a window that no layer has.
    for nowhere in [Value::U32(1), Value::Array(Array::Bool(vec![false; 7]))] {
        let key = "gemma3.attention.sliding_window_pattern".to_owned();
        let pattern = ("attention.sliding_window_pattern", nowhere);
        assert_eq!(
            problem(spec_with(&gemma, std::slice::from_ref(&pattern))),
            ModelProblem::Key { key, problem: KeyProblem::NoLayerMarked }
        );
        let everywhere = spec_with(&gemma, &[pattern, ("attention.sliding_window", Value::U32(0))]).unwrap();
        assert!(everywhere.layers.iter().all(|layer| layer.attention().window.is_none()));
    }
    let none = spec_with(&gemma, &[("attention.sliding_window", Value::U32(0))]).unwrap();
    assert!(none.layers.iter().all(|layer| layer.attention().window.is_none()));
    assert_eq!(none.ropes.len(), 1);
    let local = spec_with(&gemma, &[("rope.freq_base_swa", Value::F32(5e3))]).unwrap();
    assert_eq!(local.ropes[1].base, 5e3);
    let key = "gemma3.attention.sliding_window_pattern".to_owned();
    let short = Value::Array(Array::Bool(vec![true; 3]));
    assert_eq!(
        problem(spec_with(&gemma, &[("attention.sliding_window_pattern", short)])),
        ModelProblem::Key { key, problem: KeyProblem::Entries { found: 3, n_layer: 7 } }
    );
    let one = || Value::Array(Array::U32(vec![5]));
    for (key, value, found, expected) in [
        ("attention.sliding_window", Value::U64(5), "u64", "u32"),
        ("attention.sliding_window", Value::I32(5), "i32", "u32"),
        ("attention.sliding_window", one(), "array", "u32"),
        ("attention.sliding_window_pattern", Value::U64(6), "u64", "u32"),
        ("attention.sliding_window_pattern", Value::I64(6), "i64", "u32"),
        ("final_logit_softcapping", Value::F64(0.0), "f64", "f32"),
        ("final_logit_softcapping", Value::F64(30.0), "f64", "f32"),
    ] {
        let refused = problem(spec_with(&gemma, &[(key, value)]));
        let problem = KeyProblem::Type { found, expected };
        assert_eq!(refused, ModelProblem::Key { key: format!("gemma3.{key}"), problem });
    }
    let capped = spec_with(&gemma, &[("final_logit_softcapping", Value::F32(30.0))]).unwrap();
    assert_eq!(capped.logit_softcap, Some(30.0));
}

#[test]
fn the_largest_gemma3_scales_its_attention_otherwise() {
    let scale =
        |n_layer| spec(&TinyModel { n_layer, head_dim: 32, ..tiny("gemma3") }).layers[0].attention().scale;
    assert_eq!(scale(2), 1.0 / 32f32.sqrt());
    assert_eq!(scale(62), 1.0 / 64f32.sqrt());
}

#[test]
fn smollm3_has_layers_without_positions() {
    let spec = spec(&TinyModel { n_layer: 9, ..tiny("smollm3") });
    let ropes: Vec<bool> = spec.layers.iter().map(|layer| layer.attention().rope.is_some()).collect();
    assert_eq!(ropes, [true, true, true, false, true, true, true, false, true]);
}

#[test]
fn granite_has_multipliers() {
    let granite = tiny("granite");
    let told = spec(&granite);
    assert_eq!((told.embedding_scale, told.logit_scale), (6.0, 0.25));
    assert!(told.layers.iter().all(|layer| layer.residual_scale == 0.22));
    assert!(told.layers.iter().all(|layer| layer.attention().scale == 0.05));
    let zero = Value::F32(0.0);
    let plain = spec_with(
        &granite,
        &[
            ("embedding_scale", zero.clone()),
            ("residual_scale", zero.clone()),
            ("attention.scale", zero.clone()),
        ],
    );
    let plain = plain.unwrap();
    assert_eq!((plain.embedding_scale, plain.layers[0].residual_scale), (1.0, 1.0));
    assert_eq!(plain.layers[0].attention().scale, 0.125);
    let without = spec_with(&granite, &[("rope.scaling.finetuned", Value::Bool(false))]).unwrap();
    assert!(without.layers.iter().all(|layer| layer.attention().rope.is_none()));
    let key = "granite.rope.scaling.finetuned".to_owned();
    let no_truth = KeyProblem::Type { found: "u32", expected: "bool" };
    assert_eq!(
        problem(spec_with(&granite, &[("rope.scaling.finetuned", Value::U32(0))])),
        ModelProblem::Key { key, problem: no_truth }
    );
    let key = "granite.logit_scale".to_owned();
    let not_positive = KeyProblem::NotPositive { found: 0.0 };
    assert_eq!(
        problem(spec_with(&granite, &[("logit_scale", zero)])),
        ModelProblem::Key { key, problem: not_positive }
    );
}

/// Against the formulas of the paper (arXiv 2309.00071), with the numbers of the tiny model.
#[test]
fn mistral3_is_stretched_by_yarn() {
    let mistral = tiny("mistral3");
    let told = spec(&mistral);
    let turns = |beta: f64| 64.0 * (64.0 / (beta * 2.0 * std::f64::consts::PI)).ln() / (2.0 * 10_000f64.ln());
    let (low, high) = (turns(16.0).floor().max(0.0) as f32, turns(2.0).ceil() as f32);
    assert!(low < high && high < 63.0, "{low} {high}");
    assert_eq!(told.ropes[0].scaling, RopeScaling::Yarn { scale: 0.125, low, high });
    let growth = 0.1 * 8f64.ln();
    let magnitude = (1.0 + growth) / (1.0 + 0.5 * growth);
    assert!((f64::from(told.ropes[0].magnitude) - magnitude).abs() < 1e-7);
    assert_eq!(told.temperature, Some(Temperature { scale: 0.25, original_context: 64 }));
    assert!(told.layers.iter().all(|layer| layer.attention().is_tempered));
    let calm = spec_with(&mistral, &[("attention.temperature_scale", Value::F32(0.0))]).unwrap();
    assert!(calm.temperature.is_none() && !calm.layers[0].attention().is_tempered);
    // Others have the usual constants, whatever the file says.
    let keys = [
        ("rope.scaling.type", Value::String("yarn".into())),
        ("rope.scaling.factor", Value::F32(4.0)),
        ("rope.scaling.yarn_beta_fast", Value::F32(2.0)),
    ];
    let qwen = spec_with(&tiny("qwen3"), &keys).unwrap();
    assert!(matches!(qwen.ropes[0].scaling, RopeScaling::Yarn { scale: 0.25, .. }));
    assert!((f64::from(qwen.ropes[0].magnitude) - (1.0 + 0.1 * 4f64.ln())).abs() < 1e-7);
    let key = "gemma3.rope.scaling.type".to_owned();
    let yarn = KeyProblem::RopeScaling { found: "yarn".into() };
    assert_eq!(problem(spec_with(&tiny("gemma3"), &keys)), ModelProblem::Key { key, problem: yarn });
}

#[test]
fn phi3_has_fused_matrices_and_factors_by_length() {
    let phi = TinyModel { rope_dims: 48, ..tiny("phi3") };
    let told = spec(&phi);
    let RopeFactors::ByLength { short, long, original_context } = &told.ropes[0].factors else {
        unreachable!("{:?}", told.ropes[0])
    };
    assert_eq!((short.len(), long.len(), *original_context, told.ropes[0].dims), (24, 24, 64, 48));
    assert_eq!((told.ropes[0].magnitude, told.ropes[0].scaling), (1.2, RopeScaling::Linear(1.0)));
    assert_eq!(told.layers[0].attention().projection, QkvProjection::Fused);
    assert_eq!(told.layers[0].feed_forward.projection, FeedForwardProjection::Fused);
    assert_eq!(told.modules(0), [Module::AttnOutput, Module::FfnUp, Module::FfnDown, Module::AttnQkv]);
    assert_eq!(told.module_shape(1, Module::AttnQkv), Some((512, 256)));
    assert_eq!(told.module_shape(1, Module::FfnUp), Some((1024, 256)));
    assert_eq!(told.module_shape(2, Module::FfnUp), None, "there is no such layer");

    let key = || "phi3.rope.dimension_count".to_owned();
    for found in [47, 66] {
        let odd = problem(spec_with(&phi, &[("rope.dimension_count", Value::U32(found as u32))]));
        let dims = KeyProblem::RopeDims { found, head_dim: 64 };
        assert_eq!(odd, ModelProblem::Key { key: key(), problem: dims });
    }
    let mut half = tiny("llama").writer(tiny("llama").metadata()).unwrap();
    half.tensor("rope_factors_long.weight", &[32], TensorType::F32, vec![0x3f; 128]).unwrap();
    let extra = ModelProblem::Extra { tensor: "rope_factors_long.weight".into() };
    assert_eq!(problem(open(half)), extra, "only a longrope has those by length");
    let mut metadata = tiny("llama").metadata();
    metadata.insert("llama.rope.scaling.type", Value::String("longrope".into()));
    let mut half = tiny("llama").writer(metadata).unwrap();
    half.tensor("rope_factors_long.weight", &[32], TensorType::F32, vec![0x3f; 128]).unwrap();
    let missing = ModelProblem::Missing { tensor: "rope_factors_short.weight".into() };
    assert_eq!(problem(open(half)), missing);
}

#[test]
fn biases_are_read_where_an_architecture_has_them() {
    let biased = spec(&TinyModel { biased: true, ..tiny("llama") });
    assert!(biased.layers.iter().all(|layer| layer.biases == Module::APART));
    // Such as queries', keys' and values', but no others.
    let refused = problem(spec_with(&TinyModel { biased: true, ..tiny("qwen3") }, &[]));
    assert_eq!(refused, ModelProblem::Extra { tensor: "blk.0.attn_output.bias".into() });
}
