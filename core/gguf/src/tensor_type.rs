//! Every element type that ggml knows, with its block size.

macro_rules! tensor_types {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $len:literal, $bytes:literal;)*) => {
        /// The type of a tensor's elements. Quantized types store blocks: a fixed number of values
        /// in a fixed number of bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, missing_docs)]
        pub enum TensorType { $($(#[$doc])* $variant,)* }

        impl TensorType {
            /// All of them.
            pub const ALL: &[TensorType] = &[$(Self::$variant,)*];

            /// The type with ggml's number `id`. Numbers of formats that were [removed](RemovedType) give `None`.
            pub fn from_ggml_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)* _ => None }
            }

            /// ggml's number of the type.
            pub fn ggml_id(self) -> u32 {
                match self { $(Self::$variant => $id,)* }
            }

            /// The name, as in `Q4_1`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// Values in a block.
            pub fn block_len(self) -> u64 {
                match self { $(Self::$variant => $len,)* }
            }

            /// Bytes in a block.
            pub fn block_bytes(self) -> u64 {
                match self { $(Self::$variant => $bytes,)* }
            }
        }
    };
}

// Numbers from `enum ggml_type`, sizes from the block structures of ggml 0.26.
tensor_types! {
    F32 = 0, 1, 4;
    F16 = 1, 1, 2;
    Q4_0 = 2, 32, 18;
    Q4_1 = 3, 32, 20;
    Q5_0 = 6, 32, 22;
    Q5_1 = 7, 32, 24;
    Q8_0 = 8, 32, 34;
    Q8_1 = 9, 32, 36;
    Q2_K = 10, 256, 84;
    Q3_K = 11, 256, 110;
    Q4_K = 12, 256, 144;
    Q5_K = 13, 256, 176;
    Q6_K = 14, 256, 210;
    Q8_K = 15, 256, 292;
    IQ2_XXS = 16, 256, 66;
    IQ2_XS = 17, 256, 74;
    IQ3_XXS = 18, 256, 98;
    IQ1_S = 19, 256, 50;
    IQ4_NL = 20, 32, 18;
    IQ3_S = 21, 256, 110;
    IQ2_S = 22, 256, 82;
    IQ4_XS = 23, 256, 136;
    I8 = 24, 1, 1;
    I16 = 25, 1, 2;
    I32 = 26, 1, 4;
    I64 = 27, 1, 8;
    F64 = 28, 1, 8;
    IQ1_M = 29, 256, 56;
    BF16 = 30, 1, 2;
    TQ1_0 = 34, 256, 54;
    TQ2_0 = 35, 256, 66;
    MXFP4 = 39, 32, 17;
    NVFP4 = 40, 64, 36;
    Q1_0 = 41, 128, 18;
    Q2_0 = 42, 64, 18;
}

impl TensorType {
    /// Bytes of a tensor with these dimensions, the first one running along a row.
    ///
    /// `None` if a row is not a whole number of blocks or the size does not fit in 64 bits.
    pub fn tensor_bytes(self, dims: &[u64]) -> Option<u64> {
        let (row, rest) = dims.split_first().map_or((1, &[] as &[u64]), |(row, rest)| (*row, rest));
        if row % self.block_len() != 0 {
            return None;
        }
        let row_bytes = (row / self.block_len()).checked_mul(self.block_bytes())?;
        rest.iter().try_fold(row_bytes, |bytes, &n| bytes.checked_mul(n))
    }
}

/// A type that ggml had once. Files of it have to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemovedType {
    /// Its name.
    pub name: &'static str,
    /// The type that takes its place.
    pub instead: TensorType,
}

impl RemovedType {
    /// All of them, with the numbers that they had.
    const ALL: [(u32, &'static str, TensorType); 8] = [
        (4, "Q4_2", TensorType::Q4_0),
        (5, "Q4_3", TensorType::Q4_1),
        (31, "Q4_0_4_4", TensorType::Q4_0),
        (32, "Q4_0_4_8", TensorType::Q4_0),
        (33, "Q4_0_8_8", TensorType::Q4_0),
        (36, "IQ4_NL_4_4", TensorType::IQ4_NL),
        (37, "IQ4_NL_4_8", TensorType::IQ4_NL),
        (38, "IQ4_NL_8_8", TensorType::IQ4_NL),
    ];

    /// The type that had ggml's number `id`.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        let (_, name, instead) = Self::ALL.into_iter().find(|(removed, ..)| *removed == id)?;
        Some(Self { name, instead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_reversible() {
        for (i, &kind) in TensorType::ALL.iter().enumerate() {
            assert_eq!(TensorType::from_ggml_id(kind.ggml_id()), Some(kind));
            assert!(TensorType::ALL.iter().skip(i + 1).all(|other| other.name() != kind.name()));
        }
        for id in (0..64).chain([u32::MAX]) {
            assert!(
                TensorType::from_ggml_id(id).is_none() || RemovedType::from_ggml_id(id).is_none(),
                "{id}"
            );
        }
        for (id, ..) in RemovedType::ALL {
            assert!(RemovedType::from_ggml_id(id).is_some());
        }
    }

    #[test]
    fn size_of_a_tensor() {
        assert_eq!(TensorType::Q4_1.tensor_bytes(&[64, 3]), Some(120));
        assert_eq!(TensorType::Q4_1.tensor_bytes(&[63, 3]), None);
        assert_eq!(TensorType::F32.tensor_bytes(&[]), Some(4));
        assert_eq!(TensorType::F32.tensor_bytes(&[1 << 62, 4]), None);
        assert_eq!(TensorType::F64.tensor_bytes(&[u64::MAX]), None);
    }
}
