//! Quantizing, with ggml's own reference quantizers.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::WeightType;

use crate::Error;

/// Whether values can be packed into the format `kind`. ggml's quantizers for the formats whose values are points of a lattice
/// need an importance matrix, or give a bad model without one, and end the process where their search finds no point: they are
/// not called.
pub fn is_quantizable(kind: WeightType) -> bool {
    !matches!(
        kind.ggml_id(),
        sys::GGML_TYPE_IQ1_S
            | sys::GGML_TYPE_IQ1_M
            | sys::GGML_TYPE_IQ2_XXS
            | sys::GGML_TYPE_IQ2_XS
            | sys::GGML_TYPE_IQ2_S
            | sys::GGML_TYPE_IQ3_XXS
            | sys::GGML_TYPE_IQ3_S
    )
}

/// Packs rows of `n_per_row` values into the format `kind`, as llama.cpp's quantizer does without an
/// importance matrix (`ggml_quantize_chunk`). Returns `n_rows · row_bytes` bytes.
///
/// # Errors
/// [`Error::Shape`] if the values are not whole rows, or a row is not whole blocks; [`Error::Quantizer`] for a format that is
/// not [quantizable](is_quantizable).
pub fn quantize(kind: WeightType, n_per_row: usize, values: &[f32]) -> Result<Vec<u8>, Error> {
    if !is_quantizable(kind) {
        return Err(Error::Quantizer { format: kind.name() });
    }
    let row_bytes =
        kind.row_bytes(n_per_row).filter(|_| n_per_row > 0 && values.len().is_multiple_of(n_per_row));
    let Some(row_bytes) = row_bytes else {
        return Err(Error::Shape {
            op: "quantize",
            expected: format!("whole rows in blocks of {}", kind.block_len()),
            got: format!("{} values in rows of {n_per_row}", values.len()),
        });
    };
    let n_rows = values.len() / n_per_row;
    let mut out = vec![0u8; n_rows * row_bytes];
    // SAFETY: input and output have the sizes that ggml derives from the same type and shape; the format
    // needs no importance matrix.
    let written = unsafe {
        sys::ggml_quantize_chunk(
            kind.ggml_id(),
            values.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            n_rows as i64,
            n_per_row as i64,
            std::ptr::null(),
        )
    };
    debug_assert_eq!(written, out.len());
    Ok(out)
}
