//! A head's vectors packed as panels, and the products of blocks of rows with them.

use std::ops::Range;

use super::shape::AttentionShape;
use crate::WeightType;
use crate::gemm::ComputeType;
use crate::isa::Kernels;
use crate::matrix::Rows;
use crate::tile::{CHAIN, Int16Tile, MAX_ROWS, PACKED_STRIDE, PAIR, Tile, WIDTH};
use crate::weights::RawRows;

/// A head's vectors of consecutive tokens, a matrix M `[token][dim]`, packed as the right-hand side of x · M:
/// `[dim / 32][token][32]`.
pub(super) struct PackedRhs<'a> {
    memory: &'a [f32],
    tokens: Range<usize>,
    n_groups: usize,
}

/// A head's vectors of consecutive tokens, a matrix M `[token][dim]`, packed as the right-hand side of x · Mᵀ:
/// `[token / 32][dim][32]`; or, where products are of integers, in half the room, as the tier arranges them, with a row of
/// their scales behind.
pub(super) struct PackedRhsTransposed<'a> {
    memory: &'a [f32],
    first_token: usize,
    tile_len: usize,
    format: PackFormat,
}

/// How the two sides of x · Mᵀ are packed.
#[derive(Clone, Copy)]
pub(super) struct PackFormat {
    dim: usize,
    /// The largest magnitude of a quantized value; none for floats.
    q_max: Option<f32>,
}

/// Vectors longer than this are not quantized.
const MAX_INT16_DIM: usize = 256;

impl PackFormat {
    /// The format for an attention of this shape. Both sides are quantized alike: a score is then the same number forward and
    /// backward.
    pub fn new(shape: &AttentionShape) -> Self {
        let dim = shape.head_dim();
        // The sum of so many products of `q_max` times itself fits 32 bits.
        let q_max = (f64::from(i32::MAX) / dim.next_multiple_of(WIDTH) as f64).sqrt().floor() as f32;
        Self {
            dim,
            q_max: (shape.compute_type() == ComputeType::Int16 && dim <= MAX_INT16_DIM).then_some(q_max),
        }
    }

    fn padded_dim(&self) -> usize {
        self.dim.next_multiple_of(WIDTH)
    }

    /// Writes the rows `rows` of the left-hand side to `[rows][PACKED_STRIDE]`: as they are, or as pairs and a scale.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack_lhs(&self, kernels: &Kernels, vectors: &Rows, rows: Range<usize>, packed: &mut [f32]) {
        for (row, packed) in rows.zip(packed.chunks_exact_mut(PACKED_STRIDE)) {
            let Some(q_max) = self.q_max else {
                packed[..self.dim].copy_from_slice(vectors.row(row));
                continue;
            };
            let (row, (pairs, rest)) = (vectors.row(row), packed.split_at_mut(self.padded_dim() / PAIR));
            // SAFETY: the caller promises the instructions.
            let mut quantize = |row: &[f32]| unsafe { (kernels.quantize_row)(row, q_max, pairs) };
            rest[0] = if self.dim == self.padded_dim() {
                quantize(row)
            } else {
                let mut padded = [0.0; MAX_INT16_DIM];
                padded[..self.dim].copy_from_slice(row);
                quantize(&padded[..self.padded_dim()])
            };
        }
    }
}

impl<'a> PackedRhs<'a> {
    /// The number of floats that so many tokens take.
    pub fn len(n_tokens: usize, dim: usize) -> usize {
        dim.div_ceil(WIDTH) * n_tokens * WIDTH
    }

    /// Packs the vectors of `tokens`.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack(
        kernels: &Kernels,
        vectors: &Rows,
        tokens: Range<usize>,
        memory: &'a mut [f32],
    ) -> PackedRhs<'a> {
        let n_groups = vectors.n_cols().div_ceil(WIDTH);
        for group in 0..n_groups {
            let panel = &mut memory[group * tokens.len() * WIDTH..][..tokens.len() * WIDTH];
            // SAFETY: the caller promises the instructions.
            unsafe {
                (kernels.dequantize_panel)(
                    WeightType::F32,
                    RawRows::of_floats(vectors),
                    tokens.clone(),
                    group,
                    panel,
                );
            }
        }
        PackedRhs { memory, tokens, n_groups }
    }

    /// Computes `c[r, d] (+)= Σ_t x[r, t] · M[t, d]` over the tokens `tokens`; the rows of x are `x_stride` apart, c is
    /// `[rows][32 · groups]`.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn multiply(
        &self,
        kernels: &Kernels,
        (x, x_stride): (&[f32], usize),
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
            unsafe {
                multiply_f32(kernels, n_rows, tokens.len(), (x, x_stride), panel, (c, c_stride), accumulate)
            };
        }
    }
}

impl<'a> PackedRhsTransposed<'a> {
    /// The number of floats that so many tokens take.
    pub fn len(n_tokens: usize, dim: usize) -> usize {
        n_tokens.next_multiple_of(WIDTH) * dim.next_multiple_of(WIDTH)
    }

