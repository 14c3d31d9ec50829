//! The backward pass of attention: the gradients for queries, keys and values, in one pass over the pairs.

use std::ops::Range;

use super::blocks::{BLOCK_ROWS, row_blocks};
use super::panels::{PackFormat, PackedRhs, PackedRhsTransposed};
use super::partition::{QueryPartition, WorkItem};
use super::shape::AttentionShape;
use crate::WeightType;
use crate::error::KernelError;
use crate::isa::Kernels;
use crate::matrix::{Part, Rows, RowsMut};
use crate::microkernels::SoftmaxBack;
use crate::scratch;
use crate::tile::{PACKED_STRIDE, WIDTH};
use crate::weights::RawRows;

/// The number of queries' vectors that are packed at a time, for all heads that share a key head together: what each block of
/// keys is multiplied with stays in a core's cache, if heads are not very wide nor very many.
const PACKED_QUERIES: usize = 512;

/// The number of tokens, of `n_tokens`, whose queries are packed at a time where `group` heads share a key head.
fn packed_tokens(n_tokens: usize, group: usize) -> usize {
    (PACKED_QUERIES / group.max(1) / WIDTH * WIDTH).clamp(WIDTH, n_tokens.next_multiple_of(WIDTH).max(WIDTH))
}

/// The working memory of [`backward`] for `n_tokens` tokens, where `group` heads of `dim` values share a key head, in floats:
/// the sections that [`Backward::process`] names, in its order. Sequences above 512 tokens take no more.
pub(super) fn lengths(n_tokens: usize, group: usize, dim: usize) -> [usize; 15] {
    let tokens = packed_tokens(n_tokens, group);
    let queries = [PackedRhsTransposed::len(tokens, dim), PackedRhs::len(tokens, dim), tokens];
    let [transposed, rhs, scalars] = queries.map(|length| group * length);
    let (rows, block, columns) =
        (BLOCK_ROWS * PACKED_STRIDE, PackedRhs::len(BLOCK_ROWS, dim), tokens * WIDTH);
    let queries = [transposed, transposed, rhs, rhs, scalars, scalars, rhs];
    let [q_t, dout_t, q, dout, lse, delta, dq] = queries;
    [q_t, dout_t, q, dout, lse, delta, dq, rows, rows, block, rows, rows, columns, block, block]
}

/// The tensors that the backward pass reads, besides the shape and the segments.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a> {
    pub q: Rows<'a>,
    pub k: Rows<'a>,
    pub v: Rows<'a>,
    pub out: Rows<'a>,
    pub dout: Rows<'a>,
}

/// Writes this part of the gradients. `dkv` is `[n_splits * T, 2 * n_head_kv * head_dim]`: sums for each split, of which the
/// rows of keys that the split's queries attend to are written.
///
/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `dq` and `dkv` meanwhile.
pub(super) unsafe fn backward(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    partition: &QueryPartition,
    [dq, dkv]: [RowsMut; 2],
    part: Part,
) -> Result<(), KernelError> {
    let backward = Backward { kernels, shape, saved, partition, format: PackFormat::new(shape), dq, dkv };
    let group = shape.group_size();
    let n_tokens = saved.q.n_rows();
    scratch::with(lengths(n_tokens, group, shape.head_dim()), |mut memory| {
        for item in partition.work_items(shape.n_head_kv(), part) {
            // SAFETY: the caller promises the instructions; the item's gradients and sums are this part's alone.
            unsafe {
                backward.clear_sums(&item);
                let tokens = packed_tokens(n_tokens, group);
                for start in item.queries.clone().step_by(tokens) {
                    let queries = start..(start + tokens).min(item.queries.end);
                    backward.process(&item, queries, &mut memory);
                }
            }
        }
    })
}

/// What all work items share.
struct Backward<'a> {
    kernels: &'a Kernels,
    shape: &'a AttentionShape,
    saved: &'a Saved<'a>,
    partition: &'a QueryPartition,
    format: PackFormat,
    dq: RowsMut<'a>,
    dkv: RowsMut<'a>,
}

/// Some queries of one head, with the gradients of its output, packed.
struct Queries<'a> {
    q_t: PackedRhsTransposed<'a>,
    dout_t: PackedRhsTransposed<'a>,
    q: PackedRhs<'a>,
    dout: PackedRhs<'a>,
    /// The log-sum-exp of each query.
    lse: &'a [f32],
    /// Σ dout · out of each query.
    delta: &'a [f32],
    /// The gradients so far, rows of whole groups of 32.
    dq: &'a mut [f32],
}

