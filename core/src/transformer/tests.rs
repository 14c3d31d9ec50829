//! The whole model against central differences of its own loss, in every weight format, and against itself
//! with other numbers of threads and other ways of packing.

#![allow(clippy::unwrap_used)]

#[cfg(all(feature = "gpu", target_arch = "x86_64"))]
mod gpu;

use std::cell::RefCell;
use std::sync::Arc;

use nightgraft_adapter::{AdapterTensors, LoraSpec, Module};
use nightgraft_ggml::{Activation, WeightType, weight_types};
use nightgraft_text::data::Batch;
use nightgraft_tiny_model::TinyModel;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::{LossSum, MemoryEstimate, Model, ModelOptions, RecomputePolicy};
use crate::base::{Base, BranchNorms, FeedForwardProjection, NormKind};
use crate::config::Precision;
use crate::lora::{Adapter, initialize};
use crate::model_file::ModelFile;

/// How much the loss, a sum of about ten f32 values near 5, changes over a difference. Rounding of the loss
/// makes up to 1e-4 of that, the truncation of the difference about as much.
const CHANGE: f64 = 2e-2;
/// Relative error of a directional derivative that the two together can cause.
const TOLERANCE: f64 = 2e-3;

thread_local! {
    /// A model has to stay where it is while it is used: until the test's thread ends.
    static FOLDERS: RefCell<Vec<TempDir>> = const { RefCell::new(Vec::new()) };
}

fn base(model: &TinyModel) -> Base {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    model.write(&path).unwrap();
    let base = Base::open(ModelFile::open(&path).unwrap()).unwrap();
    FOLDERS.with_borrow_mut(|folders| folders.push(folder));
    base
}

/// An adapter whose `B` is not zero, so that every gradient is not either.
fn adapter(base: &Base, layers: std::ops::Range<usize>, dropout: f32) -> AdapterTensors {
    let modules = base.spec.all_modules();
    let spec = LoraSpec { rank: 4, alpha: 8.0, modules, layers, dropout };
    let mut tensors = initialize(&spec, base, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for pair in tensors.pairs.values_mut() {
        pair.b_t.iter_mut().for_each(|b| *b = rng.random_range(-0.1..0.1));
    }
    tensors
}

fn batch(base: &Base, lengths: &[usize]) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let n_vocab = base.spec.n_vocab as u32;
    let mut batch = Batch { ids: vec![], positions: vec![], starts: vec![], targets: vec![] };
    for &length in lengths {
        let start = batch.ids.len() as i32;
        for position in 0..length {
            batch.ids.push(rng.random_range(0..n_vocab));
            batch.positions.push(position as i32);
            batch.starts.push(start);
            let supervised = position % 3 != 0;
            batch.targets.push(if supervised { rng.random_range(0..n_vocab as i32) } else { -1 });
        }
    }
    batch
}

fn part(batch: &Batch, range: std::ops::Range<usize>) -> Batch {
    let start = range.start as i32;
    Batch {
        ids: batch.ids[range.clone()].to_vec(),
        positions: batch.positions[range.clone()].to_vec(),
        starts: batch.starts[range.clone()].iter().map(|s| s - start).collect(),
        targets: batch.targets[range].to_vec(),
    }
}

const OPTIONS: ModelOptions = ModelOptions {
    trains: true,
    capacity: 64,
    n_threads: 1,
    precision: Precision::F32,
    recompute: RecomputePolicy {
        saved_attention: usize::MAX,
        saved_feed_forward: usize::MAX,
        head_rows: 128,
    },
    gpu: None,
};

fn model_of(tiny: &TinyModel, adapter: &Adapter, n_threads: usize, precision: Precision) -> Model {
    let options = ModelOptions { n_threads, precision, ..OPTIONS };
    Model::new(base(tiny), Some(adapter), options, Arc::default()).unwrap()
}

fn model(tiny: &TinyModel, adapter: &Adapter, n_threads: usize) -> Model {
    model_of(tiny, adapter, n_threads, Precision::F32)
}

