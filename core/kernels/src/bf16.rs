//! Rows kept in bfloat16: the upper half of a float, rounded to the nearest, ties to even.
//!
//! Two values take the place of one float, so that half-width rows live in matrices of floats like all others: value `i` of a
//! row of `n` is the lower half of float `i`, value `i + ⌈n / 2⌉` the upper half.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// Floats that a narrow row of `n` values takes.
pub const fn narrow_columns(n: usize) -> usize {
    n.div_ceil(2)
}

/// `x` `[T, n]` rounded to bfloat16: `out` is `[T, narrow_columns(n)]`.
///
/// # Errors
/// For shapes that [`check_narrow`] refuses, which leave `out` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `out`
/// meanwhile.
pub unsafe fn narrow(x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { narrow_on(Kernels::current(), x, out, part) }
}

/// The values of [`narrow`] as floats again: `x` is `[T, narrow_columns(n)]`, `out` `[T, n]`.
///
/// # Errors
/// For shapes that [`check_widen`] refuses, which leave `out` untouched.
///
/// # Safety
/// As for [`narrow`].
pub unsafe fn widen(x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { widen_on(Kernels::current(), x, out, part) }
}

/// As [`narrow`] and then [`widen`], in place.
///
/// # Safety
/// As for [`narrow`], with `x` for `out`.
pub unsafe fn round_to_bf16(x: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { round_on(Kernels::current(), x, part) }
}

/// Whether the shapes fit for [`narrow`].
pub fn check_narrow(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    same("narrow", "rows of the result", x.n_rows(), out.n_rows())?;
    same("narrow", "columns of the result", narrow_columns(x.n_cols()), out.n_cols())
}

/// Whether the shapes fit for [`widen`].
pub fn check_widen(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    same("widen", "rows of the result", x.n_rows(), out.n_rows())?;
    same("widen", "narrow columns", narrow_columns(out.n_cols()), x.n_cols())
}

/// # Safety
/// As for [`narrow`], and the machine must have the instructions of `kernels`.
unsafe fn narrow_on(kernels: &Kernels, x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    check_narrow(&x, &out)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.narrow_row)(x.row(row), out.row_mut(row, 0..out.n_cols())) };
    }
    Ok(())
}

/// # Safety
/// As for [`widen`], and the machine must have the instructions of `kernels`.
unsafe fn widen_on(kernels: &Kernels, x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    check_widen(&x, &out)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.widen_row)(x.row(row), out.row_mut(row, 0..out.n_cols())) };
    }
    Ok(())
}

/// # Safety
/// As for [`round_to_bf16`], and the machine must have the instructions of `kernels`.
unsafe fn round_on(kernels: &Kernels, x: RowsMut, part: Part) {
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.round_to_bf16)(x.row_mut(row, 0..x.n_cols())) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tier;
    use crate::weights::reference::Random;

    #[test]
    fn rows_come_back_rounded_to_the_nearest_on_every_tier() {
        for n in [1, 2, 31, 32, 53, 128] {
            let n_rows = 3;
            let mut x: Vec<f32> = Random::new(7).floats(n_rows * n).iter().map(|v| v * 1e3).collect();
            // Halfway to an even and from an odd number, the sign of zero, what rounds up to infinity.
            let step = 1.0 / 128.0;
            let special = [1.0 + 0.5 * step, 1.0 + 1.5 * step, -0.0, f32::MAX, f32::NEG_INFINITY, 1e-40];
            for (x, special) in x.iter_mut().zip(special) {
                *x = special;
            }
            for (tier, count) in Tier::available().into_iter().flat_map(|tier| [(tier, 1), (tier, 2)]) {
                let kernels = Kernels::of(tier).unwrap();
                let mut half = vec![f32::NAN; n_rows * narrow_columns(n)];
                let mut back = vec![f32::NAN; n_rows * n];
                for index in 0..count {
                    let half = RowsMut::new(&mut half, n_rows, narrow_columns(n), narrow_columns(n)).unwrap();
                    // SAFETY: the tier is available, each part is run once, and nothing else touches the result.
                    unsafe {
                        narrow_on(kernels, Rows::new(&x, n_rows, n, n).unwrap(), half, Part { index, count })
                            .unwrap();
                    }
                }
                for index in 0..count {
                    let half = Rows::new(&half, n_rows, narrow_columns(n), narrow_columns(n)).unwrap();
                    let back = RowsMut::new(&mut back, n_rows, n, n).unwrap();
                    // SAFETY: as above.
                    unsafe { widen_on(kernels, half, back, Part { index, count }) }.unwrap();
                }
                let mut rounded = x.clone();
                for index in 0..count {
                    let rounded = RowsMut::new(&mut rounded, n_rows, n, n).unwrap();
                    // SAFETY: as above.
                    unsafe { round_on(kernels, rounded, Part { index, count }) };
                }
                assert!(rounded.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()), "{tier:?}");
                for (x, back) in x.iter().zip(&back) {
                    let want = half::bf16::from_f32(*x).to_f32();
                    assert_eq!(want.to_bits(), back.to_bits(), "{x} {back}, {tier:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let x = [f32::NAN, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff), 1.0];
        let (mut half, mut back) = ([0.0; 2], [0.0; 4]);
        // SAFETY: the only part is run once, and nothing else touches the results.
        unsafe {
            narrow(Rows::new(&x, 1, 4, 4).unwrap(), RowsMut::new(&mut half, 1, 2, 2).unwrap(), Part::WHOLE)
                .unwrap();
            widen(Rows::new(&half, 1, 2, 2).unwrap(), RowsMut::new(&mut back, 1, 4, 4).unwrap(), Part::WHOLE)
                .unwrap();
        }
        assert!(back[..3].iter().all(|v| v.is_nan()) && back[3] == 1.0, "{back:?}");
    }
}
