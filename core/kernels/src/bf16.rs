//! Rows kept in bfloat16: the upper half of a float, rounded to the nearest, ties to even.
//!
//! Two values take the place of one float, so that rows in bfloat16 live in matrices of floats like all others: value `i` of a
//! row of `n` is the lower half of float `i`, value `i + ⌈n / 2⌉` the upper half.

use crate::error::{ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};

/// The number of floats that a row of `n` values takes in bfloat16.
pub const fn bf16_columns(n: usize) -> usize {
    n.div_ceil(2)
}

/// Rounds `x` `[T, n]` to bfloat16, into `out` `[T, bf16_columns(n)]`.
///
/// # Errors
/// For shapes that [`check_to_bf16`] refuses, which leave `out` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `out`
/// meanwhile.
pub unsafe fn to_bf16(x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { to_bf16_on(Kernels::current(), x, out, part) }
}

/// Writes the values that [`to_bf16`] rounded as floats again: `x` is `[T, bf16_columns(n)]`, `out` `[T, n]`.
///
/// # Errors
/// For shapes that [`check_from_bf16`] refuses, which leave `out` untouched.
///
/// # Safety
/// What [`to_bf16`] asks holds.
pub unsafe fn from_bf16(x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { from_bf16_on(Kernels::current(), x, out, part) }
}

/// Rounds `x` to bfloat16 in place: [`to_bf16`] and then [`from_bf16`] give the same values.
///
/// # Safety
/// What [`to_bf16`] asks holds, with `x` for `out`.
pub unsafe fn round_to_bf16(x: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { round_to_bf16_on(Kernels::current(), x, part) }
}

/// Whether the shapes fit for [`to_bf16`].
pub fn check_to_bf16(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    same("to_bf16", "rows of the result", x.n_rows(), out.n_rows())?;
    same("to_bf16", "columns of the result", bf16_columns(x.n_cols()), out.n_cols())
}

/// Whether the shapes fit for [`from_bf16`].
pub fn check_from_bf16(x: &Rows, out: &RowsMut) -> Result<(), ShapeError> {
    same("from_bf16", "rows of the result", x.n_rows(), out.n_rows())?;
    same("from_bf16", "columns in bfloat16", bf16_columns(out.n_cols()), x.n_cols())
}

/// # Safety
/// What [`to_bf16`] asks holds, and the machine must have the instructions of `kernels`.
unsafe fn to_bf16_on(kernels: &Kernels, x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    check_to_bf16(&x, &out)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.to_bf16_row)(x.row(row), out.row_mut(row, 0..out.n_cols())) };
    }
    Ok(())
}

/// # Safety
/// What [`from_bf16`] asks holds, and the machine must have the instructions of `kernels`.
unsafe fn from_bf16_on(kernels: &Kernels, x: Rows, out: RowsMut, part: Part) -> Result<(), ShapeError> {
    check_from_bf16(&x, &out)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { (kernels.from_bf16_row)(x.row(row), out.row_mut(row, 0..out.n_cols())) };
    }
    Ok(())
}

/// # Safety
/// As for [`round_to_bf16`], and the machine must have the instructions of `kernels`.
unsafe fn round_to_bf16_on(kernels: &Kernels, x: RowsMut, part: Part) {
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
                let mut half = vec![f32::NAN; n_rows * bf16_columns(n)];
                let mut back = vec![f32::NAN; n_rows * n];
                for index in 0..count {
                    let half = RowsMut::new(&mut half, n_rows, bf16_columns(n), bf16_columns(n)).unwrap();
                    // SAFETY: the tier is available, each part is run once, and nothing else touches the result.
                    unsafe {
                        to_bf16_on(
                            kernels,
                            Rows::new(&x, n_rows, n, n).unwrap(),
                            half,
                            Part { index, count },
                        )
                        .unwrap();
                    }
                }
                for index in 0..count {
                    let half = Rows::new(&half, n_rows, bf16_columns(n), bf16_columns(n)).unwrap();
                    let back = RowsMut::new(&mut back, n_rows, n, n).unwrap();
                    // SAFETY: as above.
                    unsafe { from_bf16_on(kernels, half, back, Part { index, count }) }.unwrap();
                }
                let mut rounded = x.clone();
                for index in 0..count {
                    let rounded = RowsMut::new(&mut rounded, n_rows, n, n).unwrap();
                    // SAFETY: as above.
                    unsafe { round_to_bf16_on(kernels, rounded, Part { index, count }) };
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
            to_bf16(Rows::new(&x, 1, 4, 4).unwrap(), RowsMut::new(&mut half, 1, 2, 2).unwrap(), Part::WHOLE)
                .unwrap();
            from_bf16(
                Rows::new(&half, 1, 2, 2).unwrap(),
                RowsMut::new(&mut back, 1, 4, 4).unwrap(),
                Part::WHOLE,
            )
            .unwrap();
        }
        assert!(back[..3].iter().all(|v| v.is_nan()) && back[3] == 1.0, "{back:?}");
    }
}
