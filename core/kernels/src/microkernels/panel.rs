//! Dequantizes weights into panels `[depth][WIDTH]`.

use std::ops::Range;

use crate::tile::WIDTH;
use crate::weights::{Format, GROUP, Half, RawRows};

/// A group of 32 values of each of 32 rows.
#[repr(C, align(64))]
pub(crate) struct Square(pub [[f32; GROUP]; WIDTH]);

/// Writes group `group` of row `rows.start + k` to `panel[k]`: the right-hand side when the sums run over rows.
#[inline(always)]
pub(crate) fn dequantize_panel<F: Format, H: Half>(
    source: RawRows,
    rows: Range<usize>,
    group: usize,
    panel: &mut [f32],
) {
    for (row, out) in rows.zip(panel.as_chunks_mut::<GROUP>().0) {
        F::dequantize_group::<H>(source.row(row), group, out);
    }
}

/// Writes value `i` of group `groups.start + g` of row `rows.start + r` to `panel[32 g + i][r]`: the right-hand side when the
/// sums run along rows. Columns without a row are 0.
#[inline(always)]
pub(crate) fn dequantize_panel_transposed<F: Format, H: Half>(
    source: RawRows,
    rows: Range<usize>,
    groups: Range<usize>,
    panel: &mut [f32],
    transpose: impl Fn(&Square, &mut [f32; WIDTH * GROUP]),
) {
    let mut values = Square([[0.0; GROUP]; WIDTH]);
    for (group, out) in groups.zip(panel.as_chunks_mut().0) {
        for (row, values) in rows.clone().zip(&mut values.0) {
            F::dequantize_group::<H>(source.row(row), group, values);
        }
        transpose(&values, out);
    }
}
