//! Attention, backward: the gradient for the queries, then that for the keys and values.

use std::ops::Range;

use super::forward::{chunks, lanes};
use super::panels::{ByDim, ByToken, Factors};
use super::plan::{BLOCK, Plan};
use super::{AttentionShape, Saved};
use crate::isa::{BackColumns, BackRow, Kernels, PACKED, WIDTH};
use crate::matrix::{Part, Rows, RowsMut};
use crate::scratch;

/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `dq` meanwhile.
pub(super) unsafe fn back_q(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    plan: &Plan,
    dq: RowsMut,
    part: Part,
) {
    let (dim, factors) = (shape.head_dim, Factors::new(shape));
    let group = shape.n_head / shape.n_head_kv;
    for run in plan.share(shape.n_head_kv, part) {
        let keys = plan.columns(&run);
        let by_dim = ByDim::len(keys.len(), dim);
        let rows = BLOCK * PACKED;
        let lengths = [
            by_dim,
            by_dim,
            ByToken::len(keys.len(), dim),
            rows,
            rows,
            rows,
            rows,
            BLOCK * dim.next_multiple_of(WIDTH),
        ];
        scratch::with(lengths, |[kt, vt, k, q_rows, dout_rows, scores, products, sums]| {
            let (all_k, all_v) = (saved.k.columns(run.head * dim, dim), saved.v.columns(run.head * dim, dim));
            // SAFETY: the caller promises the instructions.
            let (kt, vt, k) = unsafe {
                (
                    ByDim::pack(kernels, factors, &all_k, keys.clone(), kt),
                    ByDim::pack(kernels, factors, &all_v, keys.clone(), vt),
                    ByToken::pack(kernels, &all_k, keys.clone(), k),
                )
            };
            for block in &plan.blocks[run.blocks.clone()] {
                let n_rows = block.rows.len();
                for head in run.head * group..(run.head + 1) * group {
                    let dout = saved.dout.columns(head * dim, dim);
                    let q = saved.q.columns(head * dim, dim);
                    // SAFETY: the caller promises the instructions.
                    unsafe {
                        factors.pack_rows(kernels, &q, block.rows.clone(), q_rows);
                        factors.pack_rows(kernels, &dout, block.rows.clone(), dout_rows);
                    }
                    for keys in chunks(&block.columns) {
                        // SAFETY: the caller promises the instructions.
                        unsafe {
                            kt.products(kernels, q_rows, n_rows, keys.clone(), scores);
                            vt.products(kernels, dout_rows, n_rows, keys.clone(), products);
                        }
                        for (row, query) in block.rows.clone().enumerate() {
                            // SAFETY: the caller promises the instructions.
                            let (lse, delta) = unsafe { query_numbers(kernels, shape, saved, head, query) };
                            let shared = BackRow { scale: shape.scale, lse, delta };
                            let n = keys.len().next_multiple_of(WIDTH);
                            let clamp = |key: usize| key.saturating_sub(keys.start).min(n);
                            let attended = clamp(plan.first_key[query] as usize)..clamp(query + 1);
                            let scores = &scores[row * PACKED..][..n];
                            let products = &mut products[row * PACKED..][..n];
                            let lanes = lanes(&attended);
                            // SAFETY: the caller promises the instructions.
                            unsafe {
                                (kernels.back_row)(&shared, &scores[lanes.clone()], &mut products[lanes]);
                            }
                            products[..attended.start].fill(0.0);
                            products[attended.end..].fill(0.0);
                        }
                        let accumulate = keys.start > block.columns.start;
                        // SAFETY: the caller promises the instructions.
                        unsafe { k.combine(kernels, products, n_rows, keys, sums, accumulate) };
                    }
                    // SAFETY: the block's rows of this head are this part's alone.
                    unsafe { store(sums, dq, block.rows.clone(), head * dim..(head + 1) * dim) };
                }
            }
        });
    }
}

/// Working memory of [`back_kv`] for `n` queries, in floats; no other kernel of attention takes more.
pub(super) fn kv_lengths(n: usize, dim: usize) -> [usize; 12] {
    let (by_dim, by_token) = (ByDim::len(n, dim), ByToken::len(n, dim));
    let (rows, sums) = (BLOCK * PACKED, BLOCK * dim.next_multiple_of(WIDTH));
    [by_dim, by_dim, by_token, by_token, rows, rows, rows, rows, sums, sums, n, n]
}

