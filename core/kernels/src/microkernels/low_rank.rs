//! Products of rows of activations with the low-rank factors of an adapter.

use super::{LANES, dot};
use crate::matrix::Rows;
use crate::tile::CHAIN;

/// The number of rows of activations that are added to a row of sums at a time.
const TOKENS: usize = 4;

/// The number of rows of activations, and of rows of a factor, that are multiplied at a time.
pub(crate) const BLOCK: usize = 4;

/// The dot products of each of four rows with each of four others.
pub(crate) type Dots = [[f32; BLOCK]; BLOCK];

/// `y[t][r] += scale · Σ_k x[t][k] · w[r][k]` for rows of `x` and of `w` of one length: chains in [`LANES`] lanes, of at most
/// [`CHAIN`] each, whose sums are added up. `multiply` does so for rows of whole groups of [`LANES`].
#[inline(always)]
pub(crate) fn dots(
    x: &[&[f32]],
    w: &[f32],
    scale: f32,
    y: &mut [&mut [f32]],
    multiply: impl Fn([&[f32]; BLOCK], [&[f32]; BLOCK]) -> Dots,
) {
    let n = x.first().map_or(0, |x| x.len());
    let rank = w.len() / n.max(1);
    for (first_x, y) in (0..x.len()).step_by(BLOCK).zip(y.chunks_mut(BLOCK)) {
        for first_w in (0..rank).step_by(BLOCK) {
            // Where fewer are left, the last one is computed several times.
            let x: [&[f32]; BLOCK] = std::array::from_fn(|t| x[(first_x + t).min(x.len() - 1)]);
            let w: [&[f32]; BLOCK] = std::array::from_fn(|r| &w[(first_w + r).min(rank - 1) * n..][..n]);
            let mut sums = [[0.0f32; BLOCK]; BLOCK];
            let mut add = |x, w| {
                let dots = multiply(x, w);
                for (sums, dots) in sums.iter_mut().zip(dots) {
                    for (sum, dot) in sums.iter_mut().zip(dots) {
                        *sum += dot;
                    }
                }
            };
            let whole = n - n % LANES;
            for start in (0..whole).step_by(CHAIN * LANES) {
                let end = (start + CHAIN * LANES).min(whole);
                add(x.map(|x| &x[start..end]), w.map(|w| &w[start..end]));
            }
            if whole < n {
                let (x, w) = (x.map(|x| padded(&x[whole..])), w.map(|w| padded(&w[whole..])));
                add(x.each_ref().map(|x| &x[..]), w.each_ref().map(|w| &w[..]));
            }
            for (y, sums) in y.iter_mut().zip(sums) {
                for (y, sum) in y[first_w..].iter_mut().zip(sums) {
                    *y += scale * sum;
                }
            }
        }
    }
}

#[inline(always)]
fn padded(values: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes[..values.len()].copy_from_slice(values);
    lanes
}

/// The `multiply` of [`dots`], in plain operations.
#[inline(always)]
pub(crate) fn multiply_rows(x: [&[f32]; BLOCK], w: [&[f32]; BLOCK]) -> Dots {
    x.map(|x| w.map(|w| dot(x, w)))
}

/// `sums[r][j] += Σ_t u[t][r] · x[t][j]`, as one chain in the order of the tokens: `sums` has as many columns as `x`.
#[inline(always)]
pub(crate) fn outer(u: Rows, x: Rows, sums: &mut [f32]) {
    let whole = x.n_rows() - x.n_rows() % TOKENS;
    for first in (0..whole).step_by(TOKENS) {
        let tokens = [first, first + 1, first + 2, first + 3];
        outer_block(tokens.map(|t| u.row(t)), tokens.map(|t| x.row(t)), sums);
    }
    for token in whole..x.n_rows() {
        let (u, x) = (u.row(token), x.row(token));
        for (u, sums) in u.iter().zip(sums.chunks_exact_mut(x.len().max(1))) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = u.mul_add(*x, *sum);
            }
        }
    }
}

#[inline(always)]
fn outer_block(u: [&[f32]; TOKENS], x: [&[f32]; TOKENS], sums: &mut [f32]) {
    let n = x[0].len();
    let [x0, x1, x2, x3] = x.map(|x| &x[..n]);
    for (r, sums) in sums.chunks_exact_mut(n.max(1)).enumerate() {
        let [u0, u1, u2, u3] = u.map(|u| u[r]);
        for j in 0..n {
            sums[j] = u3.mul_add(x3[j], u2.mul_add(x2[j], u1.mul_add(x1[j], u0.mul_add(x0[j], sums[j]))));
        }
    }
}
