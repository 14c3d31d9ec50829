//! Our forward against llama.cpp's on the same files: the base, and the base with our exported adapter.

#![allow(clippy::unwrap_used)]

mod architectures;

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use assert_cmd::cargo::cargo_bin;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use nightgraft_adapter::Module;
use nightgraft_core::session::{ExportFormat, ExportRequest, export};
use nightgraft_gguf::{GgufHeader, TensorInfo, TensorType, Writer};
use nightgraft_kernels::{WeightType, Weights};
use nightgraft_random::Random;
use nightgraft_text::Tokenizer;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::support::{our_logits, smollm2};

/// With weights, keys and values in f32 both compute the same, but for the order of sums.
const MAX_DIVERGENCE: f64 = 1e-6;
/// llama.cpp looks GELU up in a table in f16. Measured on Gemma 3 270M: 1.5e-5, and 1.2e-4 with an adapter of the strength used
/// here; 6e-6 and 9e-5 where ours is rounded to 11 bits, too. Tiny models of few layers stay below the bound of the others.
const MAX_DIVERGENCE_GELU: f64 = 4e-4;
/// In front of 4-bit weights llama.cpp rounds activations to 8 bits, which we do not. Measured: 2.6e-3 to 4.3e-3,
/// with and without an adapter; rounding our own activations in the same way moves our logits by as much (4.0e-3).
const MAX_DIVERGENCE_ROUNDED: f64 = 8e-3;
/// `LLAMA_FLASH_ATTN_TYPE_DISABLED`. With it models in f32 diverge by 1e-7, without by 1e-13.
const NO_FLASH_ATTENTION: i32 = 0;
/// Made-up text, long enough for a mean.
const TEXT: &str = "The lighthouse keeper wrote down the weather every evening: wind from the west, light rain, \
    visibility good. On Sundays she baked bread and read old letters by the window. In spring the boats came back, \
    first the small ones with patched sails, then the ferry with the mail. fn main() { println!(\"hello\"); } \
    The answer to 12 times 12 is 144, and the capital of France is Paris.";

/// llama.cpp's process-wide state.
pub fn backend() -> &'static LlamaBackend {
    static BACKEND: OnceLock<LlamaBackend> = OnceLock::new();
    BACKEND.get_or_init(|| {
        let mut backend = LlamaBackend::init().unwrap();
        backend.void_logs();
        backend
    })
}

/// llama.cpp's logits behind each token, with an adapter or without: a row for each.
pub fn llama_cpp_logits(model: &Path, adapter: Option<&Path>, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut model = LlamaModel::load_from_file(backend(), model, &LlamaModelParams::default()).unwrap();
    let mut adapter = adapter.map(|path| model.lora_adapter_init(path).unwrap());
    let n_tokens = ids.len() as u32;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(n_tokens))
        .with_n_batch(n_tokens)
        .with_n_ubatch(n_tokens.min(512))
        .with_type_k(KvCacheType::F32)
        .with_type_v(KvCacheType::F32)
        .with_flash_attention_policy(NO_FLASH_ATTENTION)
        .with_n_threads(2)
        .with_n_threads_batch(2);
    let mut context = model.new_context(backend(), params).unwrap();
    if let Some(adapter) = &mut adapter {
        context.lora_adapter_set(adapter, 1.0).unwrap();
    }
    let mut batch = LlamaBatch::new(ids.len(), 1);
    for (position, id) in (0..).zip(ids) {
        batch.add(LlamaToken(id.cast_signed()), position, &[0], true).unwrap();
    }
    context.decode(&mut batch).unwrap();
    (0..batch.n_tokens()).map(|i| context.get_logits_ith(i).to_vec()).collect()
}

/// A model's file and what its header says.
pub fn read(model: &Path) -> (Vec<u8>, GgufHeader) {
    let bytes = fs::read(model).unwrap();
    let header = nightgraft_gguf::parse(&bytes).unwrap();
    (bytes, header)
}

