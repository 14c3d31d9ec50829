//! The table of inner kernels, and the macro that compiles the portable ones for a tier.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::tier::Tier;
use crate::microkernels::{Activation, SoftmaxBack};
use crate::tile::{CHAIN, Int16Tile, MAX_ROWS, Tile, WIDTH};
use crate::weights::RawRows;
use crate::{Rows, WeightType};

/// The inner kernels of one tier. Each may be called only on a machine that has the tier's instructions.
#[allow(clippy::type_complexity, reason = "signatures, each with its arguments named beside it")]
pub(crate) struct Kernels {
    /// The instructions that the table needs.
    pub tier: Tier,
    /// The most rows of a [`Tile`].
    pub max_rows: usize,
    /// Computes a tile of a depth of at most [`CHAIN`], as one chain of fused multiply-adds from 0 for each element; its
    /// pointers must be valid for the shape that it states. [`Kernels::product`] is for any depth.
    pub tile: unsafe fn(Tile),
    /// Dequantizes a panel: `panel[k][0..32]` = group `group` of row `rows.start + k`: `(kind, source, rows, group, panel)`.
    pub dequantize_panel: unsafe fn(WeightType, RawRows, Range<usize>, usize, &mut [f32]),
    /// Dequantizes a panel and transposes it: `panel[32 * g + i][r]` = value `i` of group `groups.start + g` of row
    /// `rows.start + r`, for at most 32 rows; the other columns are 0: `(kind, source, rows, groups, panel)`.
    pub dequantize_panel_transposed: unsafe fn(WeightType, RawRows, Range<usize>, Range<usize>, &mut [f32]),
    /// Quantizes a block of a row to 16-bit integers of magnitudes up to `q_max`, two in the place of a float: `(x, q_max,
    /// pairs)`; returns the block's scale. How the bits are arranged within groups of 8 values is the tier's own matter.
    pub quantize_row: unsafe fn(&[f32], f32, &mut [f32]) -> f32,
    /// Quantizes a panel `[depth][WIDTH]` in the same way, with a scale for each column: `(panel, q_max, pairs, scales)`.
    /// `depth` is a multiple of 8.
    pub quantize_panel: unsafe fn(&[f32], f32, &mut [f32], &mut [f32]),
    /// Computes a tile of 16-bit integers: for each element an exact sum of products, times both scales. Its pointers must be
    /// valid.
    pub int16_tile: unsafe fn(Int16Tile),
    /// Σ a·b.
    pub dot: unsafe fn(&[f32], &[f32]) -> f32,
    /// The largest value; −∞ if there is none.
    pub max: unsafe fn(&[f32]) -> f32,
    /// `v = exp(v · scale + offset)`; returns the sum of the results.
    pub exp_scaled: unsafe fn(&mut [f32], f32, f32) -> f32,
    /// `v = v · factor`: `(values, factor)`.
    pub scale: unsafe fn(&mut [f32], f32),
    /// `v = cap · tanh(scale · v / cap)`: `(values, scale, cap)`.
    pub softcap: unsafe fn(&mut [f32], f32, f32),
    /// The scores become probabilities, and `dp = dout · v` the gradient of `q·k`: `(queries, scores, dp)`.
    pub softmax_back: unsafe fn(&SoftmaxBack, &mut [f32], &mut [f32]),
    /// `y = x / keep` or 0: `(x, y, keep, seed of the row)`.
    pub dropout: unsafe fn(&[f32], &mut [f32], f32, u64),
    /// `y = w ⊙ x · r`, or without `w`: `(x, w, r, y)`.
    pub rms_norm: unsafe fn(&[f32], Option<&[f32]>, f32, &mut [f32]),
    /// `dx += r · (g − x · r² · mean(g ⊙ x))` with `g = w ⊙ dy`, or without `w`: `(x, w, dy, r, dx)`.
    pub rms_norm_back: unsafe fn(&[f32], Option<&[f32]>, &[f32], f32, &mut [f32]),
    /// `y = f(gate) ⊙ up`: `(f, gate, up, y)`.
    pub gated: unsafe fn(Activation, &[f32], &[f32], &mut [f32]),
    /// `gate` and `up` become their gradients, and `dy` becomes `y`: `(f, gate, up, dy)`.
    pub gated_back: unsafe fn(Activation, &mut [f32], &mut [f32], &mut [f32]),
    /// `y = f(x)`: `(f, x, y)`.
    pub activate: unsafe fn(Activation, &[f32], &mut [f32]),
    /// `x` becomes its gradient, and `dy` becomes `y`: `(f, x, dy)`.
    pub activate_back: unsafe fn(Activation, &mut [f32], &mut [f32]),
    /// `y[t][r] += scale · x[t] · w[r]` for some rows: `(x, w, scale, y)`.
    pub dots: unsafe fn(&[&[f32]], &[f32], f32, &mut [&mut [f32]]),
    /// `sums += uᵀ x`, for the rows of `u` and `x`: `(u, x, sums)`; there are as many columns of sums as of `x`.
    pub outer: unsafe fn(Rows, Rows, &mut [f32]),
    /// Rounds a row to bfloat16, two values to a float: `(x, out)`.
    pub to_bf16_row: unsafe fn(&[f32], &mut [f32]),
    /// Turns a row in bfloat16 back into floats: `(x, out)`.
    pub from_bf16_row: unsafe fn(&[f32], &mut [f32]),
    /// Rounds a row to bfloat16 in place.
    pub round_to_bf16: unsafe fn(&mut [f32]),
}

