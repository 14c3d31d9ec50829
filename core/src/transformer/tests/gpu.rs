//! Whole steps on a GPU, which is one in software here, against the processor.

use std::sync::atomic::{AtomicBool, Ordering};

use nightgraft_gpu::{
    AdapterInfo, AdapterKind, Arithmetic, Device, Limits, SLOWEST, SimulatedFault, Tile, Tiles, adapters,
};

use super::*;
use crate::Error;
use crate::transformer::{ModelGpu, OpenGpu, TileChoice, probe};

/// The gradients of both for a matrix differ by rounding alone, of sums in another order.
const LEAST_COSINE: f64 = 0.99999;
const RELATIVE_L2: f64 = 1e-4;
/// A sum of some ten losses near 5 differs by rounding, relative to itself.
const LOSS_TOLERANCE: f64 = 1e-5;

fn software_adapter() -> nightgraft_gpu::Adapter {
    let found = adapters().into_iter().find(|adapter| adapter.info().kind == AdapterKind::Software);
    found.expect("there is a Vulkan driver in software: on Debian, install mesa-vulkan-drivers")
}

fn software_within(limits: Limits) -> OpenGpu {
    let adapter = software_adapter();
    let device = Arc::new(adapter.within(limits).open(true).unwrap());
    OpenGpu { device, tiles: Tiles::unmeasured(64), rate: SLOWEST, pipelines: None, fault: None }
}

fn options(gpu: &OpenGpu, recompute: RecomputePolicy) -> ModelOptions {
    ModelOptions { recompute, gpu: Some(ModelGpu { device: gpu.clone(), recompute }), ..OPTIONS }
}

fn adapter_and_batch(tiny: &TinyModel, dropout: f32, lengths: &[usize]) -> (Adapter, Batch) {
    let base = base(tiny);
    let adapter = Adapter::new(&adapter(&base, 0..base.spec.n_layer(), dropout)).unwrap();
    adapter.set_dropout_key(7);
    (adapter, batch(&base, lengths))
}

