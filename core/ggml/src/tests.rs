//! Graphs against straightforward arithmetic, and our readers of weight formats against ggml's.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nightgraft_kernels::{Activation, WeightType, Weights};
use nightgraft_random::Random;
use nightgraft_tiny_model::random_weights as random;

use crate::{
    Buffer, Cpu, Error, Graph, MappedFile, Output, Product, RopeStyle, Rotation, TensorLocation,
    is_quantizable, quantize, weight_type, weight_types,
};

/// A reproducible stream in [-1, 1).
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn buffer(n_rows: usize, n_cols: usize, values: &[f32]) -> Buffer {
    let buffer = Buffer::f32(n_rows, n_cols).unwrap();
    buffer.write(0, values).unwrap();
    buffer
}

fn cpu(n_threads: usize) -> Cpu {
    Cpu::new(n_threads, Arc::default()).unwrap()
}

#[test]
fn every_weight_format_reads_as_ggml_wrote_it() {
    // Half a quantization step of each format, relative to the largest value of a block.
    for (kind, bound) in [
        (WeightType::F32, 0.0),
        (WeightType::F16, 1e-3),
        (WeightType::BF16, 8e-3),
        (WeightType::Q8_0, 0.005),
        (WeightType::Q4_0, 0.15),
        (WeightType::Q4_1, 0.08),
        (WeightType::Q5_0, 0.08),
        (WeightType::Q5_1, 0.04),
        (WeightType::Q4_K, 0.12),
        (WeightType::Q5_K, 0.06),
        (WeightType::Q6_K, 0.05),
        (WeightType::IQ4_NL, 0.2),
        (WeightType::Q2_K, 0.5),
        (WeightType::Q3_K, 0.3),
        (WeightType::IQ4_XS, 0.2),
        (WeightType::MXFP4, 0.3),
        // One scale and three or four levels, or two, for values spread evenly from -1 to 1.
        (WeightType::TQ1_0, 0.51),
        (WeightType::TQ2_0, 0.51),
        (weight_type(llama_cpp_sys_2::GGML_TYPE_NVFP4).unwrap(), 0.2),
        (weight_type(llama_cpp_sys_2::GGML_TYPE_Q1_0).unwrap(), 0.7),
        (weight_type(llama_cpp_sys_2::GGML_TYPE_Q2_0).unwrap(), 0.7),
    ] {
        let n = 512;
        let values = numbers(7, 2 * n);
        let bytes = quantize(kind, n, &values).unwrap();
        let weights = Weights::new(kind, 2, n, &bytes).unwrap();
        let mut ours = vec![0.0; n];
        let mut ggmls = vec![0.0f32; n];
        for row in 0..2 {
            weights.dequantize_row(row, &mut ours);
            let start = row * kind.row_bytes(n).unwrap();
            // SAFETY: a whole row of this type, and room for its values.
            unsafe {
                let traits = llama_cpp_sys_2::ggml_get_type_traits(kind.ggml_id());
                if let Some(to_float) = (*traits).to_float {
                    to_float(bytes[start..].as_ptr().cast(), ggmls.as_mut_ptr(), n as i64);
                    assert_eq!(ours, ggmls, "{} against ggml's own reader", kind.name());
                }
            }
            for (got, want) in ours.iter().zip(&values[row * n..]) {
                assert!((got - want).abs() <= bound, "{}: {got} for {want}", kind.name());
            }
        }
    }
}

