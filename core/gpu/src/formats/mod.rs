//! How shaders read weights: one file a format of [`WeightType`], with one function.
//!
//! `weights4(row, column, n_cols)` is four values of a row, from a column on that is a multiple of 4. The row begins at byte `row` of
//! `w: array<u32>`, which the shader declares, and has `n_cols` values: those behind them are 0 for formats without blocks, and
//! never asked for otherwise, because rows are whole blocks. Values are those of the CPU ([`nightgraft_kernels::Weights`]), up to
//! the rounding of a product and a sum.

use nightgraft_kernels::WeightType;

use crate::Error;

/// The files with `weights4` for a format and with what that uses, for a [`Program`](crate::Program).
///
/// # Errors
/// [`Error::WeightType`] for formats that the kernels themselves read through a function from outside.
pub fn weight_sources(kind: WeightType) -> Result<Vec<&'static str>, Error> {
    const BYTES: &str = include_str!("bytes.wgsl");
    const K_SCALES: &str = include_str!("k_scales.wgsl");
    let format = match kind {
        WeightType::F32 => include_str!("f32.wgsl"),
        WeightType::F16 => include_str!("f16.wgsl"),
        WeightType::BF16 => include_str!("bf16.wgsl"),
        WeightType::Q8_0 => include_str!("q8_0.wgsl"),
        WeightType::Q4_0 => include_str!("q4_0.wgsl"),
        WeightType::Q4_1 => include_str!("q4_1.wgsl"),
        WeightType::Q5_0 => include_str!("q5_0.wgsl"),
        WeightType::Q5_1 => include_str!("q5_1.wgsl"),
        WeightType::Q4_K => return Ok(vec![BYTES, K_SCALES, include_str!("q4_k.wgsl")]),
        WeightType::Q5_K => return Ok(vec![BYTES, K_SCALES, include_str!("q5_k.wgsl")]),
        WeightType::Q6_K => include_str!("q6_k.wgsl"),
        WeightType::IQ4_NL => include_str!("iq4_nl.wgsl"),
        WeightType::Q2_K => include_str!("q2_k.wgsl"),
        WeightType::Q3_K => include_str!("q3_k.wgsl"),
        WeightType::IQ4_XS => include_str!("iq4_xs.wgsl"),
        WeightType::MXFP4 => include_str!("mxfp4.wgsl"),
        WeightType::TQ1_0 => include_str!("tq1_0.wgsl"),
        WeightType::TQ2_0 => include_str!("tq2_0.wgsl"),
        WeightType::Foreign(format) => return Err(Error::WeightType { format: format.name() }),
    };
    Ok(vec![BYTES, format])
}