impl<'a> Backward<'a> {
    /// Computes the item's heads at some of its queries, with all keys that they attend to: writes the queries' gradients, and
    /// adds to the item's sums for the keys and values.
    ///
    /// # Safety
    /// The machine must have the instructions, and nobody else may touch the item's rows of `dq` and `dkv`.
    unsafe fn process(&self, item: &WorkItem, queries: Range<usize>, memory: &mut [&mut [f32]; 15]) {
        let [q_t, dout_t, q, dout, lse, delta, dq, blocks @ ..] = memory;
        let [k_rows, v_rows, k, scores, products, transposed, dk, dv] = blocks;
        let &Backward { kernels, shape, saved, partition, format, .. } = self;
        let (dim, group) = (shape.head_dim(), shape.group_size());
        // Each head has an equal share of these.
        let mut rest =
            [q_t, dout_t, q, dout, lse, delta, dq].map(|section| (section.len() / group, &mut **section));
        let mut heads = Vec::with_capacity(group);
        for head in item.head * group..(item.head + 1) * group {
            let memory = rest.each_mut().map(|(length, rest)| {
                let (own, others) = std::mem::take(rest).split_at_mut(*length);
                *rest = others;
                own
            });
            // SAFETY: the caller promises the instructions.
            heads.push(unsafe { self.pack(head, &queries, memory) });
        }
        let [all_k, all_v] = [saved.k, saved.v].map(|matrix| matrix.columns(item.head * dim, dim));
        for keys in row_blocks(partition.attended_keys(&queries)) {
            let attending = partition.attending(&keys, &queries);
            if attending.is_empty() {
                continue;
            }
            // Panels start at multiples of 32.
            let local = (attending.start - queries.start) / WIDTH * WIDTH..attending.end - queries.start;
            let attending = queries.start + local.start..attending.end;
            // SAFETY: the caller promises the instructions, and that the sums are ours alone.
            let k = unsafe {
                format.pack_lhs(kernels, &all_k, keys.clone(), k_rows);
                format.pack_lhs(kernels, &all_v, keys.clone(), v_rows);
                self.load(item, &keys, [dk, dv]);
                PackedRhs::pack(kernels, &all_k, keys.clone(), k)
            };
            for head in &mut heads {
                // SAFETY: the caller promises the instructions.
                unsafe {
                    head.q_t.multiply(kernels, k_rows, keys.len(), attending.clone(), scores);
                    head.dout_t.multiply(kernels, v_rows, keys.len(), attending.clone(), products);
                }
                for (row, key) in keys.clone().enumerate() {
                    let column = SoftmaxBack {
                        scale: shape.scale(),
                        softcap: shape.softcap(),
                        key: key as u32,
                        first_query: attending.start as u32,
                        lse: &head.lse[local.clone()],
                        delta: &head.delta[local.clone()],
                        first_key: &partition.first_key[attending.clone()],
                    };
                    let scores = &mut scores[row * PACKED_STRIDE..][..attending.len()];
                    let products = &mut products[row * PACKED_STRIDE..][..attending.len()];
                    // SAFETY: the caller promises the instructions.
                    unsafe { (kernels.softmax_back)(&column, scores, products) };
                }
                let dq = &mut head.dq[local.start * dim.next_multiple_of(WIDTH)..];
                // SAFETY: the caller promises the instructions.
                unsafe {
                    head.dout.multiply(
                        kernels,
                        (scores, PACKED_STRIDE),
                        keys.len(),
                        attending.clone(),
                        dv,
                        true,
                    );
                    head.q.multiply(
                        kernels,
                        (products, PACKED_STRIDE),
                        keys.len(),
                        attending.clone(),
                        dk,
                        true,
                    );
                    self.transpose(products, keys.len(), attending.len(), transposed);
                    k.multiply(kernels, (transposed, WIDTH), attending.len(), keys.clone(), dq, true);
                }
            }
            // SAFETY: the caller promises that the sums are ours alone.
            unsafe { self.store(item, &keys, [dk, dv]) };
        }
        for (head, sums) in (item.head * group..).zip(heads) {
            for (query, sums) in queries.clone().zip(sums.dq.chunks_exact(dim.next_multiple_of(WIDTH))) {
                // SAFETY: the caller promises that the query's gradient is ours alone.
                let dq = unsafe { self.dq.row_mut(query, head * dim..(head + 1) * dim) };
                dq.copy_from_slice(&sums[..dim]);
            }
        }
    }

