//! Random weights, made directly in their stored form.

use half::{bf16, f16};
use nightgraft_kernels::WeightType;
use nightgraft_random::Random;

/// `n` values with about the standard deviation `std`; `n` is a multiple of the block length.
///
/// Quantized blocks get random quants under a scale that brings their spread to `std`; the scale itself
/// varies from block to block, as in real files.
pub fn random(kind: WeightType, n: usize, std: f32, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(n / kind.block_len() * kind.block_bytes());
    for _ in 0..n / kind.block_len() {
        block(kind, std * random.between(0.5, 1.5), random, &mut out);
    }
    out
}

fn block(kind: WeightType, std: f32, random: &mut Random, out: &mut Vec<u8>) {
    // The divisor is the standard deviation of the format's values under a scale of 1. Formats with an
    // offset get the one that centres them.
    match kind {
        WeightType::F32 => out.extend(normal(std, random).to_le_bytes()),
        WeightType::F16 => out.extend(f16::from_f32(normal(std, random)).to_le_bytes()),
        WeightType::BF16 => out.extend(bf16::from_f32(normal(std, random)).to_le_bytes()),
        WeightType::Q8_0 => scales_then_quants(&[std / 73.9], 32, random, out),
        WeightType::Q4_0 => scales_then_quants(&[std / 4.6], 16, random, out),
        WeightType::Q4_1 => scales_then_quants(&[std / 4.6, std / 4.6 * -7.5], 16, random, out),
        WeightType::Q5_0 => scales_then_quants(&[std / 9.2], 20, random, out),
        WeightType::Q5_1 => scales_then_quants(&[std / 9.2, std / 9.2 * -15.5], 20, random, out),
        WeightType::IQ4_NL => scales_then_quants(&[std / 70.0], 16, random, out),
        WeightType::Q4_K => scales_then_quants(&[std / 245.0, std / 245.0 * 7.5], 140, random, out),
        WeightType::Q5_K => scales_then_quants(&[std / 498.0, std / 498.0 * 15.5], 172, random, out),
        WeightType::Q6_K => {
            out.extend((0..208).map(|_| random.byte()));
            out.extend(f16::from_f32(std / 1367.0).to_le_bytes());
        }
    }
}

fn scales_then_quants(scales: &[f32], n_quant_bytes: usize, random: &mut Random, out: &mut Vec<u8>) {
    scales.iter().for_each(|&scale| out.extend(f16::from_f32(scale).to_le_bytes()));
    out.extend((0..n_quant_bytes).map(|_| random.byte()));
}

/// Nearly normal: the sum of twelve uniform values has variance 1.
fn normal(std: f32, random: &mut Random) -> f32 {
    std * ((0..12).map(|_| random.unit()).sum::<f32>() - 6.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nightgraft_kernels::Weights;

    use super::*;

    #[test]
    fn every_format_has_the_wanted_spread() {
        for kind in WeightType::ALL {
            let n = 256 * 64;
            let bytes = random(kind, n, 0.05, &mut Random::new(3));
            assert_eq!(bytes.len(), kind.row_bytes(n).unwrap());
            let mut values = vec![0.0; n];
            Weights::new(kind, 1, n, &bytes).unwrap().dequantize_row(0, &mut values);
            let mean = values.iter().sum::<f32>() / n as f32;
            let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n as f32).sqrt();
            assert!((0.03..0.08).contains(&std), "{}: standard deviation {std}", kind.name());
            assert!(mean.abs() < 0.015, "{}: mean {mean}", kind.name());
        }
    }
}
