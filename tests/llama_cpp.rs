//! Our forward against llama.cpp's on the same files: the base, and the base with our exported adapter.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightgraft_adapter::{AdapterTensors, LoraSpec, Module};
use nightgraft_core::export::write_gguf_adapter;
use nightgraft_core::generate::{Generator, Sampling};
use nightgraft_core::lora::{Adapter, initialize};
use nightgraft_core::model_file::ModelFile;
use nightgraft_core::transformer::{Model, ModelOptions};
use nightgraft_gguf::{TensorInfo, TensorType, Writer};
use nightgraft_kernels::{WeightType, Weights};
use nightgraft_text::Tokenizer;
use nightgraft_tiny_model::TinyModel;

use crate::support::{batch, mean_divergence, open_base, smollm2};

/// With weights in f32 both compute the same, but for llama.cpp's keys and values in f16.
const MAX_DIVERGENCE: f64 = 1e-5;
/// In front of 4-bit weights llama.cpp rounds activations to 8 bits, which we do not. Measured: 2.6e-3 to 4.3e-3,
/// with and without an adapter; rounding our own activations in the same way moves our logits by as much (4.0e-3).
const MAX_DIVERGENCE_ROUNDED: f64 = 8e-3;
/// Made-up text, long enough for a mean.
const TEXT: &str = "The lighthouse keeper wrote down the weather every evening: wind from the west, light rain, \
    visibility good. On Sundays she baked bread and read old letters by the window. In spring the boats came back, \
    first the small ones with patched sails, then the ferry with the mail. fn main() { println!(\"hello\"); } \
    The answer to 12 times 12 is 144, and the capital of France is Paris.";

/// An adapter that changes what the model says, the more the larger `strength`.
fn adapter(base: &nightgraft_core::base::Base, strength: f32) -> AdapterTensors {
    let spec = LoraSpec {
        rank: 8,
        alpha: 16.0,
        modules: Module::ALL.to_vec(),
        layers: 0..base.spec.n_layer,
        dropout: 0.0,
    };
    let mut tensors = initialize(&spec, base, 3);
    let other = initialize(&spec, base, 4);
    for (pair, other) in tensors.pairs.values_mut().zip(other.pairs.values()) {
        let noise = other.a.iter().cycle();
        pair.b_t.iter_mut().zip(noise).for_each(|(b, noise)| *b = strength * noise);
    }
    tensors
}

/// Mean divergence of llama.cpp's logits from ours without and with the adapter, and of ours with from ours without.
fn divergences(path: &Path, strength: f32) -> [f64; 3] {
    let base = open_base(path);
    let tokenizer = Tokenizer::from_gguf(base.file().metadata()).unwrap();
    let ids = tokenizer.encode(TEXT, false).unwrap();
    let n_vocab = base.spec.n_vocab;
    let tensors = adapter(&base, strength);
    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("adapter.gguf");
    write_gguf_adapter(&exported, &tensors, &base).unwrap();

    let ours = |adapter: Option<&Adapter>| {
        let mut model =
            Model::new(open_base(path), adapter, ModelOptions::for_eval(ids.len(), 2), Arc::default())
                .unwrap();
        model.logits(&batch(&ids)).unwrap()
    };
    let llama_cpp = |adapter: Option<&Path>| {
        let mut generator = Generator::open(&open_base(path), 2).unwrap();
        generator.set_adapter_file(adapter).unwrap();
        generator.logits(&ids).unwrap()
    };
    let (bare, adapted) = (ours(None), ours(Some(&Adapter::new(&tensors).unwrap())));
    [
        mean_divergence(&bare, &llama_cpp(None), n_vocab),
        mean_divergence(&adapted, &llama_cpp(Some(&exported)), n_vocab),
        mean_divergence(&bare, &adapted, n_vocab),
    ]
}

/// The model with each matrix dequantized, so that llama.cpp has no reason to round activations.
fn write_in_f32(path: &Path, out: &Path) {
    let file = ModelFile::open(path).unwrap();
    let to_f32 = |info: &TensorInfo| -> Vec<u8> {
        let n_cols = info.dims[0] as usize;
        let n_rows = info.dims[1..].iter().product::<u64>() as usize;
        let kind = WeightType::from_ggml_id(info.kind.ggml_id()).unwrap();
        let weights = Weights::new(kind, n_rows, n_cols, file.bytes(info)).unwrap();
        let mut row = vec![0.0; n_cols];
        let rows = (0..n_rows).flat_map(|i| {
            weights.dequantize_row(i, &mut row);
            row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()
        });
        rows.collect()
    };
    let tensors: Vec<_> = file.tensors().iter().map(|info| (info, to_f32(info))).collect();
    let mut writer = Writer::new(file.metadata().clone());
    for (info, bytes) in &tensors {
        writer.tensor(&info.name, &info.dims, TensorType::F32, bytes).unwrap();
    }
    writer.write(out).unwrap();
}

