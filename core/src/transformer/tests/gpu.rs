//! A whole step on a GPU, which is one in software here, against the processor.

use nightgraft_gpu::{AdapterKind, Device, Limits, adapters};

use super::*;

/// The gradients of both for a matrix differ by rounding alone, of sums in another order.
const LEAST_COSINE: f64 = 0.99999;
const RELATIVE_L2: f64 = 1e-4;
/// A sum of some ten losses near 5 differs by rounding, relative to itself.
const LOSS_TOLERANCE: f64 = 1e-5;

fn software_within(limits: Limits) -> Device {
    let found = adapters().into_iter().find(|adapter| adapter.info().kind == AdapterKind::Software);
    let adapter =
        found.expect("there is a Vulkan driver in software: on Debian, install mesa-vulkan-drivers");
    adapter.open_within(true, limits).unwrap()
}

fn check_on_gpu(device: &Device, name: &str, tiny: &TinyModel, dropout: f32, recompute: RecomputePolicy) {
    let (adapter, batch) = {
        let base = base(tiny);
        let adapter = Adapter::new(&adapter(&base, 0..base.spec.n_layer(), dropout)).unwrap();
        adapter.set_dropout_key(7);
        (adapter, batch(&base, &[5, 9]))
    };
    let options = ModelOptions { recompute, ..OPTIONS };
    let mut model = Model::new(base(tiny), Some(&adapter), options, Arc::default()).unwrap();
    let (sum, gradients) = differentiate(&mut model, &adapter, &batch);
    let step = model.gradients_on(device, &adapter, &batch).unwrap();
    assert!(step.n_dispatches > 0);
    let of_loss = (step.sum.loss - sum.loss).abs() / sum.loss;
    assert!(of_loss < LOSS_TOLERANCE, "{name}: loss {} instead of {}", step.sum.loss, sum.loss);
    assert_eq!((step.sum.correct, step.sum.supervised), (sum.correct, sum.supervised), "{name}");
    for ((parameter, got), want) in adapter.parameters().zip(&step.gradients).zip(&gradients) {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (length, own) = (dot(want, want), dot(got, got));
        let cosine = dot(got, want) / (length * own).sqrt();
        let difference: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
        let relative = (dot(&difference, &difference) / length).sqrt();
        let place =
            format!("{name} layer {} {} {}", parameter.layer, parameter.module.gguf_name(), parameter.factor);
        assert!(cosine >= LEAST_COSINE && relative <= RELATIVE_L2, "{place}: {cosine} {relative:.2e}");
    }
    let again = model.gradients_on(device, &adapter, &batch).unwrap();
    assert_eq!((again.sum, again.gradients), (step.sum, step.gradients), "{name}: the same bits again");
}

#[test]
fn gradients_on_a_gpu_are_those_of_the_processor_in_every_architecture() {
    let device = software_within(Limits::LEAST);
    for tiny in of_every_architecture(WeightType::Q8_0) {
        check_on_gpu(&device, tiny.architecture, &tiny, 0.0, OPTIONS.recompute);
    }
}

#[test]
fn gradients_on_a_gpu_are_those_of_the_processor_in_every_format() {
    let device = software_within(Limits::LEAST);
    for kind in WeightType::ALL {
        let tiny = TinyModel { n_layer: 1, ..TinyModel::new(kind) };
        check_on_gpu(&device, kind.name(), &tiny, 0.0, OPTIONS.recompute);
    }
}

#[test]
fn gradients_on_a_gpu_have_the_same_masks_and_do_without_what_is_not_saved() {
    let device = software_within(Limits::LEAST);
    let tiny = TinyModel::new(WeightType::Q4_0);
    check_on_gpu(&device, "dropout", &tiny, 0.3, OPTIONS.recompute);
    check_on_gpu(
        &device,
        "recomputed",
        &tiny,
        0.3,
        RecomputePolicy { head_rows: 128, ..RecomputePolicy::MIN_MEMORY },
    );
}
