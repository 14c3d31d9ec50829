//! Attention, forward.

use std::ops::Range;

use super::AttentionShape;
use super::blocks::{BLOCK, Block, Plan};
use super::panels::{ByDim, ByToken, Factors};
use crate::error::KernelError;
use crate::isa::{DEPTH, Kernels, PACKED, WIDTH};
use crate::matrix::{Part, Rows, RowsMut};
use crate::microkernels::LANES;
use crate::scratch;

/// Working memory of [`forward`] for `n_keys` keys, in floats.
pub(super) fn lengths(n_keys: usize, dim: usize) -> [usize; 5] {
    let (rows, sums) = (BLOCK * PACKED, BLOCK * dim.next_multiple_of(WIDTH));
    [ByDim::len(n_keys, dim), ByToken::len(n_keys, dim), rows, n_keys.div_ceil(DEPTH) * rows, sums]
}

/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `out` meanwhile.
pub(super) unsafe fn forward(
    kernels: &Kernels,
    shape: &AttentionShape,
    [q, k, v]: [Rows; 3],
    plan: &Plan,
    out: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    let (dim, factors) = (shape.head_dim(), Factors::new(shape));
    let group = shape.group();
    for run in plan.share(shape.n_head_kv(), part) {
        let keys = plan.columns(&run);
        scratch::with(lengths(keys.len(), dim), |[k_memory, v_memory, packed, scores, sums]| {
            let columns = run.head * dim;
            // SAFETY: the caller promises the instructions.
            let (k, v) = unsafe {
                (
                    ByDim::pack(kernels, factors, &k.columns(columns, dim), keys.clone(), k_memory),
                    ByToken::pack(kernels, &v.columns(columns, dim), keys.clone(), v_memory),
                )
            };
            for block in &plan.blocks[run.blocks.clone()] {
                for head in run.head * group..(run.head + 1) * group {
                    let mut query = Queries { kernels, shape, plan, block, scores, sums };
                    // SAFETY: the caller promises the instructions; the block and the head are this part's alone.
                    unsafe {
                        factors.pack_rows(kernels, &q.columns(head * dim, dim), block.rows.clone(), packed);
                        query.attend(packed, &k, &v, head, out);
                    }
                }
            }
        })?;
    }
    Ok(())
}

/// One block of queries of one head.
struct Queries<'a> {
    kernels: &'a Kernels,
    shape: &'a AttentionShape,
    plan: &'a Plan,
    block: &'a Block,
    /// `[chunk of keys][query][PACKED]`
    scores: &'a mut [f32],
    /// `[query][dim]`
    sums: &'a mut [f32],
}

impl Queries<'_> {
    /// # Safety
    /// The machine must have the instructions, and nobody else may touch the block's rows of `out` for this head.
    unsafe fn attend(&mut self, packed: &[f32], k: &ByDim, v: &ByToken, head: usize, out: RowsMut) {
        let (kernels, dim, n_rows) = (self.kernels, self.shape.head_dim(), self.block.rows.len());
        let chunks = || chunks(&self.block.columns);
        for (keys, scores) in chunks().zip(self.scores.chunks_exact_mut(BLOCK * PACKED)) {
            // SAFETY: the caller promises the instructions.
            unsafe { k.products(kernels, packed, n_rows, keys, scores) };
        }
        let mut totals = [(0.0f32, 0.0f32); BLOCK];
        for (row, total) in totals[..n_rows].iter_mut().enumerate() {
            // SAFETY: the caller promises the instructions.
            *total = unsafe { self.softmax(row) };
        }
        for (keys, scores) in chunks().zip(self.scores.chunks_exact(BLOCK * PACKED)) {
            let accumulate = keys.start > self.block.columns.start;
            // SAFETY: the caller promises the instructions.
            unsafe { v.combine(kernels, (scores, PACKED), n_rows, keys, self.sums, accumulate) };
        }
        let sums = self.sums.chunks_exact(dim.next_multiple_of(WIDTH));
        for ((token, sums), (sum, lse)) in self.block.rows.clone().zip(sums).zip(totals) {
            // SAFETY: the places are inside `out`, as its shape was checked, and are ours by the caller's promise.
            let (values, last) = unsafe {
                let last = self.shape.query_columns() + head;
                (out.row_mut(token, head * dim..(head + 1) * dim), out.row_mut(token, last..last + 1))
            };
            let factor = 1.0 / sum;
            for (value, sum) in values.iter_mut().zip(sums) {
                *value = sum * factor;
            }
            last[0] = lse;
        }
    }

    /// Turns the scores of a query into exp(score − largest), 0 where it does not attend; returns their sum and the
    /// logarithm of the sum of exponentials.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn softmax(&mut self, row: usize) -> (f32, f32) {
        let query = self.block.rows.start + row;
        let first = self.block.columns.start;
        let attended = self.plan.first_key[query] as usize - first..query + 1 - first;
        let (kernels, scale) = (self.kernels, self.shape.scale());
        let n_columns = self.block.columns.len();

        let mut largest = f32::NEG_INFINITY;
        for chunk in 0..n_columns.div_ceil(DEPTH) {
            let (scores, attended) = self.chunk(chunk, row, &attended);
            let lanes = lanes(&attended);
            scores[..lanes.start].fill(0.0);
            scores[lanes.start..attended.start].fill(f32::NEG_INFINITY);
            scores[attended.end..lanes.end].fill(f32::NEG_INFINITY);
            scores[lanes.end..].fill(0.0);
            // SAFETY: the caller promises the instructions.
            largest = largest.max(unsafe { (kernels.max)(&scores[lanes]) });
        }
        let offset = -(largest * scale);
        let mut sum = 0.0;
        for chunk in 0..n_columns.div_ceil(DEPTH) {
            let (scores, attended) = self.chunk(chunk, row, &attended);
            // SAFETY: the caller promises the instructions.
            sum += unsafe { (kernels.exp_scaled)(&mut scores[lanes(&attended)], scale, offset) };
        }
        (sum, (libm::log(f64::from(sum)) - f64::from(offset)) as f32)
    }

    /// A query's scores in a chunk of keys, and which of them count.
    fn chunk(&mut self, chunk: usize, row: usize, attended: &Range<usize>) -> (&mut [f32], Range<usize>) {
        let n = (self.block.columns.len() - chunk * DEPTH).min(DEPTH).next_multiple_of(WIDTH);
        let clamp = |column: usize| column.saturating_sub(chunk * DEPTH).min(n);
        let scores = &mut self.scores[(chunk * BLOCK + row) * PACKED..][..n];
        (scores, clamp(attended.start)..clamp(attended.end))
    }
}

/// The range widened to whole groups of lanes; empty if it is.
pub(super) fn lanes(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return range.clone();
    }
    range.start - range.start % LANES..range.end.next_multiple_of(LANES)
}

/// The range in pieces of at most `DEPTH`.
pub(super) fn chunks(range: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let range = range.clone();
    range.clone().step_by(DEPTH).map(move |start| start..(start + DEPTH).min(range.end))
}