#[test]
fn every_bit_of_a_block_reads_as_ggml_reads_it() {
    for kind in weight_types() {
        let n = 64 * kind.block_len();
        let bytes = random(kind, n, 0.05, &mut Random::new(u64::from(kind.ggml_id())));
        let (mut ours, mut ggmls) = (vec![0.0; n], vec![0.0f32; n]);
        Weights::new(kind, 1, n, &bytes).unwrap().dequantize_row(0, &mut ours);
        // SAFETY: a whole row of this type, and room for its values.
        unsafe {
            let traits = llama_cpp_sys_2::ggml_get_type_traits(kind.ggml_id());
            let Some(to_float) = (*traits).to_float else { continue };
            to_float(bytes.as_ptr().cast(), ggmls.as_mut_ptr(), n as i64);
        }
        assert_eq!(ours, ggmls, "{}", kind.name());
        let mean = ours.iter().sum::<f32>() / n as f32;
        let std = (ours.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n as f32).sqrt();
        assert!((0.03..0.08).contains(&std), "{}: standard deviation {std}", kind.name());
        assert!(mean.abs() < 0.015, "{}: mean {mean}", kind.name());
    }
}

#[test]
fn values_are_not_packed_into_points_of_a_lattice() {
    for kind in weight_types() {
        let packed = quantize(kind, 256, &numbers(1, 256));
        match is_quantizable(kind) {
            true => assert_eq!(packed.unwrap().len(), kind.row_bytes(256).unwrap()),
            false => assert!(matches!(packed, Err(Error::Quantizer { .. })), "{}", kind.name()),
        }
    }
    assert_eq!(weight_types().filter(|kind| !is_quantizable(*kind)).count(), 7);
}