/// # Safety
/// The arguments must fit each other, the machine must have the instructions of `kernels`, each part must be run
/// exactly once, and nothing else may touch `dkv` meanwhile.
pub(super) unsafe fn back_kv(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    plan: &Plan,
    dkv: RowsMut,
    part: Part,
) {
    let (dim, factors) = (shape.head_dim, Factors::new(shape));
    let group = shape.n_head / shape.n_head_kv;
    for run in plan.share(shape.n_head_kv, part) {
        let queries = plan.columns(&run);
        let lengths = kv_lengths(queries.len(), dim);
        let (all_k, all_v) = (saved.k.columns(run.head * dim, dim), saved.v.columns(run.head * dim, dim));
        let dk_columns = run.head * dim..(run.head + 1) * dim;
        let dv_columns = dk_columns.start + saved.k.n_cols()..dk_columns.end + saved.k.n_cols();
        // One head at a time for all blocks, so that only one head's queries are packed.
        for head in run.head * group..(run.head + 1) * group {
            scratch::with(lengths, |sections| {
                let [qt, dt, q, d, k_rows, v_rows, scores, products, dk, dv, lse, delta] = sections;
                let (all_q, dout) = (saved.q.columns(head * dim, dim), saved.dout.columns(head * dim, dim));
                // SAFETY: the caller promises the instructions.
                let (qt, dt, q, d) = unsafe {
                    (
                        ByDim::pack(kernels, factors, &all_q, queries.clone(), qt),
                        ByDim::pack(kernels, factors, &dout, queries.clone(), dt),
                        ByToken::pack(kernels, &all_q, queries.clone(), q),
                        ByToken::pack(kernels, &dout, queries.clone(), d),
                    )
                };
                for (index, query) in queries.clone().enumerate() {
                    // SAFETY: the caller promises the instructions.
                    (lse[index], delta[index]) = unsafe { query_numbers(kernels, shape, saved, head, query) };
                }
                for block in &plan.blocks[run.blocks.clone()] {
                    let n_rows = block.rows.len();
                    // SAFETY: the caller promises the instructions.
                    unsafe {
                        factors.pack_rows(kernels, &all_k, block.rows.clone(), k_rows);
                        factors.pack_rows(kernels, &all_v, block.rows.clone(), v_rows);
                    }
                    if head == run.head * group {
                        dk.fill(0.0);
                        dv.fill(0.0);
                    } else {
                        // SAFETY: the block's rows of this key head are this part's alone.
                        unsafe {
                            load(dk, dkv, block.rows.clone(), dk_columns.clone());
                            load(dv, dkv, block.rows.clone(), dv_columns.clone());
                        }
                    }
                    for chunk in chunks(&block.columns) {
                        // SAFETY: the caller promises the instructions.
                        unsafe {
                            qt.products(kernels, k_rows, n_rows, chunk.clone(), scores);
                            dt.products(kernels, v_rows, n_rows, chunk.clone(), products);
                        }
                        for (row, key) in block.rows.clone().enumerate() {
                            let local = chunk.start - queries.start..chunk.end - queries.start;
                            let shared = BackColumns {
                                scale: shape.scale,
                                key: key as u32,
                                first_query: chunk.start as u32,
                                lse: &lse[local.clone()],
                                delta: &delta[local],
                                first_key: &plan.first_key[chunk.clone()],
                            };
                            let scores = &mut scores[row * PACKED..][..chunk.len()];
                            let products = &mut products[row * PACKED..][..chunk.len()];
                            // SAFETY: the caller promises the instructions.
                            unsafe { (kernels.back_columns)(&shared, scores, products) };
                        }
                        // SAFETY: the caller promises the instructions.
                        unsafe {
                            d.combine(kernels, scores, n_rows, chunk.clone(), dv, true);
                            q.combine(kernels, products, n_rows, chunk, dk, true);
                        }
                    }
                    // SAFETY: as above.
                    unsafe {
                        store(dk, dkv, block.rows.clone(), dk_columns.clone());
                        store(dv, dkv, block.rows.clone(), dv_columns.clone());
                    }
                }
            });
        }
    }
}

/// A query's log-sum-exp and Σ dout · out.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
unsafe fn query_numbers(
    kernels: &Kernels,
    shape: &AttentionShape,
    saved: &Saved,
    head: usize,
    query: usize,
) -> (f32, f32) {
    let (out, dout): (Rows, Rows) = (saved.out, saved.dout);
    let columns = head * shape.head_dim..(head + 1) * shape.head_dim;
    // SAFETY: the caller promises the instructions.
    let delta = unsafe { (kernels.dot)(&dout.row(query)[columns.clone()], &out.row(query)[columns]) };
    (out.row(query)[shape.n_head * shape.head_dim + head], delta)
}

/// Writes `sums: [row][dim, padded]` to columns of rows of a matrix.
///
/// # Safety
/// The place must be inside `matrix`, and nobody else may touch it.
unsafe fn store(sums: &[f32], matrix: RowsMut, rows: Range<usize>, columns: Range<usize>) {
    for (row, sums) in rows.zip(sums.chunks_exact(columns.len().next_multiple_of(WIDTH))) {
        // SAFETY: the caller's promise.
        unsafe { matrix.row_mut(row, columns.clone()) }.copy_from_slice(&sums[..columns.len()]);
    }
}

/// The inverse of [`store`].
///
/// # Safety
/// As for [`store`].
unsafe fn load(sums: &mut [f32], matrix: RowsMut, rows: Range<usize>, columns: Range<usize>) {
    for (row, sums) in rows.zip(sums.chunks_exact_mut(columns.len().next_multiple_of(WIDTH))) {
        // SAFETY: the caller's promise.
        sums[..columns.len()].copy_from_slice(unsafe { matrix.row_mut(row, columns.clone()) });
    }
}