impl Kernels {
    /// Computes a tile of any depth, in chains of [`CHAIN`] that are added up. A single chain would round every product
    /// at the size of the whole sum so far; where one product is large, all after it would lose their last digits.
    ///
    /// # Safety
    /// The machine must have the table's instructions, and the pointers must be valid for the shape that the tile states.
    pub(crate) unsafe fn product(&self, tile: Tile) {
        // SAFETY: the caller's promise.
        unsafe { self.product_from(tile, (tile.c, tile.c_stride)) }
    }

    /// Does what [`Kernels::product`] does, but a tile that accumulates adds the sums to the elements of another matrix (a
    /// pointer to its rows, and the distance between them) instead of those of `c`.
    ///
    /// Between the chains the sums are kept in a block of their own: the rows of `c` may lie so that they push each other
    /// out of the cache.
    ///
    /// # Safety
    /// As for [`Kernels::product`], and `from` must have the tile's rows and width; it may be `c`.
    pub(crate) unsafe fn product_from(&self, tile: Tile, (from, from_stride): (*const f32, usize)) {
        if tile.depth <= CHAIN && (!tile.accumulate || std::ptr::eq(from, tile.c)) {
            // SAFETY: the caller's promise.
            return unsafe { (self.tile)(tile) };
        }
        let mut sums = Sums([const { MaybeUninit::uninit() }; MAX_ROWS * WIDTH]);
        let sums = sums.0.as_mut_ptr().cast::<f32>();
        if tile.accumulate {
            for row in 0..tile.rows {
                // SAFETY: both rows have the tile's width; `sums` is ours and has room for the most rows of any tier.
                unsafe { copy_row(from.add(row * from_stride), sums.add(row * WIDTH), tile.width) };
            }
        }
        for start in (0..tile.depth).step_by(CHAIN) {
            // SAFETY: `start + depth` is at most the tile's depth, for which the caller promises valid pointers.
            unsafe {
                (self.tile)(Tile {
                    depth: (tile.depth - start).min(CHAIN),
                    x: tile.x.add(start),
                    panel: tile.panel.add(start * tile.panel_stride),
                    c: sums,
                    c_stride: WIDTH,
                    accumulate: tile.accumulate || start > 0,
                    ..tile
                });
            }
        }
        for row in 0..tile.rows {
            // SAFETY: as above; what `accumulate` did not copy, the first chain has written.
            unsafe {
                copy_row(sums.add(row * WIDTH), tile.c.add(row * tile.c_stride), tile.width);
            }
        }
    }
}

/// Copies `n` floats, at most [`WIDTH`]: the usual number in registers, without a call.
///
/// # Safety
/// Both must be valid for `n` floats, and be apart.
#[inline(always)]
pub(crate) unsafe fn copy_row(from: *const f32, to: *mut f32, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if n == WIDTH {
            to.cast::<[f32; WIDTH]>().write(from.cast::<[f32; WIDTH]>().read());
        } else {
            to.copy_from_nonoverlapping(from, n);
        }
    }
}

/// Sums of one tile, aligned for any vector.
#[repr(C, align(64))]
struct Sums([MaybeUninit<f32>; MAX_ROWS * WIDTH]);

