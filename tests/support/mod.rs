//! What several topics need: the real model, and what the engine predicts.

#![allow(clippy::unwrap_used)]

pub mod architectures;

use std::fs;
use std::path::{Path, PathBuf};

use nightgraft_core::config::{DataConfig, Device};
use nightgraft_core::session::{DeviceOptions, EvalRequest, StopFlag, evaluate};
use safetensors::SafeTensors;

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

/// What computes in the tests against other frameworks: `NIGHTGRAFT_TEST_DEVICE`, as `--device` takes it, else the processor.
pub fn device() -> Device {
    std::env::var("NIGHTGRAFT_TEST_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap())
}

fn default_path() -> PathBuf {
    let cache = std::env::var_os("NIGHTGRAFT_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
        base.unwrap_or_else(home).join("nightgraft")
    });
    cache.join("models/SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// Our logits behind each token of `ids` but the last, for which there is nothing to predict: a row for each.
pub fn our_logits(model: &Path, adapter: Option<&Path>, ids: &[u32]) -> Vec<Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let (data, logits) = (folder.path().join("data.jsonl"), folder.path().join("logits.safetensors"));
    fs::write(&data, serde_json::json!({ "input_ids": ids, "labels": ids }).to_string()).unwrap();
    let request = EvalRequest {
        model: model.to_owned(),
        adapter: adapter.map(Path::to_owned),
        data,
        format: None,
        data_config: DataConfig { context: ids.len(), ..DataConfig::default() },
        threads: Some(2),
        logits: Some(logits.clone()),
        device: device(),
        devices: DeviceOptions::default(),
    };
    evaluate(&request, &StopFlag::new(), &mut |_, _| ()).unwrap();
    let bytes = fs::read(logits).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("logits").unwrap();
    let &[n_rows, n_vocab] = tensor.shape() else { unreachable!() };
    assert_eq!(n_rows, ids.len() - 1);
    let values: Vec<f32> =
        tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    values.chunks_exact(n_vocab).map(<[f32]>::to_vec).collect()
}
