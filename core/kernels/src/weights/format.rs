//! What a storage format is to the kernels: groups of 32 values.

/// The number of values that a format dequantizes at a time.
pub(crate) const GROUP: usize = 32;

/// A storage format, seen as groups of 32 values.
pub(crate) trait Format {
    /// Writes the values `32 * group ..` of a row; values past the end of the row are 0. Scales are read with `H`.
    fn dequantize_group<H: Half>(row: &[u8], group: usize, out: &mut [f32; GROUP]);
}

/// How a tier reads half precision: exactly, so that all read the same.
pub(crate) trait Half {
    /// The number that the 16 bits, little-endian, stand for.
    fn to_f32(bytes: [u8; 2]) -> f32;
}
