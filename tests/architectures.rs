//! Every architecture from its Hugging Face folder to a trained adapter, against PyTorch and PEFT: `golden/architectures/make.py`
//! makes the models and the expected values.

#![allow(clippy::unwrap_used, clippy::panic)]

use nightgraft_core::config::{DataConfig, Precision, Resume, Schedule, TrainConfig};
use nightgraft_core::session::{
    self, DeviceOptions, EvalRequest, Event, GradientsRequest, RequestedShape, StopFlag, TrainRequest,
};

use crate::golden::{GradientDistance, assert_computed_on, gradient_distances};
use crate::support::architectures::{Case, for_each_architecture};
use crate::support::device;

/// Both sides compute in f32. PyTorch itself is within 1e-7 of f64 in these losses and within 4e-6 in these gradients
/// (`noise` in `expected.json`): what is allowed is for sums in another order, and nothing else. Measured: 7e-8 and 3e-6.
const LOSS_TOLERANCE: f64 = 1e-6;
const GRADIENT_TOLERANCE: f64 = 1e-4;
const COSINE: f64 = 0.999_999;
/// After a step of Adam a parameter has moved by `lr · sign`, whatever the gradient's size: differences grow. Measured: 2e-7.
const CURVE_TOLERANCE: f64 = 1e-5;
const STEPS: usize = 20;
/// The tokens of the longest text; each other is more than half as long.
const CONTEXT: usize = 64;

for_each_architecture!(base_loss_is_that_of_transformers);
for_each_architecture!(gradients_are_those_of_peft);
for_each_architecture!(adamw_follows_the_curve_of_peft);

fn base_loss_is_that_of_transformers(case: &Case) {
    let request = EvalRequest {
        model: case.model(),
        adapter: None,
        data: case.path("tokens.jsonl"),
        format: None,
        data_config: data_config(CONTEXT, false),
        threads: Some(2),
        logits: None,
        device: device(),
        devices: DeviceOptions::default(),
    };
    let report = session::evaluate(&request, &StopFlag::new(), &mut |_, _| ()).unwrap();
    assert_close(report.loss, case.expected()["base_loss"].as_f64().unwrap(), LOSS_TOLERANCE, "base loss");
}

/// Each text by itself and all of them packed in rows; weights in f32 and, with the same values, in bf16.
fn gradients_are_those_of_peft(case: &Case) {
    let expected = case.expected();
    let name = case.path("").file_name().unwrap().to_owned();
    let halves = Case::import(name.to_str().unwrap(), "bf16");
    for (model, packing) in [(case.model(), false), (case.model(), true), (halves.model(), true)] {
        let out = case.out("grads.safetensors");
        let request = GradientsRequest {
            precision: Precision::F32,
            model,
            init_adapter: case.path("adapter"),
            data: case.path("tokens.jsonl"),
            format: None,
            // All texts are in the first micro-batch.
            data_config: data_config(5 * CONTEXT, packing),
            seed: 0,
            threads: Some(2),
            out: out.clone(),
            device: device(),
            devices: DeviceOptions::default(),
        };
        let report = session::gradients(&request, &StopFlag::new()).unwrap();
        assert_computed_on(device(), &report.device);
        assert_eq!(report.supervised_tokens, expected["supervised_tokens"].as_u64().unwrap());
        assert_close(report.loss, expected["loss"].as_f64().unwrap(), LOSS_TOLERANCE, "adapted loss");
        let distances = gradient_distances(&out, &case.path("grads.safetensors"));
        let worst = distances.iter().map(|(_, distance)| distance.relative).fold(0.0, f64::max);
        println!("packed {packing}: {} gradients, the worst off by {worst:.2e}", distances.len());
        for (name, GradientDistance { cosine, relative }) in distances {
            assert!(
                cosine >= COSINE && relative <= GRADIENT_TOLERANCE,
                "{name}: cosine {cosine}, off by {relative:.2e}"
            );
        }
        std::fs::remove_file(out).unwrap();
    }
}

/// With one thread and with two; in one go and in two.
fn adamw_follows_the_curve_of_peft(case: &Case) {
    let expected = case.expected();
    let curve: Vec<f64> = serde_json::from_value(expected["adamw"]["losses"].clone()).unwrap();
    assert_eq!(curve.len(), STEPS);
    let lr = expected["adamw"]["lr"].as_f64().unwrap();
    let losses = train(case, "one", 1, lr, None);
    assert_eq!(losses.len(), STEPS);
    let errors = losses.iter().zip(&curve).map(|(ours, theirs)| (ours - theirs).abs() / theirs);
    println!("{STEPS} steps, the worst off by {:.2e}", errors.fold(0.0, f64::max));
    for (step, (ours, theirs)) in losses.iter().zip(&curve).enumerate() {
        assert_close(*ours, *theirs, CURVE_TOLERANCE, &format!("step {}", step + 1));
    }
    assert_eq!(train(case, "two", 2, lr, None), losses);
    assert!(train(case, "resumed", 2, lr, Some(STEPS / 3)).len() < STEPS);
    train(case, "resumed", 2, lr, None);
    let adapter = |run: &str| std::fs::read(case.out(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(adapter("one") == adapter("two") && adapter("one") == adapter("resumed"), "not the same bytes");
}

/// The losses of the steps that were run, up to a step behind which the run is asked to stop.
fn train(case: &Case, run: &str, threads: usize, lr: f64, stop_after: Option<usize>) -> Vec<f64> {
    // One text a step: no two fit.
    let mut config = TrainConfig { data: data_config(CONTEXT, false), ..TrainConfig::default() };
    config.optimizer.lr = lr.into();
    config.optimizer.schedule = Schedule::Constant;
    config.optimizer.warmup = 0.0;
    config.optimizer.clip = 0.0;
    config.run.steps = Some(STEPS as u64);
    config.run.precision = Precision::F32;
    config.run.device = device();
    config.run.eval_every = 0.into();
    config.run.checkpoint_every = 0;
    config.run.resume = Resume::Auto;
    config.run.threads = Some(threads);
    let request = TrainRequest {
        memory_limit: None,
        curve: None,
        devices: DeviceOptions::default(),
        model: case.model(),
        data: case.path("tokens.jsonl"),
        format: None,
        valid: None,
        out: case.out(run),
        init_adapter: Some(case.path("adapter")),
        requested_shape: RequestedShape::default(),
        config,
    };
    let stop = StopFlag::new();
    let mut losses = Vec::new();
    let report = session::train(&request, &stop, &mut |event| {
        if let Event::Step(metrics) = event {
            losses.push(metrics.loss);
            if stop_after == Some(losses.len()) {
                stop.raise();
            }
        }
    })
    .unwrap();
    assert_computed_on(device(), &report.device);
    losses
}

fn data_config(batch_tokens: usize, packing: bool) -> DataConfig {
    DataConfig {
        context: CONTEXT,
        batch_tokens: batch_tokens.into(),
        packing,
        shuffle: false,
        held_out: 0.0,
        ..DataConfig::default()
    }
}

fn assert_close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    assert!((ours - theirs).abs() <= tolerance * theirs, "{what}: {ours} instead of {theirs}");
}
