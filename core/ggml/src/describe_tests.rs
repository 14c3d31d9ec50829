//! Graphs as data: against what the graphs were built of, and computed from the data against the CPU.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use nightgraft_kernels::{Activation, AttentionShape, Direction, LogitTransform, WeightType};

use crate::{
    Accumulator, Buffer, Cpu, DropoutKey, Error, Graph, MappedFile, Matrix, Memory, Operation, Output,
    PlannedGraph, PlannedProduct, Product, RopeStyle, Rotation, TensorLocation,
};

const ROWS: usize = 3;

fn buffer(n_rows: usize, n_cols: usize) -> Buffer {
    let buffer = Buffer::f32(n_rows, n_cols).unwrap();
    let values: Vec<f32> = (0..n_rows * n_cols).map(|i| (i % 23) as f32 - 11.0).collect();
    buffer.write(0, &values).unwrap();
    buffer
}

/// A matrix `[ROWS, 32]` of its own in a graph.
fn values(g: &mut Graph) -> crate::Tensor {
    let buffer = buffer(ROWS, 32);
    g.tensor(&buffer).unwrap()
}

fn names(plan: &PlannedGraph) -> Vec<String> {
    let name = |op: &Operation| format!("{op:?}").split([' ', '{']).next().unwrap().to_owned();
    plan.nodes.iter().map(|node| name(&node.operation)).collect()
}

/// Computes what `plan` describes, of operations on single values, from the buffers' contents; what lies where afterwards.
fn interpret(plan: &PlannedGraph) -> impl Fn(Matrix) -> Vec<f32> {
    let mut arena = vec![f32::NAN; plan.arena_bytes / 4];
    let mut buffers: Vec<_> = plan.buffers.iter().map(|buffer| buffer.to_vec().unwrap()).collect();
    for node in &plan.nodes {
        let memory = |memory| match memory {
            Memory::Arena => &arena,
            Memory::Buffer(i) => &buffers[i],
        };
        let read = |m: Matrix| gather(memory(m.memory), m);
        let zip = |a: Matrix, b: Matrix, f: fn(f32, f32) -> f32| -> Vec<f32> {
            read(a).into_iter().zip(read(b)).map(|(a, b)| f(a, b)).collect()
        };
        let result = match &node.operation {
            Operation::Add { a, b } => zip(*a, *b, |a, b| a + b),
            Operation::Copy { x } => read(*x),
            Operation::AddScaled { a, b, scale: 2.0 } => zip(*a, *b, |a, b| a + 2.0 * b),
            Operation::Scaled { x, scale } => read(*x).iter().map(|x| x * scale).collect(),
            Operation::ScaleRows { factors } => {
                let (x, factors) = (read(node.result), read(*factors));
                x.iter().enumerate().map(|(i, x)| x * factors[i / node.result.n_cols]).collect()
            }
            Operation::ConcatColumns { matrices } => (0..node.result.n_rows)
                .flat_map(|row| {
                    matrices.iter().flat_map(move |m| read(*m)[row * m.n_cols..][..m.n_cols].to_vec())
                })
                .collect(),
            other => panic!("{other:?}"),
        };
        let target = match node.result.memory {
            Memory::Arena => &mut arena,
            Memory::Buffer(i) => &mut buffers[i],
        };
        let Matrix { first, n_cols, stride, .. } = node.result;
        for (row, values) in result.chunks_exact(n_cols).enumerate() {
            target[first + row * stride..][..n_cols].copy_from_slice(values);
        }
    }
    move |m| match m.memory {
        Memory::Arena => gather(&arena, m),
        Memory::Buffer(i) => gather(&buffers[i], m),
    }
}

fn gather(values: &[f32], m: Matrix) -> Vec<f32> {
    (0..m.n_rows).flat_map(|row| values[m.first + row * m.stride..][..m.n_cols].to_vec()).collect()
}