    /// Packs the vectors of `tokens`; `tokens.start` must be a multiple of 32.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack(
        kernels: &Kernels,
        format: PackFormat,
        vectors: &Rows,
        tokens: Range<usize>,
        memory: &'a mut [f32],
    ) -> PackedRhsTransposed<'a> {
        let tile_len = format.padded_dim() * WIDTH;
        let mut floats = [0.0; MAX_INT16_DIM * WIDTH];
        for (first, panel) in tokens.clone().step_by(WIDTH).zip(memory.chunks_exact_mut(tile_len)) {
            let (rows, groups) = (first..(first + WIDTH).min(tokens.end), 0..format.padded_dim() / WIDTH);
            let source = RawRows::of_floats(vectors);
            // SAFETY: the caller promises the instructions.
            unsafe {
                let Some(q_max) = format.q_max else {
                    (kernels.dequantize_panel_transposed)(WeightType::F32, source, rows, groups, panel);
                    continue;
                };
                let floats = &mut floats[..tile_len];
                (kernels.dequantize_panel_transposed)(WeightType::F32, source, rows, groups, floats);
                let (pairs, scales) = panel.split_at_mut(tile_len / PAIR);
                (kernels.quantize_panel)(floats, q_max, pairs, &mut scales[..WIDTH]);
            }
        }
        PackedRhsTransposed { memory, first_token: tokens.start, tile_len, format }
    }

    /// Computes `c[r, t] = Σ_d x[r, d] · M[t, d]` for the tokens `tokens` and on to the next multiple of 32; x is from
    /// [`PackFormat::pack_lhs`], c `[rows][PACKED_STRIDE]`. `tokens.start` must be a multiple of 32.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn multiply(
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
            unsafe {
                match self.format.q_max {
                    None => {
                        let c = (&mut c[column..], PACKED_STRIDE);
                        multiply_f32(kernels, n_rows, self.format.dim, (x, PACKED_STRIDE), panel, c, false)
                    }
                    Some(_) => self.multiply_int16(kernels, n_rows, x, panel, &mut c[column..]),
                }
            }
        }
    }

    /// # Safety
    /// The machine must have the instructions of `kernels`.
    unsafe fn multiply_int16(
        &self,
        kernels: &Kernels,
        n_rows: usize,
        x: &[f32],
        panel: &[f32],
        c: &mut [f32],
    ) {
        let pairs = self.format.padded_dim() / PAIR;
        let (panel, scales) = panel.split_at(self.tile_len / PAIR);
        for first in (0..n_rows).step_by(kernels.max_rows) {
            let rows = (n_rows - first).min(kernels.max_rows);
            let x = &x[first * PACKED_STRIDE..];
            let mut x_scales = [0.0; MAX_ROWS];
            for (row, scale) in x_scales[..rows].iter_mut().enumerate() {
                *scale = x[row * PACKED_STRIDE + pairs];
            }
            let sums = &mut c[first * PACKED_STRIDE..][..(rows - 1) * PACKED_STRIDE + WIDTH];
            let tile = Int16Tile {
                rows,
                pairs,
                x,
                x_stride: PACKED_STRIDE,
                x_scales: &x_scales,
                panel,
                scales,
                from: None,
                to: (sums.as_mut_ptr(), PACKED_STRIDE),
            };
            // SAFETY: the sums were cut to what the tile writes; the caller promises the instructions.
            unsafe { (kernels.int16_tile)(tile) };
        }
    }
}

/// Computes `c (+)= x · panel`, 32 columns wide; x and c come with the distances of their rows. The chains are those of
/// [`Kernels::product`], but they are added up in `c` itself: its rows do not push each other out of the cache.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
unsafe fn multiply_f32(
    kernels: &Kernels,
    n_rows: usize,
    depth: usize,
    (x, x_stride): (&[f32], usize),
    panel: &[f32],
    (c, c_stride): (&mut [f32], usize),
    accumulate: bool,
) {
    for first in (0..n_rows).step_by(kernels.max_rows) {
        let rows = (n_rows - first).min(kernels.max_rows);
        let x = &x[first * x_stride..][..(rows - 1) * x_stride + depth];
        let c = &mut c[first * c_stride..][..(rows - 1) * c_stride + WIDTH];
        for (start, panel) in (0..depth).step_by(CHAIN).zip(panel[..depth * WIDTH].chunks(CHAIN * WIDTH)) {
            let tile = Tile {
                rows,
                width: WIDTH,
                depth: panel.len() / WIDTH,
                x: x[start..].as_ptr(),
                x_stride,
                panel: panel.as_ptr(),
                panel_stride: WIDTH,
                c: c.as_mut_ptr(),
                c_stride,
                accumulate: accumulate || start > 0,
            };
            // SAFETY: the slices were cut to what the tile reads and writes; the caller promises the instructions.
            unsafe { (kernels.tile)(tile) };
        }
    }
}
