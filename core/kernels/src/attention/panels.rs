//! A head's vectors as panels, and blocks of rows multiplied with them.

use std::ops::Range;

use crate::WeightType;
use crate::isa::{Kernels, PACKED, Tile, WIDTH};
use crate::matrix::Rows;
use crate::weights::Source;

/// Consecutive tokens' vectors of a head, packed with the tokens along the panel's rows: `[group][token][32]`.
pub(super) struct ByToken<'a> {
    memory: &'a [f32],
    tokens: Range<usize>,
    n_groups: usize,
}

/// Consecutive tokens' vectors of a head, packed with the tokens along the panel's columns: `[token / 32][dim][32]`.
pub(super) struct ByDim<'a> {
    memory: &'a [f32],
    first_token: usize,
    tile_len: usize,
    dim: usize,
}

impl<'a> ByToken<'a> {
    /// Floats of memory for so many tokens.
    pub fn len(n_tokens: usize, dim: usize) -> usize {
        dim.div_ceil(WIDTH) * n_tokens * WIDTH
    }

    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack(
        kernels: &Kernels,
        vectors: &Rows,
        tokens: Range<usize>,
        memory: &'a mut [f32],
    ) -> ByToken<'a> {
        let n_groups = vectors.n_cols().div_ceil(WIDTH);
        for group in 0..n_groups {
            let panel = &mut memory[group * tokens.len() * WIDTH..][..tokens.len() * WIDTH];
            // SAFETY: the caller promises the instructions.
            unsafe {
                (kernels.panel_rows)(WeightType::F32, Source::floats(vectors), tokens.clone(), group, panel);
            }
        }
        ByToken { memory, tokens, n_groups }
    }

    /// `c[r, d] (+)= Σ_t x[r, t] · vector[t][d]` for the tokens `tokens`: x `[rows][PACKED]`, c `[rows][32 · groups]`.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn combine(
        &self,
        kernels: &Kernels,
        x: &[f32],
        n_rows: usize,
        tokens: Range<usize>,
        c: &mut [f32],
        accumulate: bool,
    ) {
        let c_stride = self.n_groups * WIDTH;
        for group in 0..self.n_groups {
            let first = group * self.tokens.len() + (tokens.start - self.tokens.start);
            let panel = &self.memory[first * WIDTH..][..tokens.len() * WIDTH];
            let c = &mut c[group * WIDTH..];
            // SAFETY: the caller promises the instructions.
            unsafe { multiply(kernels, n_rows, tokens.len(), x, panel, c, c_stride, accumulate) };
        }
    }
}

impl<'a> ByDim<'a> {
    /// Floats of memory for so many tokens.
    pub fn len(n_tokens: usize, dim: usize) -> usize {
        n_tokens.next_multiple_of(WIDTH) * dim.next_multiple_of(WIDTH)
    }

    /// `tokens.start` must be a multiple of 32.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack(
        kernels: &Kernels,
        vectors: &Rows,
        tokens: Range<usize>,
        memory: &'a mut [f32],
    ) -> ByDim<'a> {
        let dim = vectors.n_cols();
        let tile_len = dim.next_multiple_of(WIDTH) * WIDTH;
        for (first, panel) in tokens.clone().step_by(WIDTH).zip(memory.chunks_exact_mut(tile_len)) {
            let (rows, groups) = (first..(first + WIDTH).min(tokens.end), 0..dim.div_ceil(WIDTH));
            // SAFETY: the caller promises the instructions.
            unsafe {
                (kernels.panel_transposed)(WeightType::F32, Source::floats(vectors), rows, groups, panel);
            }
        }
        ByDim { memory, first_token: tokens.start, tile_len, dim }
    }

    /// `c[r, t] = Σ_d x[r, d] · vector[t][d]` for the tokens `tokens` and on to the next multiple of 32: x and c
    /// `[rows][PACKED]`. `tokens.start` must be a multiple of 32.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn products(
        &self,
        kernels: &Kernels,
        x: &[f32],
        n_rows: usize,
        tokens: Range<usize>,
        c: &mut [f32],
    ) {
        let first_tile = (tokens.start - self.first_token) / WIDTH;
        let panels = self.memory.chunks_exact(self.tile_len).skip(first_tile);
        for (panel, column) in panels.zip((0..tokens.len()).step_by(WIDTH)) {
            // SAFETY: the caller promises the instructions.
            unsafe { multiply(kernels, n_rows, self.dim, x, panel, &mut c[column..], PACKED, false) };
        }
    }
}

/// Copies the rows `rows` to `[rows][PACKED]`.
pub(super) fn pack_rows(vectors: &Rows, rows: Range<usize>, packed: &mut [f32]) {
    for (row, packed) in rows.zip(packed.chunks_exact_mut(PACKED)) {
        packed[..vectors.n_cols()].copy_from_slice(vectors.row(row));
    }
}

/// `c (+)= x · panel`, 32 columns wide.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
#[allow(clippy::too_many_arguments, reason = "the operands and shape of a product")]
unsafe fn multiply(
    kernels: &Kernels,
    n_rows: usize,
    depth: usize,
    x: &[f32],
    panel: &[f32],
    c: &mut [f32],
    c_stride: usize,
    accumulate: bool,
) {
    let panel = &panel[..depth * WIDTH];
    for first in (0..n_rows).step_by(kernels.max_rows) {
        let rows = (n_rows - first).min(kernels.max_rows);
        let x = &x[first * PACKED..][..(rows - 1) * PACKED + depth];
        let c = &mut c[first * c_stride..][..(rows - 1) * c_stride + WIDTH];
        let tile = Tile {
            rows,
            width: WIDTH,
            depth,
            x: x.as_ptr(),
            x_stride: PACKED,
            panel: panel.as_ptr(),
            panel_stride: WIDTH,
            c: c.as_mut_ptr(),
            c_stride,
            accumulate,
        };
        // SAFETY: the three slices were cut to what the tile reads and writes; the caller promises the instructions.
        unsafe { kernels.product(tile) };
    }
}
