//! Every operation on a device in software against the CPU, in graphs of a few nodes.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use nightgraft_ggml::{
    Activation, AttentionShape, Buffer, ComputeType, Cpu, DropoutKey, Error as GraphError, Graph,
    LogitTransform, MAX_HEAD_DIM, MappedFile, Output, Product, RopeStyle, Rotation, Tensor, TensorLocation,
    WeightType, bf16_columns, quantize,
};

use super::*;
use crate::device::lock;
use crate::testing::{software, software_within, translate};
use crate::{Error, Limits, Program, SimulatedFault, Tile};

/// Roundings of sums of some tens of terms near 1, and of functions that are exact to some units in the last place.
const TOLERANCE: f32 = 4e-6;
/// Scores of attention are sums themselves, and their roundings are in an exponent.
const ATTENTION_TOLERANCE: f32 = 2e-5;

const ROWS: usize = 5;
/// More than a workgroup has invocations, and no multiple of that.
const COLUMNS: usize = 70;

/// A matrix of values in [-1, 1).
fn matrix(seed: u64, n_rows: usize, n_cols: usize) -> Buffer {
    let mut random = nightgraft_random::Random::new(seed);
    let values: Vec<f32> = (0..n_rows * n_cols).map(|_| random.between(-1.0, 1.0)).collect();
    let buffer = Buffer::f32(n_rows, n_cols).unwrap();
    buffer.write(0, &values).unwrap();
    buffer
}

fn integers(values: &[i32]) -> Buffer {
    let buffer = Buffer::i32(values.len()).unwrap();
    buffer.write_i32(values).unwrap();
    buffer
}

fn executor(device: &Arc<Device>) -> Executor {
    executor_in_pieces(device, SLOWEST)
}

fn executor_in_pieces(device: &Arc<Device>, rate: f64) -> Executor {
    let tile = Tile::unmeasured(1);
    Executor::new(device.clone(), Tiles { linear: tile, transposed: tile }, rate, Arc::default())
}

/// Computes a graph on both, and compares what it wrote to `results`.
fn check_on(device: &Arc<Device>, mut graph: Graph, results: &[&Buffer], tolerance: f32) {
    let mut executor = executor(device);
    let mut loaded = executor.load([&mut graph]).unwrap().remove(0);
    let buffers: Vec<Buffer> = executor.storage.buffers().cloned().collect();
    let host: Vec<_> = buffers.iter().map(|buffer| buffer.to_vec().ok()).collect();
    Cpu::new(1, Arc::default()).unwrap().compute(&mut graph).unwrap();
    let expected: Vec<_> = results.iter().map(|result| result.to_vec().unwrap()).collect();
    let mut first = None;
    for _ in 0..2 {
        for (buffer, values) in buffers.iter().zip(&host) {
            if let Some(values) = values.as_ref().filter(|_| buffer.mapped_bytes().is_none()) {
                buffer.write(0, values).unwrap();
                executor.upload(buffer).unwrap();
            }
        }
        executor.compute(&mut loaded).unwrap();
        let mut computed = Vec::new();
        for result in results {
            executor.download(&[result], false).unwrap();
            computed.push(result.to_vec().unwrap());
        }
        for (i, (got, want)) in computed.iter().zip(&expected).enumerate() {
            for (at, (got, want)) in got.iter().zip(want).enumerate() {
                let is_close = (got - want).abs() <= tolerance * (1.0 + want.abs());
                assert!(is_close || got.to_bits() == want.to_bits(), "result {i}, value {at}: {got} {want}");
            }
        }
        assert_eq!(*first.get_or_insert(computed.clone()), computed, "the same bits again");
    }
    translate_all(device);
}

/// Translates what a device was given to the languages of Vulkan and Metal, within the least limits; each text once.
fn translate_all(device: &Device) {
    static TRANSLATED: Mutex<Option<HashSet<Program>>> = Mutex::new(None);
    let mut translated = lock(&TRANSLATED);
    for program in lock(&device.pipelines).keys() {
        if translated.get_or_insert_default().insert(program.clone()) {
            translate(&program.text(), Limits::LEAST.workgroup_bytes, Limits::LEAST.workgroup_invocations);
        }
    }
}

