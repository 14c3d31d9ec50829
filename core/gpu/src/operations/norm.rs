//! The root-mean-square norm and its gradient.

use super::call::Call;
use crate::{BufferRows, Device, Dispatch, Error};

const REDUCE: &str = include_str!("reduce.wgsl");

/// The norm of groups of `width` values.
#[derive(Clone, Copy)]
pub(crate) struct NormCall<'a> {
    /// `[1, width]`, if there is one.
    pub weight: Option<BufferRows<'a>>,
    /// Values of a group.
    pub width: u32,
    /// Added to the mean square.
    pub eps: f32,
}

/// `y = w ⊙ x / √(mean(x²) + eps)` of each group.
pub(crate) fn rms_norm<'a>(
    device: &Device,
    norm: NormCall<'a>,
    x: BufferRows<'a>,
    y: BufferRows<'a>,
) -> Result<Dispatch, Error> {
    let call = Call::new("rms_norm", &[REDUCE, include_str!("rms_norm.wgsl")]);
    let call = call.matrix("X", x).matrix("W", norm.weight.unwrap_or(x)).matrix("Y", y);
    norm.dispatch(device, call, x)
}

/// The gradient of [`rms_norm`] for `x`, written to `dx`, or with `accumulate` added to it.
pub(crate) fn rms_norm_back<'a>(
    device: &Device,
    norm: NormCall<'a>,
    [x, dy]: [BufferRows<'a>; 2],
    dx: BufferRows<'a>,
    accumulate: bool,
) -> Result<Dispatch, Error> {
    let call = Call::new("rms_norm_back", &[REDUCE, include_str!("rms_norm_back.wgsl")]);
    let call = call.matrix("X", x).matrix("DY", dy).matrix("W", norm.weight.unwrap_or(x)).matrix("DX", dx);
    norm.dispatch(device, call.flag("ACCUMULATE", accumulate), x)
}

impl NormCall<'_> {
    /// A workgroup for each group.
    fn dispatch(&self, device: &Device, call: Call, x: BufferRows) -> Result<Dispatch, Error> {
        let call = call.number(self.width).float(self.eps).flag("WEIGHTED", self.weight.is_some());
        call.dispatch(device, [x.n_cols() / self.width, x.n_rows()])
    }
}

/// A power of two for each row of `x`, `[T, 2]`, that brings its largest magnitude near 1, and what undoes it.
pub(crate) fn row_scales(device: &Device, x: BufferRows, scales: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("row_scales", &[REDUCE, include_str!("../product/row_scales.wgsl")]);
    call.matrix("X", x).matrix("SCALES", scales).dispatch(device, [1, x.n_rows()])
}
