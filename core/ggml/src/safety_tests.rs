//! What a caller can get wrong: each an error, none a write to a mapping, an abort, or a number left over from before.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::Command;
use std::sync::Arc;

use nightgraft_kernels::{Activation, KernelError, LogitTransform, WeightType, bf16_columns};

use crate::{
    AttentionShape, Buffer, Cpu, DropoutKey, Error, Graph, MappedFile, Output, Product, Refusal, RopeStyle,
    Rotation, Tensor, TensorLocation,
};

/// A weight in a mapped file, zeros.
fn mapped(n_rows: usize, n_cols: usize) -> Buffer {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("nightgraft-safety-{}-{number}", std::process::id()));
    std::fs::write(&path, vec![0; 4 * n_rows * n_cols]).unwrap();
    let file = Arc::new(MappedFile::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let location = TensorLocation::new(WeightType::F32, [n_rows, n_cols], 0).unwrap();
    Buffer::map_weights(&file, &[location]).unwrap().remove(0)
}

fn integers(values: &[i32]) -> Buffer {
    let buffer = Buffer::i32(values.len()).unwrap();
    buffer.write_i32(values).unwrap();
    buffer
}

fn cpu(n_threads: usize) -> Cpu {
    Cpu::new(n_threads, Arc::default()).unwrap()
}

/// An operation that writes to a matrix `[2, 4]`.
type Writes = fn(&mut Graph, Tensor) -> Result<(), Error>;

/// What brings `[2, 4]` values of a buffer into a graph.
type View = fn(&mut Graph, &Buffer) -> Result<Tensor, Error>;

/// Everything that writes in place.
const IN_PLACE: [(&str, Writes); 15] = [
    ("round_to_bf16", |g, t| g.round_to_bf16(t).and_then(|t| g.schedule(t))),
    ("rope", |g, t| {
        let table = g.tensor(&Buffer::f32(2, 2)?)?;
        let rotation = Rotation { head_dim: 4, style: RopeStyle::Interleaved, back: false };
        let turned = g.rope(t, table, rotation)?;
        g.schedule(turned)
    }),
    ("cross_entropy", |g, t| {
        let targets = g.tensor(&integers(&[0, 1]))?;
        let gradient = g.cross_entropy(t, LogitTransform::NONE, targets, &Buffer::f32(2, 2)?)?;
        g.schedule(gradient)
    }),
    ("rms_norm_back", |g, t| {
        let (x, w, dy) =
            (g.tensor(&Buffer::f32(2, 4)?)?, g.tensor(&Buffer::f32(1, 4)?)?, g.tensor(&Buffer::f32(2, 4)?)?);
        let dx = g.rms_norm_back(x, Some(w), (4, 1e-5), dy, Output::Accumulate(t))?;
        g.schedule(dx)
    }),
    ("activation_back, gate", |g, t| {
        let (up, dy) = (g.tensor(&Buffer::f32(2, 4)?)?, g.tensor(&Buffer::f32(2, 4)?)?);
        g.activation_back(Activation::Silu, t, Some(up), dy)
    }),
    ("activation_back, up", |g, t| {
        let (gate, dy) = (g.tensor(&Buffer::f32(2, 4)?)?, g.tensor(&Buffer::f32(2, 4)?)?);
        g.activation_back(Activation::Silu, gate, Some(t), dy)
    }),
    ("activation_back, dy", |g, t| {
        let (gate, up) = (g.tensor(&Buffer::f32(2, 4)?)?, g.tensor(&Buffer::f32(2, 4)?)?);
        g.activation_back(Activation::Silu, gate, Some(up), t)
    }),
    ("scale_rows", |g, t| {
        let factors = g.tensor(&Buffer::f32(2, 1)?)?;
        let scaled = g.scale_rows(t, factors)?;
        g.schedule(scaled)
    }),
    ("add_scaled", |g, t| {
        let (a, b) = (g.tensor(&Buffer::f32(2, 4)?)?, g.tensor(&Buffer::f32(2, 4)?)?);
        let sum = g.add_scaled(a, b, 0.5, Output::Overwrite(t))?;
        g.schedule(sum)
    }),
    ("transform_logits", |g, t| {
        let logits = g.transform_logits(t, LogitTransform { scale: 2.0, softcap: None })?;
        g.schedule(logits)
    }),
    ("to_bf16", |g, t| {
        let x = g.tensor(&Buffer::f32(2, 8)?)?;
        assert_eq!(bf16_columns(8), 4);
        g.to_bf16(x, t)
    }),
    ("sum_of_products, accumulate", |g, t| product(g, Output::Accumulate(t))),
    ("sum_of_products, overwrite", |g, t| product(g, Output::Overwrite(t))),
    ("attention, overwrite", |g, t| {
        let [q, k, v] = [Buffer::f32(2, 3)?, Buffer::f32(2, 3)?, Buffer::f32(2, 3)?];
        let qkv = [g.tensor(&q)?, g.tensor(&k)?, g.tensor(&v)?];
        let starts = g.tensor(&integers(&[0, 0]))?;
        let shape = AttentionShape::new([1, 1], 3, 1.0).unwrap();
        let out = g.attention(shape, qkv, starts, Output::Overwrite(t))?;
        g.schedule(out)
    }),
    ("sum_of_products of quantized rows", |g, t| {
        let (w, x) = (g.tensor(&Buffer::f32(4, 32)?)?, g.tensor(&Buffer::f32(2, 32)?)?);
        let x = g.quantize_rows_int16(x)?;
        let product = Product::Int16 { w, x, direction: crate::Direction::Linear };
        let sum = g.sum_of_products(&[product], None, Output::Overwrite(t))?;
        g.schedule(sum)
    }),
];