#[test]
fn what_a_plan_describes_is_what_the_cpu_computes() {
    let [x, stored] = [buffer(ROWS + 2, 32), Buffer::f32(ROWS + 1, 20).unwrap()];
    let mut g = Graph::new(64).unwrap();
    let t = g.tensor_rows(&x, ROWS).unwrap();
    let doubled = g.scaled(t, 2.0).unwrap();
    let (left, right) = (g.columns(doubled, 0, 12).unwrap(), g.columns(doubled, 12, 20).unwrap());
    let joined = g.concat_columns(&[right, left]).unwrap();
    let factors = g.columns(t, 5, 1).unwrap();
    let factors = g.scaled(factors, 0.5).unwrap();
    let joined = g.scale_rows(joined, factors).unwrap();
    let sum = g.add(joined, doubled).unwrap();
    let sum = g.add_scaled(sum, t, 2.0, Output::Alloc).unwrap();
    let part = g.columns(sum, 3, 20).unwrap();
    g.store(part, &stored).unwrap();

    let plan = g.planned().unwrap();
    assert_eq!(names(&plan), ["Scaled", "ConcatColumns", "Scaled", "ScaleRows", "Add", "AddScaled", "Copy"]);
    assert_eq!(plan.arena_bytes, g.arena_bytes());
    assert_eq!(plan.buffers, [x, stored.clone()]);
    let read = interpret(&plan);
    Cpu::new(1, Arc::default()).unwrap().compute(&mut g).unwrap();
    let stored_rows = plan.nodes.last().unwrap().result;
    assert_eq!(stored_rows.memory, Memory::Buffer(1));
    assert_eq!(read(stored_rows), stored.to_vec().unwrap()[..ROWS * 20]);
}

