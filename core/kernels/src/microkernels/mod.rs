//! Portable bodies of the micro-kernels, written so that the compiler can use whatever vectors a tier has.
//!
//! They are inlined into functions compiled for each tier. Every operation is one IEEE operation or one fused
//! multiply-add and every reduction has [`LANES`] lanes, so the width of the vectors does not change a bit.

mod activation;
mod bf16;
mod dropout;
mod exp;
mod int16;
mod low_rank;
mod norm;
mod panel;
mod softcap;
mod softmax_back;

pub use activation::Activation;
pub(crate) use activation::{activate, activate_back, gated, gated_back};
pub(crate) use bf16::{from_bf16, round_to_bf16, to_bf16};
pub(crate) use dropout::dropout;
pub(crate) use exp::exp_scaled;
#[cfg(target_arch = "aarch64")]
pub(crate) use int16::{ROUND_MAGIC, column_amax_bits, row_amax_bits, scales};
pub(crate) use int16::{int16_tile, quantize_panel, quantize_row};
pub(crate) use low_rank::{BLOCK, Dots, dots, multiply_rows, outer};
pub(crate) use norm::{rms_norm, rms_norm_back};
pub(crate) use panel::{Square, dequantize_panel, dequantize_panel_transposed};
pub(crate) use softcap::softcap;
pub(crate) use softmax_back::{SoftmaxBack, softmax_back};

/// Partial results of a reduction.
pub(crate) const LANES: usize = 16;

/// `Σ a·b` over the length that both have: lane `i % 16` sums element `i`, then the lanes are added in pairs.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let (a, a_rest) = a[..n].as_chunks::<LANES>();
    let (b, b_rest) = b[..n].as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] = a[i].mul_add(b[i], lanes[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = a.mul_add(*b, lanes[i]);
    }
    sum_lanes(lanes)
}

/// `Σ a·b·c` of three of one length, in the same lanes.
#[inline(always)]
fn dot_of_three(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let (c, c_rest) = c.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            lanes[i] = (a[i] * b[i]).mul_add(c[i], lanes[i]);
        }
    }
    for (i, ((a, b), c)) in a_rest.iter().zip(b_rest).zip(c_rest).enumerate() {
        lanes[i] = (a * b).mul_add(*c, lanes[i]);
    }
    sum_lanes(lanes)
}

/// The largest value; −∞ if there is none. A value that is not a number is passed over.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for value in lanes.iter().chain(rest) {
        largest = if *value > largest { *value } else { largest };
    }
    largest
}

/// `v = v · factor`.
#[inline(always)]
pub(crate) fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// Adds the lanes in a fixed tree.
#[inline(always)]
fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            lanes[i] += lanes[i + n];
        }
        n /= 2;
    }
    lanes[0]
}