#[test]
fn products_read_mapped_weights_and_add_onto_a_result() {
    let (n_out, n_in, n_tokens) = (48, 64, 5);
    let w = numbers(1, n_out * n_in);
    let bytes = quantize(WeightType::Q4_1, n_in, &w).unwrap();
    let mut dequantized = vec![0.0; n_out * n_in];
    let weights = Weights::new(WeightType::Q4_1, n_out, n_in, &bytes).unwrap();
    for (row, out) in dequantized.chunks_mut(n_in).enumerate() {
        weights.dequantize_row(row, out);
    }
    let path = std::env::temp_dir().join(format!("nightgraft-ggml-{}", std::process::id()));
    std::fs::write(&path, [vec![0u8; 64], bytes].concat()).unwrap();
    let file = Arc::new(MappedFile::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    let location = TensorLocation::new(WeightType::Q4_1, [n_out, n_in], 64).unwrap();
    let weight = Buffer::map_weights(&file, &[location]).unwrap().remove(0);
    assert!(weight.write(0, &[0.0; 64]).is_err(), "mapped weights are read-only");
    let past_the_end = TensorLocation::new(WeightType::Q4_1, [n_out, n_in], 128).unwrap();
    assert!(Buffer::map_weights(&file, &[past_the_end]).is_err());

    let x = numbers(2, n_tokens * n_in);
    let y0 = numbers(3, n_tokens * n_out);
    let (x_buffer, y_buffer) = (buffer(n_tokens, n_in, &x), buffer(n_tokens, n_out, &y0));
    let (y_out, dx_out) = (
        buffer(n_tokens, n_out, &vec![0.0; n_tokens * n_out]),
        buffer(n_tokens, n_in, &vec![0.0; n_tokens * n_in]),
    );
    let mut g = Graph::new(32).unwrap();
    let (w, x_t, y_t) =
        (g.tensor(&weight).unwrap(), g.tensor(&x_buffer).unwrap(), g.tensor(&y_buffer).unwrap());
    let product = Product::Linear { w, x: x_t, scale: 1.0 };
    let out = g.tensor(&y_out).unwrap();
    let y = g.sum_of_products(&[product], Some(y_t), Output::Overwrite(out)).unwrap();
    g.schedule(y).unwrap();
    let dx = g.linear_transposed(w, y_t).unwrap();
    g.store(dx, &dx_out).unwrap();
    for n_threads in [1, 2, 3] {
        cpu(n_threads).compute(&mut g).unwrap();
        let (y, dx) = (y_out.to_vec().unwrap(), dx_out.to_vec().unwrap());
        for t in 0..n_tokens {
            for o in 0..n_out {
                let want: f64 = (0..n_in)
                    .map(|i| f64::from(x[t * n_in + i]) * f64::from(dequantized[o * n_in + i]))
                    .sum::<f64>()
                    + f64::from(y0[t * n_out + o]);
                assert!((f64::from(y[t * n_out + o]) - want).abs() < 1e-5);
            }
            for i in 0..n_in {
                let want: f64 = (0..n_out)
                    .map(|o| f64::from(y0[t * n_out + o]) * f64::from(dequantized[o * n_in + i]))
                    .sum();
                assert!((f64::from(dx[t * n_in + i]) - want).abs() < 1e-5);
            }
        }
    }
}

/// A weight in a mapped file: quantized where it can be, else of random blocks.
fn weight(kind: WeightType, n_rows: usize, n_cols: usize) -> Buffer {
    let bytes = match is_quantizable(kind) {
        true => quantize(kind, n_cols, &numbers(1, n_rows * n_cols)).unwrap(),
        false => random(kind, n_rows * n_cols, 0.5, &mut Random::new(1)),
    };
    let path = std::env::temp_dir().join(format!("nightgraft-{}-{}", kind.name(), std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let file = Arc::new(MappedFile::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    Buffer::map_weights(&file, &[TensorLocation::new(kind, [n_rows, n_cols], 0).unwrap()]).unwrap().remove(0)
}

#[test]
fn products_agree_with_ggmls_own_in_every_format() {
    let (n_out, n_in, n_tokens) = (64, 256, 7);
    for kind in weight_types() {
        let weight = weight(kind, n_out, n_in);
        let (x, dy) = (
            buffer(n_tokens, n_in, &numbers(2, n_tokens * n_in)),
            buffer(n_tokens, n_out, &numbers(3, n_tokens * n_out)),
        );
        let compute = |ggmls: bool, forward: bool| -> Option<Vec<f32>> {
            let mut g = Graph::new(16).unwrap();
            let (w, x, dy) = (g.tensor(&weight).unwrap(), g.tensor(&x).unwrap(), g.tensor(&dy).unwrap());
            let result = match (ggmls, forward) {
                (false, true) => g.linear(w, x),
                (false, false) => g.linear_transposed(w, dy),
                (true, true) => g.ggml_mul_mat(w, x),
                (true, false) => g.ggml_out_prod(w, dy),
            };
            let result = match result {
                Err(Error::WeightType { .. }) if ggmls && !forward => return None,
                result => result.unwrap(),
            };
            let (n_rows, n_cols) = g.shape("test", result).unwrap();
            let out = Buffer::f32(n_rows, n_cols).unwrap();
            g.store(result, &out).unwrap();
            let mut cpu = cpu(2);
            cpu.set_ggml_threads(2);
            cpu.compute(&mut g).unwrap();
            Some(out.to_vec().unwrap())
        };
        // Forward, ggml rounds the activations: to 8 bits, or to those of the weight.
        for (forward, bound) in [(true, 2e-2), (false, 1e-6)] {
            let Some(want) = compute(true, forward) else {
                assert!(matches!(kind, WeightType::F16 | WeightType::BF16), "{}", kind.name());
                continue;
            };
            let got = compute(false, forward).unwrap();
            let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
            let error = norm(&mut got.iter().zip(&want).map(|(a, b)| f64::from(a - b)));
            let relative = error / norm(&mut want.iter().map(|v| f64::from(*v)));
            assert!(relative < bound, "{} forward {forward}: {relative:.1e}", kind.name());
        }
    }
}

#[test]
fn graphs_of_different_size_share_one_arena() {
    let mut cpu = cpu(2);
    let graph = |n_rows| {
        let values = numbers(1, n_rows * 8);
        let (x, out) = (buffer(n_rows, 8, &values), buffer(n_rows, 8, &vec![0.0; n_rows * 8]));
        let mut g = Graph::new(16).unwrap();
        let t = g.tensor(&x).unwrap();
        // The doubled value must still be there after the norm and the gate have taken memory of their own.
        let doubled = g.add(t, t).unwrap();
        let zeros = g.tensor(&buffer(1, 8, &[0.0; 8])).unwrap();
        let normed = g.rms_norm(doubled, Some(zeros), 8, 1e-5).unwrap();
        let gated = g.activation(Activation::Silu, normed, Some(normed)).unwrap();
        let sum = g.add(gated, doubled).unwrap();
        g.store(sum, &out).unwrap();
        (g, out, values)
    };
    let (mut small, mut large) = (graph(3), graph(50));
    assert!(small.0.arena_bytes() < large.0.arena_bytes());
    for _ in 0..2 {
        for (g, out, values) in [&mut small, &mut large] {
            cpu.compute(g).unwrap();
            let expected: Vec<f32> = values.iter().map(|x| 2.0 * x).collect();
            assert_eq!(out.to_vec().unwrap(), expected);
            out.clear().unwrap();
        }
    }
}

#[test]
fn misuse_is_an_error_and_never_an_abort() {
    let a = buffer(2, 3, &[0.0; 6]);
    let b = buffer(3, 3, &[0.0; 9]);
    let mut g = Graph::new(16).unwrap();
    let mut other = Graph::new(16).unwrap();
    let (ta, tb, foreign) = (g.tensor(&a).unwrap(), g.tensor(&b).unwrap(), other.tensor(&b).unwrap());
    assert!(matches!(g.add(ta, tb), Err(Error::Shape { .. })));
    assert!(matches!(g.add(tb, foreign), Err(Error::ForeignTensor { .. })));
    assert!(matches!(g.columns(ta, 2, 2), Err(Error::Shape { .. })));
    assert!(matches!(g.columns(ta, usize::MAX, 2), Err(Error::Shape { .. })));
    assert!(matches!(g.dropout(ta, 0.0, &crate::DropoutKey::default(), 0), Err(Error::Shape { .. })));
    let rotation = Rotation { head_dim: 2, style: RopeStyle::Interleaved, back: false };
    assert!(matches!(g.rope(ta, tb, rotation), Err(Error::Shape { .. })));
    assert!(matches!(g.tensor_rows(&a, 3), Err(Error::Shape { .. })));
    assert!(matches!(g.store(ta, &Buffer::f32(1, 3).unwrap()), Err(Error::Shape { .. })));
    assert!(matches!(g.accumulate_outer(&a, ta, ta), Err(Error::Shape { .. })));
    let product = Product::Linear { w: tb, x: tb, scale: 1.0 };
    for (products, addend, output) in [
        (&[product][..], None, Output::Accumulate(tb)), // an operand in the target's memory
        (&[product], Some(ta), Output::Alloc),
        (&[product], Some(tb), Output::Accumulate(ta)),
        (&[product; 3], None, Output::Alloc),
        (&[], None, Output::Alloc),
    ] {
        assert!(matches!(g.sum_of_products(products, addend, output), Err(Error::Shape { .. })));
    }
    assert!(matches!(g.rms_norm(tb, Some(tb), 3, 1e-5), Err(Error::Shape { .. })));
    assert!(matches!(g.activation(Activation::Silu, ta, Some(tb)), Err(Error::Shape { .. })));
    assert!(matches!(g.activation_back(Activation::Silu, ta, Some(tb), tb), Err(Error::Shape { .. })));
    assert!(g.store(ta, &Buffer::i32(3).unwrap()).is_err());
    assert!(matches!(Graph::new(0), Err(Error::Shape { .. })));
    assert!(matches!(Buffer::f32(0, 3), Err(Error::Shape { .. })));
    assert!(matches!(Buffer::f32(usize::MAX, 3), Err(Error::Shape { .. })));
    assert!(matches!(a.read(0, &mut [0.0; 4]), Err(Error::Shape { .. })));
    assert!(matches!(quantize(WeightType::Q4_K, 32, &[0.0; 32]), Err(Error::Shape { .. })));
    assert!(matches!(Cpu::new(0, Arc::default()), Err(Error::Shape { .. })));
    let full = std::iter::repeat_with(|| g.add(ta, ta)).take(32).find_map(Result::err);
    assert!(matches!(full, Some(Error::Shape { .. })), "a full graph refuses");
}

#[test]
fn views_in_a_row_are_tensors_apart() {
    let row = buffer(1, 10, &[1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0, 0.0, 0.0]);
    let result = buffer(2, 2, &[0.0; 4]);
    let mut g = Graph::new(16).unwrap();
    let row = g.tensor(&row).unwrap();
    let (w, x, across) = (
        g.view_in_row(row, 0, (2, 2)).unwrap(),
        g.view_in_row(row, 4, (2, 2)).unwrap(),
        g.view_in_row(row, 3, (2, 2)).unwrap(),
    );
    assert!(matches!(g.view_in_row(row, 7, (2, 2)), Err(Error::Shape { .. })));
    assert!(matches!(g.view_in_row(w, 0, (1, 2)), Err(Error::Shape { .. })), "not a row");
    let product = |w| Product::Linear { w, x: w, scale: 1.0 };
    for overlapping in [w, across] {
        let refused = g.sum_of_products(&[product(overlapping)], None, Output::Overwrite(w));
        assert!(matches!(refused, Err(Error::Shape { .. })));
    }
    let sum = g.sum_of_products(&[product(w)], None, Output::Accumulate(x)).unwrap();
    g.store(sum, &result).unwrap();
    cpu(1).compute(&mut g).unwrap();
    // [10 20; 30 40] + [1 2; 3 4] · [1 2; 3 4]ᵀ
    assert_eq!(result.to_vec().unwrap(), [15.0, 31.0, 41.0, 65.0]);
}

#[test]
fn a_raised_flag_ends_a_computation() {
    let stop = Arc::new(AtomicBool::new(true));
    let x = buffer(1, 3, &[1.0; 3]);
    let mut g = Graph::new(16).unwrap();
    let t = g.tensor(&x).unwrap();
    let mut sum = t;
    for _ in 0..4 {
        sum = g.add(sum, t).unwrap();
    }
    g.store(sum, &x).unwrap();
    let mut cpu = Cpu::new(2, stop.clone()).unwrap();
    assert!(matches!(cpu.compute(&mut g), Err(Error::Aborted)));
    stop.store(false, Ordering::Relaxed);
    x.write(0, &[1.0; 3]).unwrap();
    cpu.compute(&mut g).unwrap();
    assert_eq!(x.to_vec().unwrap(), [5.0; 3]);
}

#[test]
fn a_graph_without_memory_takes_as_much_as_a_real_one_and_is_not_computed() {
    let build = |x: Buffer, w: Buffer| {
        let mut g = Graph::new(16).unwrap();
        let (x, w) = (g.tensor_rows(&x, 3).unwrap(), g.tensor(&w).unwrap());
        let y = g.linear(w, x).unwrap();
        let y = g.linear_transposed(w, y).unwrap();
        g.schedule(y).unwrap();
        g
    };
    let mut real = build(Buffer::f32(5, 64).unwrap(), Buffer::f32(32, 64).unwrap());
    let unallocated = Buffer::unallocated(5, 64).unwrap();
    let mut of_unallocated = build(unallocated.clone(), Buffer::unallocated(32, 64).unwrap());
    assert!(real.arena_bytes() >= 4 * 3 * (32 + 64));
    assert_eq!(of_unallocated.arena_bytes(), real.arena_bytes());
    cpu(1).compute(&mut real).unwrap();
    assert!(matches!(cpu(1).compute(&mut of_unallocated), Err(Error::Shape { .. })));
    assert!(
        unallocated.write(0, &[0.0; 64]).is_err()
            && unallocated.to_vec().is_err()
            && unallocated.clear().is_err()
    );
    assert!(Buffer::unallocated_i32(4).unwrap().write_i32(&[1]).is_err());
}
