//! Dequantizing of weights into panels `[depth][WIDTH]`.

use crate::isa::WIDTH;
use crate::weights::{Format, GROUP, Source};

/// A group of 32 values of each of 32 rows.
#[repr(C, align(64))]
pub(crate) struct Square(pub [[f32; GROUP]; WIDTH]);

/// `panel[k]` = group `group` of row `first_row + k`: the right-hand side when the sums run over rows.
#[inline(always)]
pub(crate) fn panel_rows<F: Format>(
    source: Source,
    first_row: usize,
    n_rows: usize,
    group: usize,
    panel: &mut [f32],
) {
    for (k, out) in panel.as_chunks_mut::<GROUP>().0[..n_rows].iter_mut().enumerate() {
        F::group(source.row(first_row + k), group, out);
    }
}

/// `panel[32 g + i][r]` = value `i` of group `first_group + g` of row `first_row + r`: the right-hand side when the sums
/// run along rows. Columns without a row are 0.
#[inline(always)]
pub(crate) fn panel_transposed<F: Format>(
    source: Source,
    (first_row, n_rows): (usize, usize),
    (first_group, n_groups): (usize, usize),
    panel: &mut [f32],
    transpose: impl Fn(&Square, &mut [f32; WIDTH * GROUP]),
) {
    let mut values = Square([[0.0; GROUP]; WIDTH]);
    for (g, out) in panel.as_chunks_mut().0[..n_groups].iter_mut().enumerate() {
        for (r, values) in values.0[..n_rows].iter_mut().enumerate() {
            F::group(source.row(first_row + r), first_group + g, values);
        }
        transpose(&values, out);
    }
}