/// Loss, and gradients in the order of the parameters.
fn differentiate(model: &mut Model, adapter: &Adapter, batch: &Batch) -> (LossSum, Vec<Vec<f32>>) {
    adapter.clear_gradients().unwrap();
    let sum = model.accumulate_gradients(batch).unwrap();
    (sum, adapter.parameters().map(|p| p.grad.to_vec().unwrap()).collect())
}

fn check_gradients(name: &str, tiny: &TinyModel) {
    check_gradients_of(name, || base(tiny));
}

fn check_gradients_of(name: &str, base: impl Fn() -> Base) {
    let (adapter, batch) = {
        let base = base();
        (Adapter::new(&adapter(&base, 0..base.spec.n_layer(), 0.0)).unwrap(), batch(&base, &[5, 9]))
    };
    let options = ModelOptions { n_threads: 2, ..OPTIONS };
    let mut model = Model::new(base(), Some(&adapter), options, Arc::default()).unwrap();
    let (sum, gradients) = differentiate(&mut model, &adapter, &batch);
    assert_eq!(model.evaluate(&batch).unwrap(), sum, "both passes compute one loss");

    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (parameter, gradient) in adapter.parameters().zip(&gradients) {
        // Along the gradient's signs the derivative is large; a random part makes it a test of every element.
        let direction: Vec<f32> = gradient.iter().map(|g| g.signum() + rng.random_range(-0.5..0.5)).collect();
        let analytic: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
        let step = (CHANGE / analytic.abs()) as f32;
        let values = parameter.value.to_vec().unwrap();
        let mut at = |sign: f32| {
            let moved: Vec<f32> =
                values.iter().zip(&direction).map(|(v, d)| v + sign * 0.5 * step * d).collect();
            parameter.value.write(0, &moved).unwrap();
            model.evaluate(&batch).unwrap().loss
        };
        let numeric = (at(1.0) - at(-1.0)) / f64::from(step);
        parameter.value.write(0, &values).unwrap();
        let relative = (numeric - analytic).abs() / numeric.abs();
        let place =
            format!("{name} layer {} {} {}", parameter.layer, parameter.module.gguf_name(), parameter.factor);
        assert!(relative < TOLERANCE, "{place}: {analytic} instead of {numeric}, off by {relative:.2e}");
    }
}

/// Models in which every property of a layer occurs that an architecture has: heads that are not as wide as the residual
/// stream, windows and contexts shorter than the batches, layers of every kind, odd numbers of them.
fn of_every_architecture(kind: WeightType) -> Vec<TinyModel> {
    let tiny = |architecture| TinyModel { architecture, original_context: 8, ..TinyModel::new(kind) };
    vec![
        TinyModel { biased: true, tied: false, ..tiny("llama") },
        tiny("qwen2"),
        TinyModel { head_dim: 32, n_layer: 3, ..tiny("qwen3") },
        TinyModel { head_dim: 128, n_head: 3, n_head_kv: 1, tied: false, ..tiny("qwen3") },
        TinyModel {
            head_dim: 96,
            n_head_kv: 1,
            n_layer: 7,
            window: 4,
            logit_softcap: Some(6.0),
            ..tiny("gemma3")
        },
        TinyModel { n_layer: 5, ..tiny("smollm3") },
        TinyModel { n_layer: 3, ..tiny("granite") },
        TinyModel { head_dim: 128, n_layer: 3, ..tiny("mistral3") },
        TinyModel { rope_dims: 48, n_layer: 3, ..tiny("phi3") },
    ]
}

#[test]
fn gradients_are_right_in_every_architecture() {
    for tiny in of_every_architecture(WeightType::F32) {
        check_gradients(tiny.architecture, &tiny);
    }
}

