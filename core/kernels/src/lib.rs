//! CPU kernels of Nightgraft: matrix products that read quantized weights in place, attention, the loss, dropout.
//!
//! * [`Weights`] is a view of a matrix in one of ggml's formats ([`WeightType`]); [`Rows`] and [`RowsMut`] are
//!   views of `f32` matrices.
//! * [`linear`] and [`linear_transposed`] multiply by weights and by their transpose: a panel of the weights is
//!   dequantized once into cache and used for every token. [`accumulate_outer`] is the gradient of an adapter's factor.
//! * [`attention`], [`rms_norm`], [`rope`], [`activation`], [`cross_entropy`], [`dropout`] and their gradients are the
//!   operations between the products; [`add_scaled`] and its like work on single values.
//!
//! A kernel starts no threads. Each call does one [`Part`] of the work, so the caller's own threads share it.
//! Results are bit-identical for any number of parts and on every instruction-set [`Tier`]: each output element is a
//! fixed sequence of short chains of fused multiply-adds, and reductions use a fixed number of lanes.
//!
//! ```
//! use nightgraft_kernels::{Part, Rows, RowsMut, WeightType, Weights, linear};
//!
//! let matrix: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
//! let weights = Weights::new(WeightType::F32, 2, 2, &matrix).expect("four values");
//! let x = Rows::new(&[10.0, 1.0], 1, 2, 2).expect("one row of two");
//! let mut out = [0.0f32; 2];
//! let y = RowsMut::new(&mut out, 1, 2, 2).expect("one row of two");
//! // SAFETY: the only part is run once, and nothing else touches `out`.
//! unsafe { linear(weights, x, y, false, Part::WHOLE)? };
//! assert_eq!(out, [12.0, 34.0]);
//! # Ok::<(), nightgraft_kernels::KernelError>(())
//! ```

#![allow(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
#![allow(clippy::needless_range_loop, reason = "one counter indexes several arrays, and loops unroll by it")]

mod activation;
mod attention;
mod bf16;
mod cross_entropy;
mod dropout;
mod error;
mod gemm;
mod isa;
mod matrix;
mod microkernels;
mod norm;
mod residual;
mod rope;
mod scratch;
mod tile;
mod weights;

pub use activation::{activation, activation_back, check_activation, check_activation_back};
pub use attention::{
    AttentionShape, MAX_HEAD_DIM, MAX_HEADS, attention, attention_back, attention_back_splits,
    attention_back_sum, check_attention,
};
pub use bf16::{bf16_columns, check_from_bf16, check_to_bf16, from_bf16, round_to_bf16, to_bf16};
pub use cross_entropy::{LogitTransform, check_cross_entropy, cross_entropy, transform_logits};
pub use dropout::{check_dropout, dropout};
pub use error::{IndexError, KernelError, ShapeError};
pub use gemm::{
    Accumulator, ComputeType, Direction, F32Product, Int16Product, Int16Rows, accumulate_outer,
    check_accumulate_outer, check_linear, check_linear_transposed, check_quantize_rows_int16,
    check_sum_of_products, linear, linear_transposed, quantize_rows_int16, sum_of_products,
};
pub use isa::{TIER_VARIABLE, Tier, TierError};
pub use matrix::{Part, Rows, RowsMut};
pub use microkernels::Activation;
pub use norm::{RmsNorm, check_rms_norm, rms_norm, rms_norm_back};
pub use residual::{add_scaled, check_add_scaled, concat_columns, scale_rows, scaled};
pub use rope::{RopeStyle, Rotation, check_rope, rope};
pub use weights::{ForeignFormat, WeightType, Weights};

/// The most working memory of a thread, in bytes, for kernels over `n_tokens` tokens and an attention of this shape, with
/// matrices in foreign formats among the others or not; an adapter's rank above 32 can take a little more.
pub fn scratch_bytes(n_tokens: usize, shape: &AttentionShape, has_foreign: bool) -> usize {
    // More tokens are refused; so many can be counted.
    let n_tokens = n_tokens.min(u32::MAX as usize);
    let decoded = if has_foreign { gemm::DECODED_FLOATS } else { 0 };
    attention::scratch_floats(n_tokens, shape).max(gemm::scratch_floats(n_tokens) + decoded)
        * size_of::<f32>()
}