/// Compares our logits with llama.cpp's on a model with weights in f32, without and with an adapter of that strength.
fn assert_agreement_in_f32(name: &str, path: &Path, strength: f32) {
    let [bare, adapted, effect] = divergences(path, strength);
    println!("{name}: base {bare:.2e}, with adapter {adapted:.2e}, effect of the adapter {effect:.2e}");
    assert!(effect > 100.0 * MAX_DIVERGENCE, "the adapter must matter: {effect:.2e}");
    assert!(bare < MAX_DIVERGENCE, "base: {bare:.2e}");
    assert!(adapted < MAX_DIVERGENCE, "with adapter: {adapted:.2e}");
}

#[test]
fn logits_agree_on_the_real_weights_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f32.gguf");
    write_in_f32(&smollm2(), &path);
    assert_agreement_in_f32("SmolLM2", &path, 4.0);
}

/// Biases, and rope over halves of heads.
#[test]
fn logits_of_a_qwen2_agree_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    let tiny = TinyModel { architecture: "qwen2", tied: false, ..TinyModel::new(WeightType::F32) };
    tiny.write(&path).unwrap();
    assert_agreement_in_f32("tiny qwen2", &path, 4.0);
}

/// With the model that NIGHTGRAFT_QWEN names, if it is set.
#[test]
fn logits_agree_on_a_real_qwen2_in_f32() {
    let Some(model) = std::env::var_os("NIGHTGRAFT_QWEN").map(PathBuf::from) else {
        eprintln!("skipped: NIGHTGRAFT_QWEN does not name a model");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f32.gguf");
    write_in_f32(&model, &path);
    assert_agreement_in_f32("qwen2", &path, 0.5);
}

#[test]
fn logits_agree_on_the_4_bit_weights_but_for_rounded_activations() {
    let [bare, adapted, effect] = divergences(&smollm2(), 4.0);
    println!("Q4_1: base {bare:.2e}, with adapter {adapted:.2e}, effect of the adapter {effect:.2e}");
    assert!(effect > 5.0 * MAX_DIVERGENCE_ROUNDED, "the adapter must matter: {effect:.2e}");
    assert!(bare < MAX_DIVERGENCE_ROUNDED, "base: {bare:.2e}");
    assert!(adapted < MAX_DIVERGENCE_ROUNDED, "with adapter: {adapted:.2e}");
    assert!(adapted < 2.0 * bare, "the adapter adds nothing of its own: {adapted:.2e} after {bare:.2e}");
}

#[test]
fn a_generation_with_the_adapter_differs_from_one_without() {
    let path = smollm2();
    let base = open_base(&path);
    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("adapter.gguf");
    write_gguf_adapter(&exported, &adapter(&base, 4.0), &base).unwrap();
    let tokenizer = Tokenizer::from_gguf(base.file().metadata()).unwrap();
    let prompt = tokenizer.encode("The capital of France is", false).unwrap();
    let generate = |adapter| {
        let mut ids = Vec::new();
        let sampling = Sampling { max_tokens: 16, temperature: 0.0, seed: 0 };
        let mut generator = Generator::open(&base, 2).unwrap();
        generator.set_adapter_file(adapter).unwrap();
        generator
            .generate(
                &prompt,
                &sampling,
                |_| false,
                |id| {
                    ids.push(id);
                    true
                },
            )
            .unwrap();
        ids
    };
    let bare = generate(None);
    assert_eq!((bare.len(), bare[0]), (16, 7042), "llama.cpp continues with Paris");
    assert_eq!(bare, generate(None));
    assert_ne!(bare, generate(Some(exported.as_path())));
}

#[test]
fn the_first_logit_is_what_llama_cpp_prints() {
    let path = smollm2();
    let mut model = Model::new(open_base(&path), None, ModelOptions::for_eval(8, 2), Arc::default()).unwrap();
    let logits = model.logits(&batch(&[504, 3575, 282, 4649, 314])).unwrap();
    let last = &logits[4 * model.base().spec.n_vocab..];
    let (top, logit) = last.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert_eq!(top, 7042);
    assert!((logit - 17.34).abs() < 0.1, "{logit}");
}