/// Parts of layers that no architecture has by now.
#[test]
fn gradients_are_right_with_norms_behind_the_branches_only_and_without_weights() {
    let tiny = TinyModel { n_layer: 3, ..TinyModel::new(WeightType::F32) };
    let change = |base: &mut Base, norms: BranchNorms| {
        for (index, (layer, weights)) in base.spec.layers.iter_mut().zip(&mut base.layers).enumerate() {
            let attention = layer.attention_mut();
            attention.norms = norms;
            attention.qk_norm = Some(NormKind::Plain);
            attention.softcap = (index == 1).then_some(3.0);
            layer.feed_forward.norms = norms;
            layer.feed_forward.activation = Activation::Gelu;
            if norms.before.is_none() && norms.after.is_none() {
                layer.feed_forward.projection = FeedForwardProjection::Ungated;
            }
            // Weights of the norms in front serve those behind.
            weights.attn_post_norm = weights.attn_norm.clone();
            weights.ffn_post_norm = weights.ffn_norm.clone();
        }
    };
    let [weighted, plain] = [Some(NormKind::Weighted), Some(NormKind::Plain)];
    for (name, norms) in [
        ("after", BranchNorms { before: None, after: weighted }),
        ("plain", BranchNorms { before: plain, after: None }),
        ("none", BranchNorms { before: None, after: None }),
    ] {
        let altered = || {
            let mut base = base(&tiny);
            change(&mut base, norms);
            if name == "plain" {
                base.layers.iter_mut().for_each(|layer| (layer.attn_norm, layer.ffn_norm) = (None, None));
            }
            base
        };
        check_gradients_of(name, altered);
    }
}

/// Two tests, because one of them would be the longest of all by far on an emulated processor.
#[test]
fn gradients_are_right_in_half_of_the_weight_formats() {
    for kind in weight_types().step_by(2) {
        check_gradients(kind.name(), &TinyModel::new(kind));
    }
}

#[test]
fn gradients_are_right_in_the_other_weight_formats() {
    for kind in weight_types().skip(1).step_by(2) {
        check_gradients(kind.name(), &TinyModel::new(kind));
    }
}

#[test]
fn gradients_are_right_where_every_matrix_has_another_format() {
    let tiny = TinyModel { n_layer: 4, mixed: weight_types().collect(), ..TinyModel::new(WeightType::Q6_K) };
    check_gradients("all formats", &tiny);
}

#[test]
fn gradients_are_right_with_an_untied_head_and_scaled_positions() {
    let tiny = TinyModel { tied: false, linear_scaling: Some(2.0), ..TinyModel::new(WeightType::Q4_1) };
    check_gradients("untied, linear scaling", &tiny);
    let tiny = TinyModel { rope_factors: true, ..TinyModel::new(WeightType::Q8_0) };
    check_gradients("rope factors", &tiny);
}

#[test]
fn gradients_are_right_with_biases_and_neox_rope() {
    let tiny = TinyModel { architecture: "qwen2", tied: false, ..TinyModel::new(WeightType::Q5_0) };
    check_gradients("qwen2", &tiny);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for tiny in of_every_architecture(WeightType::Q8_0) {
        let base = base(&tiny);
        let adapter = Adapter::new(&adapter(&base, 0..base.spec.n_layer(), 0.2)).unwrap();
        let batch = batch(&base, &[17, 30]);
        adapter.set_dropout_key(7);
        let one = differentiate(&mut model(&tiny, &adapter, 1), &adapter, &batch);
        for n_threads in [2, 3, 5] {
            let more = differentiate(&mut model(&tiny, &adapter, n_threads), &adapter, &batch);
            assert_eq!(one, more, "{}", tiny.architecture);
        }
    }
}

#[test]
fn packed_segments_are_as_if_they_were_alone() {
    for tiny in of_every_architecture(WeightType::Q8_0) {
        let base = base(&tiny);
        let adapter = Adapter::new(&adapter(&base, 0..base.spec.n_layer(), 0.0)).unwrap();
        let together = batch(&base, &[6, 11]);
        let mut model = model(&tiny, &adapter, 2);
        let (sum, gradients) = differentiate(&mut model, &adapter, &together);
        adapter.clear_gradients().unwrap();
        let mut apart = model.accumulate_gradients(&part(&together, 0..6)).unwrap();
        apart += model.accumulate_gradients(&part(&together, 6..17)).unwrap();
        assert_eq!((sum.correct, sum.supervised), (apart.correct, apart.supervised));
        assert!((sum.loss - apart.loss).abs() < 1e-5 * sum.loss, "{}", tiny.architecture);
        for (parameter, together) in adapter.parameters().zip(gradients) {
            let apart = parameter.grad.to_vec().unwrap();
            let error: f32 = apart.iter().zip(&together).map(|(a, b)| (a - b).powi(2)).sum();
            let norm: f32 = together.iter().map(|g| g * g).sum();
            let place = format!("{} {} {}", tiny.architecture, parameter.layer, parameter.factor);
            assert!(error.sqrt() < 1e-5 * norm.sqrt(), "{place}");
        }
    }
}