fn product(g: &mut Graph, output: Output) -> Result<(), Error> {
    let (w, x) = (g.tensor(&Buffer::f32(4, 8)?)?, g.tensor(&Buffer::f32(2, 8)?)?);
    let sum = g.sum_of_products(&[Product::Linear { w, x, scale: 1.0 }], None, output)?;
    g.schedule(sum)
}

#[test]
fn nothing_writes_to_a_weight_of_a_mapped_file() {
    // The matrix itself, its first rows, some of its columns.
    let views: [(usize, usize, View); 4] = [
        (2, 4, Graph::tensor),
        (5, 4, |g, buffer| g.tensor_rows(buffer, 2)),
        (2, 7, |g, buffer| {
            let whole = g.tensor(buffer)?;
            g.columns(whole, 3, 4)
        }),
        (3, 9, |g, buffer| {
            let rows = g.tensor_rows(buffer, 2)?;
            let columns = g.columns(rows, 1, 6)?;
            g.columns(columns, 2, 4)
        }),
    ];
    for (op, write) in IN_PLACE {
        for (i, (n_rows, n_cols, view)) in views.iter().enumerate() {
            let mut g = Graph::new(32).unwrap();
            let weight = view(&mut g, &mapped(*n_rows, *n_cols)).unwrap();
            assert!(matches!(write(&mut g, weight), Err(Error::ReadOnly { .. })), "{op}, view {i}");
            cpu(1).compute(&mut g).unwrap();

            let mut g = Graph::new(32).unwrap();
            let owned = view(&mut g, &Buffer::f32(*n_rows, *n_cols).unwrap()).unwrap();
            write(&mut g, owned).unwrap_or_else(|error| panic!("{op}, view {i}: {error}"));
            cpu(2).compute(&mut g).unwrap_or_else(|error| panic!("{op}, view {i}: {error}"));
        }
    }
}

#[test]
fn nothing_is_stored_in_a_weight_of_a_mapped_file() {
    let mut g = Graph::new(32).unwrap();
    let x = g.tensor(&Buffer::f32(2, 4).unwrap()).unwrap();
    let targets = g.tensor(&integers(&[0, 1])).unwrap();
    assert!(matches!(g.store(x, &mapped(2, 4)), Err(Error::ReadOnly { .. })));
    assert!(matches!(g.accumulate_outer(&mapped(4, 4), x, x), Err(Error::ReadOnly { .. })));
    assert!(matches!(
        g.cross_entropy(x, LogitTransform::NONE, targets, &mapped(2, 2)),
        Err(Error::ReadOnly { .. })
    ));
}

#[test]
fn a_buffer_is_not_stored_in_itself() {
    let buffer = Buffer::f32(2, 4).unwrap();
    let mut g = Graph::new(32).unwrap();
    let x = g.tensor(&buffer).unwrap();
    let rows = g.tensor_rows(&buffer, 1).unwrap();
    assert!(matches!(g.store(x, &buffer), Err(Error::Shape { .. })));
    assert!(matches!(g.store(rows, &buffer), Err(Error::Shape { .. })));
}