fn assert_near(
    name: &str,
    adapter: &Adapter,
    got: &(LossSum, Vec<Vec<f32>>),
    want: &(LossSum, Vec<Vec<f32>>),
) {
    let of_loss = (got.0.loss - want.0.loss).abs() / want.0.loss;
    assert!(of_loss < LOSS_TOLERANCE, "{name}: loss {} instead of {}", got.0.loss, want.0.loss);
    assert_eq!((got.0.correct, got.0.supervised), (want.0.correct, want.0.supervised), "{name}");
    for ((parameter, got), want) in adapter.parameters().zip(&got.1).zip(&want.1) {
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
}

fn check_on_gpu(gpu: &OpenGpu, name: &str, tiny: &TinyModel, dropout: f32, recompute: RecomputePolicy) {
    let (adapter, batch) = adapter_and_batch(tiny, dropout, &[5, 9]);
    let mut on_cpu =
        Model::new(base(tiny), Some(&adapter), ModelOptions { recompute, ..OPTIONS }, Arc::default())
            .unwrap();
    let expected = differentiate(&mut on_cpu, &adapter, &batch);
    let mut model = Model::new(base(tiny), Some(&adapter), options(gpu, recompute), Arc::default()).unwrap();
    let got = differentiate(&mut model, &adapter, &batch);
    assert_near(name, &adapter, &got, &expected);
    assert_eq!(differentiate(&mut model, &adapter, &batch), got, "{name}: the same bits again");
    assert_eq!(model.evaluate(&batch).unwrap().supervised, expected.0.supervised);
    let (failure, operations) = (model.take_failure(), model.operations());
    assert_eq!(failure, None, "{name}");
    assert!(operations.cpu == 0 && operations.gpu > 0, "{name}: {operations:?}");
}

#[test]
fn gradients_on_a_gpu_are_those_of_the_processor_in_every_architecture() {
    let gpu = software_within(Limits::LEAST);
    for tiny in of_every_architecture(WeightType::Q8_0) {
        check_on_gpu(&gpu, tiny.architecture, &tiny, 0.0, OPTIONS.recompute);
    }
}

#[test]
fn gradients_on_a_gpu_are_those_of_the_processor_in_every_format() {
    let gpu = software_within(Limits::LEAST);
    for kind in WeightType::ALL {
        let tiny = TinyModel { n_layer: 1, ..TinyModel::new(kind) };
        check_on_gpu(&gpu, kind.name(), &tiny, 0.0, OPTIONS.recompute);
    }
}

#[test]
fn gradients_on_a_gpu_have_the_same_masks_and_do_without_what_is_not_saved() {
    let gpu = software_within(Limits::LEAST);
    let tiny = TinyModel::new(WeightType::Q4_0);
    check_on_gpu(&gpu, "dropout", &tiny, 0.3, OPTIONS.recompute);
    check_on_gpu(&gpu, "recomputed", &tiny, 0.3, RecomputePolicy::MIN_MEMORY);
}

#[test]
fn gradients_with_arithmetic_in_half_precision_are_near() {
    const LEAST_COSINE: f64 = 0.999;
    let device = Arc::new(software_adapter().open(true).unwrap());
    let AdapterInfo { limits, features, .. } = device.info();
    let tile = Tile::all_with(Arithmetic::F16, limits, features)[1];
    let tiles = Tiles { linear: tile, transposed: tile };
    let gpu = OpenGpu { device, tiles, rate: SLOWEST, pipelines: None, fault: None };
    for tiny in of_every_architecture(WeightType::Q4_1) {
        let (adapter, batch) = adapter_and_batch(&tiny, 0.0, &[5, 9]);
        let expected = differentiate(&mut model(&tiny, &adapter, 1), &adapter, &batch);
        let mut on_gpu =
            Model::new(base(&tiny), Some(&adapter), options(&gpu, OPTIONS.recompute), Arc::default())
                .unwrap();
        let got = differentiate(&mut on_gpu, &adapter, &batch);
        assert_ne!(got, expected);
        assert!((got.0.loss / expected.0.loss - 1.0).abs() < 1e-3, "{}", tiny.architecture);
        for (got, want) in got.1.iter().zip(&expected.1) {
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let cosine = dot(got, want) / (dot(want, want) * dot(got, got)).sqrt();
            assert!(cosine >= LEAST_COSINE, "{}: {cosine}", tiny.architecture);
        }
        assert_eq!(differentiate(&mut on_gpu, &adapter, &batch), got, "{}", tiny.architecture);
        assert_eq!(on_gpu.take_failure(), None);
    }
}

#[test]
fn gradients_add_up_over_micro_batches_of_any_size_and_follow_the_adapter() {
    let gpu = software_within(Limits::LEAST);
    let tiny = TinyModel::new(WeightType::Q4_1);
    let few_rows = RecomputePolicy { head_rows: 3, ..OPTIONS.recompute };
    let (adapter, _) = adapter_and_batch(&tiny, 0.0, &[4]);
    let batches = [&[5, 9][..], &[20], &[5, 9], &[3]].map(|lengths| batch(&base(&tiny), lengths));
    let run = |options: ModelOptions, is_gpu: bool| {
        let mut model = Model::new(base(&tiny), Some(&adapter), options, Arc::default()).unwrap();
        adapter.clear_gradients().unwrap();
        let mut sum = LossSum::default();
        for batch in &batches {
            sum += model.accumulate_gradients(batch).unwrap();
            // An evaluation in between changes nothing.
            model.evaluate(batch).unwrap();
        }
        let value = adapter.parameters().next().unwrap().value;
        let values = value.to_vec().unwrap();
        value.write(0, &values.iter().map(|value| 1.5 * value).collect::<Vec<_>>()).unwrap();
        sum += model.accumulate_gradients(&batches[0]).unwrap();
        value.write(0, &values).unwrap();
        let operations = model.operations();
        assert_eq!((operations.gpu > 0, operations.cpu > 0), (is_gpu, !is_gpu));
        (sum, adapter.parameters().map(|p| p.grad.to_vec().unwrap()).collect::<Vec<_>>())
    };
    let expected = run(ModelOptions { recompute: few_rows, ..OPTIONS }, false);
    let got = run(options(&gpu, few_rows), true);
    assert_near("several", &adapter, &got, &expected);
}

#[test]
fn a_gpu_that_fails_changes_nothing_and_the_processor_does_its_work() {
    let tiny = TinyModel::new(WeightType::Q4_1);
    let (adapter, batch) = adapter_and_batch(&tiny, 0.1, &[5, 9]);
    let mut on_cpu = model(&tiny, &adapter, 1);
    differentiate(&mut on_cpu, &adapter, &batch);
    let twice = on_cpu.accumulate_gradients(&batch).unwrap();
    let expected: Vec<_> = adapter.parameters().map(|p| p.grad.to_vec().unwrap()).collect();
    let fail: [fn(&Device); 3] = [
        |device| device.destroy(),
        |device| device.simulate(SimulatedFault::LostAfter { submissions: 4 }),
        |device| device.simulate(SimulatedFault::OutOfMemory),
    ];
    for fail in fail {
        let gpu = software_within(Limits::LEAST);
        let options = options(&gpu, OPTIONS.recompute);
        let mut model = Model::new(base(&tiny), Some(&adapter), options, Arc::default()).unwrap();
        // As the processor has them, so that the sums are the same to the bit.
        on_cpu.accumulate_gradients(&batch).unwrap();
        differentiate(&mut on_cpu, &adapter, &batch);
        fail(&gpu.device);
        assert_eq!(model.accumulate_gradients(&batch).unwrap(), twice);
        let gradients: Vec<_> = adapter.parameters().map(|p| p.grad.to_vec().unwrap()).collect();
        assert_eq!(gradients, expected);
        let failure = model.take_failure().unwrap();
        assert!(failure.device.contains("llvmpipe"), "{failure:?}");
        assert!(model.take_failure().is_none() && model.gpu().is_none());
        assert!(model.operations().cpu > 0);
    }
}

#[test]
fn a_gpu_without_room_for_what_is_saved_does_without_it() {
    let tiny = TinyModel::new(WeightType::Q4_1);
    let (adapter, batch) = adapter_and_batch(&tiny, 0.1, &[5, 9]);
    let run = |fault: Option<SimulatedFault>| {
        let gpu = software_within(Limits::LEAST);
        let options = options(&gpu, OPTIONS.recompute);
        let mut model = Model::new(base(&tiny), Some(&adapter), options, Arc::default()).unwrap();
        differentiate(&mut model, &adapter, &batch);
        // Seen when the losses are read, behind a backward pass that has changed the gradients of the GPU.
        fault.into_iter().for_each(|fault| gpu.device.simulate(fault));
        let sum = model.accumulate_gradients(&batch).unwrap();
        assert!(model.take_failure().is_none() && model.operations().cpu == 0);
        let gradients: Vec<_> = adapter.parameters().map(|p| p.grad.to_vec().unwrap()).collect();
        (sum, gradients, model.operations().gpu)
    };
    let (sum, gradients, n_operations) = run(None);
    let (again, of_retry, with_retry) = run(Some(SimulatedFault::OutOfMemoryOnce));
    assert_eq!((sum, gradients), (again, of_retry));
    assert!(with_retry > n_operations, "a micro-batch was done again");
}

#[test]
fn a_gpu_that_computes_right_passes_the_probe_with_every_architecture() {
    let gpu = software_within(Limits::LEAST);
    let choice = TileChoice::Known(Tiles::LAST_RESORT, SLOWEST);
    for tiny in of_every_architecture(WeightType::Q8_0) {
        let mut open = || Ok(gpu.device.clone());
        let report = probe(&base(&tiny), &mut open, choice, 1, Precision::F32, &Arc::default()).unwrap();
        assert!(report.worst.has_passed(), "{}: {:?}", tiny.architecture, report.worst);
    }
}

#[test]
fn a_stop_request_ends_work_on_a_gpu() {
    let gpu = software_within(Limits::LEAST);
    let tiny = TinyModel::new(WeightType::Q4_1);
    let (adapter, batch) = adapter_and_batch(&tiny, 0.0, &[5, 9]);
    let stop = Arc::new(AtomicBool::new(true));
    let mut model =
        Model::new(base(&tiny), Some(&adapter), options(&gpu, OPTIONS.recompute), stop.clone()).unwrap();
    adapter.clear_gradients().unwrap();
    assert!(matches!(model.accumulate_gradients(&batch), Err(Error::Cancelled)));
    assert!(model.take_failure().is_none());
    stop.store(false, Ordering::Relaxed);
    let sum = model.accumulate_gradients(&batch).unwrap();
    assert_eq!(differentiate(&mut model, &adapter, &batch).0, sum);
}
