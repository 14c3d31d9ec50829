//! The optimizer against its formula in f64; a training step that is stopped or diverges.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nightgraft_adapter::{AdapterTensors, LoraPair, LoraSpec, Module};
use nightgraft_ggml::{WeightType, weight_types};
use nightgraft_text::Example;
use nightgraft_tiny_model::{TinyModel, split};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::{AdamW, Trainer};
use crate::Error;
use crate::base::Base;
use crate::config::{OptimizerConfig, Schedule, TrainConfig};
use crate::lora::{Adapter, initialize};
use crate::model_file::ModelFile;
use crate::transformer::{Model, ModelOptions};

/// One pair of 3 × 2 and 3 × 4 numbers.
fn small_adapter() -> Adapter {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut numbers = |n: usize| (0..n).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
    let pair = LoraPair { rank: 3, n_in: 2, n_out: 4, a: numbers(6), b_t: numbers(12) };
    let spec = LoraSpec { rank: 3, alpha: 3.0, modules: vec![Module::AttnQ], layers: 5..6, dropout: 0.0 };
    Adapter::new(&AdapterTensors { spec, pairs: BTreeMap::from([((5, Module::AttnQ), pair)]) }).unwrap()
}

fn values(adapter: &Adapter) -> Vec<f32> {
    adapter.parameters().flat_map(|p| p.value.to_vec().unwrap()).collect()
}

#[test]
fn adamw_does_what_its_formula_says() {
    let config = OptimizerConfig { clip: 0.5, weight_decay: 0.1, eps: 1e-4, ..OptimizerConfig::default() };
    let adapter = small_adapter();
    let mut optimizer = AdamW::new(&config, &adapter);
    let mut expected: Vec<f64> = values(&adapter).into_iter().map(f64::from).collect();
    let (mut mean, mut square) = (vec![0.0; 18], vec![0.0; 18]);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for step in 1..=5 {
        let (n, lr) = (7, 0.01 / f64::from(step));
        let grad: Vec<f32> = (0..18).map(|_| rng.random_range(-3.0..3.0)).collect();
        let mut rest = grad.as_slice();
        for parameter in adapter.parameters() {
            let (rows, cols) = parameter.grad.shape();
            let (own, others) = rest.split_at(rows * cols);
            parameter.grad.write(0, own).unwrap();
            rest = others;
        }
        let norm = optimizer.update(&adapter, step as u64, n, lr).unwrap();

        let averaged: Vec<f64> = grad.iter().map(|&g| f64::from(g) / 7.0).collect();
        let expected_norm = averaged.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!((norm - expected_norm).abs() < 1e-9 && norm > 0.5, "clipping is at work");
        for (i, g) in averaged.iter().enumerate() {
            let g = g * 0.5 / (expected_norm + 1e-6);
            mean[i] = 0.9 * mean[i] + 0.1 * g;
            square[i] = 0.999 * square[i] + 0.001 * g * g;
            let (m, v) = (mean[i] / (1.0 - 0.9f64.powi(step)), square[i] / (1.0 - 0.999f64.powi(step)));
            expected[i] = expected[i] * (1.0 - lr * 0.1) - lr * m / (v.sqrt() + 1e-4);
        }
        for (got, expected) in values(&adapter).iter().zip(&expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "step {step}: {got} instead of {expected}");
        }
    }
}

#[test]
fn a_gradient_that_is_not_a_number_is_named_and_moves_nothing() {
    let adapter = small_adapter();
    let mut optimizer = AdamW::new(&OptimizerConfig::default(), &adapter);
    let before = (values(&adapter), optimizer.clone());
    adapter.parameters().nth(1).unwrap().grad.write(2, &[0.0, f32::NAN, 0.0, 0.0]).unwrap();
    let error = optimizer.update(&adapter, 1, 1, 0.1).unwrap_err();
    let Error::NotFinite { step: 1, place } = error else { panic!("{error}") };
    assert_eq!(place, "the gradient of layer 5 attn_q B");
    assert_eq!((values(&adapter), optimizer), before);
}

#[test]
fn an_update_that_overflows_is_named_and_moves_nothing() {
    let adapter = small_adapter();
    let config = OptimizerConfig { clip: 0.0, ..OptimizerConfig::default() };
    let mut optimizer = AdamW::new(&config, &adapter);
    adapter.parameters().next().unwrap().grad.write(0, &[1.0; 4]).unwrap();
    // Its square is beyond f32, though it is not.
    adapter.parameters().nth(1).unwrap().grad.write(2, &[0.0, 1e30, 0.0, 0.0]).unwrap();
    let before = (values(&adapter), optimizer.clone());
    let error = optimizer.update(&adapter, 1, 1, 0.1).unwrap_err();
    let Error::NotFinite { step: 1, place } = error else { panic!("{error}") };
    assert_eq!(place, "the update of layer 5 attn_q B");
    assert_eq!((values(&adapter), optimizer), before);
}

/// A trainer on a tiny model, and the folder of that: three micro-batches a step, dropout on.
fn trainer(stop: Arc<AtomicBool>) -> (TempDir, Trainer) {
    trainer_on(&TinyModel::new(WeightType::Q4_0), stop)
}