#[test]
fn operands_of_another_type_are_refused() {
    let mut g = Graph::new(64).unwrap();
    let numbers = g.tensor(&integers(&[0, 1, 2, 3])).unwrap();
    let x = g.tensor(&Buffer::f32(1, 4).unwrap()).unwrap();
    let key = DropoutKey::default();
    let gradient = Buffer::f32(4, 4).unwrap();
    let results = [
        g.dropout(numbers, 0.5, &key, 0).err(),
        g.accumulate_outer(&gradient, numbers, x).err(),
        g.accumulate_outer(&gradient, x, numbers).err(),
        g.round_to_bf16(numbers).err(),
        g.rms_norm(numbers, None, 4, 1e-5).err(),
        g.rms_norm(x, Some(numbers), 4, 1e-5).err(),
        g.activation(Activation::Silu, numbers, Some(x)).err(),
        g.activation(Activation::Silu, x, Some(numbers)).err(),
        g.add_scaled(numbers, x, 1.0, Output::Alloc).err(),
        g.add_scaled(x, numbers, 1.0, Output::Alloc).err(),
        g.scaled(numbers, 1.0).err(),
        g.scale_rows(x, numbers).err(),
        g.concat_columns(&[x, numbers]).err(),
        g.add(x, numbers).err(),
        g.columns(numbers, 0, 2).err(),
        g.linear(x, numbers).err(),
        g.linear(numbers, x).err(),
        g.from_bf16(numbers, 8).err(),
        g.store(numbers, &Buffer::f32(1, 4).unwrap()).err(),
    ];
    for (i, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Some(Error::WeightType { .. })), "{i}: {result:?}");
    }
}

#[test]
fn sizes_that_cannot_be_counted_are_refused() {
    const MANY: usize = 1 << 30;
    let mut g = Graph::new(64).unwrap();
    let long = g.tensor(&Buffer::unallocated(MANY, 1).unwrap()).unwrap();
    let wide = g.tensor(&Buffer::unallocated(1, MANY).unwrap()).unwrap();
    // [2^30, 2^30] values
    let huge = [
        g.linear(long, long).err(),
        g.ggml_mul_mat(long, long).err(),
        g.linear_transposed(wide, long).err(),
        g.ggml_out_prod(wide, long).err(),
    ];
    for (i, result) in huge.into_iter().enumerate() {
        assert!(matches!(result, Some(Error::Shape { .. })), "{i}: {result:?}");
    }
    for (first, shape) in [
        (usize::MAX, (1, 1)),
        (1, (usize::MAX, 1)),
        (1, (usize::MAX, usize::MAX)),
        (1, (1 << 33, 1 << 31)),
        (0, (0, 1)),
        (MANY, (1, 1)),
    ] {
        assert!(matches!(g.view_in_row(wide, first, shape), Err(Error::Shape { .. })), "{first} {shape:?}");
    }
    // Each matrix could be, and all gradients together could not.
    let shape = AttentionShape::new([1, 1], 64, 1.0).unwrap();
    let [q, out, starts] =
        [Buffer::unallocated(MANY, 64), Buffer::unallocated(MANY, 65), Buffer::unallocated_i32(MANY)]
            .map(|buffer| g.tensor(&buffer.unwrap()).unwrap());
    assert!(matches!(g.attention_back(shape, [q; 3], starts, out, q), Err(Error::Shape { .. })));
    for (n_rows, n_cols) in [(usize::MAX, usize::MAX), (1 << 32, 1 << 32), (1 << 38, 1), (0, 1)] {
        assert!(matches!(Buffer::unallocated(n_rows, n_cols), Err(Error::Shape { .. })), "{n_rows} {n_cols}");
        assert!(matches!(Buffer::f32(n_rows, n_cols), Err(Error::Shape { .. })), "{n_rows} {n_cols}");
    }
}

/// As in an attention whose columns wrapped: the result is what its shape says, and no view is outside.
#[test]
fn views_are_inside_what_they_are_of() {
    let mut g = Graph::new(32).unwrap();
    let q = g.tensor(&Buffer::f32(1, 4).unwrap()).unwrap();
    let starts = g.tensor(&integers(&[0])).unwrap();
    let shape = AttentionShape::new([1, 1], 4, 1.0).unwrap();
    let out = g.attention(shape, [q; 3], starts, Output::Alloc).unwrap();
    assert_eq!(g.shape("test", out).unwrap(), (1, 5));
    assert!(matches!(g.columns(out, 0, 1 << 20), Err(Error::Shape { .. })));
    assert!(matches!(g.columns(out, usize::MAX, 5), Err(Error::Shape { .. })));
}