/// Writes, by way of our export, an adapter for llama.cpp that changes what the model says, the more the larger `strength`.
fn write_adapter(model: &Path, out: &Path, strength: f32) {
    const RANK: usize = 8;
    let (_, header) = read(model);
    let mut random = Random::new(3);
    let mut tensors = Vec::new();
    for layer in 0.. {
        let matrix = |module: Module| {
            let name = module.tensor_name(layer);
            header.tensors.iter().find(|tensor| tensor.name == name)
        };
        if matrix(Module::AttnOutput).is_none() {
            break;
        }
        for module in Module::ALL {
            let Some(dims) = matrix(module).map(|tensor| &tensor.dims) else { continue };
            let (n_in, n_out) = (dims[0] as usize, dims[1] as usize);
            let bound = 1.0 / (n_in as f32).sqrt();
            let mut numbers = |n: usize, bound: f32| -> Vec<u8> {
                (0..n).flat_map(|_| random.between(-bound, bound).to_le_bytes()).collect()
            };
            // Without a matrix of its own, the gate is in this one.
            let is_fused = module == Module::FfnUp && matrix(Module::FfnGate).is_none();
            let module = if is_fused { "mlp.gate_up_proj" } else { module.hf_name() };
            let name = |factor| format!("base_model.model.model.layers.{layer}.{module}.{factor}.weight");
            tensors.push((name("lora_A"), vec![RANK, n_in], numbers(RANK * n_in, bound)));
            tensors.push((name("lora_B"), vec![n_out, RANK], numbers(n_out * RANK, strength * bound)));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None::<HashMap<_, _>>).unwrap();
    fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
    let config = serde_json::json!({ "peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK });
    fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let request = ExportRequest {
        adapter: folder.path().to_owned(),
        to: ExportFormat::Gguf,
        model: Some(model.to_owned()),
        out: out.to_owned(),
    };
    export(&request, &mut |_, _| ()).unwrap();
}

/// Mean divergence of llama.cpp's logits from ours without and with the adapter, and of ours with from ours without.
fn divergences(model: &Path, strength: f32) -> [f64; 3] {
    let (_, header) = read(model);
    let ids = Tokenizer::from_gguf(&header.metadata).unwrap().encode(TEXT, false).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("adapter.gguf");
    write_adapter(model, &exported, strength);
    let (bare, adapted) = (our_logits(model, None, &ids), our_logits(model, Some(&exported), &ids));
    [
        mean_divergence(&bare, &llama_cpp_logits(model, None, &ids)),
        mean_divergence(&adapted, &llama_cpp_logits(model, Some(&exported), &ids)),
        mean_divergence(&bare, &adapted),
    ]
}

/// Mean over the rows of `p` of the Kullback–Leibler divergence from their soft-max to that of `q`'s, in nats.
pub fn mean_divergence(p: &[Vec<f32>], q: &[Vec<f32>]) -> f64 {
    let of_row = |(p, q): (&Vec<f32>, &Vec<f32>)| {
        let (p, q) = (log_softmax(p), log_softmax(q));
        p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
    };
    assert!(!p.is_empty() && q.len() >= p.len());
    p.iter().zip(q).map(of_row).sum::<f64>() / p.len() as f64
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - max).exp()).sum();
    logits.iter().map(|&v| f64::from(v - max) - sum.ln()).collect()
}

/// The model with each matrix dequantized, so that llama.cpp has no reason to round activations.
fn write_in_f32(path: &Path, out: &Path) {
    let (file, header) = read(path);
    let to_f32 = |info: &TensorInfo| -> Vec<u8> {
        let n_cols = info.dims[0] as usize;
        let n_rows = info.dims[1..].iter().product::<u64>() as usize;
        let kind = WeightType::from_ggml_id(info.kind.ggml_id()).unwrap();
        let weights = Weights::new(kind, n_rows, n_cols, info.bytes(&file)).unwrap();
        let mut row = vec![0.0; n_cols];
        let rows = (0..n_rows).flat_map(|i| {
            weights.dequantize_row(i, &mut row);
            row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>()
        });
        rows.collect()
    };
    let tensors: Vec<_> = header.tensors.iter().map(|info| (info, to_f32(info))).collect();
    let mut writer = Writer::new(header.metadata.clone());
    for (info, bytes) in &tensors {
        writer.tensor(&info.name, &info.dims, TensorType::F32, bytes).unwrap();
    }
    writer.write(out).unwrap();
}

/// Compares our logits with llama.cpp's on a model with weights in f32, without and with an adapter of that strength.
fn assert_agreement_in_f32(name: &str, path: &Path, strength: f32) {
    assert_agreement_within(MAX_DIVERGENCE, name, path, strength);
}

fn assert_agreement_within(most: f64, name: &str, path: &Path, strength: f32) {
    let [bare, adapted, effect] = divergences(path, strength);
    println!("{name}: base {bare:.2e}, with adapter {adapted:.2e}, effect of the adapter {effect:.2e}");
    assert!(effect > 100.0 * most, "the adapter must matter: {effect:.2e}");
    assert!(bare < most, "base: {bare:.2e}");
    assert!(adapted < most, "with adapter: {adapted:.2e}");
}

#[test]
fn logits_agree_on_the_real_weights_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f32.gguf");
    write_in_f32(&smollm2(), &path);
    assert_agreement_in_f32("SmolLM2", &path, 4.0);
}

/// With the models that NIGHTGRAFT_QWEN and NIGHTGRAFT_GEMMA name, if they are set.
#[test]
fn logits_agree_on_other_real_models_in_f32() {
    for (variable, most) in [("NIGHTGRAFT_QWEN", MAX_DIVERGENCE), ("NIGHTGRAFT_GEMMA", MAX_DIVERGENCE_GELU)] {
        let Some(model) = std::env::var_os(variable).map(PathBuf::from) else {
            eprintln!("skipped: {variable} does not name a model");
            continue;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f32.gguf");
        write_in_f32(&model, &path);
        assert_agreement_within(most, variable, &path, 0.5);
    }
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
    let model = smollm2();
    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("adapter.gguf");
    write_adapter(&model, &exported, 4.0);
    let generate = |adapter: Option<&Path>| {
        let mut command = Command::new(cargo_bin("nightgraft"));
        command
            .args(["--quiet", "generate", "--max-tokens", "16", "--temperature", "0", "--model"])
            .arg(&model);
        command.args(adapter.map(|path| format!("--adapter={}", path.display())));
        let output = command.arg("--prompt").arg("The capital of France is").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let bare = generate(None);
    assert!(bare.contains("Paris"), "{bare}");
    assert_eq!(bare, generate(None));
    assert_ne!(bare, generate(Some(exported.as_path())));
}

#[test]
fn the_first_logit_is_what_llama_cpp_prints() {
    let logits = our_logits(&smollm2(), None, &[504, 3575, 282, 4649, 314, 0]);
    let (top, logit) = logits[4].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert_eq!(top, 7042);
    assert!((logit - 17.34).abs() < 0.1, "{logit}");
}
