//! `import`: llama.cpp loads what was made, cuts texts as `tokenizers` does, and computes the losses that PyTorch computes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use nightgraft_import::{Quantization, Request, Source, import};
use serde::Deserialize;

use crate::llama_cpp::backend;

/// Relative. Both compute in f32, in another order; measured: up to 8e-8.
const MAX_LOSS_ERROR: f64 = 1e-6;
/// ggml looks GELU up in a table of half precision. Measured: 1.1e-5.
const MAX_LOSS_ERROR_GELU: f64 = 3e-5;

/// The models that `transformers` saved, with what it computes.
fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/architectures");
    let entries = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("model/config.json").is_file()).collect();
    folders.sort();
    assert!(folders.len() >= 8);
    folders
}

#[derive(Deserialize)]
struct Expected {
    base_loss: f64,
    ids: BTreeMap<String, Vec<i32>>,
}

#[derive(Deserialize)]
struct Row {
    input_ids: Vec<i32>,
    labels: Vec<i32>,
}

fn imported(folder: &Path, out: &Path) -> LlamaModel {
    let source = Source::read(&folder.join("model"), None).unwrap();
    let request = Request { source: &source, quantization: Quantization::F32, out };
    import(&request, &|_, _, _| Err("nothing is packed".into()), &mut |_, _| ControlFlow::Continue(()))
        .unwrap();
    LlamaModel::load_from_file(backend(), out, &LlamaModelParams::default()).unwrap()
}

/// The sum of the losses of the supervised tokens, in nats, and how many there are.
fn loss(model: &LlamaModel, row: &Row) -> (f64, usize) {
    let n_tokens = row.input_ids.len() as u32;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(n_tokens))
        .with_n_batch(n_tokens)
        .with_n_threads(2)
        .with_n_threads_batch(2)
        .with_flash_attention_policy(0)
        .with_type_k(KvCacheType::F32)
        .with_type_v(KvCacheType::F32);
    let mut context = model.new_context(backend(), params).unwrap();
    let mut batch = LlamaBatch::new(row.input_ids.len(), 1);
    for (position, &id) in (0..).zip(&row.input_ids) {
        batch.add(LlamaToken(id), position, &[0], true).unwrap();
    }
    context.decode(&mut batch).unwrap();
    let (mut sum, mut n) = (0.0, 0);
    for (position, &label) in row.labels.iter().enumerate().skip(1).filter(|&(_, &label)| label >= 0) {
        let logits = context.get_logits_ith(position as i32 - 1);
        let max = logits.iter().copied().fold(f32::MIN, f32::max);
        let total: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
        sum += total.ln() - f64::from(logits[label as usize] - max);
        n += 1;
    }
    (sum, n)
}

#[test]
fn imported_models_compute_what_transformers_computes() {
    let work = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for folder in folders() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let expected: Expected =
            serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
        let model = imported(&folder, &work.path().join("m.gguf"));
        let rows = fs::read_to_string(folder.join("tokens.jsonl")).unwrap();
        let losses = rows.lines().map(|line| loss(&model, &serde_json::from_str(line).unwrap()));
        let (sum, n) = losses.fold((0.0, 0), |total, (sum, n)| (total.0 + sum, total.1 + n));
        let error = (sum / n as f64 / expected.base_loss - 1.0).abs();
        if error > if name.starts_with("gemma3") { MAX_LOSS_ERROR_GELU } else { MAX_LOSS_ERROR } {
            wrong.push(format!("{name}: {error:.1e}"));
        }
        for (text, ids) in expected.ids {
            let found: Vec<i32> =
                model.vocab().tokenize(text.as_bytes(), true, true).iter().map(|token| token.0).collect();
            if found != ids {
                wrong.push(format!("{name}: {text:?} {found:?} {ids:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