#[test]
fn every_operation_is_described_with_its_operands() {
    let mut g = Graph::new(128).unwrap();
    let whole = Matrix { memory: Memory::Buffer(0), first: 0, n_rows: ROWS, n_cols: 32, stride: 32 };
    let shape = AttentionShape::new([4, 2], 8, 0.25).unwrap();
    let starts_buffer = Buffer::i32(ROWS).unwrap();
    let loss = Buffer::f32(ROWS, 2).unwrap();
    let (key, outer) = (DropoutKey::default(), Buffer::f32(32, 32).unwrap());
    let row = buffer(1, 32);

    let x = values(&mut g);
    let row = g.tensor(&row).unwrap();
    let starts = g.tensor(&starts_buffer).unwrap();
    let (k, v) = (g.columns(x, 0, 16).unwrap(), g.columns(x, 16, 16).unwrap());
    let normed = g.rms_norm(x, Some(row), 32, 1e-5).unwrap();
    let rotation = Rotation { head_dim: 8, style: RopeStyle::Neox, back: true };
    let table = g.columns(x, 8, 6).unwrap();
    let q = g.rope(normed, table, rotation).unwrap();
    let out = g.attention(shape, [q, k, v], starts, Output::Alloc).unwrap();
    let [dq, dkv] = g.attention_back(shape, [q, k, v], starts, out, x).unwrap();
    let dv = g.columns(dkv, 16, 16).unwrap();
    let dx = g.rms_norm_back(x, None, (8, 1e-6), dq, Output::Alloc).unwrap();
    let dx = g.dropout(dx, 0.5, &key, 7).unwrap();
    let wide = g.concat_columns(&[dx, dv]).unwrap();
    let gate = g.scaled(wide, 3.0).unwrap();
    let y = g.activation(Activation::Gelu, gate, None).unwrap();
    let half = Buffer::f32(ROWS, 24).unwrap();
    let half = g.tensor(&half).unwrap();
    g.to_bf16(y, half).unwrap();
    g.activation_back(Activation::Silu, gate, Some(wide), y).unwrap();
    let rounded = g.from_bf16(half, 48).unwrap();
    let rounded = g.round_to_bf16(rounded).unwrap();
    g.accumulate_outer(&outer, x, x).unwrap();
    let transform = LogitTransform { scale: 0.5, softcap: Some(30.0) };
    let logits = g.transform_logits(rounded, transform).unwrap();
    let dlogits = g.cross_entropy(logits, transform, starts, &loss).unwrap();
    g.schedule(dlogits).unwrap();

    let plan = g.planned().unwrap();
    let find = |name: &str| {
        let index =
            names(&plan).iter().position(|other| other == name).unwrap_or_else(|| panic!("no {name}"));
        &plan.nodes[index]
    };
    let Operation::RmsNorm { x, norm } = &find("RmsNorm").operation else { panic!() };
    assert_eq!((*x, norm.width, norm.eps), (whole, 32, 1e-5));
    assert_eq!(norm.weight, Some(Matrix { memory: Memory::Buffer(1), n_rows: 1, ..whole }));
    let Operation::Rope { rotation: described, table } = find("Rope").operation else { panic!() };
    assert_eq!((described, table), (rotation, Matrix { first: 8, n_cols: 6, ..whole }));
    let normed = find("RmsNorm").result;
    assert_eq!(find("Rope").result, normed, "it works in place");
    let Operation::Attention { shape: described, qkv, starts } = find("Attention").operation else {
        panic!()
    };
    let [k, v] = [0, 16].map(|first| Matrix { first, n_cols: 16, ..whole });
    assert_eq!((described, qkv), (shape, [normed, k, v]));
    assert_eq!((starts.memory, starts.first, starts.len), (Memory::Buffer(2), 0, ROWS));
    let out = find("Attention").result;
    assert_eq!((out.n_rows, out.n_cols), (ROWS, 36));
    let back = find("AttentionBack");
    let Operation::AttentionBack { out: saved, dout, dq, dkv, .. } = back.operation else { panic!() };
    assert_eq!((saved, dout), (out, whole));
    assert_eq!(dq, Matrix { n_rows: ROWS, n_cols: 32, stride: 32, ..back.result });
    assert_eq!((dkv.first, dkv.n_cols), (dq.first + ROWS * 32, 32));
    let Operation::AttentionBackSum { others, .. } = find("AttentionBackSum").operation else { panic!() };
    assert_eq!(find("AttentionBackSum").result, dkv);
    assert_eq!((others.first, others.n_cols), (dkv.first + ROWS * 32, 32));
    let Operation::RmsNormBack { norm, accumulate: false, .. } = find("RmsNormBack").operation else {
        panic!()
    };
    assert_eq!((norm.weight, norm.width), (None, 8));
    let Operation::Dropout { keep: 0.5, salt: 7, .. } = find("Dropout").operation else { panic!() };
    let Operation::ConcatColumns { matrices } = &find("ConcatColumns").operation else { panic!() };
    assert_eq!(matrices[1], Matrix { first: dkv.first + 16, n_cols: 16, ..dkv });
    let Operation::Activation { f: Activation::Gelu, up: None, gate } = find("Activation").operation else {
        panic!()
    };
    let Operation::ToBf16 { x: y } = find("ToBf16").operation else { panic!() };
    let back = find("ActivationBack");
    assert_eq!(back.result, gate);
    let Operation::ActivationBack { f: Activation::Silu, up: Some(up), dy } = back.operation else {
        panic!()
    };
    assert_eq!((up, dy), (find("ConcatColumns").result, y));
    assert_eq!(find("FromBf16").result, find("RoundToBf16").result);
    let Operation::AccumulateOuter { u, x } = find("AccumulateOuter").operation else { panic!() };
    assert_eq!((u, x), (whole, whole));
    let Operation::CrossEntropy { transform: described, targets, loss } = find("CrossEntropy").operation
    else {
        panic!()
    };
    assert_eq!((described, targets, loss.n_cols), (transform, starts, 2));
    let Operation::TransformLogits { transform: described } = find("TransformLogits").operation else {
        panic!()
    };
    assert_eq!(described, transform);
}

