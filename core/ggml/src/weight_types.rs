//! Every format that weights are stored in: those of the kernels, and those that ggml's own functions read for them.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{ForeignFormat, WeightType};

/// What the kernels read through ggml (`to_float` of its table of types), with the sizes of its blocks and of the widest number
/// in one.
static FOREIGN: [ForeignFormat; 10] = [
    foreign::<{ sys::GGML_TYPE_IQ1_S }>("IQ1_S", [256, 50], 2),
    foreign::<{ sys::GGML_TYPE_IQ1_M }>("IQ1_M", [256, 56], 2),
    foreign::<{ sys::GGML_TYPE_IQ2_XXS }>("IQ2_XXS", [256, 66], 2),
    foreign::<{ sys::GGML_TYPE_IQ2_XS }>("IQ2_XS", [256, 74], 2),
    foreign::<{ sys::GGML_TYPE_IQ2_S }>("IQ2_S", [256, 82], 2),
    foreign::<{ sys::GGML_TYPE_IQ3_XXS }>("IQ3_XXS", [256, 98], 2),
    foreign::<{ sys::GGML_TYPE_IQ3_S }>("IQ3_S", [256, 110], 2),
    foreign::<{ sys::GGML_TYPE_NVFP4 }>("NVFP4", [64, 36], 1),
    foreign::<{ sys::GGML_TYPE_Q1_0 }>("Q1_0", [128, 18], 2),
    foreign::<{ sys::GGML_TYPE_Q2_0 }>("Q2_0", [64, 18], 2),
];

/// The largest block of them.
const MAX_BLOCK_BYTES: usize = 112;

/// The format with ggml's number `id`; none for what no matrix of a model is stored in, such as integers.
pub fn weight_type(id: u32) -> Option<WeightType> {
    weight_types().find(|kind| kind.ggml_id() == id)
}

/// Every format that matrices of a model can have: first those that the kernels read themselves ([`WeightType::ALL`]), then
/// those that take longer.
pub fn weight_types() -> impl Iterator<Item = WeightType> {
    WeightType::ALL.into_iter().chain(FOREIGN.iter().map(WeightType::Foreign))
}

const fn foreign<const ID: u32>(name: &'static str, block: [usize; 2], alignment: usize) -> ForeignFormat {
    ForeignFormat::new(name, ID, block, alignment, dequantize::<ID>)
}

/// Memory where ggml may read the numbers of a block.
#[repr(C, align(16))]
struct Aligned([u8; MAX_BLOCK_BYTES]);

/// Writes the values of one block.
fn dequantize<const ID: u32>(block: &[u8], out: &mut [f32]) {
    let mut memory = Aligned([0; MAX_BLOCK_BYTES]);
    // SAFETY: the number is of a type that ggml has; its table of them is never written to.
    let traits = unsafe { &*sys::ggml_get_type_traits(ID) };
    let (Some(to_float), Some(aligned)) = (traits.to_float, memory.0.get_mut(..block.len())) else { return };
    if block.len() != traits.type_size || out.len() as i64 != traits.blck_size {
        return;
    }
    aligned.copy_from_slice(block);
    // SAFETY: a whole block, aligned for every number in it, and room for exactly its values.
    unsafe { to_float(aligned.as_ptr().cast(), out.as_mut_ptr(), traits.blck_size) };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ffi::CStr;

    use super::*;

    /// ggml's types are numbered below this.
    const END: u32 = sys::GGML_TYPE_COUNT;
    /// What ggml turns into floats, but by copying: a matrix of these is read all the same.
    const FLOATS: [u32; 1] = [sys::GGML_TYPE_F32];

    #[test]
    fn all_that_ggml_reads_is_read_and_sizes_are_ggmls() {
        for id in 0..END {
            // SAFETY: the number is below the end of the table, which is never written to.
            let traits = unsafe { &*sys::ggml_get_type_traits(id) };
            let kind = weight_type(id);
            assert_eq!(kind.is_some(), traits.to_float.is_some() || FLOATS.contains(&id), "{id}");
            let Some(kind) = kind else { continue };
            let sizes = (kind.block_len() as i64, kind.block_bytes());
            assert_eq!(sizes, (traits.blck_size, traits.type_size), "{}", kind.name());
            // SAFETY: a name of ggml's, which ends with a zero.
            let name = unsafe { CStr::from_ptr(traits.type_name) };
            assert_eq!(kind.name(), name.to_str().unwrap().to_uppercase());
        }
        assert_eq!(weight_type(END), None);
        assert!(FOREIGN.iter().all(|format| format.block_bytes() <= MAX_BLOCK_BYTES));
    }

    #[test]
    fn a_block_of_another_size_is_not_read() {
        for (bytes, values) in [(66, 255), (65, 256), (500, 256), (0, 0)] {
            let mut out = vec![7.0; values];
            dequantize::<{ sys::GGML_TYPE_IQ2_XXS }>(&vec![1; bytes], &mut out);
            assert!(out.iter().all(|value| *value == 7.0));
        }
    }
}
