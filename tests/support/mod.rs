//! What several topics need: the real model, batches, a distance between predictions.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use nightgraft_core::base::Base;
use nightgraft_core::model_file::ModelFile;
use nightgraft_text::Example;
use nightgraft_text::data::{self, Batch};

/// The path of SmolLM2-135M-Instruct (Q4_1): `NIGHTGRAFT_SMOLLM2`, else where `nightgraft fetch smollm2-135m` puts it.
///
/// # Panics
/// If it is not there: a test on the real model never passes without it.
pub fn smollm2() -> PathBuf {
    let path = std::env::var_os("NIGHTGRAFT_SMOLLM2").map_or_else(default_path, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing: run `nightgraft fetch smollm2-135m`, or set NIGHTGRAFT_SMOLLM2 to the file",
        path.display()
    );
    path
}

fn default_path() -> PathBuf {
    let cache = std::env::var_os("NIGHTGRAFT_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        base.unwrap_or_else(home).join("nightgraft")
    });
    cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf")
}

pub fn open_base(path: &Path) -> Base {
    Base::open(ModelFile::open(path).unwrap()).unwrap()
}

/// One sequence, every token supervised.
pub fn batch(ids: &[u32]) -> Batch {
    let example = Example::from_supervision(ids.to_vec(), &vec![true; ids.len()]);
    data::assemble(&[example], &[0])
}

/// Mean over rows of the Kullback–Leibler divergence from `p`'s soft-max to `q`'s, in nats.
pub fn mean_divergence(p: &[f32], q: &[f32], n_vocab: usize) -> f64 {
    assert_eq!(p.len(), q.len());
    let rows = p.chunks(n_vocab).zip(q.chunks(n_vocab));
    let total: f64 = rows
        .map(|(p, q)| {
            let (p, q) = (log_softmax(p), log_softmax(q));
            p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
        })
        .sum();
    total / (p.len() / n_vocab) as f64
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - max).exp()).sum();
    logits.iter().map(|&v| f64::from(v - max) - sum.ln()).collect()
}