#[test]
fn sums_of_products_are_described_with_weights_in_the_file() {
    let kind = WeightType::Q8_0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let bytes: Vec<u8> = (0..64 + 32 * kind.block_bytes()).map(|i| i as u8).collect();
    std::fs::write(&path, &bytes).unwrap();
    let file = Arc::new(MappedFile::open(&path).unwrap());
    let location = TensorLocation::new(kind, [32, 32], 64).unwrap();
    let weight = Buffer::map_weights(&file, &[location]).unwrap().remove(0);
    assert_eq!((weight.mapped_bytes(), weight.weight_type()), (Some(&bytes[64..]), Some(kind)));

    let mut g = Graph::new(64).unwrap();
    let (x, w) = (values(&mut g), g.tensor(&weight).unwrap());
    let (bias, factor) = (buffer(1, 32), buffer(4, 32));
    assert_eq!((factor.mapped_bytes(), factor.weight_type()), (None, Some(WeightType::F32)));
    let (bias, a) = (g.tensor(&bias).unwrap(), g.tensor(&factor).unwrap());
    let z = g.sum_of_products(&[Product::Linear { w: a, x, scale: 0.5 }], None, Output::Alloc).unwrap();
    let products = [Product::Linear { w, x, scale: 1.0 }, Product::Transposed { w: a, dy: z }];
    let y = g.sum_of_products(&products, Some(bias), Output::Alloc).unwrap();
    let y = g.sum_of_products(&[Product::Transposed { w, dy: x }], Some(x), Output::Overwrite(y)).unwrap();
    let quantized = g.quantize_rows_int16(x).unwrap();
    let int16 = Product::Int16 { w, x: quantized, direction: Direction::Transposed };
    let y = g.sum_of_products(&[int16], None, Output::Accumulate(y)).unwrap();
    g.schedule(y).unwrap();

    let plan = g.planned().unwrap();
    let sums: Vec<_> = plan
        .nodes
        .iter()
        .filter_map(|node| match &node.operation {
            Operation::SumOfProducts { products, accumulator } => Some((products, *accumulator, node.result)),
            _ => None,
        })
        .collect();
    let [z, y, again, last] = &sums[..] else { panic!("{}", sums.len()) };
    assert!(matches!(z.0[..], [PlannedProduct::Linear { w, scale: 0.5, .. }] if w.kind == WeightType::F32));
    assert_eq!((z.1, z.2.n_cols), (Accumulator::Zero, 4));
    let [PlannedProduct::Linear { w, x, .. }, PlannedProduct::Transposed { dy, .. }] = y.0[..] else {
        panic!()
    };
    assert_eq!((w.kind, w.n_rows, w.n_cols, w.first_byte), (kind, 32, 32, 0));
    let Memory::Buffer(number) = w.memory else { panic!() };
    assert_eq!((&plan.buffers[number], dy), (&weight, z.2));
    assert!(matches!(y.1, Accumulator::Row(row) if row.n_cols == 32));
    assert_eq!((again.1, again.2), (Accumulator::Matrix(x), y.2));
    assert_eq!((last.1, last.2), (Accumulator::Existing, y.2));
    assert!(matches!(last.0[..], [PlannedProduct::Int16 { direction: Direction::Transposed, .. }]));
}

#[test]
fn products_of_ggmls_own_are_for_the_cpu() {
    let mut g = Graph::new(16).unwrap();
    let x = values(&mut g);
    let y = g.ggml_mul_mat(x, x).unwrap();
    g.schedule(y).unwrap();
    let refused = g.planned().unwrap_err();
    assert!(matches!(refused, Error::NotDescribed { op: "MUL_MAT" }));
    assert_eq!(refused.to_string(), "a graph with MUL_MAT of ggml's own can be computed by the CPU only");
}

#[test]
fn integers_are_read_as_they_were_written() {
    let row = Buffer::i32(3).unwrap();
    row.write_i32(&[5, -1]).unwrap();
    assert_eq!(row.to_vec_i32().unwrap(), [5, -1, 0]);
    assert!(buffer(1, 3).to_vec_i32().is_err());
    assert!(Buffer::unallocated_i32(3).unwrap().to_vec_i32().is_err());
}
