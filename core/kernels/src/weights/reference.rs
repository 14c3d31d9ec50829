//! Weight matrices for tests: random ones, and what a stored value means, value by value, from the formats'
//! definitions.

#![allow(clippy::unwrap_used)]

use half::{bf16, f16};

use crate::{ForeignFormat, WeightType};

/// Formats that a function reads: blocks of a scale, an f32, and a signed byte for each value.
static FOREIGN: [ForeignFormat; 2] = [
    ForeignFormat::new("BYTES_64", 9064, [64, 68], 4, scaled_bytes),
    ForeignFormat::new("BYTES_256", 9256, [256, 260], 4, scaled_bytes),
];

fn scaled_bytes(block: &[u8], out: &mut [f32]) {
    let (scale, bytes) = block.split_first_chunk().unwrap();
    assert_eq!(bytes.len(), out.len());
    for (out, byte) in out.iter_mut().zip(bytes) {
        *out = f32::from_le_bytes(*scale) * f32::from(*byte as i8);
    }
}

/// Every format that the kernels read themselves, and foreign ones.
pub(crate) fn all_formats() -> impl Iterator<Item = WeightType> {
    WeightType::ALL.into_iter().chain(FOREIGN.iter().map(WeightType::Foreign))
}

/// A small deterministic generator (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from −1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 8_388_608.0 - 1.0
    }

    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Random rows: every bit of every block is random, except that scales are finite and of a usual size.
