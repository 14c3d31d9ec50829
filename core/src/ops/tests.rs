//! Every pair of operations against central differences of its own forward.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::sync::Arc;

use nightgraft_ggml::{
    Activation, AttentionShape, Buffer, ComputeType, Cpu, DropoutKey, Error, Graph, LogitTransform,
    MappedFile, Output, RopeStyle, Tensor, TensorLocation, WeightType, is_quantizable, quantize,
    weight_types,
};
use nightgraft_random::Random;
use nightgraft_tiny_model::random_weights;

use super::head::{self, Head};
use super::linear::{self, Dropout, Linear, LoraFactors, MatmulInput};
use super::norm::{self, Norm};
use super::rope::{self, Angles, PairLayout, Series};
use super::{activation, attention, residual, temperature};

/// Step of the differences. Truncation grows with its square, rounding of the f32 forward with its inverse;
/// here both are near 1e-4 of the gradient.
const STEP: f32 = 1e-2;
/// Relative L2 error of a whole gradient that the two together can cause.
const TOLERANCE: f64 = 2e-3;

/// A reproducible stream in [-1, 1).
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn matrix(n_rows: usize, n_cols: usize, seed: u64) -> Buffer {
    let buffer = Buffer::f32(n_rows, n_cols).unwrap();
    buffer.write(0, &numbers(seed, n_rows * n_cols)).unwrap();
    buffer
}

fn integers(values: &[i32]) -> Buffer {
    let buffer = Buffer::i32(values.len()).unwrap();
    buffer.write_i32(values).unwrap();
    buffer
}

