//! Causal soft-max attention over packed segments, grouped heads and sliding windows, forward and backward.
//!
//! With s = scale · q·k over the keys that a query attends to: p = softmax(s), out = Σ p v, lse = log Σ exp s. Backward, with
//! delta = Σ dout · out: dv = Σ p dout, ds = p (dout·v − delta), dq = scale Σ ds k, dk = scale Σ ds q (Dao et al. 2022,
//! appendix B.4). A soft-cap c makes s = c tanh(scale · q·k / c), and multiplies ds by 1 − (s / c)². Scores exist for a block of queries or keys at a time, never for all pairs.
//!
//! All products go through the tile of the matrix products: vectors of a head are packed, then blocks of rows are multiplied
//! with them.

mod backward;
mod blocks;
mod forward;
mod panels;
mod partition;
mod shape;
#[cfg(test)]
mod tests;

use crate::error::{IndexError, KernelError, ShapeError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use backward::Saved;
use blocks::QueryBlocks;
use partition::QueryPartition;
pub use shape::{AttentionShape, MAX_HEAD_DIM, MAX_HEADS};

/// Computes the attention of `q` `[T, n_head * head_dim]` to `k` and `v` `[T, n_head_kv * head_dim]`.
///
/// `starts[t]` is the index of the first token of t's segment: t attends to `max(starts[t], t + 1 − window) ..= t`. `out`
/// `[T, n_head * head_dim + n_head]` gets the output, then the log-sum-exp of each head's scores.
///
/// # Errors
/// For arguments that [`check_attention`] refuses, which leave `out` untouched; [`KernelError::OutOfMemory`].
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
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { attention_on(Kernels::current(), shape, q, k, v, starts, out, part) }
}

/// The number of splits of the queries, at least 1. [`attention_back`] writes one matrix of gradients for keys and values for
/// each.
pub fn attention_back_splits(shape: &AttentionShape) -> usize {
    shape.n_splits()
}

/// Computes the gradients of [`attention`], given `out` as it was written and `dout` `[T, n_head * head_dim]` (more columns,
/// such as those of `out`, are ignored): `dq` `[T, n_head * head_dim]`, and `dkv` `[n * T, 2 * n_head_kv * head_dim]`, where n
/// is [`attention_back_splits`]. The latter is n matrices, one below the other, not all rows of which are written;
/// [`attention_back_sum`] adds up those that are.
///
/// # Errors
/// For arguments that do not fit, which leave both untouched; [`KernelError::OutOfMemory`].
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
) -> Result<(), KernelError> {
    let saved = Saved { q, k, v, out, dout };
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { back_on(Kernels::current(), shape, &saved, starts, [dq, dkv], part) }
}

/// Adds up the matrices for keys and values that [`attention_back`] wrote for the same `starts`: `dkv`
/// `[T, 2 * n_head_kv * head_dim]`, the first of them, becomes the gradient for `k`, then that for `v`; `others`
/// `[(n - 1) * T, 2 * n_head_kv * head_dim]` are the ones below it.
///
/// # Errors
/// For arguments that do not fit, which leave `dkv` untouched.
///
/// # Safety
/// As for [`attention`], with `dkv` for `out`.
pub unsafe fn attention_back_sum(
    shape: &AttentionShape,
    others: Rows,
    starts: &[i32],
    dkv: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    const OP: &str = "attention_back_sum";
    check_starts(OP, starts)?;
    same(OP, "rows of dkv", starts.len(), dkv.n_rows())?;
    same(OP, "columns of dkv", 2 * shape.key_columns(), dkv.n_cols())?;
    same(OP, "other rows", starts.len().saturating_mul(attention_back_splits(shape) - 1), others.n_rows())?;
    same(OP, "columns of the others", dkv.n_cols(), others.n_cols())?;
    let partition = QueryPartition::new(shape, starts);
    for key in part.range(starts.len()) {
        // SAFETY: the row is inside `dkv`, and this part's alone.
        let sums = unsafe { dkv.row_mut(key, 0..dkv.n_cols()) };
        let mut splits = partition.splits_of_key(key).peekable();
        if splits.next_if_eq(&0).is_none() {
            sums.fill(0.0);
        }
        for split in splits {
            for (sum, other) in sums.iter_mut().zip(others.row((split - 1) * starts.len() + key)) {
                *sum += other;
            }
        }
    }
    Ok(())
}

