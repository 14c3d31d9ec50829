//! Weight matrices for tests: random ones, and what a stored value means, value by value, from the formats'
//! definitions.

#![allow(clippy::unwrap_used)]

use half::{bf16, f16};

use crate::WeightType;

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
            WeightType::Q6_K => &[208],
            WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4_K | WeightType::Q5_K => &[0, 2],
            _ => &[0],
        };
        for at in halves {
            let scale = f16::from_f32(random.float() * if kind == WeightType::F16 { 1.0 } else { 0.02 });
            block[*at..*at + 2].copy_from_slice(&scale.to_le_bytes());
        }
        bytes.extend(block);
    }
    bytes
}

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
        WeightType::IQ4_NL => {
            let table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
            half(0) * f64::from(table[nibble(2) as usize])
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
