//! The names and sizes of the formats.

use super::ForeignFormat;

macro_rules! weight_types {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $len:literal, $bytes:literal;)*) => {
        /// How the values of a weight matrix are stored.
        #[allow(non_camel_case_types, reason = "ggml's names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum WeightType {
            $($(#[$doc])* $variant,)*
            /// A format that a function from outside reads: slower than the others.
            Foreign(&'static ForeignFormat),
        }

        impl WeightType {
            /// Every format that the kernels read themselves, in the order of the declaration.
            pub const ALL: [WeightType; [$($id),*].len()] = [$(WeightType::$variant),*];

            /// Values per block, at most 256. A row is a whole number of blocks.
            pub fn block_len(self) -> usize {
                match self {
                    $(WeightType::$variant => $len,)*
                    WeightType::Foreign(format) => format.block_len(),
                }
            }

            /// Bytes per block.
            pub fn block_bytes(self) -> usize {
                match self {
                    $(WeightType::$variant => $bytes,)*
                    WeightType::Foreign(format) => format.block_bytes(),
                }
            }

            /// ggml's number of the type (`enum ggml_type`).
            pub fn ggml_id(self) -> u32 {
                match self {
                    $(WeightType::$variant => $id,)*
                    WeightType::Foreign(format) => format.ggml_id(),
                }
            }

            /// The name as ggml's tools write it, such as `Q4_K`.
            pub fn name(self) -> &'static str {
                match self {
                    $(WeightType::$variant => stringify!($variant),)*
                    WeightType::Foreign(format) => format.name(),
                }
            }
        }
    };
}

weight_types! {
    /// 32-bit float.
    F32 = 0, 1, 4;
    /// IEEE half precision.
    F16 = 1, 1, 2;
    /// The upper half of a 32-bit float.
    BF16 = 30, 1, 2;
    /// 32 signed bytes and a scale.
    Q8_0 = 8, 32, 34;
    /// 32 values of 4 bits and a scale.
    Q4_0 = 2, 32, 18;
    /// 32 values of 4 bits, a scale and a minimum.
    Q4_1 = 3, 32, 20;
    /// 32 values of 5 bits and a scale.
    Q5_0 = 6, 32, 22;
    /// 32 values of 5 bits, a scale and a minimum.
    Q5_1 = 7, 32, 24;
    /// 256 values of 4 bits; 8 groups with 6-bit scales and minima.
    Q4_K = 12, 256, 144;
    /// 256 values of 5 bits; 8 groups with 6-bit scales and minima.
    Q5_K = 13, 256, 176;
    /// 256 values of 6 bits; 16 groups with 8-bit scales.
    Q6_K = 14, 256, 210;
    /// 32 values of 4 bits that index a fixed table, and a scale.
    IQ4_NL = 20, 32, 18;
    /// 256 values of 2 bits; 16 groups with 4-bit scales and minima.
    Q2_K = 10, 256, 84;
    /// 256 values of 3 bits; 16 groups with 6-bit scales.
    Q3_K = 11, 256, 110;
    /// 256 values of 4 bits that index a fixed table; 8 groups with 6-bit scales.
    IQ4_XS = 23, 256, 136;
    /// 32 floats of 4 bits and a power of two.
    MXFP4 = 39, 32, 17;
    /// 256 values of -1, 0 or 1, five to a byte, and a scale.
    TQ1_0 = 34, 256, 54;
    /// 256 values of 2 bits, from -1 on, and a scale.
    TQ2_0 = 35, 256, 66;
}

impl WeightType {
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
            WeightType::MXFP4 => align_of::<u8>(),
            WeightType::Foreign(format) => format.alignment(),
            // Halves, or blocks whose scales are halves.
            _ => align_of::<u16>(),
        }
    }

    /// The format with ggml's number `id`, if the kernels read it themselves.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.ggml_id() == id)
    }
}