/// A weight in a file, as in real life: quantized where it can be, else of random blocks.
fn weight(kind: WeightType, n_rows: usize, n_cols: usize, seed: u64) -> Buffer {
    let bytes = match is_quantizable(kind) {
        true => quantize(kind, n_cols, &numbers(seed, n_rows * n_cols)).unwrap(),
        false => random_weights(kind, n_rows * n_cols, 0.5, &mut Random::new(seed)),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let mapped = Arc::new(MappedFile::open(file.path()).unwrap());
    let location = TensorLocation::new(kind, [n_rows, n_cols], 0).unwrap();
    Buffer::map_weights(&mapped, &[location]).unwrap().remove(0)
}

/// Checks the gradients of `f = Σ y ⊙ r` for a fixed random `r`. `pair` builds the forward and, given `r` as
/// `dy`, the backward: it returns `y` and stores the gradient of each of `inputs` in the buffer of the same index.
fn check(
    name: &str,
    inputs: &[&Buffer],
    pair: impl Fn(&mut Graph, Option<(Tensor, &[Buffer])>) -> Result<Tensor, Error>,
) {
    let mut cpu = Cpu::new(2, Arc::default()).unwrap();
    let mut forward = Graph::new(256).unwrap();
    let y = pair(&mut forward, None).unwrap();
    let (n_rows, n_cols) = forward.shape("test", y).unwrap();
    let r = matrix(n_rows, n_cols, 99);
    let y_buffer = Buffer::f32(n_rows, n_cols).unwrap();
    forward.store(y, &y_buffer).unwrap();

    let gradients: Vec<Buffer> =
        inputs.iter().map(|x| x.shape()).map(|(rows, cols)| Buffer::f32(rows, cols).unwrap()).collect();
    let mut backward = Graph::new(256).unwrap();
    let dy = backward.tensor(&r).unwrap();
    pair(&mut backward, Some((dy, &gradients))).unwrap();
    cpu.compute(&mut backward).unwrap();

    let weights = r.to_vec().unwrap();
    let mut value = || -> f64 {
        cpu.compute(&mut forward).unwrap();
        y_buffer.to_vec().unwrap().iter().zip(&weights).map(|(&y, &r)| f64::from(y) * f64::from(r)).sum()
    };
    for (i, (input, gradient)) in inputs.iter().zip(&gradients).enumerate() {
        let gradient = gradient.to_vec().unwrap();
        let original = input.to_vec().unwrap();
        let (mut error, mut norm) = (0.0, 0.0);
        for (j, &analytic) in gradient.iter().enumerate() {
            let mut at = |offset: f32| {
                let mut moved = original.clone();
                moved[j] += offset;
                input.write(0, &moved).unwrap();
                value()
            };
            let numeric = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
            error += (numeric - f64::from(analytic)).powi(2);
            norm += numeric.powi(2);
        }
        input.write(0, &original).unwrap();
        assert!(norm > 1e-6, "{name}: input {i} has no influence");
        let relative = (error / norm).sqrt();
        assert!(relative < TOLERANCE, "{name}: gradient of input {i} is off by {relative:.2e}");
    }
}

/// A copy for an operation that works in place.
fn copy(g: &mut Graph, x: Tensor) -> Result<Tensor, Error> {
    let (n_rows, n_cols) = g.shape("test", x)?;
    let buffer = Buffer::f32(n_rows, n_cols)?;
    g.store(x, &buffer)?;
    g.tensor(&buffer)
}

fn lora_factors(rank: usize, n_in: usize, n_out: usize, dropout: Option<Dropout>) -> LoraFactors {
    LoraFactors {
        a: matrix(rank, n_in, 11),
        b_t: matrix(rank, n_out, 12),
        grad_a: Buffer::f32(rank, n_in).unwrap(),
        grad_b_t: Buffer::f32(rank, n_out).unwrap(),
        scale: 0.5,
        dropout,
    }
}

/// A linear map and its adapter: gradients of the input and of both factors.
fn check_linear(name: &str, weight: Buffer, dropout: Option<Dropout>) {
    let (n_out, n_in) = weight.shape();
    let adapter = lora_factors(3, n_in, n_out, dropout);
    let x = matrix(4, n_in, 13);
    let linear = Linear { weight, bias: None, adapter: Some(adapter.clone()) };
    check(name, &[&x, &adapter.a, &adapter.b_t], |g, dy| {
        let x = g.tensor(&x)?;
        let input = MatmulInput::new(g, x, ComputeType::F32)?;
        let y = linear::forward(g, &linear, input, None, Output::Alloc)?;
        if let Some((dy, gradients)) = dy {
            adapter.grad_a.clear()?;
            adapter.grad_b_t.clear()?;
            let dy = MatmulInput::new(g, dy, ComputeType::F32)?;
            let dx = linear::backward(g, &linear, x, dy, None)?;
            g.store(dx, &gradients[0])?;
            let (grad_a, grad_b_t) = (g.tensor(&adapter.grad_a)?, g.tensor(&adapter.grad_b_t)?);
            g.store(grad_a, &gradients[1])?;
            g.store(grad_b_t, &gradients[2])?;
        }
        Ok(y)
    });
}

#[test]
fn linear_with_adapter_in_every_weight_format() {
    for kind in weight_types() {
        check_linear(kind.name(), weight(kind, 6, kind.block_len().max(32), 1), None);
    }
}

#[test]
fn linear_with_dropout_uses_one_mask_in_both_passes() {
    let key = DropoutKey::default();
    key.set(42);
    let dropout = Dropout { keep_prob: 0.7, key, salt: 5 };
    check_linear("dropout", weight(WeightType::F32, 6, 16, 1), Some(dropout));
}

#[test]
fn a_bias_is_added_to_every_row() {
    use ComputeType::{F32, Int16};
    for (compute_type, n_rows) in [(F32, 3), (Int16, 3), (F32, 1), (Int16, 1)] {
        let (weight, bias, x) = (weight(WeightType::Q8_0, 6, 32, 1), matrix(1, 6, 2), matrix(n_rows, 32, 3));
        let [without, with] = [None, Some(bias.clone())].map(|bias| {
            let linear = Linear { weight: weight.clone(), bias, adapter: Some(lora_factors(3, 32, 6, None)) };
            let out = Buffer::f32(n_rows, 6).unwrap();
            let mut g = Graph::new(64).unwrap();
            let x = g.tensor(&x).unwrap();
            let x = MatmulInput::new(&mut g, x, compute_type).unwrap();
            let y = linear::forward(&mut g, &linear, x, None, Output::Alloc).unwrap();
            g.store(y, &out).unwrap();
            // Its sums are added to the bias; they cannot be added to something else, too.
            assert_eq!(
                linear::forward(&mut g, &linear, x, Some(y), Output::Alloc).is_err(),
                linear.bias.is_some()
            );
            Cpu::new(2, Arc::default()).unwrap().compute(&mut g).unwrap();
            out.to_vec().unwrap()
        });
        let bias = bias.to_vec().unwrap();
        for (i, (with, without)) in with.iter().zip(&without).enumerate() {
            let difference = with - without;
            assert!((difference - bias[i % 6]).abs() < 1e-5, "{difference} for {}", bias[i % 6]);
        }
    }
}

#[test]
fn a_backward_adds_onto_what_is_there() {
    let linear = Linear { weight: weight(WeightType::F32, 3, 4, 1), bias: None, adapter: None };
    let (x, dy, base) = (matrix(2, 4, 2), matrix(2, 3, 3), matrix(2, 4, 4));
    let (alone, onto) = (Buffer::f32(2, 4).unwrap(), Buffer::f32(2, 4).unwrap());
    let mut g = Graph::new(64).unwrap();
    let (x, dy) = (g.tensor(&x).unwrap(), g.tensor(&dy).unwrap());
    let dy = MatmulInput::new(&mut g, dy, ComputeType::F32).unwrap();
    let dx = linear::backward(&mut g, &linear, x, dy, None).unwrap();
    g.store(dx, &alone).unwrap();
    onto.write(0, &base.to_vec().unwrap()).unwrap();
    let sum = g.tensor(&onto).unwrap();
    let dx = linear::backward(&mut g, &linear, x, dy, Some(sum)).unwrap();
    g.schedule(dx).unwrap();
    Cpu::new(1, Arc::default()).unwrap().compute(&mut g).unwrap();
    let (alone, onto, base) = (alone.to_vec().unwrap(), onto.to_vec().unwrap(), base.to_vec().unwrap());
    for ((alone, onto), base) in alone.iter().zip(&onto).zip(&base) {
        assert!((alone + base - onto).abs() < 1e-6);
    }
}

#[test]
fn rms_norm_of_rows_and_of_heads_with_and_without_a_weight() {
    for (width, is_weighted) in [(12, true), (12, false), (4, true), (4, false)] {
        let weight = is_weighted.then(|| matrix(1, width, 1));
        let norm = Norm { weight, width, eps: 1e-5 };
        let x = matrix(3, 12, 2);
        check("rms_norm", &[&x], |g, dy| {
            let x = g.tensor(&x)?;
            if let Some((dy, gradients)) = dy {
                let dx = norm::backward(g, &norm, x, dy, Output::Alloc)?;
                g.store(dx, &gradients[0])?;
            }
            norm::forward(g, &norm, x)
        });
    }
}

#[test]
fn a_norm_adds_its_gradient_onto_the_stream() {
    let norm = Norm { weight: Some(matrix(1, 8, 1)), width: 8, eps: 1e-5 };
    let (x, dy, stream) = (matrix(3, 8, 2), matrix(3, 8, 3), matrix(3, 8, 4));
    let (before, alone) = (stream.to_vec().unwrap(), Buffer::f32(3, 8).unwrap());
    let mut g = Graph::new(64).unwrap();
    let (x, dy, grad) = (g.tensor(&x).unwrap(), g.tensor(&dy).unwrap(), g.tensor(&stream).unwrap());
    let dx = norm::backward(&mut g, &norm, x, dy, Output::Alloc).unwrap();
    g.store(dx, &alone).unwrap();
    let sum = norm::backward(&mut g, &norm, x, dy, Output::Accumulate(grad)).unwrap();
    g.schedule(sum).unwrap();
    Cpu::new(2, Arc::default()).unwrap().compute(&mut g).unwrap();
    for ((sum, alone), before) in stream.to_vec().unwrap().iter().zip(alone.to_vec().unwrap()).zip(before) {
        assert!((sum - before - alone).abs() < 1e-6);
    }
}

#[test]
fn rotary_embedding_in_both_styles() {
    let angles = Buffer::f32(3, 6).unwrap();
    let series = Series { n_dims: 6, base: 100.0, factors: Some(&[1.0, 2.0, 3.0]), scale: 0.5, ramp: None };
    angles.write(0, &Angles::new(series, 1.3).table(&[0, 1, 9], &[0; 3])).unwrap();
    for style in [RopeStyle::Interleaved, RopeStyle::Neox] {
        let layout = PairLayout { head_dim: 8, style };
        let x = matrix(3, 16, 1);
        check("rope", &[&x], |g, dy| {
            let (x, angles) = (g.tensor(&x)?, g.tensor(&angles)?);
            let Some((dy, gradients)) = dy else {
                let x = copy(g, x)?;
                return rope::forward(g, layout, x, angles);
            };
            g.store(dy, &gradients[0])?;
            let dx = g.tensor(&gradients[0])?;
            let dx = rope::backward(g, layout, dx, angles)?;
            g.schedule(dx)?;
            Ok(x)
        });
    }
}

const ACTIVATIONS: [Activation; 3] = [Activation::Silu, Activation::GeluTanh, Activation::Gelu];

#[test]
fn gated_activations() {
    for f in ACTIVATIONS {
        let (gate, up) = (matrix(3, 8, 1), matrix(3, 8, 2));
        check("gated", &[&gate, &up], |g, dy| {
            let (gate, up) = (g.tensor(&gate)?, g.tensor(&up)?);
            if let Some((dy, gradients)) = dy {
                let [gate, up, dy] = [copy(g, gate)?, copy(g, up)?, copy(g, dy)?];
                activation::backward(g, f, gate, Some(up), dy)?;
                g.store(gate, &gradients[0])?;
                g.store(up, &gradients[1])?;
            }
            activation::forward(g, f, gate, Some(up))
        });
    }
}

#[test]
fn activations_without_a_gate() {
    for f in ACTIVATIONS {
        let x = matrix(3, 8, 1);
        check("ungated", &[&x], |g, dy| {
            let x = g.tensor(&x)?;
            if let Some((dy, gradients)) = dy {
                let [x, dy] = [copy(g, x)?, copy(g, dy)?];
                activation::backward(g, f, x, None, dy)?;
                g.store(x, &gradients[0])?;
            }
            activation::forward(g, f, x, None)
        });
    }
}

/// Gate and what it multiplies as halves of one matrix, whose gradients are halves of one, too.
#[test]
fn a_gate_in_one_matrix_with_what_it_multiplies() {
    let both = matrix(3, 16, 1);
    check("fused", &[&both], |g, dy| {
        let halves = |g: &mut Graph, both| Ok::<_, Error>((g.columns(both, 0, 8)?, g.columns(both, 8, 8)?));
        let both = g.tensor(&both)?;
        if let Some((dy, gradients)) = dy {
            let [both, dy] = [copy(g, both)?, copy(g, dy)?];
            let (gate, up) = halves(g, both)?;
            activation::backward(g, Activation::Silu, gate, Some(up), dy)?;
            g.store(both, &gradients[0])?;
            // Columns that overlap are no two matrices.
            let overlapping = g.columns(both, 4, 8)?;
            assert!(activation::backward(g, Activation::Silu, gate, Some(overlapping), dy).is_err());
        }
        let (gate, up) = halves(g, both)?;
        activation::forward(g, Activation::Silu, gate, Some(up))
    });
}

#[test]
fn what_joins_the_stream_is_scaled() {
    for scale in [1.0, 0.22] {
        let (x, o) = (matrix(3, 8, 1), matrix(3, 8, 2));
        check("residual", &[&x, &o], |g, dy| {
            let (x, o) = (g.tensor(&x)?, g.tensor(&o)?);
            if let Some((dy, gradients)) = dy {
                g.store(dy, &gradients[0])?;
                let d = residual::backward(g, dy, scale)?;
                g.store(d, &gradients[1])?;
            }
            residual::forward(g, x, o, scale, Output::Alloc)
        });
    }
}

#[test]
fn queries_grow_with_their_position() {
    let factors = Buffer::f32(3, 1).unwrap();
    factors.write(0, &temperature::factors(&[0, 5, 40], 0.3, 4)).unwrap();
    let x = matrix(3, 8, 1);
    check("temperature", &[&x], |g, dy| {
        let (x, factors) = (g.tensor(&x)?, g.tensor(&factors)?);
        if let Some((dy, gradients)) = dy {
            let dy = copy(g, dy)?;
            let dx = temperature::backward(g, dy, factors)?;
            g.store(dx, &gradients[0])?;
        }
        let x = copy(g, x)?;
        temperature::forward(g, x, factors)
    });
}

#[test]
fn grouped_attention_inside_segments() {
    let shape = AttentionShape::new([4, 2], 8, 0.35).unwrap();
    for (window, cap) in [(None, None), (NonZeroUsize::new(2), None), (NonZeroUsize::new(3), Some(0.7))] {
        let shape = shape.windowed(window).capped(cap).unwrap();
        let (q, k, v) = (matrix(7, 32, 1), matrix(7, 16, 2), matrix(7, 16, 3));
        let starts = integers(&[0, 0, 0, 3, 3, 3, 3]);
        check("attention", &[&q, &k, &v], |g, dy| {
            let qkv = [g.tensor(&q)?, g.tensor(&k)?, g.tensor(&v)?];
            let starts = g.tensor(&starts)?;
            let saved = attention::forward(g, shape, qkv, starts, Output::Alloc)?;
            if let Some((dy, gradients)) = dy {
                for (d, gradient) in attention::backward(g, &saved, dy)?.into_iter().zip(gradients) {
                    g.store(d, gradient)?;
                }
            }
            saved.output(g)
        });
    }
}

#[test]
fn head_with_loss() {
    check_head(LogitTransform::NONE);
    check_head(LogitTransform { scale: 0.3, softcap: None });
    check_head(LogitTransform { scale: 1.5, softcap: Some(4.0) });
}

fn check_head(transform: LogitTransform) {
    let head = Head {
        norm: Norm { weight: Some(matrix(1, 32, 1)), width: 32, eps: 1e-5 },
        weight: weight(WeightType::Q8_0, 11, 32, 2),
        compute_type: ComputeType::F32,
        transform,
    };
    let (x, targets) = (matrix(4, 32, 3), integers(&[10, 0, -1, 5]));
    let (loss, gradient) = (Buffer::f32(4, 2).unwrap(), Buffer::f32(4, 32).unwrap());
    let mut cpu = Cpu::new(2, Arc::default()).unwrap();
    let mut g = Graph::new(64).unwrap();
    let (x_t, targets) = (g.tensor(&x).unwrap(), g.tensor(&targets).unwrap());
    let saved = head::forward(&mut g, &head, x_t, targets, &loss).unwrap();
    let dx = g.tensor(&gradient).unwrap();
    let dx = head::backward(&mut g, &head, &saved, dx).unwrap();
    g.schedule(dx).unwrap();
    let mut sum = || -> f64 {
        gradient.clear().unwrap();
        cpu.compute(&mut g).unwrap();
        loss.to_vec().unwrap().chunks(2).map(|row| f64::from(row[0])).sum()
    };
    sum();
    let analytic = gradient.to_vec().unwrap();
    assert_eq!(loss.to_vec().unwrap()[4..6], [0.0, 0.0], "a row without a target has no loss");
    assert!(analytic[64..96].iter().all(|&g| g == 0.0), "nor a gradient");
    let original = x.to_vec().unwrap();
    let (mut error, mut norm) = (0.0, 0.0);
    for j in 0..original.len() {
        let mut at = |offset: f32| {
            let mut moved = original.clone();
            moved[j] += offset;
            x.write(0, &moved).unwrap();
            sum()
        };
        let numeric = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
        error += (numeric - f64::from(analytic[j])).powi(2);
        norm += numeric.powi(2);
    }
    let relative = (error / norm).sqrt();
    assert!(relative < TOLERANCE, "the gradient of the loss is off by {relative:.2e}");
}
