//! Attention, backward: the gradients for queries, keys and values in one pass over the pairs.

use std::ops::Range;

use super::blocks::{BLOCK, rows};
use super::panels::{ByDim, ByToken, Factors};
use super::partition::{Slices, Unit};
use super::{AttentionShape, Saved};
use crate::WeightType;
use crate::error::KernelError;
use crate::isa::{BackColumns, Kernels, PACKED, WIDTH};
use crate::matrix::{Part, Rows, RowsMut};
use crate::scratch;
use crate::weights::Source;

/// Vectors of queries that are packed at a time, of all heads that share a key head together: what each block of keys is
/// multiplied with stays in a core's cache, if heads are not very wide nor very many.
const PACKED_QUERIES: usize = 512;

/// Tokens of `n_tokens` whose queries are packed at a time where so many heads share a key head.
fn tokens(n_tokens: usize, group: usize) -> usize {
    (PACKED_QUERIES / group.max(1) / WIDTH * WIDTH).clamp(WIDTH, n_tokens.next_multiple_of(WIDTH).max(WIDTH))
}

/// Working memory of [`backward`] for `n_tokens` tokens, where `group` heads of `dim` values share a key head, in floats: the
/// sections that [`Pass::queries`] names, in its order. Sequences above 512 tokens take no more.
pub(super) fn lengths(n_tokens: usize, group: usize, dim: usize) -> [usize; 15] {
    let tokens = tokens(n_tokens, group);
    let queries = [ByDim::len(tokens, dim), ByToken::len(tokens, dim), tokens];
    let [by_dim, by_token, numbers] = queries.map(|length| group * length);
    let (rows, block, transposed) = (BLOCK * PACKED, ByToken::len(BLOCK, dim), tokens * WIDTH);
    let queries = [by_dim, by_dim, by_token, by_token, numbers, numbers, by_token];
    let [qt, dt, q, d, lse, delta, dq] = queries;
    [qt, dt, q, d, lse, delta, dq, rows, rows, block, rows, rows, transposed, block, block]
}

/// `dkv` is `[n_slices * T, 2 * n_head_kv * head_dim]`: for each slice a sum, of which the rows of keys that the slice's
/// queries attend to are written.
///
/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `dq` and `dkv` meanwhile.
pub(super) unsafe fn backward(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    slices: &Slices,
    [dq, dkv]: [RowsMut; 2],
    part: Part,
) -> Result<(), KernelError> {
    let pass = Pass { kernels, shape, saved, slices, factors: Factors::new(shape), dq, dkv };
    let group = shape.group();
    let n_tokens = saved.q.n_rows();
    scratch::with(lengths(n_tokens, group, shape.head_dim()), |mut memory| {
        for unit in slices.share(shape.n_head_kv(), part) {
            // SAFETY: the caller promises the instructions; the unit's gradients and sums are this part's alone.
            unsafe {
                pass.clear_sums(&unit);
                let tokens = tokens(n_tokens, group);
                for start in unit.queries.clone().step_by(tokens) {
                    let queries = start..(start + tokens).min(unit.queries.end);
                    pass.queries(&unit, queries, &mut memory);
                }
            }
        }
    })
}

/// What all units share.
struct Pass<'a> {
    kernels: &'a Kernels,
    shape: &'a AttentionShape,
    saved: &'a Saved<'a>,
    slices: &'a Slices,
    factors: Factors,
    dq: RowsMut<'a>,
    dkv: RowsMut<'a>,
}

/// Some queries of one head, with the gradients of its output, packed.
struct Queries<'a> {
    qt: ByDim<'a>,
    dt: ByDim<'a>,
    q: ByToken<'a>,
    d: ByToken<'a>,
    /// Log-sum-exps.
    lse: &'a [f32],
    /// Σ dout · out.
    delta: &'a [f32],
    /// The gradients so far, rows of whole groups of 32.
    dq: &'a mut [f32],
}

