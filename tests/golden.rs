//! Losses, gradients and an AdamW curve against PyTorch and PEFT on the real model's weights in f32. The expected
//! values are made by `golden/smollm2_peft/make.py`; `golden/peft_parity.py` is the same check live, on any data.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use nightgraft_core::config::{DataConfig, Device, Precision, Resume, Schedule, TrainConfig};
use nightgraft_core::session::{self, DeviceOptions, Event, GradientsRequest, StopFlag, TrainRequest};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::support::{device, our_logits, smollm2};

/// Both sides compute in f32: PEFT itself differs from f64 by up to 2.3e-4 in a gradient (`expected.json`, `noise`).
const LOSS_TOLERANCE: f64 = 1e-5;
const GRADIENT_TOLERANCE: f64 = 5e-4;
const COSINE: f64 = 0.999_999;
/// After a step of Adam a parameter has moved by `lr · sign`, whatever the gradient's size: differences grow.
const CURVE_TOLERANCE: f64 = 1e-3;

fn golden(name: &str) -> PathBuf {
    // Cargo runs tests in the package's folder; a path from build time may be another clone's.
    Path::new("tests/golden/smollm2_peft").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap()
}

fn data_config(batch_tokens: usize) -> DataConfig {
    DataConfig {
        context: 128,
        batch_tokens: batch_tokens.into(),
        packing: false,
        shuffle: false,
        held_out: 0.0,
        ..DataConfig::default()
    }
}

#[test]
fn logits_of_the_base_are_those_of_transformers() {
    let expected = expected();
    let lines = std::fs::read_to_string(golden("tokens.jsonl")).unwrap();
    let sequences: Vec<Vec<u32>> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["input_ids"].clone())
        .map(|ids| serde_json::from_value(ids).unwrap())
        .collect();
    let logits: Vec<_> = sequences.iter().map(|ids| our_logits(&smollm2(), None, ids)).collect();
    let entries = expected["base"]["logits"].as_array().unwrap();
    assert!(entries.len() >= 4);
    for entry in entries {
        let place = |key: &str| entry[key].as_u64().unwrap() as usize;
        let row = &logits[place("sequence")][place("position")];
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        let (ids, values) = (entry["ids"].as_array().unwrap(), entry["values"].as_array().unwrap());
        for ((id, value), ours) in ids.iter().zip(values).zip(order) {
            assert_eq!(id.as_u64().unwrap() as usize, ours);
            assert!((value.as_f64().unwrap() - f64::from(row[ours])).abs() < 1e-3);
        }
    }
}

#[test]
fn loss_and_gradients_are_those_of_peft() {
    let expected = expected();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("grads.safetensors");
    let request = GradientsRequest {
        precision: Precision::F32,
        model: smollm2(),
        init_adapter: golden("adapter"),
        data: golden("tokens.jsonl"),
        format: None,
        data_config: data_config(expected["options"]["batch_tokens"].as_u64().unwrap() as usize),
        seed: 0,
        threads: Some(2),
        out: out.clone(),
        device: device(),
        devices: DeviceOptions::default(),
    };
    let report = session::gradients(&request, &StopFlag::new()).unwrap();
    assert_computed_on(device(), &report.device);
    let first = &expected["first_batch"];
    let loss = first["loss"].as_f64().unwrap();
    assert!((report.loss - loss).abs() < LOSS_TOLERANCE * loss, "{} instead of {loss}", report.loss);
    assert_eq!(report.supervised_tokens, first["supervised_tokens"].as_u64().unwrap());

    let distances = gradient_distances(&out, &golden("grads.safetensors"));
    assert_eq!(distances.len(), 42, "7 modules of 3 layers, A and B");
    for (name, GradientDistance { cosine, relative }) in distances {
        assert!(
            cosine > COSINE && relative < GRADIENT_TOLERANCE,
            "{name}: cosine {cosine}, off by {relative:.2e}"
        );
    }
}

#[test]
fn thirty_steps_of_adamw_follow_the_same_curve() {
    let expected = expected();
    let curve: Vec<f64> = serde_json::from_value(expected["adamw"]["losses"].clone()).unwrap();
    assert_eq!(curve.len(), 30);
    let folder = tempfile::tempdir().unwrap();
    let mut config = TrainConfig { data: data_config(1), ..TrainConfig::default() };
    // One sequence a step: no two fit.
    config.data.batch_tokens = 128.into();
    config.optimizer.lr = expected["adamw"]["lr"].as_f64().unwrap().into();
    config.optimizer.schedule = Schedule::Constant;
    config.optimizer.warmup = 0.0;
    config.optimizer.clip = 0.0;
    config.run.steps = Some(30);
    config.run.precision = Precision::F32;
    config.run.device = device();
    config.run.eval_every = 0.into();
    config.run.checkpoint_every = 0;
    config.run.resume = Resume::Never;
    let request = TrainRequest {
        memory_limit: None,
        curve: None,
        devices: DeviceOptions::default(),
        model: smollm2(),
        data: golden("tokens.jsonl"),
        format: None,
        valid: None,
        out: folder.path().join("run"),
        init_adapter: Some(golden("adapter")),
        requested_shape: session::RequestedShape::default(),
        config,
    };
    let mut losses = Vec::new();
    let report = session::train(&request, &StopFlag::new(), &mut |event| {
        if let Event::Step(metrics) = event {
            losses.push(metrics.loss);
        }
    })
    .unwrap();
    assert_computed_on(device(), &report.device);
    assert_eq!(losses.len(), curve.len());
    for (step, (ours, theirs)) in losses.iter().zip(&curve).enumerate() {
        let relative = (ours - theirs).abs() / theirs;
        assert!(relative < CURVE_TOLERANCE, "step {}: {ours} instead of {theirs}", step + 1);
    }
}

/// What a report says that has computed is what [`device()`](device) names.
pub fn assert_computed_on(device: Device, by: &str) {
    assert_eq!(device == Device::Cpu, by.starts_with("cpu"), "{by}");
}

/// How far a gradient is from the expected one.
pub struct GradientDistance {
    pub cosine: f64,
    /// The L2 norm of the difference, by that of the expected one.
    pub relative: f64,
}

/// The distance of each gradient in a safetensors file from that of the same name in another, which has the same ones.
pub fn gradient_distances(ours: &Path, theirs: &Path) -> Vec<(String, GradientDistance)> {
    let (ours, theirs) = (std::fs::read(ours).unwrap(), std::fs::read(theirs).unwrap());
    let (ours, theirs) =
        (SafeTensors::deserialize(&ours).unwrap(), SafeTensors::deserialize(&theirs).unwrap());
    assert_eq!(ours.len(), theirs.len());
    let distance = |(name, theirs): (String, TensorView<'_>)| {
        let ours = ours.tensor(&name).unwrap();
        assert_eq!(ours.shape(), theirs.shape(), "{name}");
        let (a, b) = (floats(ours.data()), floats(theirs.data()));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        let relative = (dot(&difference, &difference) / dot(&b, &b)).sqrt();
        (name, GradientDistance { cosine, relative })
    };
    theirs.tensors().into_iter().map(distance).collect()
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
}
