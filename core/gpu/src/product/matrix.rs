//! A weight matrix in a device's memory, in pieces of rows that a shader can be given.

use nightgraft_kernels::{WeightType, Weights};

use crate::{Binding, Buffer, BufferRows, Device, Error, weight_sources};

/// The most bytes of a piece: places in it are computed in 32 bits.
const PIECE_BYTES: u64 = 1 << 30;

/// The most rows or columns, for the same reason.
const MOST: u32 = i32::MAX as u32;

/// A weight matrix `[n_rows, n_cols]`.
#[derive(Clone, Debug)]
pub struct Matrix {
    kind: WeightType,
    n_rows: u32,
    n_cols: u32,
    parts: Vec<MatrixPart>,
}

/// Some of its rows.
#[derive(Clone, Debug)]
pub(super) struct MatrixPart {
    pub first_row: u32,
    pub n_rows: u32,
    pub row_bytes: u32,
    buffer: Buffer,
    /// Where they begin in the buffer, and their bytes up to the end of the last one.
    start: u64,
    bytes: u64,
}

impl Matrix {
    /// The storage format.
    pub fn kind(&self) -> WeightType {
        self.kind
    }

    /// Number of rows (outputs of the linear map).
    pub fn n_rows(&self) -> u32 {
        self.n_rows
    }

    /// Number of columns (inputs of the linear map).
    pub fn n_cols(&self) -> u32 {
        self.n_cols
    }

    /// In how many pieces of rows it is: one, if it fits into a binding.
    pub fn n_parts(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn parts(&self) -> &[MatrixPart] {
        &self.parts
    }

    /// A matrix of floats that is in a buffer already, such as a factor of an adapter. What is written there later is seen.
    ///
    /// # Errors
    /// [`Error::Shape`] for a matrix without values; [`Error::OverLimit`] if a row is more than a binding.
    pub fn of_floats(device: &Device, rows: BufferRows) -> Result<Self, Error> {
        let [n_rows, n_cols] = [rows.n_rows(), rows.n_cols()];
        let row = 4 * u64::from(rows.stride());
        let (row_bytes, rows_at_once) = rows_at_once(device, [n_rows, n_cols], row)?;
        let parts = cut(n_rows, rows_at_once).map(|(first_row, n_rows)| MatrixPart {
            first_row,
            n_rows,
            row_bytes,
            buffer: rows.buffer().clone(),
            start: 4 * rows.first() + row * u64::from(first_row),
            bytes: row * u64::from(n_rows - 1) + 4 * u64::from(n_cols),
        });
        Ok(Self { kind: WeightType::F32, n_rows, n_cols, parts: parts.collect() })
    }
}

impl MatrixPart {
    pub fn bind(&self, device: &Device) -> Result<(Binding<'_>, u32), Error> {
        Binding::of_bytes(device, &self.buffer, self.start, self.bytes)
    }
}

impl Device {
    /// Copies a matrix to the device, as it is stored; one that is larger than a binding in several pieces of whole rows.
    ///
    /// # Errors
    /// [`Error::WeightType`] for formats that only the CPU reads; [`Error::Shape`] for a matrix without values;
    /// [`Error::OverLimit`] if a row is more than a binding; those of [`upload`](Self::upload).
    pub fn upload_matrix(&self, weights: Weights) -> Result<Matrix, Error> {
        weight_sources(weights.kind())?;
        let shape = [weights.n_rows(), weights.n_cols()];
        let [n_rows, n_cols] = shape.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let row = weights.bytes().len() / weights.n_rows().max(1);
        let (row_bytes, rows_at_once) = rows_at_once(self, [n_rows, n_cols], row as u64)?;
        let mut parts = Vec::new();
        for ((first_row, n_rows), bytes) in
            cut(n_rows, rows_at_once).zip(weights.bytes().chunks(row * rows_at_once as usize))
        {
            let buffer = self.upload("weights", bytes)?;
            let bytes = buffer.bytes();
            parts.push(MatrixPart { first_row, n_rows, row_bytes, buffer, start: 0, bytes });
        }
        Ok(Matrix { kind: weights.kind(), n_rows, n_cols, parts })
    }
}

/// The bytes of a row, and how many rows make a piece. There are rows and columns, and fewer than 2^31 of each.
fn rows_at_once(device: &Device, [n_rows, n_cols]: [u32; 2], row: u64) -> Result<(u32, u32), Error> {
    let what = "a matrix of weights";
    for (unit, got) in [("rows", n_rows), ("columns", n_cols)] {
        if got == 0 {
            return Err(Error::Shape { op: what, what: unit, expected: 1, got: 0 });
        }
        if got > MOST {
            return Err(Error::OverLimit { what, unit, limit: MOST.into(), got: got.into() });
        }
    }
    let limits = device.limits();
    // Before a piece there may be some bytes up to where a binding may begin, behind it some up to whole words.
    let limit = limits.binding_bytes.min(limits.buffer_bytes).min(PIECE_BYTES);
    let limit = limit.saturating_sub(u64::from(limits.binding_alignment) + 4);
    let over = Error::OverLimit { what: "a row of weights", unit: "bytes", limit, got: row };
    match (u32::try_from(row), u32::try_from(limit / row)) {
        (Ok(row_bytes), Ok(rows @ 1..)) => Ok((row_bytes, rows)),
        _ => Err(over),
    }
}

/// First row and number of rows of each piece.
fn cut(n_rows: u32, rows_at_once: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..n_rows.div_ceil(rows_at_once)).map(move |piece| {
        let first = piece * rows_at_once;
        (first, rows_at_once.min(n_rows - first))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Limits;
    use crate::testing::software_within;

    #[test]
    fn pieces_are_whole_rows_that_fit_into_a_binding() {
        let device = software_within(Limits { binding_bytes: 4096, ..Limits::LEAST });
        // 256 bytes before a piece, and up to a word behind it.
        assert_eq!(rows_at_once(&device, [100, 256], 144).unwrap(), (144, 3836 / 144));
        assert_eq!(cut(60, 26).collect::<Vec<_>>(), [(0, 26), (26, 26), (52, 8)]);
        assert_eq!(cut(3, u32::MAX).collect::<Vec<_>>(), [(0, 3)]);
        let what = "a matrix of weights";
        let (limit, got) = ((1 << 31) - 1, 1 << 31);
        let over = |unit| Error::OverLimit { what, unit, limit, got };
        assert_eq!(rows_at_once(&device, [1 << 31, 1], 4).unwrap_err(), over("rows"));
        assert_eq!(rows_at_once(&device, [1, 1 << 31], 4).unwrap_err(), over("columns"));
    }
}
