//! The forward pass of attention.

use std::ops::Range;

use super::blocks::{BLOCK_ROWS, QueryBlock, QueryBlocks};
use super::panels::{PackFormat, PackedRhs, PackedRhsTransposed};
use super::shape::AttentionShape;
use crate::error::KernelError;
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use crate::microkernels::LANES;
use crate::scratch;
use crate::tile::{MAX_DEPTH, PACKED_STRIDE, WIDTH};

/// The working memory of [`forward`] for `n_keys` keys, in floats.
pub(super) fn lengths(n_keys: usize, dim: usize) -> [usize; 5] {
    let (rows, sums) = (BLOCK_ROWS * PACKED_STRIDE, BLOCK_ROWS * dim.next_multiple_of(WIDTH));
    [
        PackedRhsTransposed::len(n_keys, dim),
        PackedRhs::len(n_keys, dim),
        rows,
        n_keys.div_ceil(MAX_DEPTH) * rows,
        sums,
    ]
}

/// Writes this part of the output and of the log-sum-exps.
///
/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `out` meanwhile.
pub(super) unsafe fn forward(
    kernels: &Kernels,
    shape: &AttentionShape,
    [q, k, v]: [Rows; 3],
    blocks: &QueryBlocks,
    out: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    let (dim, format) = (shape.head_dim(), PackFormat::new(shape));
    let group = shape.group_size();
    for run in blocks.share(shape.n_head_kv(), part) {
        let keys = blocks.keys(&run);
        scratch::with(lengths(keys.len(), dim), |[k_memory, v_memory, packed, scores, sums]| {
            let columns = run.head * dim;
            // SAFETY: the caller promises the instructions.
            let (k, v) = unsafe {
                (
                    PackedRhsTransposed::pack(
                        kernels,
                        format,
                        &k.columns(columns, dim),
                        keys.clone(),
                        k_memory,
                    ),
                    PackedRhs::pack(kernels, &v.columns(columns, dim), keys.clone(), v_memory),
                )
            };
            for block in &blocks.blocks[run.blocks.clone()] {
                for head in run.head * group..(run.head + 1) * group {
                    let mut query = Queries { kernels, shape, blocks, block, scores, sums };
                    // SAFETY: the caller promises the instructions; the block and the head are this part's alone.
                    unsafe {
                        format.pack_lhs(kernels, &q.columns(head * dim, dim), block.queries.clone(), packed);
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
    blocks: &'a QueryBlocks,
    block: &'a QueryBlock,
    /// `[chunk of keys][query][PACKED_STRIDE]`
    scores: &'a mut [f32],
    /// `[query][dim]`
    sums: &'a mut [f32],
}

impl Queries<'_> {
    /// # Safety
    /// The machine must have the instructions, and nobody else may touch the block's rows of `out` for this head.
    unsafe fn attend(
        &mut self,
        packed: &[f32],
        k: &PackedRhsTransposed,
        v: &PackedRhs,
        head: usize,
        out: RowsMut,
    ) {
        let (kernels, dim, n_rows) = (self.kernels, self.shape.head_dim(), self.block.queries.len());
        let chunks = || chunks(&self.block.keys);
        for (keys, scores) in chunks().zip(self.scores.chunks_exact_mut(BLOCK_ROWS * PACKED_STRIDE)) {
            // SAFETY: the caller promises the instructions.
            unsafe { k.multiply(kernels, packed, n_rows, keys, scores) };
        }
        let mut totals = [(0.0f32, 0.0f32); BLOCK_ROWS];
        for (row, total) in totals[..n_rows].iter_mut().enumerate() {
            // SAFETY: the caller promises the instructions.
            *total = unsafe { self.softmax(row) };
        }
        for (keys, scores) in chunks().zip(self.scores.chunks_exact(BLOCK_ROWS * PACKED_STRIDE)) {
            let accumulate = keys.start > self.block.keys.start;
            // SAFETY: the caller promises the instructions.
            unsafe { v.multiply(kernels, (scores, PACKED_STRIDE), n_rows, keys, self.sums, accumulate) };
        }
        let sums = self.sums.chunks_exact(dim.next_multiple_of(WIDTH));
        for ((token, sums), (sum, lse)) in self.block.queries.clone().zip(sums).zip(totals) {
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
        let query = self.block.queries.start + row;
        let first = self.block.keys.start;
        let attended = self.blocks.first_key[query] as usize - first..query + 1 - first;
        let (kernels, softcap) = (self.kernels, self.shape.softcap());
        // What is capped has the scale in it.
        let scale = if softcap.is_some() { 1.0 } else { self.shape.scale() };
        let (n_keys, product_scale) = (self.block.keys.len(), self.shape.scale());

        let mut largest = f32::NEG_INFINITY;
        for chunk in 0..n_keys.div_ceil(MAX_DEPTH) {
            let (scores, attended) = self.chunk(chunk, row, &attended);
            let lanes = lanes(&attended);
            scores[..lanes.start].fill(0.0);
            scores[lanes.start..attended.start].fill(f32::NEG_INFINITY);
            scores[attended.end..lanes.end].fill(f32::NEG_INFINITY);
            scores[lanes.end..].fill(0.0);
            if let Some(cap) = softcap {
                // SAFETY: the caller promises the instructions.
                unsafe { (kernels.softcap)(&mut scores[attended.clone()], product_scale, cap) };
            }
            // SAFETY: the caller promises the instructions.
            largest = largest.max(unsafe { (kernels.max)(&scores[lanes]) });
        }
        let offset = -(largest * scale);
        let mut sum = 0.0;
        for chunk in 0..n_keys.div_ceil(MAX_DEPTH) {
            let (scores, attended) = self.chunk(chunk, row, &attended);
            // SAFETY: the caller promises the instructions.
            sum += unsafe { (kernels.exp_scaled)(&mut scores[lanes(&attended)], scale, offset) };
        }
        (sum, (libm::log(f64::from(sum)) - f64::from(offset)) as f32)
    }

    /// A query's scores in a chunk of keys, and the range of those that it attends to.
    fn chunk(&mut self, chunk: usize, row: usize, attended: &Range<usize>) -> (&mut [f32], Range<usize>) {
        let n = (self.block.keys.len() - chunk * MAX_DEPTH).min(MAX_DEPTH).next_multiple_of(WIDTH);
        let clamp = |column: usize| column.saturating_sub(chunk * MAX_DEPTH).min(n);
        let scores = &mut self.scores[(chunk * BLOCK_ROWS + row) * PACKED_STRIDE..][..n];
        (scores, clamp(attended.start)..clamp(attended.end))
    }
}

/// Extends the range to whole groups of lanes, unless it is empty.
pub(super) fn lanes(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return range.clone();
    }
    range.start - range.start % LANES..range.end.next_multiple_of(LANES)
}

/// Cuts the range into chunks of at most `MAX_DEPTH`.
pub(super) fn chunks(range: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let range = range.clone();
    range.clone().step_by(MAX_DEPTH).map(move |start| start..(start + MAX_DEPTH).min(range.end))
}