/// The number of floats of working memory for so many tokens.
pub(crate) fn scratch_floats(n_tokens: usize, shape: &AttentionShape) -> usize {
    let forward = forward::lengths(n_tokens, shape.head_dim()).iter().sum::<usize>();
    forward.max(backward::lengths(n_tokens, shape.group_size(), shape.head_dim()).iter().sum())
}

/// Whether `q`, `k`, `v` fit the shape, and `0 <= starts[t] <= t`.
///
/// # Errors
/// For the first thing that does not fit.
pub fn check_attention(
    shape: &AttentionShape,
    q: &Rows,
    k: &Rows,
    v: &Rows,
    starts: &[i32],
) -> Result<(), KernelError> {
    const OP: &str = "attention";
    // Tokens are numbered in 32 bits.
    same(OP, "number of tokens", q.n_rows().min(u32::MAX as usize), q.n_rows())?;
    same(OP, "columns of q", shape.query_columns(), q.n_cols())?;
    same(OP, "columns of k", shape.key_columns(), k.n_cols())?;
    same(OP, "columns of v", shape.key_columns(), v.n_cols())?;
    same(OP, "rows of k", q.n_rows(), k.n_rows())?;
    same(OP, "rows of v", q.n_rows(), v.n_rows())?;
    same(OP, "number of starts", q.n_rows(), starts.len())?;
    Ok(check_starts(OP, starts)?)
}

/// Checks that no segment starts behind a token of it.
fn check_starts(op: &'static str, starts: &[i32]) -> Result<(), IndexError> {
    let is_inside = |(token, start): (usize, &i32)| usize::try_from(*start).is_ok_and(|start| start <= token);
    match starts.iter().enumerate().position(|start| !is_inside(start)) {
        Some(token) => {
            Err(IndexError { op, what: "start of the segment", token, end: token + 1, got: starts[token] })
        }
        None => Ok(()),
    }
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
) -> Result<(), KernelError> {
    check_attention(shape, &q, &k, &v, starts)?;
    check_out("attention", shape, &q, (out.n_rows(), out.n_cols()))?;
    let blocks = QueryBlocks::new(shape, starts);
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { forward::forward(kernels, shape, [q, k, v], &blocks, out, part) }
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
) -> Result<(), KernelError> {
    const OP: &str = "attention_back";
    check_saved(shape, saved, starts)?;
    same(OP, "rows of dq", saved.q.n_rows(), dq.n_rows())?;
    same(OP, "columns of dq", saved.q.n_cols(), dq.n_cols())?;
    same(OP, "rows of dkv", saved.k.n_rows().saturating_mul(attention_back_splits(shape)), dkv.n_rows())?;
    same(OP, "columns of dkv", 2 * saved.k.n_cols(), dkv.n_cols())?;
    let partition = QueryPartition::new(shape, starts);
    // SAFETY: the shapes fit; the rest is the caller's promise.
    unsafe { backward::backward(kernels, shape, saved, &partition, [dq, dkv], part) }
}

fn check_saved(shape: &AttentionShape, saved: &Saved, starts: &[i32]) -> Result<(), KernelError> {
    const OP: &str = "attention_back";
    check_attention(shape, &saved.q, &saved.k, &saved.v, starts)?;
    check_out(OP, shape, &saved.q, (saved.out.n_rows(), saved.out.n_cols()))?;
    same(OP, "rows of dout", saved.q.n_rows(), saved.dout.n_rows())?;
    Ok(same(OP, "columns of dout", saved.q.n_cols(), saved.dout.n_cols().min(saved.q.n_cols()))?)
}

fn check_out(
    op: &'static str,
    shape: &AttentionShape,
    q: &Rows,
    (n_rows, n_cols): (usize, usize),
) -> Result<(), ShapeError> {
    same(op, "rows of out", q.n_rows(), n_rows)?;
    same(op, "columns of out", shape.result_columns(), n_cols)
}
