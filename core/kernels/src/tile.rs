//! The register-blocked tile, of which every product is made: its sizes, and what it is given.

/// The longest chain of fused multiply-adds. Where a product's depth is divided into blocks, they are multiples of it, so
/// that the division does not change the result.
pub(crate) const CHAIN: usize = 64;
/// Columns of a panel of the right-hand matrix: `[depth][WIDTH]`.
pub(crate) const WIDTH: usize = 32;
/// The largest `max_rows` of any tier.
pub(crate) const MAX_ROWS: usize = 16;
/// The most rows of a panel: a larger depth is divided into blocks.
pub(crate) const MAX_DEPTH: usize = 512;
/// Distance between packed rows of the left-hand matrix; more than `MAX_DEPTH`, so that rows do not share cache sets.
pub(crate) const PACKED_STRIDE: usize = MAX_DEPTH + 16;
/// 16-bit values are quantized and multiplied in pairs, which take the place of one float.
pub(crate) const PAIR: usize = 2;

/// One register-blocked product: `c[r, j] (+)= Σ_k x[r, k] · panel[k, j]` for `r < rows`, `j < width`, `k < depth`.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Rows of `x` and `c`, from 1 to the table's `max_rows`.
    pub rows: usize,
    /// Columns: 8, 16 or 32.
    pub width: usize,
    /// Length of the sums.
    pub depth: usize,
    /// `[rows][x_stride]`
    pub x: *const f32,
    /// Distance between rows of `x`, in floats.
    pub x_stride: usize,
    /// `[depth][panel_stride]`
    pub panel: *const f32,
    /// Distance between rows of the panel, in floats.
    pub panel_stride: usize,
    /// `[rows][c_stride]`
    pub c: *mut f32,
    /// Distance between rows of `c`, in floats.
    pub c_stride: usize,
    /// Add the sums to what `c` holds instead of replacing it.
    pub accumulate: bool,
}

/// A register-blocked product of rows and a panel of 16-bit integers.
pub(crate) struct Int16Tile<'a> {
    /// Rows, from 1 to the table's `max_rows`.
    pub rows: usize,
    /// Length of the sums, in pairs of 16 bits.
    pub pairs: usize,
    /// `[rows][x_stride]` pairs from `quantize_row` of the same table; the first `pairs` of each row count.
    pub x: &'a [f32],
    /// Distance between rows of `x`.
    pub x_stride: usize,
    /// The scale of each row.
    pub x_scales: &'a [f32],
    /// `pairs · WIDTH` pairs, as `quantize_panel` of the same table arranges them.
    pub panel: &'a [f32],
    /// The scale of each column.
    pub scales: &'a [f32],
    /// What the sums are added to, if not 0: a pointer to `WIDTH` columns of `rows` rows, and the distance between rows. It
    /// may be where the sums go.
    pub from: Option<(*const f32, usize)>,
    /// Where the sums go, in the same form.
    pub to: (*mut f32, usize),
}

impl Int16Tile<'_> {
    /// Whether the slices have all that a tile of so many rows and pairs reads.
    pub fn fits(&self) -> bool {
        self.rows >= 1
            && self.x.len() >= (self.rows - 1) * self.x_stride + self.pairs
            && self.x_scales.len() >= self.rows
            && self.panel.len() >= self.pairs * WIDTH
            && self.scales.len() >= WIDTH
    }

    /// Pointers to what the sums of row `row` from column `column` on are added to, if anything, and to where they go.
    ///
    /// # Safety
    /// The row and the column must be the tile's, and its pointers valid.
    #[inline(always)]
    pub unsafe fn pointers(&self, row: usize, column: usize) -> (Option<*const f32>, *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let from = self.from.map(|(from, stride)| from.add(row * stride + column));
            (from, self.to.0.add(row * self.to.1 + column))
        }
    }
}