impl<'a> Pass<'a> {
    /// The unit's heads at some of its queries, with all keys that they attend to: writes the queries' gradients, and adds to
    /// the unit's sums for the keys and values.
    ///
    /// # Safety
    /// The machine must have the instructions, and nobody else may touch the unit's rows of `dq` and `dkv`.
    unsafe fn queries(&self, unit: &Unit, queries: Range<usize>, memory: &mut [&mut [f32]; 15]) {
        let [qt, dt, q, d, lse, delta, dq, blocks @ ..] = memory;
        let [k_rows, v_rows, k, scores, products, transposed, dk, dv] = blocks;
        let &Pass { kernels, shape, saved, slices, factors, .. } = self;
        let (dim, group) = (shape.head_dim(), shape.group());
        // Each head has an equal share of these.
        let mut rest = [qt, dt, q, d, lse, delta, dq].map(|section| (section.len() / group, &mut **section));
        let mut heads = Vec::with_capacity(group);
        for head in unit.head * group..(unit.head + 1) * group {
            let memory = rest.each_mut().map(|(length, rest)| {
                let (own, others) = std::mem::take(rest).split_at_mut(*length);
                *rest = others;
                own
            });
            // SAFETY: the caller promises the instructions.
            heads.push(unsafe { self.pack(head, &queries, memory) });
        }
        let [all_k, all_v] = [saved.k, saved.v].map(|matrix| matrix.columns(unit.head * dim, dim));
        for keys in rows(slices.keys(&queries)) {
            let meeting = slices.queries(&keys, &queries);
            if meeting.is_empty() {
                continue;
            }
            // Panels start at multiples of 32.
            let local = (meeting.start - queries.start) / WIDTH * WIDTH..meeting.end - queries.start;
            let meeting = queries.start + local.start..meeting.end;
            // SAFETY: the caller promises the instructions, and that the sums are ours alone.
            let k = unsafe {
                factors.pack_rows(kernels, &all_k, keys.clone(), k_rows);
                factors.pack_rows(kernels, &all_v, keys.clone(), v_rows);
                self.load(unit, &keys, [dk, dv]);
                ByToken::pack(kernels, &all_k, keys.clone(), k)
            };
            for head in &mut heads {
                // SAFETY: the caller promises the instructions.
                unsafe {
                    head.qt.products(kernels, k_rows, keys.len(), meeting.clone(), scores);
                    head.dt.products(kernels, v_rows, keys.len(), meeting.clone(), products);
                }
                for (row, key) in keys.clone().enumerate() {
                    let shared = BackColumns {
                        scale: shape.scale(),
                        key: key as u32,
                        first_query: meeting.start as u32,
                        lse: &head.lse[local.clone()],
                        delta: &head.delta[local.clone()],
                        first_key: &slices.first_key[meeting.clone()],
                    };
                    let scores = &mut scores[row * PACKED..][..meeting.len()];
                    let products = &mut products[row * PACKED..][..meeting.len()];
                    // SAFETY: the caller promises the instructions.
                    unsafe { (kernels.back_columns)(&shared, scores, products) };
                }
                let dq = &mut head.dq[local.start * dim.next_multiple_of(WIDTH)..];
                // SAFETY: the caller promises the instructions.
                unsafe {
                    head.d.combine(kernels, (scores, PACKED), keys.len(), meeting.clone(), dv, true);
                    head.q.combine(kernels, (products, PACKED), keys.len(), meeting.clone(), dk, true);
                    self.transpose(products, keys.len(), meeting.len(), transposed);
                    k.combine(kernels, (transposed, WIDTH), meeting.len(), keys.clone(), dq, true);
                }
            }
            // SAFETY: the caller promises that the sums are ours alone.
            unsafe { self.store(unit, &keys, [dk, dv]) };
        }
        for (head, sums) in (unit.head * group..).zip(heads) {
            for (query, sums) in queries.clone().zip(sums.dq.chunks_exact(dim.next_multiple_of(WIDTH))) {
                // SAFETY: the caller promises that the query's gradient is ours alone.
                let dq = unsafe { self.dq.row_mut(query, head * dim..(head + 1) * dim) };
                dq.copy_from_slice(&sums[..dim]);
            }
        }
    }

