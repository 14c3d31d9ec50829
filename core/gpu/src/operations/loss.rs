//! The end of the head: logits, loss and its gradient.

use nightgraft_kernels::LogitTransform;

use super::call::{Call, LineWork};
use crate::{BufferRows, Device, Dispatch, Error};

const EXP: &str = include_str!("exp.wgsl");
const REDUCE: &str = include_str!("reduce.wgsl");

/// Turns products into logits, in place.
pub(crate) fn transform_logits(
    device: &Device,
    transform: LogitTransform,
    products: BufferRows,
) -> Result<Dispatch, Error> {
    let call = Call::new("transform_logits", &[EXP, include_str!("transform_logits.wgsl")]);
    let call = with_transform(call.matrix("X", products), transform);
    call.for_each_value(device, [products.n_rows(), products.n_cols()])
}

/// Turns products into their gradients, and writes `loss` `[T, 2]`; `targets` is a row of T integers, none of them past the
/// vocabulary. No dispatch has more than `most` multiply-adds.
pub(crate) fn cross_entropy(
    device: &Device,
    transform: LogitTransform,
    [products, targets, loss]: [BufferRows; 3],
    most: u64,
) -> Result<Vec<Dispatch>, Error> {
    /// What a logit costs, two exponential functions among it.
    const MULTIPLY_ADDS: u64 = 40;
    let call = Call::new("cross_entropy", &[EXP, REDUCE, include_str!("cross_entropy.wgsl")]);
    let call = call.matrix("Z", products).matrix("TARGETS", targets).matrix("LOSS", loss);
    let of_line = MULTIPLY_ADDS * u64::from(products.n_cols());
    with_transform(call, transform).lines(device, [1, products.n_rows()], LineWork { of_line, most })
}

fn with_transform(call: Call, LogitTransform { scale, softcap }: LogitTransform) -> Call {
    call.float(scale).float(softcap.unwrap_or(1.0)).flag("CAPPED", softcap.is_some())
}