#[test]
fn an_index_that_points_nowhere_is_an_error_of_the_computation() {
    let (starts, targets) = (integers(&[0, 0, 0]), integers(&[0, 1, -1]));
    let stored = Buffer::f32(3, 5).unwrap();
    let shape = AttentionShape::new([1, 1], 4, 1.0).unwrap();
    let mut g = Graph::new(32).unwrap();
    let x = g.tensor(&Buffer::f32(3, 4).unwrap()).unwrap();
    let logits = g.tensor(&Buffer::f32(3, 4).unwrap()).unwrap();
    let (s, t) = (g.tensor(&starts).unwrap(), g.tensor(&targets).unwrap());
    let out = g.attention(shape, [x; 3], s, Output::Alloc).unwrap();
    let gradient = g.cross_entropy(logits, LogitTransform::NONE, t, &Buffer::f32(3, 2).unwrap()).unwrap();
    g.schedule(out).unwrap();
    g.schedule(gradient).unwrap();
    let [dq, dkv] = g.attention_back(shape, [x; 3], s, out, x).unwrap();
    g.schedule(dq).unwrap();
    g.schedule(dkv).unwrap();
    g.store(out, &stored).unwrap();
    for n_threads in [1, 2, 5] {
        let mut cpu = cpu(n_threads);
        for (start, target, refused_op) in [
            (3, 1, Some("attention")),
            (-1, 1, Some("attention")),
            (i32::MAX, 1, Some("attention")),
            (i32::MIN, 4, Some("attention")),
            (2, 4, Some("cross_entropy")),
            (2, i32::MAX, Some("cross_entropy")),
            (2, 3, None),
        ] {
            stored.write(0, &[7.0; 15]).unwrap();
            starts.write_i32(&[0, 0, start]).unwrap();
            targets.write_i32(&[0, target, -1]).unwrap();
            match (cpu.compute(&mut g), refused_op) {
                (Ok(()), None) => assert_ne!(stored.to_vec().unwrap(), [7.0; 15]),
                (Err(Error::Refused { op, reason }), Some(refused_op)) => {
                    assert_eq!(op, refused_op);
                    assert!(matches!(reason, Refusal::Kernel(KernelError::Index(_))), "{reason}");
                    assert_eq!(stored.to_vec().unwrap(), [7.0; 15], "nothing is stored from there on");
                }
                (got, _) => panic!("{start} {target}: {got:?}"),
            }
        }
    }
}

#[test]
fn the_deepest_graph_needs_no_large_stack() {
    let deepest = || {
        let (capacity, out) = (1 << 11, Buffer::f32(1, 1).unwrap());
        let mut g = Graph::new(capacity).unwrap();
        let one = Buffer::f32(1, 1).unwrap();
        one.write(0, &[1.0]).unwrap();
        let one = g.tensor(&one).unwrap();
        let mut sum = one;
        for _ in 0..capacity - 3 {
            sum = g.add(sum, one).unwrap();
        }
        g.store(sum, &out).unwrap();
        assert!(g.schedule(sum).is_ok());
        cpu(1).compute(&mut g).unwrap();
        assert_eq!(out.to_vec().unwrap(), [(capacity - 2) as f32]);
        assert!(matches!(Graph::new(capacity + 1), Err(Error::Shape { .. })));
    };
    // A secondary thread of an app on iOS has so much.
    std::thread::Builder::new().stack_size(512 << 10).spawn(deepest).unwrap().join().unwrap();
}

#[test]
fn a_graph_of_nothing_is_computed() {
    let mut g = Graph::new(8).unwrap();
    cpu(1).compute(&mut g).unwrap();
    let buffer = g.tensor(&mapped(1, 1)).unwrap();
    g.schedule(buffer).unwrap();
    cpu(2).compute(&mut g).unwrap();
}

/// In a process of its own, as what the variable holds is read once.
#[test]
fn instructions_that_are_not_there_are_an_error() {
    const NAME: &str = "safety_tests::instructions_that_are_not_there_are_an_error";
    const WRONG: &str = "avx-512";
    if std::env::var_os(crate::INSTRUCTIONS_VARIABLE).is_some_and(|value| value == WRONG) {
        for error in [crate::check_instructions().unwrap_err(), Cpu::new(1, Arc::default()).err().unwrap()] {
            assert!(error.to_string().starts_with("NIGHTGRAFT_ISA: \"avx-512\" names no instructions"));
            assert!(matches!(error, Error::Instructions(_)));
        }
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let child = child.env(crate::INSTRUCTIONS_VARIABLE, WRONG).args(["--exact", NAME]).output().unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
}
