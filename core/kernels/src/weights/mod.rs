//! Weight matrices in ggml's formats, read in place.
//!
//! Layouts are those of `ggml-common.h` and of the `dequantize_row_*` functions of ggml 0.26. A format knows one
//! thing: how to write 32 consecutive values of a row as `f32`. Both directions of the product are built on it.

mod blocks;
mod floats;
mod foreign;
mod format;
mod k_quants;
#[cfg(test)]
pub(crate) mod reference;
mod ternary;
#[cfg(test)]
mod tests;
mod weight_type;

pub(crate) use blocks::{Iq4Nl, Mxfp4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use floats::{Bf16, F16, F32, PortableHalf};
pub use foreign::ForeignFormat;
pub(crate) use foreign::{DecodedBlocks, dequantize_foreign_panel, dequantize_foreign_panel_transposed};
pub(crate) use format::{Format, GROUP, Half};
pub(crate) use k_quants::{Iq4Xs, Q2K, Q3K, Q4K, Q5K, Q6K};
pub(crate) use ternary::{Tq1_0, Tq2_0};
pub use weight_type::WeightType;

/// A row-major weight matrix `[n_rows, n_cols]` in one of ggml's formats: `n_rows` rows of
/// [`row_bytes(n_cols)`](WeightType::row_bytes) bytes each, without gaps.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    kind: WeightType,
    n_rows: usize,
    n_cols: usize,
    row_bytes: usize,
    bytes: &'a [u8],
}

impl<'a> Weights<'a> {
    /// A view of `bytes`; `None` if a row is not a whole number of blocks or `bytes` has not exactly the size that
    /// the shape needs.
    pub fn new(kind: WeightType, n_rows: usize, n_cols: usize, bytes: &'a [u8]) -> Option<Self> {
        let row_bytes = kind.row_bytes(n_cols)?;
        (row_bytes.checked_mul(n_rows)? == bytes.len()).then_some(Self {
            kind,
            n_rows,
            n_cols,
            row_bytes,
            bytes,
        })
    }

    /// The storage format.
    pub fn kind(&self) -> WeightType {
        self.kind
    }

    /// Number of rows (outputs of the linear map).
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns (inputs of the linear map).
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The whole matrix as stored.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Writes row `row` to `out` as `f32`: as many values as both have. Does nothing if there is no such row.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        if row >= self.n_rows {
            return;
        }
        let bytes = self.raw_rows().row(row);
        let n_cols = self.n_cols.min(out.len());
        with_format!(self.kind, Format => {
            for (group, out) in out[..n_cols].chunks_mut(GROUP).enumerate() {
                let mut values = [0.0; GROUP];
                Format::dequantize_group::<PortableHalf>(bytes, group, &mut values);
                out.copy_from_slice(&values[..out.len()]);
            }
        }, foreign => foreign.dequantize_row(bytes, &mut out[..n_cols]));
    }

    /// The whole matrix, if it is stored as floats that can be used in place.
    pub(crate) fn floats(&self) -> Option<&'a [f32]> {
        // SAFETY: any four bytes are a float.
        let (before, floats, _) = unsafe { self.bytes.align_to() };
        (self.kind == WeightType::F32 && before.is_empty() && cfg!(target_endian = "little"))
            .then_some(floats)
    }

    pub(crate) fn raw_rows(&self) -> RawRows<'a> {
        RawRows { bytes: self.bytes, row_stride: self.row_bytes, row_bytes: self.row_bytes }
    }
}

/// Rows of a matrix in some format, as bytes.
#[derive(Clone, Copy)]
pub(crate) struct RawRows<'a> {
    pub bytes: &'a [u8],
    /// Bytes from the start of one row to that of the next.
    pub row_stride: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
}

impl<'a> RawRows<'a> {
    /// The rows of a matrix of floats.
    pub fn of_floats(rows: &crate::Rows<'a>) -> Self {
        RawRows { bytes: rows.bytes(), row_stride: 4 * rows.stride(), row_bytes: 4 * rows.n_cols() }
    }

    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [u8] {
        &self.bytes[row * self.row_stride..][..self.row_bytes]
    }
}

/// Evaluates an expression with a type name bound to the [`Format`] of a [`WeightType`], or another one with the foreign format.
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr, $foreign:ident => $foreign_body:expr) => {
        $crate::weights::with_format!(
            @of $kind, $format => $body, $foreign => $foreign_body,
            F32: F32, F16: F16, BF16: Bf16, Q8_0: Q8_0, Q4_0: Q4_0, Q4_1: Q4_1, Q5_0: Q5_0, Q5_1: Q5_1, Q4_K: Q4K,
            Q5_K: Q5K, Q6_K: Q6K, IQ4_NL: Iq4Nl, Q2_K: Q2K, Q3_K: Q3K, IQ4_XS: Iq4Xs, MXFP4: Mxfp4, TQ1_0: Tq1_0,
            TQ2_0: Tq2_0
        )
    };
    (@of $kind:expr, $format:ident => $body:expr, $foreign:ident => $foreign_body:expr, $($variant:ident: $type:ident),*) => {
        match $kind {
            $($crate::WeightType::$variant => {
                type $format = $crate::weights::$type;
                $body
            })*
            $crate::WeightType::Foreign($foreign) => $foreign_body,
        }
    };
}
pub(crate) use with_format;
