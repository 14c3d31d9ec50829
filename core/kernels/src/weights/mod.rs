//! Weight matrices in ggml's formats, read in place.
//!
//! Layouts are those of `ggml-common.h` and of the `dequantize_row_*` functions of ggml 0.26. A format knows one
//! thing: how to write 32 consecutive values of a row as `f32`. Both directions of the product are built on it.

mod blocks;
mod floats;
mod format;
mod k_quants;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub(crate) use blocks::{Iq4Nl, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub(crate) use floats::{Bf16, F16, F32, PortableHalf};
pub(crate) use format::{Format, GROUP, Half};
pub(crate) use k_quants::{Q4K, Q5K, Q6K};

/// How the values of a weight matrix are stored.
#[allow(non_camel_case_types, reason = "ggml's names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WeightType {
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// 32 signed bytes and a scale.
    Q8_0,
    /// 32 values of 4 bits and a scale.
    Q4_0,
    /// 32 values of 4 bits, a scale and a minimum.
    Q4_1,
    /// 32 values of 5 bits and a scale.
    Q5_0,
    /// 32 values of 5 bits, a scale and a minimum.
    Q5_1,
    /// 256 values of 4 bits; 8 groups with 6-bit scales and minima.
    Q4_K,
    /// 256 values of 5 bits; 8 groups with 6-bit scales and minima.
    Q5_K,
    /// 256 values of 6 bits; 16 groups with 8-bit scales.
    Q6_K,
    /// 32 values of 4 bits that index a fixed table, and a scale.
    IQ4_NL,
}

impl WeightType {
    /// Every format, in the order of the declaration.
    pub const ALL: [WeightType; 12] = [
        WeightType::F32,
        WeightType::F16,
        WeightType::BF16,
        WeightType::Q8_0,
        WeightType::Q4_0,
        WeightType::Q4_1,
        WeightType::Q5_0,
        WeightType::Q5_1,
        WeightType::Q4_K,
        WeightType::Q5_K,
        WeightType::Q6_K,
        WeightType::IQ4_NL,
    ];

    /// Values per block: 1, 32 or 256. A row is a whole number of blocks.
    pub fn block_len(self) -> usize {
        match self {
            WeightType::F32 | WeightType::F16 | WeightType::BF16 => 1,
            WeightType::Q4_K | WeightType::Q5_K | WeightType::Q6_K => 256,
            _ => 32,
        }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        match self {
            WeightType::F32 => 4,
            WeightType::F16 | WeightType::BF16 => 2,
            WeightType::Q8_0 => 34,
            WeightType::Q4_0 | WeightType::IQ4_NL => 18,
            WeightType::Q4_1 => 20,
            WeightType::Q5_0 => 22,
            WeightType::Q5_1 => 24,
            WeightType::Q4_K => 144,
            WeightType::Q5_K => 176,
            WeightType::Q6_K => 210,
        }
    }

    /// Bytes of a row of `n` values; `None` if `n` is not a multiple of [`block_len`](Self::block_len) or the
    /// number does not fit.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        if !n.is_multiple_of(self.block_len()) {
            return None;
        }
        (n / self.block_len()).checked_mul(self.block_bytes())
    }

    /// What the address of a matrix is a multiple of: the size of the widest number in a block.
    pub fn alignment(self) -> usize {
        match self {
            WeightType::F32 => align_of::<f32>(),
            // Halves, or blocks whose scales are halves.
            _ => align_of::<u16>(),
        }
    }

    /// ggml's number of the type (`enum ggml_type`).
    pub fn ggml_id(self) -> u32 {
        match self {
            WeightType::F32 => 0,
            WeightType::F16 => 1,
            WeightType::BF16 => 30,
            WeightType::Q8_0 => 8,
            WeightType::Q4_0 => 2,
            WeightType::Q4_1 => 3,
            WeightType::Q5_0 => 6,
            WeightType::Q5_1 => 7,
            WeightType::Q4_K => 12,
            WeightType::Q5_K => 13,
            WeightType::Q6_K => 14,
            WeightType::IQ4_NL => 20,
        }
    }

    /// The format with ggml's number `id`, if there are kernels for it.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.ggml_id() == id)
    }

    /// The name as ggml's tools write it, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        match self {
            WeightType::F32 => "F32",
            WeightType::F16 => "F16",
            WeightType::BF16 => "BF16",
            WeightType::Q8_0 => "Q8_0",
            WeightType::Q4_0 => "Q4_0",
            WeightType::Q4_1 => "Q4_1",
            WeightType::Q5_0 => "Q5_0",
            WeightType::Q5_1 => "Q5_1",
            WeightType::Q4_K => "Q4_K",
            WeightType::Q5_K => "Q5_K",
            WeightType::Q6_K => "Q6_K",
            WeightType::IQ4_NL => "IQ4_NL",
        }
    }
}

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
        for (group, out) in out[..n_cols].chunks_mut(GROUP).enumerate() {
            let mut values = [0.0; GROUP];
            with_format!(self.kind, Format => Format::dequantize_group::<PortableHalf>(bytes, group, &mut values));
            out.copy_from_slice(&values[..out.len()]);
        }
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

/// Evaluates an expression with a type name bound to the [`Format`] of a [`WeightType`].
macro_rules! with_format {
    ($kind:expr, $format:ident => $body:expr) => {
        match $kind {
            $crate::WeightType::F32 => {
                type $format = $crate::weights::F32;
                $body
            }
            $crate::WeightType::F16 => {
                type $format = $crate::weights::F16;
                $body
            }
            $crate::WeightType::BF16 => {
                type $format = $crate::weights::Bf16;
                $body
            }
            $crate::WeightType::Q8_0 => {
                type $format = $crate::weights::Q8_0;
                $body
            }
            $crate::WeightType::Q4_0 => {
                type $format = $crate::weights::Q4_0;
                $body
            }
            $crate::WeightType::Q4_1 => {
                type $format = $crate::weights::Q4_1;
                $body
            }
            $crate::WeightType::Q5_0 => {
                type $format = $crate::weights::Q5_0;
                $body
            }
            $crate::WeightType::Q5_1 => {
                type $format = $crate::weights::Q5_1;
                $body
            }
            $crate::WeightType::Q4_K => {
                type $format = $crate::weights::Q4K;
                $body
            }
            $crate::WeightType::Q5_K => {
                type $format = $crate::weights::Q5K;
                $body
            }
            $crate::WeightType::Q6_K => {
                type $format = $crate::weights::Q6K;
                $body
            }
            $crate::WeightType::IQ4_NL => {
                type $format = $crate::weights::Iq4Nl;
                $body
            }
        }
    };
}
pub(crate) use with_format;
