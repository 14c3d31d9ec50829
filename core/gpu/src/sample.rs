//! Matrices with random weights, by which a device is probed.

use nightgraft_kernels::WeightType;
use nightgraft_random::Random;

/// The bytes of a matrix whose every bit is random, except that scales are finite and of a usual size, among them such that are
/// subnormal in half precision. `n_cols` is a multiple of the format's block.
pub(crate) fn random_bytes(kind: WeightType, [n_rows, n_cols]: [usize; 2], random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..n_rows * n_cols / kind.block_len() {
        let first = bytes.len();
        bytes.extend((0..kind.block_bytes()).map(|_| random.byte()));
        let block = &mut bytes[first..];
        match kind {
            WeightType::F32 => block.copy_from_slice(&random.between(-1.0, 1.0).to_le_bytes()),
            WeightType::F16 => set_half(block, 0, 0x4000, random),
            // The upper half of a float between -1 and 1.
            WeightType::BF16 => block.copy_from_slice(&random.between(-1.0, 1.0).to_le_bytes()[2..]),
            WeightType::MXFP4 => block[0] = 118 + block[0] % 6,
            _ => {
                for at in scales(kind) {
                    set_half(block, *at, 0x2800, random);
                }
            }
        }
    }
    bytes
}

/// Random numbers from -1 to 1.
pub(crate) fn random_floats(n: usize, random: &mut Random) -> Vec<f32> {
    (0..n).map(|_| random.between(-1.0, 1.0)).collect()
}

/// A half of any sign whose magnitude's bits are below `end`: 2 for 0x4000, 1/32 for 0x2800. One of six or more is subnormal.
fn set_half(block: &mut [u8], at: usize, end: usize, random: &mut Random) {
    let magnitude = random.below(end) as u16;
    let sign = u16::from(random.byte() & 1) << 15;
    block[at..at + 2].copy_from_slice(&(sign | magnitude).to_le_bytes());
}

/// Where a block has scales in half precision.
fn scales(kind: WeightType) -> &'static [usize] {
    match kind {
        WeightType::Q6_K => &[208],
        WeightType::Q2_K => &[80, 82],
        WeightType::Q3_K => &[108],
        WeightType::TQ1_0 => &[52],
        WeightType::TQ2_0 => &[64],
        WeightType::Q4_1 | WeightType::Q5_1 | WeightType::Q4_K | WeightType::Q5_K => &[0, 2],
        _ => &[0],
    }
}