/// Declares `KERNELS` for a tier: the tiles, `transpose`, `dots` and some quantizations are hand-written, the rest is compiled
/// from the portable micro-kernels with the tier's instructions enabled.
macro_rules! kernels {
    (tier: $tier:expr, max_rows: $max_rows:expr, tile: $tile:path, int16_tile: $int16_tile:path,
     quantize: [$quantize_row:path, $quantize_panel:path], transpose: $transpose:path, half: $half:path, dots: $dots:path, features: [$($feature:literal)?]) => {
        pub(crate) static KERNELS: $crate::isa::Kernels = $crate::isa::Kernels {
            tier: $tier,
            max_rows: $max_rows,
            tile: $tile,
            dequantize_panel,
            dequantize_panel_transposed,
            quantize_row,
            quantize_panel,
            int16_tile: $int16_tile,
            dot,
            max,
            exp_scaled,
            scale,
            softcap,
            softmax_back,
            dropout,
            rms_norm,
            rms_norm_back,
            gated,
            gated_back,
            activate,
            activate_back,
            dots: dots_of_rows,
            outer,
            to_bf16_row,
            from_bf16_row,
            round_to_bf16,
        };

        $(#[target_feature(enable = $feature)])?
        fn dequantize_panel(
            kind: $crate::WeightType,
            source: $crate::weights::RawRows,
            rows: std::ops::Range<usize>,
            group: usize,
            panel: &mut [f32],
        ) {
            $crate::weights::with_format!(kind, Format =>
                $crate::microkernels::dequantize_panel::<Format, $half>(source, rows, group, panel),
                foreign => $crate::weights::dequantize_foreign_panel(foreign, source, rows, group, panel))
        }

        $(#[target_feature(enable = $feature)])?
        fn dequantize_panel_transposed(
            kind: $crate::WeightType,
            source: $crate::weights::RawRows,
            rows: std::ops::Range<usize>,
            groups: std::ops::Range<usize>,
            panel: &mut [f32],
        ) {
            $crate::weights::with_format!(kind, Format =>
                $crate::microkernels::dequantize_panel_transposed::<Format, $half>(
                    source, rows, groups, panel, |values, panel| $transpose(values, panel)),
                foreign => $crate::weights::dequantize_foreign_panel_transposed(
                    foreign, source, rows, groups, panel))
        }

        $(#[target_feature(enable = $feature)])?
        fn quantize_row(x: &[f32], q_max: f32, pairs: &mut [f32]) -> f32 {
            $quantize_row(x, q_max, pairs)
        }

        $(#[target_feature(enable = $feature)])?
        fn quantize_panel(panel: &[f32], q_max: f32, pairs: &mut [f32], scales: &mut [f32]) {
            $quantize_panel(panel, q_max, pairs, scales)
        }

        $(#[target_feature(enable = $feature)])?
        fn dot(a: &[f32], b: &[f32]) -> f32 {
            $crate::microkernels::dot(a, b)
        }

        $(#[target_feature(enable = $feature)])?
        fn max(values: &[f32]) -> f32 {
            $crate::microkernels::max(values)
        }

        $(#[target_feature(enable = $feature)])?
        fn exp_scaled(values: &mut [f32], scale: f32, offset: f32) -> f32 {
            $crate::microkernels::exp_scaled(values, scale, offset)
        }

        $(#[target_feature(enable = $feature)])?
        fn scale(values: &mut [f32], factor: f32) {
            $crate::microkernels::scale(values, factor)
        }

        $(#[target_feature(enable = $feature)])?
        fn softcap(values: &mut [f32], scale: f32, cap: f32) {
            $crate::microkernels::softcap(values, scale, cap)
        }

        $(#[target_feature(enable = $feature)])?
        fn softmax_back(shared: &$crate::microkernels::SoftmaxBack, scores: &mut [f32], dp: &mut [f32]) {
            $crate::microkernels::softmax_back(shared, scores, dp)
        }

        $(#[target_feature(enable = $feature)])?
        fn dropout(x: &[f32], y: &mut [f32], keep: f32, seed: u64) {
            $crate::microkernels::dropout(x, y, keep, seed)
        }

        $(#[target_feature(enable = $feature)])?
        fn rms_norm(x: &[f32], w: Option<&[f32]>, r: f32, y: &mut [f32]) {
            $crate::microkernels::rms_norm(x, w, r, y)
        }

        $(#[target_feature(enable = $feature)])?
        fn rms_norm_back(x: &[f32], w: Option<&[f32]>, dy: &[f32], r: f32, dx: &mut [f32]) {
            $crate::microkernels::rms_norm_back(x, w, dy, r, dx)
        }

        $(#[target_feature(enable = $feature)])?
        fn gated(f: $crate::Activation, gate: &[f32], up: &[f32], y: &mut [f32]) {
            $crate::microkernels::gated(f, gate, up, y)
        }

        $(#[target_feature(enable = $feature)])?
        fn gated_back(f: $crate::Activation, gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
            $crate::microkernels::gated_back(f, gate, up, dy)
        }

        $(#[target_feature(enable = $feature)])?
        fn activate(f: $crate::Activation, x: &[f32], y: &mut [f32]) {
            $crate::microkernels::activate(f, x, y)
        }

        $(#[target_feature(enable = $feature)])?
        fn activate_back(f: $crate::Activation, x: &mut [f32], dy: &mut [f32]) {
            $crate::microkernels::activate_back(f, x, dy)
        }

        $(#[target_feature(enable = $feature)])?
        fn dots_of_rows(x: &[&[f32]], w: &[f32], scale: f32, y: &mut [&mut [f32]]) {
            $crate::microkernels::dots(x, w, scale, y, |x, w| $dots(x, w))
        }

        $(#[target_feature(enable = $feature)])?
        fn outer(u: $crate::Rows, x: $crate::Rows, sums: &mut [f32]) {
            $crate::microkernels::outer(u, x, sums)
        }

        $(#[target_feature(enable = $feature)])?
        fn to_bf16_row(x: &[f32], out: &mut [f32]) {
            $crate::microkernels::to_bf16(x, out)
        }

        $(#[target_feature(enable = $feature)])?
        fn from_bf16_row(x: &[f32], out: &mut [f32]) {
            $crate::microkernels::from_bf16(x, out)
        }

        $(#[target_feature(enable = $feature)])?
        fn round_to_bf16(x: &mut [f32]) {
            $crate::microkernels::round_to_bf16(x)
        }
    };
}
pub(super) use kernels;
