//! The two sides of a product, and how they are packed.

use std::ops::Range;

use crate::isa::Kernels;
use crate::matrix::Rows;
use crate::tile::{PACKED_STRIDE, WIDTH};
use crate::weights::{DecodedBlocks, GROUP, WeightType, Weights};

/// Rows that lie a multiple of so many floats apart share few sets of the nearest cache: 4 KiB are one way of most.
const ALIASING_STRIDE: usize = 1024;

/// The two sides of `C[m, n] = Σ_k A[m, k] · B[k, n]`.
pub(super) trait Operands {
    /// Length of the sums.
    fn depth(&self) -> usize;

    /// Rows `rows` of `A`, columns `depth`, in place; none if they have to be packed.
    fn lhs(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Strided<'_>>;

    /// Copies rows `rows` of `A`, columns `depth`, to `packed: [rows][PACKED_STRIDE]`.
    fn pack_lhs(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]);

    /// Whether panels of the same depth share blocks of `B` that are decoded for them.
    fn shares_blocks(&self) -> bool;

    /// Writes rows `depth` and columns `columns` (at most 32, from a multiple of 32 on) of `B` to
    /// `panel: [depth][WIDTH]`. `depth.start` is a multiple of 32. What was `decoded` belongs to these operands.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    unsafe fn pack_rhs(
        &self,
        kernels: &Kernels,
        depth: Range<usize>,
        columns: Range<usize>,
        decoded: &mut DecodedBlocks,
        panel: &mut [f32],
    );
}

/// Rows of a block of one side: at least as many values as were asked for, from the first one on.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    pub values: &'a [f32],
    /// Distance between rows.
    pub stride: usize,
}

/// A product with a matrix in any format, computed in floats.
#[derive(Clone, Copy)]
pub enum F32Product<'a> {
    /// `scale · x · wᵀ`: x `[T, n_in]`, w `[n_out, n_in]`.
    Linear {
        /// The matrix.
        w: Weights<'a>,
        /// The rows.
        x: Rows<'a>,
        /// A factor of the matrix; 1 costs nothing.
        scale: f32,
    },
    /// `dy · w`: dy `[T, n_out]`, w `[n_out, n_in]`.
    Transposed {
        /// The matrix.
        w: Weights<'a>,
        /// The rows.
        dy: Rows<'a>,
    },
}

/// A = x, B = scale · wᵀ; or A = dy, B = w.
impl Operands for F32Product<'_> {
    fn depth(&self) -> usize {
        self.lhs_rows().n_cols()
    }

    fn lhs(&self, rows: Range<usize>, depth: Range<usize>) -> Option<Strided<'_>> {
        in_place(self.lhs_rows(), rows, depth)
    }

    fn pack_lhs(&self, rows: Range<usize>, depth: Range<usize>, packed: &mut [f32]) {
        copy_rows(self.lhs_rows(), rows, depth, packed);
    }

    fn shares_blocks(&self) -> bool {
        matches!(self, F32Product::Transposed { w, .. } if matches!(w.kind(), WeightType::Foreign(_)))
    }

    unsafe fn pack_rhs(
        &self,
        kernels: &Kernels,
        depth: Range<usize>,
        columns: Range<usize>,
        decoded: &mut DecodedBlocks,
        panel: &mut [f32],
    ) {
        match self {
            F32Product::Linear { w, scale, .. } => {
                let groups = depth.start / GROUP..depth.end.div_ceil(GROUP);
                // SAFETY: the caller promises the instructions.
                unsafe {
                    (kernels.dequantize_panel_transposed)(w.kind(), w.raw_rows(), columns, groups, panel)
                };
                if *scale != 1.0 {
                    // SAFETY: as above.
                    unsafe { (kernels.scale)(&mut panel[..depth.len() * WIDTH], *scale) };
                }
            }
            F32Product::Transposed { w, .. } => {
                let (source, group) = (w.raw_rows(), columns.start / WIDTH);
                match w.kind() {
                    WeightType::Foreign(format) => decoded.fill_panel(format, source, depth, group, panel),
                    // SAFETY: the caller promises the instructions.
                    kind => unsafe { (kernels.dequantize_panel)(kind, source, depth, group, panel) },
                }
            }
        }
    }
}

impl<'a> F32Product<'a> {
    fn lhs_rows(&self) -> &Rows<'a> {
        match self {
            F32Product::Linear { x, .. } => x,
            F32Product::Transposed { dy, .. } => dy,
        }
    }
}

/// The rows in place; none if they lie so that they would push each other out of the nearest cache.
fn in_place<'a>(matrix: &Rows<'a>, rows: Range<usize>, columns: Range<usize>) -> Option<Strided<'a>> {
    let is_cacheable = !matrix.stride().is_multiple_of(ALIASING_STRIDE);
    let values = if is_cacheable { matrix.block(rows, columns)? } else { return None };
    Some(Strided { values, stride: matrix.stride() })
}

fn copy_rows(matrix: &Rows, rows: Range<usize>, columns: Range<usize>, packed: &mut [f32]) {
    for (row, packed) in rows.zip(packed.chunks_exact_mut(PACKED_STRIDE)) {
        packed[..columns.len()].copy_from_slice(&matrix.row(row)[columns.clone()]);
    }
}
