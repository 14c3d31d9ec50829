//! What joins the residual stream, and other operations on single values of rows.

use crate::error::{ShapeError, same};
use crate::matrix::{Part, Rows, RowsMut};

/// `y = a + scale · b`, all `[T, n]`; the product is rounded before the sum.
///
/// # Errors
/// For matrices of different shapes, which leave `y` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `y`
/// meanwhile.
pub unsafe fn add_scaled(a: Rows, b: Rows, scale: f32, y: RowsMut, part: Part) -> Result<(), ShapeError> {
    check_add_scaled(&a, &b, &y)?;
    for row in part.range(a.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let y = unsafe { y.row_mut(row, 0..a.n_cols()) };
        for ((y, a), b) in y.iter_mut().zip(a.row(row)).zip(b.row(row)) {
            *y = a + scale * b;
        }
    }
    Ok(())
}

/// Whether the shapes fit for [`add_scaled`].
pub fn check_add_scaled(a: &Rows, b: &Rows, y: &RowsMut) -> Result<(), ShapeError> {
    const OP: &str = "add_scaled";
    same(OP, "rows of b", a.n_rows(), b.n_rows())?;
    same(OP, "columns of b", a.n_cols(), b.n_cols())?;
    same(OP, "rows of y", a.n_rows(), y.n_rows())?;
    same(OP, "columns of y", a.n_cols(), y.n_cols())
}

/// `y = scale · x`, both `[T, n]`.
///
/// # Errors
/// For matrices of different shapes, which leave `y` untouched.
///
/// # Safety
/// As for [`add_scaled`].
pub unsafe fn scaled(x: Rows, scale: f32, y: RowsMut, part: Part) -> Result<(), ShapeError> {
    const OP: &str = "scaled";
    same(OP, "rows of y", x.n_rows(), y.n_rows())?;
    same(OP, "columns of y", x.n_cols(), y.n_cols())?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        let y = unsafe { y.row_mut(row, 0..x.n_cols()) };
        y.iter_mut().zip(x.row(row)).for_each(|(y, x)| *y = scale * x);
    }
    Ok(())
}

/// Multiplies each row of `x` `[T, n]` by its own factor of `factors` `[T, 1]`, in place.
///
/// # Errors
/// For shapes that do not fit, which leave `x` untouched.
///
/// # Safety
/// As for [`add_scaled`], with `x` for `y`.
pub unsafe fn scale_rows(x: RowsMut, factors: Rows, part: Part) -> Result<(), ShapeError> {
    const OP: &str = "scale_rows";
    same(OP, "number of factors", x.n_rows(), factors.n_rows())?;
    same(OP, "columns of factors", 1, factors.n_cols())?;
    for row in part.range(x.n_rows()) {
        let factor = factors.row(row)[0];
        // SAFETY: the row exists, parts share no row, and the caller promises the rest.
        unsafe { x.row_mut(row, 0..x.n_cols()) }.iter_mut().for_each(|value| *value *= factor);
    }
    Ok(())
}

/// Copies matrices `[T, n_i]` side by side into `y` `[T, Σ n_i]`.
///
/// # Errors
/// For shapes that do not fit, which leave `y` untouched.
///
/// # Safety
/// As for [`add_scaled`].
pub unsafe fn concat_columns(matrices: &[Rows], y: RowsMut, part: Part) -> Result<(), ShapeError> {
    const OP: &str = "concat_columns";
    for matrix in matrices {
        same(OP, "rows of a matrix", y.n_rows(), matrix.n_rows())?;
    }
    let columns = matrices.iter().fold(0usize, |sum, matrix| sum.saturating_add(matrix.n_cols()));
    same(OP, "columns of all matrices", y.n_cols(), columns)?;
    for row in part.range(y.n_rows()) {
        let mut first = 0;
        for matrix in matrices {
            let columns = first..first + matrix.n_cols();
            first = columns.end;
            // SAFETY: the row and the columns exist, parts share no row, and the caller promises the rest.
            unsafe { y.row_mut(row, columns) }.copy_from_slice(matrix.row(row));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Runs `kernel` once for each of three parts on a result of `n_rows` rows, which starts as `values`.
    fn in_parts(values: &[f32], n_rows: usize, kernel: impl Fn(RowsMut, Part)) -> Vec<f32> {
        let mut out = values.to_vec();
        let n = out.len() / n_rows;
        let y = RowsMut::new(&mut out, n_rows, n, n).unwrap();
        (0..3).for_each(|index| kernel(y, Part { index, count: 3 }));
        out
    }

    #[test]
    fn values_are_added_scaled_and_put_side_by_side() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        let rows = |values, n_rows, n| Rows::new(values, n_rows, n, n).unwrap();
        let (a, b, factors) = (rows(&a, 2, 3), rows(&b, 2, 3), rows(&[2.0, -1.0], 2, 1));
        // SAFETY: each part is run once, and nothing else touches the results.
        let sum = in_parts(&[0.0; 6], 2, |y, part| unsafe { add_scaled(a, b, 0.5, y, part) }.unwrap());
        assert_eq!(sum, [6.0, 12.0, 18.0, 24.0, 30.0, 36.0]);
        // SAFETY: as above.
        let half = in_parts(&[0.0; 6], 2, |y, part| unsafe { scaled(b, 0.5, y, part) }.unwrap());
        assert_eq!(half, [5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
        // SAFETY: as above.
        let rows_scaled = in_parts(&half, 2, |x, part| unsafe { scale_rows(x, factors, part) }.unwrap());
        assert_eq!(rows_scaled, [10.0, 20.0, 30.0, -20.0, -25.0, -30.0]);
        let joined = in_parts(&[0.0; 8], 2, |y, part| {
            // SAFETY: as above.
            unsafe { concat_columns(&[factors, a], y, part) }.unwrap();
        });
        assert_eq!(joined, [2.0, 1.0, 2.0, 3.0, -1.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let values = [1.0; 6];
        let rows = |n_rows, n| Rows::new(&values, n_rows, n, n).unwrap();
        let mut out = [7.0; 6];
        let y = RowsMut::new(&mut out, 2, 3, 3).unwrap();
        // SAFETY: the only part is run once, and nothing else touches `out`.
        unsafe {
            assert!(add_scaled(rows(2, 3), rows(3, 2), 1.0, y, Part::WHOLE).is_err());
            assert!(add_scaled(rows(3, 2), rows(3, 2), 1.0, y, Part::WHOLE).is_err());
            assert!(scaled(rows(2, 2), 1.0, y, Part::WHOLE).is_err());
            assert!(scale_rows(y, rows(2, 3), Part::WHOLE).is_err());
            assert!(scale_rows(y, rows(3, 1), Part::WHOLE).is_err());
            assert!(concat_columns(&[rows(2, 2)], y, Part::WHOLE).is_err());
            assert!(concat_columns(&[rows(2, 2), rows(3, 1)], y, Part::WHOLE).is_err());
        }
        assert_eq!(out, [7.0; 6]);
    }
}
