//! Causal soft-max attention over packed segments, grouped heads and sliding windows, forward and backward.
//!
//! With s = scale · q·k over the keys that a query attends to: p = softmax(s), out = Σ p v, lse = log Σ exp s. Backward, with
//! delta = Σ dout · out: dv = Σ p dout, ds = p (dout·v − delta), dq = scale Σ ds k, dk = scale Σ ds q (Dao et al. 2022,
//! appendix B.4). Scores exist for a block of queries or keys at a time, never for all pairs.
//!
//! All products go through the tile of the matrix products: vectors of a head are packed, then blocks of rows are multiplied
//! with them.

mod backward;
mod forward;
mod panels;
mod plan;
mod slices;
#[cfg(test)]
mod tests;

use crate::isa::{DEPTH, Kernels};
use crate::matrix::{Part, Rows, RowsMut, ShapeError, same};
use plan::Plan;
use slices::Slices;

/// The widest head that [`attention`] and its gradients take.
pub const MAX_HEAD_DIM: usize = DEPTH;

/// The shape of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Number of query heads, a multiple of `n_head_kv`.
    pub n_head: usize,
    /// Number of key and value heads.
    pub n_head_kv: usize,
    /// Values per head, at most [`MAX_HEAD_DIM`].
    pub head_dim: usize,
    /// Factor of the scores, usually 1/√head_dim; positive.
    pub scale: f32,
    /// If set, a query attends to at most so many keys, itself included.
    pub window: Option<usize>,
    /// Whether scores, and their gradients, are products of 16-bit integers: heads rounded with a scale for each vector.
    pub rounds: bool,
}

/// The tensors that the backward passes read, besides the shape and the segments.
#[derive(Clone, Copy)]
struct Saved<'a> {
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    out: Rows<'a>,
    dout: Rows<'a>,
}

/// Attention of `q` `[T, n_head * head_dim]` to `k` and `v` `[T, n_head_kv * head_dim]`.
///
/// `starts[t]` is the index of the first token of t's segment: t attends to `max(starts[t], t + 1 − window) ..= t`. `out`
/// `[T, n_head * head_dim + n_head]` gets the output, then the log-sum-exp of each head's scores. Arguments that
/// [`check_attention`] refuses leave `out` untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `out`
/// meanwhile.
#[allow(clippy::too_many_arguments, reason = "the operands of the formula")]
pub unsafe fn attention(
    shape: &AttentionShape,
    q: Rows,
    k: Rows,
    v: Rows,
    starts: &[i32],
    out: RowsMut,
    part: Part,
) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { attention_on(Kernels::current(), shape, q, k, v, starts, out, part) }
}

/// Matrices of gradients for keys and values that [`attention_back`] writes, at least 1.
pub fn attention_slices(shape: &AttentionShape) -> usize {
    slices::n_slices(shape)
}

/// Gradients of [`attention`], given `out` as it was written and `dout` `[T, n_head * head_dim]` (more columns, such as those
/// of `out`, are ignored): `dq` `[T, n_head * head_dim]`, and `dkv` `[n * T, 2 * n_head_kv * head_dim]`, where n is
/// [`attention_slices`]. The latter is n matrices, one below the other, not all rows of which are written;
/// [`attention_back_sum`] adds up those that are. Arguments that do not fit leave both untouched.
///
/// # Safety
/// As for [`attention`], with `dq` and `dkv` for `out`.
#[allow(clippy::too_many_arguments, reason = "the operands of the formula")]
pub unsafe fn attention_back(
    shape: &AttentionShape,
    q: Rows,
    k: Rows,
    v: Rows,
    out: Rows,
    dout: Rows,
    starts: &[i32],
    dq: RowsMut,
    dkv: RowsMut,
    part: Part,
) {
    let saved = Saved { q, k, v, out, dout };
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { back_on(Kernels::current(), shape, &saved, starts, [dq, dkv], part) }
}

/// Adds up the matrices for keys and values that [`attention_back`] wrote for the same `starts`: `dkv`
/// `[T, 2 * n_head_kv * head_dim]`, the first of them, becomes the gradient for `k`, then that for `v`; `others`
/// `[(n - 1) * T, 2 * n_head_kv * head_dim]` are the ones below it. Arguments that do not fit leave `dkv` untouched.
///
/// # Safety
/// As for [`attention`], with `dkv` for `out`.
pub unsafe fn attention_back_sum(
    shape: &AttentionShape,
    others: Rows,
    starts: &[i32],
    dkv: RowsMut,
    part: Part,
) {
    const OP: &str = "attention_back_sum";
    let checked = check_starts(starts)
        .and_then(|()| same(OP, "rows of dkv", starts.len(), dkv.n_rows()))
        .and_then(|()| same(OP, "columns of dkv", 2 * width(shape, shape.n_head_kv), dkv.n_cols()))
        .and_then(|()| same(OP, "other rows", starts.len() * (attention_slices(shape) - 1), others.n_rows()))
        .and_then(|()| same(OP, "columns of the others", dkv.n_cols(), others.n_cols()));
    if checked.is_err() {
        debug_assert!(false, "{checked:?}");
        return;
    }
    let slices = Slices::new(shape, starts);
    for key in part.range(starts.len()) {
        // SAFETY: the row is inside `dkv`, and this part's alone.
        let sums = unsafe { dkv.row_mut(key, 0..dkv.n_cols()) };
        let mut of_key = slices.of_key(key).peekable();
        if of_key.next_if_eq(&0).is_none() {
            sums.fill(0.0);
        }
        for slice in of_key {
            for (sum, other) in sums.iter_mut().zip(others.row((slice - 1) * starts.len() + key)) {
                *sum += other;
            }
        }
    }
}