fn check(graph: Graph, results: &[&Buffer], tolerance: f32) {
    check_on(software(), graph, results, tolerance);
}

/// A graph that `build` adds its operations to, from a matrix and a copy of it that may be written to, and what they store.
fn check_operation(tolerance: f32, build: impl Fn(&mut Graph, Tensor, Tensor) -> Result<Tensor, GraphError>) {
    let mut g = Graph::new(64).unwrap();
    // Columns of wider matrices, so that rows are apart.
    let (x, other) = (matrix(1, ROWS, COLUMNS + 3), matrix(2, ROWS + 1, COLUMNS));
    let x = g.tensor(&x).unwrap();
    let x = g.columns(x, 2, COLUMNS).unwrap();
    let other = g.tensor_rows(&other, ROWS).unwrap();
    let copy = g.scaled(other, 1.0).unwrap();
    let y = build(&mut g, x, copy).unwrap();
    let (n_rows, n_cols) = g.shape("test", y).unwrap();
    let stored = Buffer::f32(n_rows, n_cols).unwrap();
    g.store(y, &stored).unwrap();
    check(g, &[&stored], tolerance);
}

#[test]
fn sums_and_scales() {
    check_operation(0.0, |g, x, y| g.add(x, y));
    check_operation(TOLERANCE, |g, x, y| g.add_scaled(x, y, -0.3, Output::Alloc));
    check_operation(0.0, |g, x, _| g.scaled(x, 1.7));
    check_operation(0.0, |g, x, y| {
        let factors = g.columns(x, 7, 1)?;
        g.scale_rows(y, factors)
    });
    check_operation(0.0, |g, x, y| {
        let part = g.columns(y, 3, 20)?;
        g.concat_columns(&[x, part, y])
    });
}

#[test]
fn norms_of_rows_and_of_heads_with_and_without_weights() {
    let weights = [COLUMNS, 14].map(|width| matrix(3, 1, width));
    for (weight, width) in weights.iter().zip([COLUMNS, 14]) {
        for is_weighted in [true, false] {
            check_operation(TOLERANCE, |g, x, _| {
                let weight = is_weighted.then(|| g.tensor(weight)).transpose()?;
                g.rms_norm(x, weight, width, 1e-5)
            });
            for accumulate in [true, false] {
                check_operation(TOLERANCE, |g, x, dx| {
                    let weight = is_weighted.then(|| g.tensor(weight)).transpose()?;
                    let dy = g.scaled(x, 0.7)?;
                    let output = if accumulate { Output::Accumulate(dx) } else { Output::Overwrite(dx) };
                    g.rms_norm_back(x, weight, (width, 1e-5), dy, output)
                });
            }
        }
    }
}

#[test]
fn rotations_of_either_style_there_and_back() {
    let table = matrix(4, ROWS, 6);
    for style in [RopeStyle::Interleaved, RopeStyle::Neox] {
        for back in [false, true] {
            check_operation(TOLERANCE, |g, _, y| {
                let table = g.tensor(&table)?;
                g.rope(y, table, Rotation { head_dim: 10, style, back })
            });
        }
    }
}

#[test]
fn activations_and_their_gradients() {
    for f in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
        for is_gated in [true, false] {
            check_operation(TOLERANCE, |g, x, y| {
                let wide = g.scaled(x, 9.0)?;
                g.activation(f, wide, is_gated.then_some(y))
            });
            // Gate and up are columns of one matrix; all three results are side by side.
            check_operation(TOLERANCE, |g, x, y| {
                let wide = g.scaled(y, 9.0)?;
                let [gate, up] = [g.columns(wide, 0, 35)?, g.columns(wide, 35, 35)?];
                let dy = g.columns(x, 0, 35)?;
                let dy = g.scaled(dy, 1.0)?;
                g.activation_back(f, gate, is_gated.then_some(up), dy)?;
                g.concat_columns(&[wide, dy])
            });
        }
    }
}

