//! Rotary position embedding from a table of angles.

use crate::error::{ShapeError, same};
use crate::matrix::{Part, Rows, RowsMut};

/// Which values of a head are rotated together, and which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Values per head.
    pub head_dim: usize,
    /// How the values are paired.
    pub style: RopeStyle,
    /// Rotate the other way, which is the gradient.
    pub back: bool,
}

/// How the rotated values of a head are paired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Value `2i` with `2i + 1`: what llama.cpp calls NORM.
    Interleaved,
    /// Value `i` with `i + n_dims / 2`, as GPT-NeoX does: what llama.cpp calls NEOX, and PyTorch code `rotate_half`.
    Neox,
}

/// Rotates the first `n_dims` values of each head of `x` `[T, n_heads * head_dim]` by the angles of `table` `[T, n_dims]`
/// (the cosines of a token's `n_dims / 2` pairs, then their sines), in place.
///
/// # Errors
/// For shapes that [`check_rope`] refuses, which leave `x` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `x`
/// meanwhile.
pub unsafe fn rope(rotation: Rotation, x: RowsMut, table: Rows, part: Part) -> Result<(), ShapeError> {
    check_rope(rotation, &x, &table)?;
    for row in part.range(x.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises that nothing else touches it.
        rotate_row(rotation, table.row(row), unsafe { x.row_mut(row, 0..x.n_cols()) });
    }
    Ok(())
}

/// Whether the shapes fit for [`rope`].
pub fn check_rope(rotation: Rotation, x: &RowsMut, table: &Rows) -> Result<(), ShapeError> {
    let op = "rope";
    same(op, "rows of the table", x.n_rows(), table.n_rows())?;
    let head_dim = rotation.head_dim.max(1);
    same(op, "length of a head", head_dim, rotation.head_dim)?;
    same(op, "columns of whole heads", x.n_cols() / head_dim * head_dim, x.n_cols())?;
    same(op, "rotated values of a head", table.n_cols().min(head_dim) / 2 * 2, table.n_cols())
}

fn rotate_row(rotation: Rotation, table: &[f32], x: &mut [f32]) {
    let n_pairs = table.len() / 2;
    let (cosines, sines) = table.split_at(n_pairs);
    for x in x.chunks_exact_mut(rotation.head_dim) {
        for (i, (&cos, &sin)) in cosines.iter().zip(sines).enumerate() {
            let sin = if rotation.back { -sin } else { sin };
            let (a, b) = match rotation.style {
                RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                RopeStyle::Neox => (i, i + n_pairs),
            };
            (x[a], x[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(rotation: Rotation, x: &[f32], table: &[f32], count: usize) -> Vec<f32> {
        let n_tokens = 3;
        let mut out = x.to_vec();
        let x = RowsMut::new(&mut out, n_tokens, x.len() / n_tokens, x.len() / n_tokens).unwrap();
        for index in 0..count {
            let table = Rows::new(table, n_tokens, 6, 6).unwrap();
            // SAFETY: each part is run once, and nothing else touches `out`.
            unsafe { rope(rotation, x, table, Part { index, count }) }.unwrap();
        }
        out
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let table = [0.0; 4];
        let mut x = [1.0; 8];
        let x = RowsMut::new(&mut x, 1, 8, 8).unwrap();
        for (head_dim, n_dims) in [(0, 0), (0, 2), (3, 2), (16, 2), (4, 3), (2, 4), (usize::MAX, 2)] {
            let table = Rows::new(&table, 1, n_dims, n_dims).unwrap();
            let rotation = Rotation { head_dim, style: RopeStyle::Neox, back: false };
            // SAFETY: the only part is run once, and nothing else touches `x`.
            let refused = unsafe { rope(rotation, x, table, Part::WHOLE) };
            assert!(refused.is_err(), "{head_dim} {n_dims}");
        }
    }

    #[test]
    fn rotates_pairs_of_either_style_and_back() {
        let angles = [0.0f64, 0.7, 2.5, 1.0, -3.0, 100.0, 0.1, 0.2, 0.3];
        let table: Vec<f32> = angles
            .chunks(3)
            .flat_map(|token| token.iter().map(|a| a.cos()).chain(token.iter().map(|a| a.sin())))
            .map(|value| value as f32)
            .collect();
        let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.37).sin()).collect();
        for style in [RopeStyle::Interleaved, RopeStyle::Neox] {
            let rotation = Rotation { head_dim: 8, style, back: false };
            let y = run(rotation, &x, &table, 1);
            for (at, angle) in angles.iter().enumerate() {
                let (token, pair) = (at / 3, at % 3);
                for head in [token * 16, token * 16 + 8] {
                    let (a, b) = match style {
                        RopeStyle::Interleaved => (2 * pair, 2 * pair + 1),
                        RopeStyle::Neox => (pair, pair + 3),
                    };
                    let (u, v) = (f64::from(x[head + a]), f64::from(x[head + b]));
                    assert!((f64::from(y[head + a]) - (u * angle.cos() - v * angle.sin())).abs() < 1e-6);
                    assert!((f64::from(y[head + b]) - (u * angle.sin() + v * angle.cos())).abs() < 1e-6);
                    assert_eq!(y[head + 6..head + 8], x[head + 6..head + 8], "not rotated");
                }
            }
            assert_eq!(y, run(rotation, &x, &table, 2));
            for (back, x) in run(Rotation { back: true, ..rotation }, &y, &table, 3).iter().zip(&x) {
                assert!((back - x).abs() < 1e-6);
            }
        }
    }
}
