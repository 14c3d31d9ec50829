#![allow(clippy::unwrap_used)]

use super::reference::{Random, all_formats, random_bytes, values};
use super::{DecodedBlocks, GROUP, WeightType, Weights, dequantize_foreign_panel};

/// Rounding of at most three single-precision operations, relative to the largest term.
const TOLERANCE: f64 = 3e-7;

#[test]
fn every_format_dequantizes_as_defined() {
    for kind in all_formats() {
        let mut random = Random::new(u64::from(kind.ggml_id()));
        let (n_rows, n_cols) = (5, 3 * kind.block_len().max(256));
        let bytes = random_bytes(kind, n_rows, n_cols, &mut random);
        let expected = values(kind, &bytes);
        let weights = Weights::new(kind, n_rows, n_cols, &bytes).unwrap();
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.1, "{kind:?}");
        for row in 0..n_rows {
            let mut out = vec![f32::NAN; n_cols];
            weights.dequantize_row(row, &mut out);
            for (column, value) in out.iter().enumerate() {
                let expected = expected[row * n_cols + column];
                assert!(
                    (f64::from(*value) - expected).abs() <= TOLERANCE * largest,
                    "{kind:?} {row} {column}"
                );
            }
        }
    }
}

#[test]
fn half_precision_is_exact_for_all_bit_patterns() {
    for bits in 0..=u16::MAX {
        let ours = super::floats::half_to_f32(bits.to_le_bytes());
        let theirs = half::f16::from_bits(bits).to_f32();
        assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
    }
}

#[test]
fn float_rows_may_have_any_length() {
    for kind in [WeightType::F32, WeightType::F16, WeightType::BF16] {
        let bytes = random_bytes(kind, 3, 37, &mut Random::new(1));
        let expected = values(kind, &bytes);
        let weights = Weights::new(kind, 3, 37, &bytes).unwrap();
        let mut out = [0.0f32; 40];
        weights.dequantize_row(2, &mut out);
        assert!(out[..37].iter().zip(&expected[74..]).all(|(a, b)| f64::from(*a) == *b));
        assert_eq!(out[37..], [0.0; 3]);
        weights.dequantize_row(3, &mut out);
        assert_eq!(f64::from(out[0]), expected[74]);
    }
}

/// All bytes of TQ1_0 whose digits are used, and the scales of MXFP4 that are subnormal or the largest.
#[test]
fn every_byte_reads_as_defined() {
    let check = |kind: WeightType, bytes: &[u8]| {
        let mut out = vec![f32::NAN; kind.block_len()];
        Weights::new(kind, 1, out.len(), bytes).unwrap().dequantize_row(0, &mut out);
        for (got, want) in out.iter().zip(values(kind, bytes)) {
            assert_eq!(f64::from(*got), want, "{kind:?} {bytes:?}");
        }
    };
    for byte in 0..=u8::MAX {
        let mut ternary = [byte; 54];
        ternary[52..].copy_from_slice(&half::f16::ONE.to_le_bytes());
        check(WeightType::TQ1_0, &ternary);
    }
    // From 2^124 on, the largest values are infinite.
    for exponent in [0, 1, 2, 3, 127, 251] {
        let mut block: [u8; 17] = std::array::from_fn(|i| (i as u8).wrapping_mul(0x1f));
        block[0] = exponent;
        check(WeightType::MXFP4, &block);
    }
}

#[test]
fn views_need_whole_blocks_and_the_exact_size() {
    let bytes = [0u8; 2 * 3 * 144];
    assert!(Weights::new(WeightType::Q4_K, 2, 768, &bytes).is_some());
    assert!(Weights::new(WeightType::Q4_K, 2, 767, &bytes).is_none());
    assert!(Weights::new(WeightType::Q4_K, 3, 768, &bytes).is_none());
    assert!(Weights::new(WeightType::F32, usize::MAX, usize::MAX, &bytes).is_none());
    assert!(Weights::new(WeightType::Q8_0, usize::MAX, 32, &bytes).is_none());
}

#[test]
fn ids_and_names_are_unique() {
    for kind in WeightType::ALL {
        assert_eq!(WeightType::from_ggml_id(kind.ggml_id()), Some(kind));
        assert_eq!(WeightType::ALL.iter().filter(|other| other.name() == kind.name()).count(), 1);
        assert_eq!(format!("{kind:?}"), kind.name());
    }
    assert_eq!(WeightType::from_ggml_id(4), None);
    let names: Vec<String> =
        all_formats().skip(WeightType::ALL.len()).map(|kind| format!("{kind:?}")).collect();
    assert_eq!(names, ["Foreign(BYTES_64)", "Foreign(BYTES_256)"]);
}

#[test]
fn panels_of_decoded_blocks_are_those_of_single_ones() {
    let (n_rows, n_cols) = (9, 512);
    for kind in all_formats() {
        let WeightType::Foreign(format) = kind else { continue };
        let bytes = random_bytes(kind, n_rows, n_cols, &mut Random::new(3));
        let source = Weights::new(kind, n_rows, n_cols, &bytes).unwrap().raw_rows();
        let mut memory = vec![f32::NAN; DecodedBlocks::floats(4)];
        let mut decoded = DecodedBlocks::new(&mut memory);
        // Too many rows are decoded one by one; a group that is asked for again after another one is read anew.
        for (rows, group) in (0..16).map(|group| (2..6, group)).chain([(3..7, 5), (2..6, 0), (0..9, 0)]) {
            let [mut shared, mut single] = [(); 2].map(|()| vec![f32::NAN; rows.len() * GROUP]);
            decoded.fill_panel(format, source, rows.clone(), group, &mut shared);
            dequantize_foreign_panel(format, source, rows.clone(), group, &mut single);
            assert_eq!(shared, single, "{kind:?} {rows:?} {group}");
        }
    }
}