#[test]
fn extreme_values_of_activations_stay_what_they_are() {
    for f in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
        let x = Buffer::f32(1, 6).unwrap();
        x.write(0, &[-200.0, 200.0, -88.5, 0.0, 1e30, -1e30]).unwrap();
        let mut g = Graph::new(16).unwrap();
        let t = g.tensor(&x).unwrap();
        let y = g.activation(f, t, None).unwrap();
        let stored = Buffer::f32(1, 6).unwrap();
        g.store(y, &stored).unwrap();
        check(g, &[&stored], TOLERANCE);
    }
}

#[test]
fn bfloat16_bit_for_bit() {
    check_operation(0.0, |g, x, _| {
        let half = Buffer::f32(ROWS, bf16_columns(COLUMNS - 1))?;
        let half = g.tensor(&half)?;
        let odd = g.columns(x, 0, COLUMNS - 1)?;
        g.to_bf16(odd, half)?;
        g.from_bf16(half, COLUMNS - 1)
    });
    check_operation(0.0, |g, _, y| g.round_to_bf16(y));
}

#[test]
fn dropout_has_the_masks_of_the_cpu() {
    let key = DropoutKey::default();
    for (keep, value, salt) in [(0.9, 7, 0), (0.5, u64::MAX - 3, 77), (0.05, 1 << 40, 3), (1.0, 5, 1)] {
        key.set(value);
        check_operation(TOLERANCE, |g, x, _| g.dropout(x, keep, &key, salt));
    }
}

#[test]
fn a_key_that_is_set_anew_changes_the_mask() {
    let (x, stored, key) =
        (matrix(1, ROWS, COLUMNS), Buffer::f32(ROWS, COLUMNS).unwrap(), DropoutKey::default());
    let mut g = Graph::new(16).unwrap();
    let t = g.tensor(&x).unwrap();
    let y = g.dropout(t, 0.5, &key, 1).unwrap();
    g.store(y, &stored).unwrap();
    let device = software();
    let mut executor = executor(device);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    executor.upload(&x).unwrap();
    let mut cpu = Cpu::new(1, Arc::default()).unwrap();
    for value in [1, 2] {
        key.set(value);
        cpu.compute(&mut g).unwrap();
        let expected = stored.to_vec().unwrap();
        executor.compute(&mut loaded).unwrap();
        executor.download(&[&stored], true).unwrap();
        assert_eq!(stored.to_vec().unwrap(), expected);
    }
}

#[test]
fn the_loss_its_gradient_and_logits() {
    for transform in [
        LogitTransform::NONE,
        LogitTransform { scale: 0.125, softcap: None },
        LogitTransform { scale: 2.5, softcap: Some(7.0) },
    ] {
        let n_vocab = 5000;
        let (products, loss) = (matrix(8, 4, n_vocab), Buffer::f32(6, 2).unwrap());
        let stored = Buffer::f32(4, n_vocab).unwrap();
        let mut g = Graph::new(16).unwrap();
        let t = g.tensor(&products).unwrap();
        let t = g.scaled(t, 20.0).unwrap();
        let targets = g.tensor(&integers(&[3, -1, 4999, 64])).unwrap();
        let dlogits = g.cross_entropy(t, transform, targets, &loss).unwrap();
        g.store(dlogits, &stored).unwrap();
        check(g, &[&stored, &loss], TOLERANCE);
        check_operation(TOLERANCE, |g, x, _| {
            let x = g.scaled(x, 20.0)?;
            g.transform_logits(x, transform)
        });
    }
}

#[test]
fn the_first_of_equal_logits_is_the_hit() {
    let (products, loss) = (Buffer::f32(2, 200).unwrap(), Buffer::f32(2, 2).unwrap());
    let mut values = vec![0.0; 200];
    values[70] = 3.0;
    values[130] = 3.0;
    products.write(0, &[values.clone(), values].concat()).unwrap();
    let mut g = Graph::new(16).unwrap();
    let t = g.tensor(&products).unwrap();
    let targets = g.tensor(&integers(&[70, 130])).unwrap();
    let dlogits = g.cross_entropy(t, LogitTransform::NONE, targets, &loss).unwrap();
    g.schedule(dlogits).unwrap();
    check(g, &[&products, &loss], TOLERANCE);
    assert_eq!(loss.to_vec().unwrap().iter().skip(1).step_by(2).collect::<Vec<_>>(), [&1.0, &0.0]);
}