/// Floats of working memory for so many tokens, where `group` heads share a key head.
pub(crate) fn scratch_floats(n_tokens: usize, group: usize, head_dim: usize) -> usize {
    let forward = forward::lengths(n_tokens, head_dim).iter().sum::<usize>();
    forward.max(backward::lengths(n_tokens, group, head_dim).iter().sum())
}

/// Whether the shape makes sense, `q`, `k`, `v` fit it, and `0 <= starts[t] <= t`.
pub fn check_attention(
    shape: &AttentionShape,
    q: &Rows,
    k: &Rows,
    v: &Rows,
    starts: &[i32],
) -> Result<(), ShapeError> {
    const OP: &str = "attention";
    let fail = |what, expected, got| Err(ShapeError { op: OP, what, expected, got });
    if shape.n_head == 0 || shape.n_head_kv == 0 || !shape.n_head.is_multiple_of(shape.n_head_kv) {
        return fail("heads", shape.n_head_kv, shape.n_head);
    }
    if shape.head_dim == 0 || shape.head_dim > DEPTH {
        return fail("head_dim", DEPTH, shape.head_dim);
    }
    if !(shape.scale > 0.0 && shape.scale.is_finite()) || shape.window == Some(0) {
        return fail("scale or window", 1, 0);
    }
    if u32::try_from(q.n_rows()).is_err() {
        return fail("tokens", u32::MAX as usize, q.n_rows());
    }
    same(OP, "columns of q", width(shape, shape.n_head), q.n_cols())?;
    same(OP, "columns of k", width(shape, shape.n_head_kv), k.n_cols())?;
    same(OP, "columns of v", width(shape, shape.n_head_kv), v.n_cols())?;
    same(OP, "rows of k", q.n_rows(), k.n_rows())?;
    same(OP, "rows of v", q.n_rows(), v.n_rows())?;
    same(OP, "number of starts", q.n_rows(), starts.len())?;
    check_starts(starts)
}

fn check_starts(starts: &[i32]) -> Result<(), ShapeError> {
    for (t, start) in starts.iter().enumerate() {
        if usize::try_from(*start).map_or(true, |start| start > t) {
            return Err(ShapeError {
                op: "attention",
                what: "start of a segment",
                expected: t,
                got: *start as usize,
            });
        }
    }
    Ok(())
}

/// # Safety
/// As for [`attention`], and the machine must have the instructions of `kernels`.
#[allow(clippy::too_many_arguments, reason = "the operands of the formula")]
unsafe fn attention_on(
    kernels: &Kernels,
    shape: &AttentionShape,
    q: Rows,
    k: Rows,
    v: Rows,
    starts: &[i32],
    out: RowsMut,
    part: Part,
) {
    let checked = check_attention(shape, &q, &k, &v, starts)
        .and_then(|()| check_out("attention", shape, &q, (out.n_rows(), out.n_cols())));
    if checked.is_err() {
        debug_assert!(false, "{checked:?}");
        return;
    }
    let plan = Plan::queries(shape, starts);
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { forward::forward(kernels, shape, [q, k, v], &plan, out, part) }
}

/// # Safety
/// As for [`attention_back`], and the machine must have the instructions of `kernels`.
unsafe fn back_on(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    starts: &[i32],
    [dq, dkv]: [RowsMut; 2],
    part: Part,
) {
    const OP: &str = "attention_back";
    let checked = check_saved(shape, saved, starts)
        .and_then(|()| same(OP, "rows of dq", saved.q.n_rows(), dq.n_rows()))
        .and_then(|()| same(OP, "columns of dq", saved.q.n_cols(), dq.n_cols()))
        .and_then(|()| same(OP, "rows of dkv", saved.k.n_rows() * attention_slices(shape), dkv.n_rows()))
        .and_then(|()| same(OP, "columns of dkv", 2 * saved.k.n_cols(), dkv.n_cols()));
    if checked.is_err() {
        debug_assert!(false, "{checked:?}");
        return;
    }
    let slices = Slices::new(shape, starts);
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { backward::backward(kernels, shape, saved, &slices, [dq, dkv], part) }
}

fn check_saved(shape: &AttentionShape, saved: &Saved, starts: &[i32]) -> Result<(), ShapeError> {
    const OP: &str = "attention_back";
    check_attention(shape, &saved.q, &saved.k, &saved.v, starts)?;
    check_out(OP, shape, &saved.q, (saved.out.n_rows(), saved.out.n_cols()))?;
    same(OP, "rows of dout", saved.q.n_rows(), saved.dout.n_rows())?;
    same(OP, "columns of dout", saved.q.n_cols(), saved.dout.n_cols().min(saved.q.n_cols()))
}

fn check_out(
    op: &'static str,
    shape: &AttentionShape,
    q: &Rows,
    (n_rows, n_cols): (usize, usize),
) -> Result<(), ShapeError> {
    same(op, "rows of out", q.n_rows(), n_rows)?;
    same(op, "columns of out", q.n_cols() + shape.n_head, n_cols)
}

/// Columns of so many heads.
fn width(shape: &AttentionShape, heads: usize) -> usize {
    heads.saturating_mul(shape.head_dim)
}
