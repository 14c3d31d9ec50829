//! How each product packs its two sides.

use std::ops::Range;

use crate::WeightType;
use crate::isa::{Kernels, PACKED, WIDTH};
use crate::matrix::Rows;
use crate::weights::{GROUP, Source, Weights};

/// The two sides of `C[m, n] = Σ_k A[m, k] · B[k, n]`.
pub(super) trait Operands {
    /// Whether [`in_place`](Operands::in_place) can succeed.
    const IN_PLACE: bool = false;

    /// Length of the sums.
    fn depth(&self) -> usize;

    /// Copies rows `rows` of `A`, columns `depth`, to `packed: [rows][PACKED]`.
    fn pack(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]);

    /// Writes rows `depth` and columns `columns` (at most 32, from a multiple of 32 on) of `B` to
    /// `panel: [depth][WIDTH]`. `depth.start` is a multiple of 32.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    unsafe fn panel(&self, kernels: &Kernels, depth: Range<usize>, columns: Range<usize>, panel: &mut [f32]);

    /// The same panel where it lies, without the columns beyond `columns`, if it is stored as `f32`.
    fn in_place(&self, _depth: Range<usize>, _columns: Range<usize>) -> Option<Panel<'_>> {
        None
    }
}

/// Part of the right-hand side: rows of at least as many values as columns were asked for.
pub(super) struct Panel<'a> {
    pub values: &'a [f32],
    /// Distance between rows.
    pub stride: usize,
}

/// A = x, B = wᵀ.
pub(super) struct Linear<'a> {
    pub w: Weights<'a>,
    pub x: Rows<'a>,
}

impl Operands for Linear<'_> {
    fn depth(&self) -> usize {
        self.x.n_cols()
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
        copy_rows(&self.x, rows, depth, packed);
    }

    unsafe fn panel(&self, kernels: &Kernels, depth: Range<usize>, columns: Range<usize>, panel: &mut [f32]) {
        let groups = depth.start / GROUP..depth.end.div_ceil(GROUP);
        // SAFETY: the caller promises the instructions.
        unsafe {
            (kernels.panel_transposed)(self.w.kind(), self.w.source(), columns, groups, panel);
        }
    }
}

/// A = dy, B = w.
pub(super) struct LinearTransposed<'a> {
    pub w: Weights<'a>,
    pub dy: Rows<'a>,
}

impl Operands for LinearTransposed<'_> {
    fn depth(&self) -> usize {
        self.dy.n_cols()
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
        copy_rows(&self.dy, rows, depth, packed);
    }

    unsafe fn panel(&self, kernels: &Kernels, depth: Range<usize>, columns: Range<usize>, panel: &mut [f32]) {
        let group = columns.start / WIDTH;
        // SAFETY: the caller promises the instructions.
        unsafe {
            (kernels.panel_rows)(self.w.kind(), self.w.source(), depth, group, panel);
        }
    }
}

/// A = uᵀ, B = x.
pub(super) struct Outer<'a> {
    pub u: Rows<'a>,
    pub x: Rows<'a>,
}

impl Operands for Outer<'_> {
    const IN_PLACE: bool = true;

    fn depth(&self) -> usize {
        self.x.n_rows()
    }

    fn pack(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
        for (k, token) in depth.enumerate() {
            for (r, value) in self.u.row(token)[rows.clone()].iter().enumerate() {
                packed[r * PACKED + k] = *value;
            }
        }
    }

    unsafe fn panel(&self, kernels: &Kernels, depth: Range<usize>, columns: Range<usize>, panel: &mut [f32]) {
        // SAFETY: the caller promises the instructions.
        unsafe {
            let group = columns.start / WIDTH;
            (kernels.panel_rows)(WeightType::F32, Source::floats(&self.x), depth, group, panel);
        }
    }

    fn in_place(&self, depth: Range<usize>, columns: Range<usize>) -> Option<Panel<'_>> {
        Some(Panel { values: self.x.block(depth, columns)?, stride: self.x.stride() })
    }
}

fn copy_rows(matrix: &Rows, rows: Range<usize>, columns: Range<usize>, packed: &mut [f32]) {
    for (row, packed) in rows.zip(packed.chunks_exact_mut(PACKED)) {
        packed[..columns.len()].copy_from_slice(&matrix.row(row)[columns.clone()]);
    }
}