/// Attention and all of its gradients.
fn check_attention(device: &Arc<Device>, shape: AttentionShape, starts: &[i32]) {
    let n = starts.len();
    let mut g = Graph::new(64).unwrap();
    let [q, dout] = [5, 6].map(|seed| matrix(seed, n, shape.query_columns()));
    let kv = matrix(7, n, 2 * shape.key_columns());
    let (q, kv, dout) = (g.tensor(&q).unwrap(), g.tensor(&kv).unwrap(), g.tensor(&dout).unwrap());
    let [k, v] = [0, shape.key_columns()].map(|first| g.columns(kv, first, shape.key_columns()).unwrap());
    let starts = g.tensor(&integers(starts)).unwrap();
    let out = g.attention(shape, [q, k, v], starts, Output::Alloc).unwrap();
    let [dq, dkv] = g.attention_back(shape, [q, k, v], starts, out, dout).unwrap();
    let results = [shape.result_columns(), shape.query_columns(), 2 * shape.key_columns()];
    let results = results.map(|n_cols| Buffer::f32(n, n_cols).unwrap());
    for (tensor, result) in [out, dq, dkv].into_iter().zip(&results) {
        g.store(tensor, result).unwrap();
    }
    check_on(device, g, &results.each_ref(), ATTENTION_TOLERANCE);
}

#[test]
fn attention_and_its_gradients_with_segments_windows_caps_and_shared_keys() {
    let shape = |heads, head_dim| AttentionShape::new(heads, head_dim, 0.4).unwrap();
    let packed: Vec<i32> = (0..80).map(|t| if t < 9 { 0 } else { 9 }).collect();
    check_attention(software(), shape([4, 2], 8), &[0; 7]);
    check_attention(software(), shape([3, 1], 20), &packed);
    check_attention(software(), shape([2, 2], 72).windowed(NonZeroUsize::new(11)), &packed[..30]);
    check_attention(software(), shape([2, 1], 8).capped(Some(0.5)).unwrap(), &packed[..20]);
    check_attention(software(), shape([1, 1], 4), &[0]);
}

/// `W` in the format `kind`, in a file.
fn mapped(kind: WeightType, [n_rows, n_cols]: [usize; 2]) -> Buffer {
    let values = matrix(9, n_rows, n_cols).to_vec().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, quantize(kind, n_cols, &values).unwrap()).unwrap();
    let file = Arc::new(MappedFile::open(&path).unwrap());
    let location = TensorLocation::new(kind, [n_rows, n_cols], 0).unwrap();
    Buffer::map_weights(&file, &[location]).unwrap().remove(0)
}

/// Products with a frozen matrix and with factors of an adapter, in both directions, added to everything.
fn check_products(device: &Arc<Device>, kind: WeightType) {
    let (n_in, n_out, rank) = (64, 96, 11);
    let (w, factors) = (mapped(kind, [n_out, n_in]), [matrix(10, rank, n_in), matrix(11, rank, n_out)]);
    let grads = [Buffer::f32(rank, n_in).unwrap(), matrix(12, rank, n_out)];
    let (y_out, dx_out) = (Buffer::f32(ROWS, n_out).unwrap(), Buffer::f32(ROWS, n_in).unwrap());
    let bias = matrix(13, 1, n_out);
    let mut g = Graph::new(64).unwrap();
    let x = matrix(14, ROWS, n_in + 1);
    let x = g.tensor(&x).unwrap();
    let x = g.columns(x, 1, n_in).unwrap();
    let w = g.tensor(&w).unwrap();
    let [a, b] = factors.each_ref().map(|factor| g.tensor(factor).unwrap());
    let bias = g.tensor(&bias).unwrap();

    let z = g.sum_of_products(&[Product::Linear { w: a, x, scale: 0.5 }], None, Output::Alloc).unwrap();
    let both = [Product::Linear { w, x, scale: 1.0 }, Product::Transposed { w: b, dy: z }];
    let y = g.sum_of_products(&both, Some(bias), Output::Alloc).unwrap();
    let y = g.sum_of_products(&[Product::Linear { w, x, scale: 1.0 }], None, Output::Accumulate(y)).unwrap();
    g.store(y, &y_out).unwrap();
    let u = g.sum_of_products(&[Product::Linear { w: b, x: y, scale: 0.1 }], None, Output::Alloc).unwrap();
    let both = [Product::Transposed { w, dy: y }, Product::Transposed { w: a, dy: u }];
    let dx = g.sum_of_products(&both, Some(x), Output::Alloc).unwrap();
    let dx = g.sum_of_products(&[Product::Transposed { w: a, dy: z }], None, Output::Accumulate(dx)).unwrap();
    g.store(dx, &dx_out).unwrap();
    g.accumulate_outer(&grads[0], u, x).unwrap();
    g.accumulate_outer(&grads[1], z, y).unwrap();
    check_on(device, g, &[&y_out, &dx_out, &grads[0], &grads[1]], 1e-4);
}