#[test]
fn a_backward_that_stops_early_finds_the_same_gradients() {
    let tiny = TinyModel::new(WeightType::Q4_0);
    let (all, batch) = (adapter(&base(&tiny), 0..2, 0.0), batch(&base(&tiny), &[12]));
    // The lower layer's adapter is there in both, but only in the first is it trained.
    let mut lower_zero = all.clone();
    lower_zero
        .pairs
        .iter_mut()
        .filter(|((layer, _), _)| *layer == 0)
        .for_each(|(_, pair)| pair.b_t.fill(0.0));
    let mut upper = lower_zero.clone();
    upper.pairs.retain(|&(layer, _), _| layer == 1);
    let (full, top) = (Adapter::new(&lower_zero).unwrap(), Adapter::new(&upper).unwrap());
    let (full_sum, full_gradients) = differentiate(&mut model(&tiny, &full, 2), &full, &batch);
    let (top_sum, top_gradients) = differentiate(&mut model(&tiny, &top, 2), &top, &batch);
    assert_eq!(full_sum, top_sum);
    assert_eq!(full_gradients[full_gradients.len() - top_gradients.len()..], top_gradients);
}

#[test]
fn an_untrained_adapter_changes_nothing_and_dropout_only_training() {
    let tiny = TinyModel::new(WeightType::Q4_K);
    let bare = base(&tiny);
    let batch = batch(&bare, &[20]);
    let spec = LoraSpec { rank: 4, alpha: 8.0, modules: Module::APART.to_vec(), layers: 0..2, dropout: 0.5 };
    let zero = Adapter::new(&initialize(&spec, &bare, 1)).unwrap();
    let logits = |model: &mut Model| {
        let mut rows = Vec::new();
        let mut collect = |values: &[f32]| {
            rows.extend_from_slice(values);
            Ok(())
        };
        model.supervised_logits(&batch, &mut collect).unwrap();
        rows
    };
    let with = logits(&mut model(&tiny, &zero, 1));
    let bare = Model::new(bare, None, ModelOptions { trains: false, ..OPTIONS }, Arc::default());
    assert_eq!(with, logits(&mut bare.unwrap()));
    assert!(!with.is_empty());

    let random = Adapter::new(&adapter(&base(&tiny), 0..2, 0.5)).unwrap();
    let mut model = model(&tiny, &random, 1);
    let evaluated = model.evaluate(&batch).unwrap();
    let mut losses = Vec::new();
    for key in [1, 1, 2] {
        random.set_dropout_key(key);
        losses.push(model.accumulate_gradients(&batch).unwrap().loss);
        assert_eq!(model.evaluate(&batch).unwrap(), evaluated);
    }
    assert_eq!(losses[0], losses[1]);
    assert!(losses[0] != losses[2] && losses[0] != evaluated.loss);
}

/// Products of 16-bit integers change gradients by their rounding only, and not with the number of threads.
#[test]
fn mixed_precision_points_the_same_way() {
    let foreign = weight_types().last().unwrap();
    let kinds = [WeightType::Q4_1, WeightType::Q6_K, WeightType::F16, foreign].map(TinyModel::new);
    for tiny in kinds.into_iter().chain(of_every_architecture(WeightType::Q5_0)) {
        let base = base(&tiny);
        let adapter = Adapter::new(&adapter(&base, 0..base.spec.n_layer(), 0.0)).unwrap();
        let batch = batch(&base, &[9, 20, 4]);
        let gradients = |precision, n_threads| {
            let (sum, gradients) =
                differentiate(&mut model_of(&tiny, &adapter, n_threads, precision), &adapter, &batch);
            (sum.loss, gradients.concat())
        };
        let (exact_loss, exact) = gradients(Precision::F32, 1);
        let (mixed_loss, mixed) = gradients(Precision::Mixed, 1);
        assert_ne!(exact, mixed, "something was rounded");
        assert_eq!(gradients(Precision::Mixed, 2), (mixed_loss, mixed.clone()));
        assert!((mixed_loss / exact_loss - 1.0).abs() < 1e-3, "{mixed_loss} for {exact_loss}");
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let cosine = dot(&exact, &mixed) / (dot(&exact, &exact) * dot(&mixed, &mixed)).sqrt();
        assert!(cosine > 0.9999, "{} {}: {cosine}", tiny.architecture, tiny.kind.name());
    }
}

