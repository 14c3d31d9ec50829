//! Formats without kernels of their own: a function from outside, such as one of ggml's, turns a block into floats.
//!
//! Panels are filled block by block. Where a block reaches over several panels, those of the same rows share what was decoded
//! ([`DecodedBlocks`]).

use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::{GROUP, RawRows};
use crate::tile::WIDTH;

/// The most values of a block.
const MAX_BLOCK_LEN: usize = 256;

/// A format of blocks that a function from outside reads. Two of them are equal if ggml's number of them is.
pub struct ForeignFormat {
    name: &'static str,
    ggml_id: u32,
    block_len: usize,
    block_bytes: usize,
    alignment: usize,
    dequantize: fn(&[u8], &mut [f32]),
}

impl ForeignFormat {
    /// The format that ggml calls `name` and numbers `ggml_id`, of blocks of `block_len` values in `block_bytes` bytes, whose
    /// widest number has `alignment` bytes. `dequantize` is given the bytes of one block, wherever they lie, and writes its
    /// values.
    ///
    /// # Panics
    /// If a block has no bytes, or its length is not 32, 64, 128 or 256 values: at compile time for a constant.
    pub const fn new(
        name: &'static str,
        ggml_id: u32,
        [block_len, block_bytes]: [usize; 2],
        alignment: usize,
        dequantize: fn(&[u8], &mut [f32]),
    ) -> Self {
        assert!(block_len.is_power_of_two() && block_len >= GROUP && block_len <= MAX_BLOCK_LEN);
        assert!(block_bytes > 0 && alignment.is_power_of_two());
        Self { name, ggml_id, block_len, block_bytes, alignment, dequantize }
    }

    /// The name as ggml's tools write it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// ggml's number of the type.
    pub fn ggml_id(&self) -> u32 {
        self.ggml_id
    }

    /// Values of a block.
    pub fn block_len(&self) -> usize {
        self.block_len
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Bytes of the widest number in a block.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Writes the first values of a row.
    pub(super) fn dequantize_row(&self, row: &[u8], out: &mut [f32]) {
        let mut values = [0.0; MAX_BLOCK_LEN];
        for (block, out) in out.chunks_mut(self.block_len).enumerate() {
            out.copy_from_slice(&self.block(row, block, &mut values)[..out.len()]);
        }
    }

    /// The values of a block of a row.
    fn block<'a>(&self, row: &[u8], index: usize, memory: &'a mut [f32; MAX_BLOCK_LEN]) -> &'a [f32] {
        let values = &mut memory[..self.block_len];
        self.decode(row, index, values);
        values
    }

    /// Writes a block of a row to `values`, which are as many as it has.
    fn decode(&self, row: &[u8], index: usize, values: &mut [f32]) {
        (self.dequantize)(&row[index * self.block_bytes..][..self.block_bytes], values);
    }
}

/// Some rows of one column of a matrix's blocks, as floats: panels of these rows that come one after the other are filled from
/// them.
pub(crate) struct DecodedBlocks<'a> {
    /// `[rows][block_len]`
    memory: &'a mut [f32],
    /// The rows and the column of blocks that the memory holds.
    held: Option<(Range<usize>, usize)>,
}

impl<'a> DecodedBlocks<'a> {
    /// Nothing yet, in this memory; in too little of it nothing is ever held.
    pub fn new(memory: &'a mut [f32]) -> Self {
        Self { memory, held: None }
    }

    /// The floats that so many rows take.
    pub const fn floats(n_rows: usize) -> usize {
        n_rows * MAX_BLOCK_LEN
    }

    /// Fills a panel as [`dequantize_foreign_panel`] does. All panels have to be of one matrix.
    pub fn fill_panel(
        &mut self,
        format: &ForeignFormat,
        source: RawRows,
        rows: Range<usize>,
        group: usize,
        panel: &mut [f32],
    ) {
        let (len, in_block) = (format.block_len, format.block_len / GROUP);
        if self.memory.len() < rows.len() * len {
            return dequantize_foreign_panel(format, source, rows, group, panel);
        }
        let wanted = (rows.clone(), group / in_block);
        if self.held.as_ref() != Some(&wanted) {
            for (row, values) in rows.clone().zip(self.memory.chunks_exact_mut(len)) {
                format.decode(source.row(row), wanted.1, values);
            }
            self.held = Some(wanted);
        }
        let blocks = self.memory.chunks_exact(len).take(rows.len());
        for (values, out) in blocks.zip(panel.as_chunks_mut::<GROUP>().0) {
            out.copy_from_slice(&values[group % in_block * GROUP..][..GROUP]);
        }
    }
}

/// Writes group `group` of row `rows.start + k` to `panel[k]`, as the kernel of the same name does.
pub(crate) fn dequantize_foreign_panel(
    format: &ForeignFormat,
    source: RawRows,
    rows: Range<usize>,
    group: usize,
    panel: &mut [f32],
) {
    let groups = format.block_len / GROUP;
    let mut memory = [0.0; MAX_BLOCK_LEN];
    for (row, out) in rows.zip(panel.as_chunks_mut::<GROUP>().0) {
        let values = format.block(source.row(row), group / groups, &mut memory);
        out.copy_from_slice(&values[group % groups * GROUP..][..GROUP]);
    }
}

/// Writes value `i` of group `groups.start + g` of row `rows.start + r` to `panel[32 g + i][r]`, as the kernel of the same name
/// does. Columns without a row are 0.
pub(crate) fn dequantize_foreign_panel_transposed(
    format: &ForeignFormat,
    source: RawRows,
    rows: Range<usize>,
    groups: Range<usize>,
    panel: &mut [f32],
) {
    let in_block = format.block_len / GROUP;
    let mut memory = [0.0; MAX_BLOCK_LEN];
    let squares = panel.as_chunks_mut::<{ GROUP * WIDTH }>().0;
    squares.iter_mut().take(groups.len()).for_each(|square| square.fill(0.0));
    for (column, row) in rows.enumerate() {
        for block in groups.start / in_block..groups.end.div_ceil(in_block) {
            let values = format.block(source.row(row), block, &mut memory);
            for (group, values) in (block * in_block..).zip(values.as_chunks::<GROUP>().0) {
                let square = group.checked_sub(groups.start).filter(|_| group < groups.end);
                let Some(square) = square.and_then(|place| squares.get_mut(place)) else { continue };
                for (line, value) in square.as_chunks_mut::<WIDTH>().0.iter_mut().zip(values) {
                    line[column] = *value;
                }
            }
        }
    }
}

impl PartialEq for ForeignFormat {
    fn eq(&self, other: &Self) -> bool {
        self.ggml_id == other.ggml_id
    }
}

impl Eq for ForeignFormat {}

impl Hash for ForeignFormat {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ggml_id.hash(state);
    }
}

impl std::fmt::Debug for ForeignFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