#[test]
fn sums_of_products_with_weights_in_files_and_factors_of_adapters() {
    for kind in [WeightType::F32, WeightType::Q8_0, WeightType::Q4_1] {
        check_products(software(), kind);
    }
}

#[test]
fn gradients_of_many_tokens_are_summed() {
    let (n, rank, grad) = (100, 3, Buffer::f32(3, COLUMNS).unwrap());
    let [u, x] = [matrix(1, n, rank), matrix(2, n, COLUMNS)];
    let mut g = Graph::new(16).unwrap();
    let (u, x) = (g.tensor(&u).unwrap(), g.tensor(&x).unwrap());
    g.accumulate_outer(&grad, u, x).unwrap();
    check(g, &[&grad], 1e-5);
}

#[test]
fn everything_runs_within_the_least_limits() {
    let device = software_within(Limits::LEAST);
    check_products(&device, WeightType::Q4_0);
    check_attention(&device, AttentionShape::new([2, 1], MAX_HEAD_DIM, 0.1).unwrap(), &[0; 3]);
}

#[test]
fn what_only_the_cpu_computes_is_refused() {
    let device = software();
    let load = |g: &mut Graph| executor(device).load([g]).map(|_| ());
    let x = matrix(1, 4, 32);
    let mut g = Graph::new(16).unwrap();
    let t = g.tensor(&x).unwrap();
    let quantized = g.quantize_rows_int16(t).unwrap();
    g.schedule(quantized).unwrap();
    assert_eq!(load(&mut g), Err(Error::Operation { op: "quantize_rows_int16" }));

    let shape = AttentionShape::new([4, 4], 8, 1.0).unwrap().with_compute_type(ComputeType::Int16);
    let mut g = Graph::new(16).unwrap();
    let (t, starts) = (g.tensor(&x).unwrap(), g.tensor(&integers(&[0; 4])).unwrap());
    let out = g.attention(shape, [t, t, t], starts, Output::Alloc).unwrap();
    g.schedule(out).unwrap();
    assert_eq!(load(&mut g), Err(Error::Operation { op: "attention in 16-bit integers" }));

    let mut g = Graph::new(16).unwrap();
    let t = g.tensor(&x).unwrap();
    let product = g.ggml_mul_mat(t, t).unwrap();
    g.schedule(product).unwrap();
    assert_eq!(load(&mut g), Err(Error::Operation { op: "MUL_MAT" }));
}

#[test]
fn integers_are_checked_before_each_computation() {
    let shape = AttentionShape::new([1, 1], 8, 1.0).unwrap();
    let (x, starts) = (matrix(1, 4, 8), integers(&[0, 0, 0, 0]));
    let mut g = Graph::new(16).unwrap();
    let (t, row) = (g.tensor(&x).unwrap(), g.tensor(&starts).unwrap());
    let out = g.attention(shape, [t, t, t], row, Output::Alloc).unwrap();
    g.schedule(out).unwrap();
    let device = software();
    let mut executor = executor(device);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    assert_eq!(loaded.n_dispatches(), 1);
    executor.compute(&mut loaded).unwrap();
    starts.write_i32(&[0, 2]).unwrap();
    assert!(
        matches!(executor.compute(&mut loaded), Err(Error::Index(error)) if error.token == 1 && error.got == 2)
    );
    assert!(matches!(executor.upload(&matrix(1, 2, 2)), Err(Error::Host { .. })));
}

