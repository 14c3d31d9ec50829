//! Random weights, made directly in their stored form.

use half::{bf16, f16};
use nightgraft_kernels::{ForeignFormat, WeightType};
use nightgraft_random::Random;

/// `n` values with about the standard deviation `std`; `n` is a multiple of the block length.
///
/// Quantized blocks get random quants under a scale that brings their spread to `std`; the scale itself
/// varies from block to block, as in real files.
pub fn random_weights(kind: WeightType, n: usize, std: f32, random: &mut Random) -> Vec<u8> {
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
        WeightType::Q6_K => quants_then_scales(208, &[std / 1367.0], random, out),
        WeightType::Q2_K => quants_then_scales(80, &[std / 13.9, std / 13.9 * 1.5], random, out),
        WeightType::Q3_K => quants_then_scales(108, &[std / 43.3], random, out),
        WeightType::IQ4_XS => scales_then_quants(&[std / 1295.0], 134, random, out),
        WeightType::MXFP4 => {
            out.push((128.0 + (std / 5.86).log2()).round() as u8);
            out.extend((0..16).map(|_| random.byte()));
        }
        WeightType::TQ1_0 => quants_then_scales(52, &[std / 0.82], random, out),
        WeightType::TQ2_0 => {
            out.extend((0..64).map(|_| ternary(random)));
            out.extend(f16::from_f32(std / 0.82).to_le_bytes());
        }
        WeightType::Foreign(format) => foreign_block(format, std, random, out),
    }
}

/// Formats that begin with a scale behind which any bits are values, and what these spread by under a scale of 1.
const SCALED: [(&str, f32); 7] = [
    ("IQ1_S", 7.2),
    ("IQ2_XXS", 53.1),
    ("IQ2_XS", 55.9),
    ("IQ2_S", 56.4),
    ("IQ3_XXS", 142.6),
    ("IQ3_S", 140.4),
    ("Q1_0", 1.0),
];

/// A block of a format that the kernels do not read themselves. Any bits in it are values.
///
/// # Panics
/// For a format that is not one of ggml 0.26.
fn foreign_block(format: &ForeignFormat, std: f32, random: &mut Random, out: &mut Vec<u8>) {
    match format.name() {
        "Q2_0" => {
            out.extend(f16::from_f32(std / 0.82).to_le_bytes());
            out.extend((0..16).map(|_| ternary(random)));
        }
        "IQ1_M" => {
            // The four upper bits of each of four numbers make up the scale.
            let scale = f16::from_f32(std / 7.2).to_bits();
            out.extend((0..48).map(|_| random.byte()));
            for place in 0..4 {
                out.extend([random.byte(), random.byte() & 15 | ((scale >> (4 * place)) as u8 & 15) << 4]);
            }
        }
        "NVFP4" => {
            // Scales without a sign, with four bits of exponent and three of mantissa, of which the smallest are equally
            // far apart: multiples of 2^-9, halved.
            let scale = (std / 5.86 * 1024.0).round().clamp(1.0, 15.0) as u8;
            out.extend([scale; 4]);
            out.extend((0..32).map(|_| random.byte()));
        }
        name => {
            let (_, divisor) =
                SCALED.iter().find(|(scaled, _)| *scaled == name).expect("a format of ggml 0.26");
            scales_then_quants(&[std / divisor], format.block_bytes() - size_of::<f16>(), random, out);
        }
    }
}

/// Four numbers from 0 to 2, of two bits each.
fn ternary(random: &mut Random) -> u8 {
    (0..4).fold(0, |byte, _| (byte << 2) | (random.byte() % 3))
}

fn quants_then_scales(n_quant_bytes: usize, scales: &[f32], random: &mut Random, out: &mut Vec<u8>) {
    out.extend((0..n_quant_bytes).map(|_| random.byte()));
    scales.iter().for_each(|&scale| out.extend(f16::from_f32(scale).to_le_bytes()));
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
            let bytes = random_weights(kind, n, 0.05, &mut Random::new(3));
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