#[test]
fn every_recompute_policy_computes_the_same_numbers() {
    let llama = TinyModel { n_layer: 3, ..TinyModel::new(WeightType::Q4_1) };
    for tiny in [llama].into_iter().chain(of_every_architecture(WeightType::Q4_1)) {
        let base = base(&tiny);
        let adapter = Adapter::new(&adapter(&base, 1..base.spec.n_layer(), 0.2)).unwrap();
        adapter.set_dropout_key(7);
        let batch = batch(&base, &[9, 20, 4]);
        for precision in [Precision::F32, Precision::Mixed] {
            let mut model = model_of(&tiny, &adapter, 2, precision);
            let expected = differentiate(&mut model, &adapter, &batch);
            model.set_small(true);
            assert_eq!(differentiate(&mut model, &adapter, &batch), expected);
            model.set_small(false);
            assert_eq!(differentiate(&mut model, &adapter, &batch), expected);
            for (saved_attention, saved_feed_forward) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
                let recompute = RecomputePolicy { saved_attention, saved_feed_forward, head_rows: 32 };
                let options = ModelOptions { n_threads: 2, precision, recompute, ..OPTIONS };
                let mut model =
                    Model::new(self::base(&tiny), Some(&adapter), options, Arc::default()).unwrap();
                let again = differentiate(&mut model, &adapter, &batch);
                assert_eq!(again, expected, "{}, {recompute:?}", tiny.architecture);
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn little_memory_means_little_of_the_file_in_memory() {
    let tiny = TinyModel { n_layer: 12, ..TinyModel::new(WeightType::F32) };
    let base = base(&tiny);
    let adapter = Adapter::new(&adapter(&base, 0..12, 0.0)).unwrap();
    let batch = batch(&base, &[9]);
    let mut model = model_of(&tiny, &adapter, 2, Precision::F32);
    let path = model.base().file().path().display().to_string();
    // What smaps(5) says of the mapping, in kB.
    let resident = || -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let ours = maps.lines().skip_while(|line| !line.contains(&path));
        let rss = ours.into_iter().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let all = differentiate(&mut model, &adapter, &batch);
    let before = resident();
    model.set_small(true);
    assert_eq!(differentiate(&mut model, &adapter, &batch), all);
    assert!(resident() < before / 2, "{} of {before} kB", resident());
    model.set_small(false);
    differentiate(&mut model, &adapter, &batch);
    assert!(resident() > before / 4 * 3);
}

#[test]
fn a_budget_is_used_and_never_exceeded() {
    const SPARE: u64 = 1 << 28;
    let tiny = TinyModel { n_layer: 3, ..TinyModel::new(WeightType::Q4_1) };
    let base = base(&tiny);
    let tensors = adapter(&base, 1..base.spec.n_layer(), 0.0);
    let estimate = MemoryEstimate::new(&base, &tensors, 64, Precision::F32).unwrap();
    let fastest = estimate.fastest_with_spare(SPARE);
    let (smallest, largest) = (estimate.bytes(RecomputePolicy::MIN_MEMORY), estimate.bytes(fastest));
    assert_eq!((fastest.saved_attention, fastest.saved_feed_forward), (2, 2));
    assert_eq!(smallest.saved, 0);
    assert!(smallest.total() < largest.total());
    let mut before = smallest.total();
    for budget in (smallest.total()..=largest.total()).step_by(1000) {
        let taken = estimate.bytes(estimate.fastest_within(budget).unwrap()).total();
        assert!(taken <= budget, "{taken} of {budget}");
        before = before.max(taken);
    }
    assert!(before > (smallest.total() + largest.total()) / 2, "more memory is made use of");
    assert!(estimate.fastest_within(smallest.total() - 1).is_none());
}
