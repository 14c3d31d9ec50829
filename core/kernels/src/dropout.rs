//! Dropout without state: a mask is a function of a key and a position.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// `y[t, i] = x[t, i] / keep` with probability `keep`, else 0; which one depends on `key`, `t` and `i` only, so that
/// the backward pass calls the same function on the gradient. `keep >= 1` copies, `keep <= 0` gives zeros.
///
/// # Errors
/// For shapes that [`check_dropout`] refuses, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn dropout(x: Rows, y: RowsMut, keep: f32, key: u64, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { dropout_on(Kernels::current(), x, y, keep, key, part) }
}

/// Whether the shapes fit for [`dropout`].
pub fn check_dropout(x: &Rows, y: &RowsMut) -> Result<(), ShapeError> {
    same("dropout", "rows of y", x.n_rows(), y.n_rows())?;
    same("dropout", "columns of y", x.n_cols(), y.n_cols())
}

/// # Safety
/// As for [`dropout`], and the machine must have the instructions of `kernels`.
unsafe fn dropout_on(
    kernels: &Kernels,
    x: Rows,
    y: RowsMut,
    keep: f32,
    key: u64,
    part: Part,
) -> Result<(), ShapeError> {
    check_dropout(&x, &y)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises that nothing else touches it.
        let out = unsafe { y.row_mut(row, 0..y.n_cols()) };
        if keep >= 1.0 {
            out.copy_from_slice(x.row(row));
        } else if keep > 0.0 {
            // SAFETY: the caller promises the instructions.
            unsafe { (kernels.dropout)(x.row(row), out, keep, row_seed(key, row)) };
        } else {
            out.fill(0.0);
        }
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014) of the key and the row.
fn row_seed(key: u64, row: usize) -> u64 {
    let mut word = key.wrapping_add((row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tier;

    fn run(tier: Tier, keep: f32, key: u64, count: usize) -> Vec<f32> {
        let x: Vec<f32> = (0..300 * 101).map(|i| 1.0 + i as f32).collect();
        let mut out = vec![9.0f32; x.len()];
        let y = RowsMut::new(&mut out, 300, 101, 101).unwrap();
        for index in 0..count {
            let x = Rows::new(&x, 300, 101, 101).unwrap();
            // SAFETY: the tier is available, each part is run once, and nothing else touches `out`.
            unsafe { dropout_on(Kernels::of(tier).unwrap(), x, y, keep, key, Part { index, count }) }
                .unwrap();
        }
        out
    }

    #[test]
    fn keeps_the_asked_share_and_scales_it() {
        for keep in [0.1f32, 0.5, 0.9, 0.95] {
            let out = run(Tier::Scalar, keep, 7, 1);
            let kept: Vec<usize> = (0..out.len()).filter(|i| out[*i] != 0.0).collect();
            let share = kept.len() as f64 / out.len() as f64;
            let deviation = (f64::from(keep) * (1.0 - f64::from(keep)) / out.len() as f64).sqrt();
            assert!((share - f64::from(keep)).abs() < 4.0 * deviation, "{keep}: {share}");
            for i in kept {
                assert_eq!(out[i], (1.0 + i as f32) * (1.0 / keep));
            }
        }
        assert!(run(Tier::Scalar, 1.0, 7, 1).iter().enumerate().all(|(i, v)| *v == 1.0 + i as f32));
        assert!(run(Tier::Scalar, 0.0, 7, 1).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn masks_depend_on_key_and_place_only() {
        let first = run(Tier::Scalar, 0.5, 7, 1);
        for tier in Tier::available() {
            for count in 1..4 {
                assert_eq!(first, run(tier, 0.5, 7, count));
            }
        }
        let agree = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).filter(|(a, b)| (**a == 0.0) == (**b == 0.0)).count() as f64 / a.len() as f64
        };
        assert!((agree(&first, &run(Tier::Scalar, 0.5, 8, 1)) - 0.5).abs() < 0.02);
        // Neighbouring rows and columns are independent.
        assert!((agree(&first[101..], &first[..first.len() - 101]) - 0.5).abs() < 0.02);
        assert!((agree(&first[1..], &first[..first.len() - 1]) - 0.5).abs() < 0.02);
    }
}
