//! The kernels of a training step, one by one, on one thread: products in every format, attention, and the operations between.
//!
//! `cargo bench -p nightgraft-benches --bench kernels [-- FILTER]`; `NIGHTGRAFT_ISA=avx2` and the like time a lower tier. Throughput is
//! in floating-point operations for products and attention, in values for the others.

use std::hint::black_box;
use std::sync::Arc;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use nightgraft_ggml::{
    Activation, AttentionShape, Buffer, ComputeType, Cpu, Direction, Error, Graph, MappedFile, Output,
    Product, Tensor, TensorLocation, WeightType, is_quantizable, quantize, weight_types,
};
use nightgraft_kernels::Tier;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TOKENS: usize = 256;
/// `[n_out, n_in]`: whole blocks in every format.
const SHAPE: [usize; 2] = [1536, 768];

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    products(&mut criterion);
    attention(&mut criterion);
    elementwise(&mut criterion);
    criterion.final_summary();
}

fn products(criterion: &mut Criterion) {
    let [n_out, n_in] = SHAPE;
    let mut group = criterion.benchmark_group(format!("products, {}", Tier::current().name()));
    group.throughput(Throughput::Elements((2 * TOKENS * n_out * n_in) as u64));
    for kind in weight_types() {
        let weight = weight(kind);
        for direction in [Direction::Linear, Direction::Transposed] {
            let (x, name) = match direction {
                Direction::Linear => (matrix(TOKENS, n_in), "linear"),
                Direction::Transposed => (matrix(TOKENS, n_out), "linear_transposed"),
            };
            run(&mut group, &format!("{name}/{}/f32", kind.name()), |g| {
                let (w, x) = (g.tensor(&weight)?, g.tensor(&x)?);
                match direction {
                    Direction::Linear => g.linear(w, x),
                    Direction::Transposed => g.linear_transposed(w, x),
                }
            });
            run(&mut group, &format!("{name}/{}/mixed", kind.name()), |g| {
                let (w, x) = (g.tensor(&weight)?, g.tensor(&x)?);
                let x = g.quantize_rows_int16(x)?;
                g.sum_of_products(&[Product::Int16 { w, x, direction }], None, Output::Alloc)
            });
        }
    }
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("attention, {}", Tier::current().name()));
    use ComputeType::{F32, Int16};
    for (n_tokens, compute_type) in [(256, F32), (256, Int16), (2048, F32), (2048, Int16)] {
        let shape = AttentionShape::new([9, 3], 64, 0.125)
            .expect("heads that can be shared")
            .with_compute_type(compute_type);
        let pairs = n_tokens * (n_tokens + 1) / 2;
        group.throughput(Throughput::Elements((2 * 2 * pairs * 9 * 64) as u64));
        let [q, k, v] = [9, 3, 3].map(|n_heads| matrix(n_tokens, 64 * n_heads));
        let starts = Buffer::i32(n_tokens).expect("memory for the starts");
        let precision = if compute_type == Int16 { "mixed" } else { "f32" };
        run(&mut group, &format!("forward/{n_tokens} tokens/{precision}"), |g| {
            let qkv = [g.tensor(&q)?, g.tensor(&k)?, g.tensor(&v)?];
            let starts = g.tensor(&starts)?;
            g.attention(shape, qkv, starts, Output::Alloc)
        });
        group.throughput(Throughput::Elements((5 * 2 * pairs * 9 * 64) as u64));
        let (out, dout) = (matrix(n_tokens, 9 * 64 + 9), matrix(n_tokens, 9 * 64));
        run(&mut group, &format!("backward/{n_tokens} tokens/{precision}"), |g| {
            let qkv = [g.tensor(&q)?, g.tensor(&k)?, g.tensor(&v)?];
            let (starts, out, dout) = (g.tensor(&starts)?, g.tensor(&out)?, g.tensor(&dout)?);
            let [dq, dkv] = g.attention_back(shape, qkv, starts, out, dout)?;
            g.schedule(dkv)?;
            Ok(dq)
        });
    }
}

fn elementwise(criterion: &mut Criterion) {
    const WIDTH: usize = 1536;
    let mut group = criterion.benchmark_group(format!("elementwise, {}", Tier::current().name()));
    group.throughput(Throughput::Elements((TOKENS * WIDTH) as u64));
    let (x, up, weight) = (matrix(TOKENS, WIDTH), matrix(TOKENS, WIDTH), matrix(1, WIDTH));
    run(&mut group, "rms_norm", |g| {
        let (x, weight) = (g.tensor(&x)?, g.tensor(&weight)?);
        g.rms_norm(x, Some(weight), WIDTH, 1e-5)
    });
    run(&mut group, "activation, gated", |g| {
        let (x, up) = (g.tensor(&x)?, g.tensor(&up)?);
        g.activation(Activation::Silu, x, Some(up))
    });
    run(&mut group, "quantize_rows_int16", |g| {
        let x = g.tensor(&x)?;
        g.quantize_rows_int16(x)
    });
}

/// Times a graph of one result.
fn run(group: &mut Group, name: &str, make: impl Fn(&mut Graph) -> Result<Tensor, Error>) {
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        let mut graph = Graph::new(32).expect("memory for a graph");
        let result = make(&mut graph).expect("shapes that fit");
        graph.schedule(result).expect("a tensor of this graph");
        let mut cpu = Cpu::new(1, Arc::default()).expect("one thread");
        bencher.iter(|| cpu.compute(black_box(&mut graph)).expect("nobody stops it"));
    });
}

fn weight(kind: WeightType) -> Buffer {
    let [n_rows, n_cols] = SHAPE;
    let bytes = match is_quantizable(kind) {
        true => quantize(kind, n_cols, &numbers(n_rows * n_cols)).expect("whole blocks"),
        // Any bytes are values, and as scales these are none that would slow anything down.
        false => vec![0x2c; n_rows * kind.row_bytes(n_cols).expect("whole blocks")],
    };
    let file = tempfile::NamedTempFile::new().expect("a folder for temporary files");
    std::fs::write(file.path(), bytes).expect("room for a matrix");
    let mapped = Arc::new(MappedFile::open(file.path()).expect("the file just written"));
    let location = TensorLocation::new(kind, SHAPE, 0).expect("whole blocks");
    Buffer::map_weights(&mapped, &[location]).expect("a matrix inside").remove(0)
}

fn matrix(n_rows: usize, n_cols: usize) -> Buffer {
    let buffer = Buffer::f32(n_rows, n_cols).expect("memory for a matrix");
    buffer.write(0, &numbers(n_rows * n_cols)).expect("as many values");
    buffer
}

/// Reproducible values in [-1, 1).
fn numbers(n: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(n as u64);
    (0..n).map(|_| random.random_range(-1.0..1.0)).collect()
}