    /// Packs one head's queries.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn pack<'m>(
        &self,
        head: usize,
        queries: &Range<usize>,
        memory: [&'m mut [f32]; 7],
    ) -> Queries<'m> {
        let [q_t, dout_t, q, dout, lse, delta, dq] = memory;
        let (kernels, dim) = (self.kernels, self.shape.head_dim());
        for ((query, lse), delta) in queries.clone().zip(&mut *lse).zip(&mut *delta) {
            // SAFETY: the caller promises the instructions.
            (*lse, *delta) = unsafe { self.lse_and_delta(head, query) };
        }
        dq.fill(0.0);
        let [all_q, all_dout] = [self.saved.q, self.saved.dout].map(|matrix| matrix.columns(head * dim, dim));
        // SAFETY: the caller promises the instructions.
        unsafe {
            Queries {
                q_t: PackedRhsTransposed::pack(kernels, self.format, &all_q, queries.clone(), q_t),
                dout_t: PackedRhsTransposed::pack(kernels, self.format, &all_dout, queries.clone(), dout_t),
                q: PackedRhs::pack(kernels, &all_q, queries.clone(), q),
                dout: PackedRhs::pack(kernels, &all_dout, queries.clone(), dout),
                lse,
                delta,
                dq,
            }
        }
    }

    /// Writes `rows`, `[n_rows][PACKED_STRIDE]`, to `transposed[column][row]`.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn transpose(&self, rows: &[f32], n_rows: usize, n_columns: usize, transposed: &mut [f32]) {
        let Some(rows) = Rows::new(rows, n_rows, n_columns, PACKED_STRIDE) else { return };
        let groups = 0..n_columns.div_ceil(WIDTH);
        // SAFETY: the caller promises the instructions.
        unsafe {
            let transpose = self.kernels.dequantize_panel_transposed;
            transpose(WeightType::F32, RawRows::of_floats(&rows), 0..n_rows, groups, transposed);
        }
    }

    /// A query's log-sum-exp and Σ dout · out.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn lse_and_delta(&self, head: usize, query: usize) -> (f32, f32) {
        let (out, dout) = (self.saved.out.row(query), self.saved.dout.row(query));
        let columns = head * self.shape.head_dim()..(head + 1) * self.shape.head_dim();
        // SAFETY: the caller promises the instructions.
        let delta = unsafe { (self.kernels.dot)(&dout[columns.clone()], &out[columns]) };
        (out[self.shape.query_columns() + head], delta)
    }

    /// The item's sums for a key: of its gradient, and of its value's.
    ///
    /// # Safety
    /// Nobody else may touch them while they are in use.
    unsafe fn sums(&self, item: &WorkItem, key: usize) -> [&'a mut [f32]; 2] {
        let (dim, n_tokens) = (self.shape.head_dim(), self.saved.k.n_rows());
        [0, self.shape.n_head_kv()].map(|head| {
            let head = head + item.head;
            // SAFETY: the matrix has a row for each key and split; the rest is the caller's promise.
            unsafe { self.dkv.row_mut(item.split * n_tokens + key, head * dim..(head + 1) * dim) }
        })
    }

    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn clear_sums(&self, item: &WorkItem) {
        for key in item.keys.clone() {
            // SAFETY: the caller's promise.
            unsafe { self.sums(item, key) }.into_iter().for_each(|sums| sums.fill(0.0));
        }
    }

    /// Copies the sums of a block of keys to `block`, in rows of whole groups of 32.
    ///
    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn load(&self, item: &WorkItem, keys: &Range<usize>, mut block: [&mut [f32]; 2]) {
        let (dim, width) = (self.shape.head_dim(), self.shape.head_dim().next_multiple_of(WIDTH));
        for (row, key) in keys.clone().enumerate() {
            // SAFETY: the caller's promise.
            let sums = unsafe { self.sums(item, key) };
            for (block, sums) in block.iter_mut().zip(sums) {
                block[row * width..][..dim].copy_from_slice(sums);
            }
        }
    }

    /// Copies the sums of a block of keys back from `block`.
    ///
    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn store(&self, item: &WorkItem, keys: &Range<usize>, block: [&[f32]; 2]) {
        let (dim, width) = (self.shape.head_dim(), self.shape.head_dim().next_multiple_of(WIDTH));
        for (row, key) in keys.clone().enumerate() {
            // SAFETY: the caller's promise.
            let sums = unsafe { self.sums(item, key) };
            for (block, sums) in block.iter().zip(sums) {
                sums.copy_from_slice(&block[row * width..][..dim]);
            }
        }
    }
}