/// A product and attention of `n` tokens, and where they go.
fn tokens_graph(n: usize) -> (Graph, Buffer, [Buffer; 2]) {
    let shape = AttentionShape::new([2, 1], 32, 0.3).unwrap();
    let x = matrix(3, n, 64);
    let mut g = Graph::new(32).unwrap();
    let (t, w) = (g.tensor(&x).unwrap(), g.tensor(&mapped(WeightType::Q8_0, [96, 64])).unwrap());
    let y = g.sum_of_products(&[Product::Linear { w, x: t, scale: 1.0 }], None, Output::Alloc).unwrap();
    let [q, kv] = [(0, 64), (64, 32)].map(|(first, n_cols)| g.columns(y, first, n_cols).unwrap());
    let starts = g.tensor(&integers(&vec![0; n])).unwrap();
    let out = g.attention(shape, [q, kv, kv], starts, Output::Alloc).unwrap();
    let results = [Buffer::f32(n, 96).unwrap(), Buffer::f32(n, shape.result_columns()).unwrap()];
    for (tensor, result) in [y, out].into_iter().zip(&results) {
        g.store(tensor, result).unwrap();
    }
    (g, x, results)
}

#[test]
fn work_that_is_cut_into_pieces_has_the_same_bits() {
    let device = software();
    let (mut g, x, results) = tokens_graph(40);
    let mut compute = |rate| {
        let mut executor = executor_in_pieces(device, rate);
        let mut loaded = executor.load([&mut g]).unwrap().remove(0);
        executor.upload(&x).unwrap();
        executor.compute(&mut loaded).unwrap();
        executor.download(&results.each_ref(), true).unwrap();
        let values = results.each_ref().map(|result| result.to_vec().unwrap());
        (values, loaded.n_dispatches(), executor.activity().submissions)
    };
    let (whole, few, one) = compute(1e12);
    let (cut, many, pieces) = compute(1e6);
    assert_eq!(whole, cut);
    assert!(one == 1 && many > 3 * few && pieces > 3, "{few} {many} {pieces}");
}

#[test]
fn work_is_cut_again_for_a_device_that_becomes_slower() {
    let (mut g, x, results) = tokens_graph(40);
    let mut executor = executor_in_pieces(software(), 1e12);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    executor.upload(&x).unwrap();
    let [(first, few), (second, many), (third, few_again)] = [1e12, 1e4, 1e13].map(|rate| {
        executor.pace = Pace::new(rate);
        executor.compute(&mut loaded).unwrap();
        executor.download(&results.each_ref(), true).unwrap();
        (results.each_ref().map(|result| result.to_vec().unwrap()), loaded.n_dispatches())
    });
    assert!(first == second && second == third);
    assert!(few < many && few_again == few, "{few} {many} {few_again}");
}

#[test]
fn a_raised_flag_ends_a_computation_between_two_pieces() {
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tiles = Tiles::unmeasured(40);
    let mut executor = Executor::new(software().clone(), tiles, SLOWEST, stop.clone());
    let (mut g, x, _) = tokens_graph(40);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    executor.upload(&x).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(executor.compute(&mut loaded), Err(Error::Stopped));
    assert!(matches!(executor.load([&mut tokens_graph(4).0]), Err(Error::Stopped)));
    stop.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(executor.compute(&mut loaded), Ok(()));
}

#[test]
fn values_are_copied_when_they_have_changed() {
    let mut executor = executor(software());
    let (mut g, x, results) = tokens_graph(5);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    let up = |executor: &mut Executor| {
        let before = executor.activity().bytes_up;
        executor.upload(&x).unwrap();
        executor.activity().bytes_up - before
    };
    assert_eq!((up(&mut executor), up(&mut executor)), (4 * 5 * 64, 0));
    x.clear().unwrap();
    assert_eq!((up(&mut executor), up(&mut executor)), (4 * 5 * 64, 0));
    executor.compute(&mut loaded).unwrap();
    executor.download(&[&results[0]], true).unwrap();
    let mut row = [1.0; 96];
    executor.read(&results[0], 4, &mut row).unwrap();
    assert_eq!(row, [0.0; 96]);
    assert!(matches!(executor.read(&results[0], 5, &mut row), Err(Error::OutOfRange { .. })));
}

