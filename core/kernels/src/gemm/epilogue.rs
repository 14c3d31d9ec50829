//! Epilogues of a product: products of so little depth, as that of a low-rank branch, that they are added to the sums of the
//! main product while these are at hand.

use std::ops::Range;

use super::operands::{Operands, Strided};
use crate::isa::Kernels;
use crate::matrix::Part;
use crate::tile::{CHAIN, Tile, WIDTH};
use crate::weights::{DecodedBlocks, GROUP};

/// A product of little depth that is added to the sums of another.
#[derive(Clone, Copy)]
pub(super) struct LowRankEpilogue<'a> {
    term: &'a dyn Operands,
    /// All of its left-hand rows.
    lhs: Strided<'a>,
}

impl<'a> LowRankEpilogue<'a> {
    /// An epilogue of `term`, a product of `n_rows` rows, if its depth is small and its rows can be used in place.
    pub fn new(term: &'a dyn Operands, n_rows: usize) -> Option<Self> {
        let depth = term.depth();
        if !(1..=CHAIN).contains(&depth) {
            return None;
        }
        Some(Self { term, lhs: term.lhs(0..n_rows, 0..depth)? })
    }

    fn depth(&self) -> usize {
        self.term.depth()
    }

    /// Floats that a panel of its right-hand side takes.
    pub fn panel_len(&self) -> usize {
        self.depth().next_multiple_of(GROUP) * WIDTH
    }

    /// Writes the columns `columns` of its right-hand side to `panel: [depth][WIDTH]`.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`.
    pub unsafe fn pack_rhs(&self, kernels: &Kernels, columns: Range<usize>, panel: &mut [f32]) {
        // SAFETY: the caller promises the instructions.
        unsafe {
            let mut decoded = DecodedBlocks::new(&mut []);
            self.term.pack_rhs(kernels, 0..self.depth(), columns, &mut decoded, panel);
        };
    }

    /// Adds this product, of the rows `rows` and `width` columns, to sums: a pointer to the first row and the distance between
    /// rows.
    ///
    /// # Safety
    /// The machine must have the instructions of `kernels`, and the sums must be valid for so many rows and columns.
    pub unsafe fn add(
        &self,
        kernels: &Kernels,
        rows: Range<usize>,
        panel: &[f32],
        (sums, stride): (*mut f32, usize),
        width: usize,
    ) {
        let n_tiles = rows.len().div_ceil(kernels.max_rows);
        let panel = &panel[..self.depth() * WIDTH];
        for tile in 0..n_tiles {
            let local = Part { index: tile, count: n_tiles }.range(rows.len());
            let first = (rows.start + local.start) * self.lhs.stride;
            let x = &self.lhs.values[first..first + (local.len() - 1) * self.lhs.stride + self.depth()];
            let tile = Tile {
                rows: local.len(),
                width,
                depth: self.depth(),
                x: x.as_ptr(),
                x_stride: self.lhs.stride,
                panel: panel.as_ptr(),
                panel_stride: WIDTH,
                // SAFETY: a row that the caller promises.
                c: unsafe { sums.add(local.start * stride) },
                c_stride: stride,
                accumulate: true,
            };
            // SAFETY: the slices were cut to what the tile reads; the caller promises the rest.
            unsafe { (kernels.tile)(tile) };
        }
    }
}