fn trainer_on(model: &TinyModel, stop: Arc<AtomicBool>) -> (TempDir, Trainer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path).unwrap();
    let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
    (folder, trainer_of(base, stop))
}

fn trainer_of(base: Base, stop: Arc<AtomicBool>) -> Trainer {
    let spec = LoraSpec { rank: 4, alpha: 8.0, modules: Module::ALL.to_vec(), layers: 0..2, dropout: 0.1 };
    let adapter = Adapter::new(&initialize(&spec, &base, 1)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let n_vocab = base.spec.n_vocab as u32;
    let example = |n: usize| {
        let ids = (0..n).map(|_| rng.random_range(0..n_vocab)).collect();
        Example::from_supervision(ids, &vec![true; n])
    };
    let examples = [40, 55, 33, 60, 21, 44, 50].map(example).to_vec();
    let mut config = TrainConfig::default();
    config.data.batch_tokens = 64.into();
    config.data.accumulate = 3;
    config.optimizer.schedule = Schedule::Constant;
    config.optimizer.lr = 1e-2.into();
    config.run.epochs = 2.into();
    let options = ModelOptions { trains: true, ..ModelOptions::for_eval(64, 2, None) };
    let model = Model::new(base, Some(&adapter), options, stop).unwrap();
    Trainer::new(&config, model, adapter, examples).unwrap()
}

#[test]
fn training_lowers_the_loss_and_uses_every_example() {
    let (_folder, mut trainer) = trainer(Arc::default());
    let mut steps = Vec::new();
    while !trainer.is_finished() {
        steps.extend(trainer.advance().unwrap());
    }
    assert_eq!(steps.len() as u64, trainer.progress().total_steps);
    // One token of an example has nothing to predict.
    let tokens: u64 = 2 * (40 + 55 + 33 + 60 + 21 + 44 + 50);
    assert_eq!(steps.iter().map(|step| step.tokens).sum::<u64>(), tokens);
    assert_eq!(steps.iter().map(|step| step.supervised_tokens).sum::<u64>(), tokens - 2 * 7);
    assert!(steps.last().unwrap().loss < steps[0].loss);
}

#[test]
fn a_model_in_several_files_trains_to_the_same_bits() {
    let train = |file: &Path| {
        let (model, mut losses) = (Base::open(ModelFile::open(file).unwrap()).unwrap(), Vec::new());
        let mut trainer = trainer_of(model, Arc::default());
        while !trainer.is_finished() {
            losses.extend(trainer.advance().unwrap().map(|step| step.loss));
        }
        (losses, trainer.adapter().tensors().unwrap())
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    for tied in [true, false] {
        TinyModel { tied, ..TinyModel::new(WeightType::Q4_K) }.write(&path).unwrap();
        let whole = train(&path);
        assert_eq!(train(&split(&path, 4)[2]), whole);
    }
}

#[test]
fn a_model_in_any_format_trains() {
    let mixed = TinyModel { n_layer: 4, mixed: weight_types().collect(), ..TinyModel::new(WeightType::Q8_0) };
    for model in weight_types().map(TinyModel::new).chain([mixed]) {
        let (_folder, mut trainer) = trainer_on(&model, Arc::default());
        let mut losses = Vec::new();
        while !trainer.is_finished() {
            losses.extend(trainer.advance().unwrap().map(|step| step.loss));
        }
        assert!(losses.last().unwrap() < &losses[0], "{}: {losses:?}", model.kind.name());
    }
}

#[test]
fn stopped_at_any_moment_a_step_can_go_on_as_if_it_had_not_been() {
    let (_folder, mut straight) = trainer(Arc::default());
    let began = Instant::now();
    let mut n_steps = 0;
    while !straight.is_finished() {
        straight.advance().unwrap();
        n_steps += 1;
    }
    // Most attempts are stopped and some get through, however slow the machine is.
    let longest = began.elapsed() * 2 / n_steps;
    let straight = straight.adapter().tensors().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    // When a machine is busy, a run can be one whose stops all came between steps.
    let runs = std::iter::repeat_with(|| {
        let (stopped, in_mid_step) = stopped_at_random(longest, &mut rng);
        assert_eq!(stopped.adapter().tensors().unwrap(), straight);
        in_mid_step
    });
    assert!(runs.take(20).any(|in_mid_step| in_mid_step > 0), "no stop between micro-steps");
}

/// A finished training that was stopped again and again, each time after at most `longest`; and how many of the stops were
/// between micro-steps.
fn stopped_at_random(longest: Duration, rng: &mut ChaCha8Rng) -> (Trainer, u32) {
    let stop = Arc::new(AtomicBool::new(false));
    let (_other_folder, mut stopped) = trainer(stop.clone());
    let mut in_mid_step = 0;
    while !stopped.is_finished() {
        let (flag, wait) = (stop.clone(), longest.mul_f64(rng.random()));
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(wait);
            flag.store(true, Ordering::Relaxed);
        });
        match stopped.advance() {
            Ok(_) => {}
            Err(Error::Cancelled) => in_mid_step += u32::from(stopped.progress().micro_step > 0),
            Err(error) => panic!("{error}"),
        }
        stopper.join().unwrap();
        stop.store(false, Ordering::Relaxed);
    }
    (stopped, in_mid_step)
}