#[test]
fn what_is_no_number_is_not_taken_for_one() {
    let mut executor = executor(software());
    let (mut g, x, results) = tokens_graph(3);
    let mut loaded = executor.load([&mut g]).unwrap().remove(0);
    x.write(0, &[f32::NAN; 3 * 64]).unwrap();
    results[0].write(0, &[1.0; 3 * 96]).unwrap();
    executor.upload(&x).unwrap();
    executor.compute(&mut loaded).unwrap();
    assert_eq!(executor.download(&[&results[0]], true), Err(Error::NotFinite { what: "a gradient" }));
    assert_eq!(results[0].to_vec().unwrap(), [1.0; 3 * 96]);
    executor.download(&[&results[0]], false).unwrap();
    assert!(results[0].to_vec().unwrap().iter().all(|value| value.is_nan()));
}

#[test]
fn rows_are_copied_on_the_device() {
    let (from, to) = (matrix(1, 4, COLUMNS), matrix(2, 6, COLUMNS));
    let mut g = Graph::new(16).unwrap();
    for buffer in [&from, &to] {
        let t = g.tensor(buffer).unwrap();
        let y = g.round_to_bf16(t).unwrap();
        g.schedule(y).unwrap();
    }
    let mut executor = executor(software());
    executor.load([&mut g]).unwrap();
    executor.upload(&from).unwrap();
    executor.upload(&to).unwrap();
    let values = [&from, &to].map(|buffer| buffer.to_vec().unwrap());
    let [source, target] = values.each_ref().map(|values| values.chunks_exact(COLUMNS).collect::<Vec<_>>());
    let mut copied = |pairs: &[[usize; 2]], clears: bool| {
        if clears {
            executor.clear(&to).unwrap();
        }
        executor.copy_rows([&from, &to], pairs).unwrap();
        executor.download(&[&to], true).unwrap();
        to.to_vec().unwrap()
    };
    let expected = [target[0], source[3], target[2], target[3], source[1], target[5]].concat();
    assert_eq!(copied(&[[3, 1], [1, 4]], false), expected);
    let zeros = [0.0; COLUMNS];
    let expected = [&zeros, &zeros, &zeros, &zeros, &zeros, source[0]].concat();
    assert_eq!(copied(&[[0, 5]], true), expected);
    assert!(matches!(executor.copy_rows([&from, &to], &[[4, 0]]), Err(Error::OutOfRange { .. })));
}

#[test]
fn what_nobody_has_any_more_is_forgotten() {
    let mut executor = executor(software());
    for n in [3, 4, 5] {
        let (mut g, ..) = tokens_graph(n);
        executor.load([&mut g]).unwrap();
    }
    let (mut g, ..) = tokens_graph(6);
    executor.load([&mut g]).unwrap();
    // What is left is the last graph's: tokens, starts and two results.
    assert_eq!(executor.storage.buffers().count(), 4);
}

#[test]
fn faults_that_are_simulated_come_back_as_errors() {
    let run = |fault| {
        let device = software_within(Limits::LEAST);
        let mut executor = executor(&device);
        let (mut g, x, results) = tokens_graph(5);
        let mut loaded = executor.load([&mut g])?.remove(0);
        executor.upload(&x)?;
        device.simulate(fault);
        executor.compute(&mut loaded)?;
        executor.compute(&mut loaded)?;
        executor.download(&[&results[0]], true)?;
        executor.load([&mut tokens_graph(6).0])?;
        Ok::<_, Error>(results[0].to_vec().unwrap())
    };
    assert!(matches!(run(SimulatedFault::LostAfter { submissions: 1 }), Err(Error::Lost { .. })));
    assert!(matches!(run(SimulatedFault::OutOfMemory), Err(Error::OutOfMemory { .. })));
    assert!(matches!(run(SimulatedFault::Skips), Err(Error::Lost { .. })), "its results are not taken");
    let right = run(SimulatedFault::LostAfter { submissions: 1000 }).unwrap();
    assert_ne!(run(SimulatedFault::WrongNumbers).unwrap(), right);
}