pub(crate) fn random_bytes(kind: WeightType, n_rows: usize, n_cols: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..n_rows * n_cols / kind.block_len() {
        let mut block: Vec<u8> = (0..kind.block_bytes()).map(|_| random.bits() as u8).collect();
        let halves: &[usize] = match kind {
            WeightType::F32 => {
                block.copy_from_slice(&random.float().to_le_bytes());
                &[]
            }
            WeightType::BF16 => {
                block.copy_from_slice(&bf16::from_f32(random.float()).to_le_bytes());
                &[]
            }
            WeightType::MXFP4 => {
                block[0] = 118 + block[0] % 6;
                &[]
            }
            WeightType::Foreign(_) => {
                block[..4].copy_from_slice(&(0.01 * random.float()).to_le_bytes());
                &[]
            }
            WeightType::Q6_K => &[208],
            WeightType::Q2_K => &[80, 82],
            WeightType::Q3_K => &[108],
            WeightType::TQ1_0 => &[52],
            WeightType::TQ2_0 => &[64],
            WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4_K | WeightType::Q5_K => &[0, 2],
            _ => &[0],
        };
        for at in halves {
            let is_value = matches!(kind, WeightType::F16 | WeightType::TQ1_0 | WeightType::TQ2_0);
            let scale = f16::from_f32(random.float() * if is_value { 1.0 } else { 0.02 });
            block[*at..*at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        bytes.extend(block);
    }
    bytes
}

/// What the nibbles of IQ4_NL and IQ4_XS stand for.
const NON_LINEAR: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// All values of a matrix.
pub(crate) fn values(kind: WeightType, bytes: &[u8]) -> Vec<f64> {
    let block = |block: &[u8]| (0..kind.block_len()).map(|i| value(kind, block, i)).collect::<Vec<_>>();
    bytes.chunks(kind.block_bytes()).flat_map(block).collect()
}

/// Value `i` of a block.
fn value(kind: WeightType, block: &[u8], i: usize) -> f64 {
    let half = |at: usize| f64::from(f16::from_le_bytes([block[at], block[at + 1]]).to_f32());
    let bit = |start: usize, bit: usize| u32::from(block[start + bit / 8] >> (bit % 8) & 1);
    // In blocks of 32, value i is the low nibble of byte i or the high nibble of byte i − 16.
    let nibble = |start: usize| {
        let byte = u32::from(block[start + i % 16]);
        if i < 16 { byte % 16 } else { byte / 16 }
    };
    match kind {
        WeightType::F32 => f64::from(f32::from_le_bytes(block.try_into().unwrap())),
        WeightType::F16 => half(0),
        WeightType::BF16 => f64::from(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
        WeightType::Q8_0 => half(0) * f64::from(block[2 + i] as i8),
        WeightType::Q4_0 => half(0) * (f64::from(nibble(2)) - 8.0),
        WeightType::Q4_1 => half(0) * f64::from(nibble(4)) + half(2),
        WeightType::Q5_0 => half(0) * (f64::from(nibble(6) + 16 * bit(2, i)) - 16.0),
        WeightType::Q5_1 => half(0) * f64::from(nibble(8) + 16 * bit(4, i)) + half(2),
        WeightType::IQ4_NL => half(0) * f64::from(NON_LINEAR[nibble(2) as usize]),
        WeightType::MXFP4 => {
            // E2M1: sign, two bits of exponent of bias 1, one of mantissa; subnormal where the exponent is 0.
            let q = nibble(1);
            let (exponent, mantissa) = (q / 2 % 4, f64::from(q % 2));
            let magnitude = if exponent == 0 {
                mantissa / 2.0
            } else {
                (1.0 + mantissa / 2.0) * f64::from(1 << (exponent - 1))
            };
            let sign = if q < 8 { 1.0 } else { -1.0 };
            sign * magnitude * 2f64.powi(i32::from(block[0]) - 127)
        }
        WeightType::Q2_K => {
            let scales = u32::from(block[i / 16]);
            let q = u32::from(block[16 + i / 128 * 32 + i % 32]) >> (i / 32 % 4 * 2) & 3;
            half(80) * f64::from(scales % 16 * q) - half(82) * f64::from(scales / 16)
        }
        WeightType::Q3_K => {
            let s = i / 16;
            let nibbles = u32::from(block[96 + s % 8]);
            let low = if s < 8 { nibbles % 16 } else { nibbles / 16 };
            let scale = low + 16 * (u32::from(block[104 + s % 4]) >> (s / 4 * 2) & 3);
            let q = (u32::from(block[32 + i / 128 * 32 + i % 32]) >> (i / 32 % 4 * 2) & 3)
                + 4 * bit(i % 32, i / 32);
            half(108) * (f64::from(scale) - 32.0) * (f64::from(q) - 4.0)
        }
        WeightType::IQ4_XS => {
            let group = i / 32;
            let upper = u32::from(u16::from_le_bytes([block[2], block[3]]));
            let scale =
                (u32::from(block[4 + group / 2]) >> (group % 2 * 4) & 15) + 16 * (upper >> (2 * group) & 3);
            let byte = block[8 + 16 * group + i % 16];
            let q = if i % 32 < 16 { byte % 16 } else { byte / 16 };
            half(0) * (f64::from(scale) - 32.0) * f64::from(NON_LINEAR[usize::from(q)])
        }
        WeightType::TQ1_0 => {
            let (byte, place) = match i {
                0..160 => (block[i % 32], i / 32),
                160..240 => (block[32 + i % 16], (i - 160) / 16),
                _ => (block[48 + i % 4], (i - 240) / 4),
            };
            // The digit of base 3 behind the point of byte / 256, `place` places on.
            let digit = u32::from(byte) * 3u32.pow(place as u32 + 1) / 256 % 3;
            half(52) * (f64::from(digit) - 1.0)
        }
        WeightType::TQ2_0 => {
            let q = block[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
            half(64) * (f64::from(q) - 1.0)
        }
        WeightType::Foreign(_) => {
            f64::from(f32::from_le_bytes(*block.first_chunk().unwrap())) * f64::from(block[4 + i] as i8)
        }
        WeightType::Q4_K | WeightType::Q5_K => {
            let group = i / 32;
            let s = |at: usize| u32::from(block[4 + at]);
            let (scale, minimum) = match group {
                0..4 => (s(group) % 64, s(group + 4) % 64),
                _ => (s(group + 4) % 16 + s(group - 4) / 64 * 16, s(group + 4) / 16 + s(group) / 64 * 16),
            };
            let nibbles = if kind == WeightType::Q4_K { 16 } else { 48 };
            let byte = u32::from(block[nibbles + i / 64 * 32 + i % 32]);
            let mut q = if group.is_multiple_of(2) { byte % 16 } else { byte / 16 };
            if kind == WeightType::Q5_K {
                q += 16 * bit(16 + i % 32, group);
            }
            half(0) * f64::from(scale * q) - half(2) * f64::from(minimum)
        }
        WeightType::Q6_K => {
            // Half h, quarter k, place l: value 128 h + 32 k + l.
            let (h, k, l) = (i / 128, i / 32 % 4, i % 32);
            let byte = u32::from(block[64 * h + 32 * (k % 2) + l]);
            let low = if k < 2 { byte % 16 } else { byte / 16 };
            let high = u32::from(block[128 + 32 * h + l]) >> (2 * k) & 3;
            let scale = block[192 + i / 16] as i8;
            half(208) * f64::from(scale) * (f64::from(low + 16 * high) - 32.0)
        }
    }
}