    /// One head's queries.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn pack<'m>(
        &self,
        head: usize,
        queries: &Range<usize>,
        memory: [&'m mut [f32]; 7],
    ) -> Queries<'m> {
        let [qt, dt, q, d, lse, delta, dq] = memory;
        let (kernels, dim) = (self.kernels, self.shape.head_dim());
        for ((query, lse), delta) in queries.clone().zip(&mut *lse).zip(&mut *delta) {
            // SAFETY: the caller promises the instructions.
            (*lse, *delta) = unsafe { self.query_numbers(head, query) };
        }
        dq.fill(0.0);
        let [all_q, all_d] = [self.saved.q, self.saved.dout].map(|matrix| matrix.columns(head * dim, dim));
        // SAFETY: the caller promises the instructions.
        unsafe {
            Queries {
                qt: ByDim::pack(kernels, self.factors, &all_q, queries.clone(), qt),
                dt: ByDim::pack(kernels, self.factors, &all_d, queries.clone(), dt),
                q: ByToken::pack(kernels, &all_q, queries.clone(), q),
                d: ByToken::pack(kernels, &all_d, queries.clone(), d),
                lse,
                delta,
                dq,
            }
        }
    }

    /// `transposed[column][row]` of `rows`, `[n_rows][PACKED]`.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn transpose(&self, rows: &[f32], n_rows: usize, n_columns: usize, transposed: &mut [f32]) {
        let Some(rows) = Rows::new(rows, n_rows, n_columns, PACKED) else { return };
        let groups = 0..n_columns.div_ceil(WIDTH);
        // SAFETY: the caller promises the instructions.
        unsafe {
            let transpose = self.kernels.panel_transposed;
            transpose(WeightType::F32, Source::floats(&rows), 0..n_rows, groups, transposed);
        }
    }

    /// A query's log-sum-exp and Σ dout · out.
    ///
    /// # Safety
    /// The machine must have the instructions.
    unsafe fn query_numbers(&self, head: usize, query: usize) -> (f32, f32) {
        let (out, dout) = (self.saved.out.row(query), self.saved.dout.row(query));
        let columns = head * self.shape.head_dim()..(head + 1) * self.shape.head_dim();
        // SAFETY: the caller promises the instructions.
        let delta = unsafe { (self.kernels.dot)(&dout[columns.clone()], &out[columns]) };
        (out[self.shape.query_columns() + head], delta)
    }

    /// A key's two places in the unit's sums.
    ///
    /// # Safety
    /// Nobody else may touch them while they are in use.
    unsafe fn sums(&self, unit: &Unit, key: usize) -> [&'a mut [f32]; 2] {
        let (dim, n_tokens) = (self.shape.head_dim(), self.saved.k.n_rows());
        [0, self.shape.n_head_kv()].map(|head| {
            let head = head + unit.head;
            // SAFETY: the matrix has a row for each key and slice; the rest is the caller's promise.
            unsafe { self.dkv.row_mut(unit.slice * n_tokens + key, head * dim..(head + 1) * dim) }
        })
    }

    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn clear_sums(&self, unit: &Unit) {
        for key in unit.keys.clone() {
            // SAFETY: the caller's promise.
            unsafe { self.sums(unit, key) }.into_iter().for_each(|sums| sums.fill(0.0));
        }
    }

    /// Sums of a block of keys, with rows of whole groups of 32.
    ///
    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn load(&self, unit: &Unit, keys: &Range<usize>, mut block: [&mut [f32]; 2]) {
        let (dim, width) = (self.shape.head_dim(), self.shape.head_dim().next_multiple_of(WIDTH));
        for (row, key) in keys.clone().enumerate() {
            // SAFETY: the caller's promise.
            let sums = unsafe { self.sums(unit, key) };
            for (block, sums) in block.iter_mut().zip(sums) {
                block[row * width..][..dim].copy_from_slice(sums);
            }
        }
    }

    /// The inverse of [`Self::load`].
    ///
    /// # Safety
    /// As for [`Self::sums`].
    unsafe fn store(&self, unit: &Unit, keys: &Range<usize>, block: [&[f32]; 2]) {
        let (dim, width) = (self.shape.head_dim(), self.shape.head_dim().next_multiple_of(WIDTH));
        for (row, key) in keys.clone().enumerate() {
            // SAFETY: the caller's promise.
            let sums = unsafe { self.sums(unit, key) };
            for (block, sums) in block.iter().zip(sums) {
                sums.copy_from_slice(&block[row * width..][..dim]);
            }
        }
    }
}
