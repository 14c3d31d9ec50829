//! Operations on single values of rows, or on pairs of them.

use nightgraft_kernels::{Activation, RopeStyle, Rotation};

use super::call::Call;
use crate::{BufferRows, Device, Dispatch, Error};

const EXP: &str = include_str!("exp.wgsl");
const ACTIVATION_FUNCTION: &str = include_str!("activation_function.wgsl");
const BF16: &str = include_str!("bf16.wgsl");

/// `y = x`; a single row of `x` goes to all rows.
pub(crate) fn copy(device: &Device, x: BufferRows, y: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("copy", &[include_str!("copy.wgsl")]);
    let call = if x.n_rows() == 1 { call.row("X", x) } else { call.matrix("X", x) };
    call.matrix("Y", y).for_each_value(device, shape(y))
}

/// Copies rows of `x` to rows of `y`: `pairs` is a row of integers, from and to in turn, all of which are rows.
pub(crate) fn copy_rows(
    device: &Device,
    x: BufferRows,
    y: BufferRows,
    pairs: BufferRows,
) -> Result<Dispatch, Error> {
    Call::new("copy_rows", &[include_str!("copy_rows.wgsl")])
        .matrix("X", x)
        .matrix("Y", y)
        .matrix("PAIRS", pairs)
        .for_each_value(device, [pairs.n_cols() / 2, y.n_cols()])
}

/// `y = a + scale · b`.
pub(crate) fn add_scaled(
    device: &Device,
    [a, b]: [BufferRows; 2],
    scale: f32,
    y: BufferRows,
) -> Result<Dispatch, Error> {
    let call = Call::new("add_scaled", &[include_str!("add_scaled.wgsl")]);
    call.matrix("A", a).matrix("B", b).matrix("Y", y).float(scale).for_each_value(device, shape(y))
}

/// `y = scale · x`.
pub(crate) fn scaled(device: &Device, x: BufferRows, scale: f32, y: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("scaled", &[include_str!("scaled.wgsl")]);
    call.matrix("X", x).matrix("Y", y).float(scale).for_each_value(device, shape(y))
}

/// Multiplies each row of `x` by its factor, in place.
pub(crate) fn scale_rows(device: &Device, x: BufferRows, factors: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("scale_rows", &[include_str!("scale_rows.wgsl")]);
    call.matrix("X", x).matrix("FACTORS", factors).for_each_value(device, shape(x))
}

/// Rotates the heads of `x` in place.
pub(crate) fn rope(
    device: &Device,
    rotation: Rotation,
    x: BufferRows,
    table: BufferRows,
) -> Result<Dispatch, Error> {
    let Rotation { head_dim, style, back } = rotation;
    let head_dim = head_dim as u32;
    let n_pairs = x.n_cols() / head_dim * (table.n_cols() / 2);
    Call::new("rope", &[include_str!("rope.wgsl")])
        .matrix("X", x)
        .matrix("TABLE", table)
        .number(head_dim)
        .flag("INTERLEAVED", style == RopeStyle::Interleaved)
        .flag("BACK", back)
        .for_each_value(device, [x.n_rows(), n_pairs])
}

/// `y = f(gate) ⊙ up`, or `f(gate)`.
pub(crate) fn activation(
    device: &Device,
    f: Activation,
    gate: BufferRows,
    up: Option<BufferRows>,
    y: BufferRows,
) -> Result<Dispatch, Error> {
    Call::new("activation", &[EXP, ACTIVATION_FUNCTION, include_str!("activation.wgsl")])
        .matrix("GATE", gate)
        .matrix("UP", up.unwrap_or(gate))
        .matrix("Y", y)
        .constant("FUNCTION", function(f))
        .flag("GATED", up.is_some())
        .for_each_value(device, shape(y))
}

/// `gate` and `up` become their gradients, and `dy` the result.
pub(crate) fn activation_back(
    device: &Device,
    f: Activation,
    gate: BufferRows,
    up: Option<BufferRows>,
    dy: BufferRows,
) -> Result<Dispatch, Error> {
    Call::new("activation_back", &[EXP, ACTIVATION_FUNCTION, include_str!("activation_back.wgsl")])
        .matrix("GATE", gate)
        .matrix("UP", up.unwrap_or(gate))
        .matrix("DY", dy)
        .constant("FUNCTION", function(f))
        .flag("GATED", up.is_some())
        .for_each_value(device, shape(dy))
}

/// `x / keep` where the mask of `key` holds, else 0, as [`nightgraft_kernels::dropout`].
pub(crate) fn dropout(
    device: &Device,
    x: BufferRows,
    keep: f32,
    key: u64,
    y: BufferRows,
) -> Result<Dispatch, Error> {
    /// What the upper 24 bits of a hash are compared with is in these units of 1.
    const UNITS: f32 = 16_777_216.0;
    Call::new("dropout", &[include_str!("dropout.wgsl")])
        .matrix("X", x)
        .matrix("Y", y)
        .number(key as u32)
        .number((key >> 32) as u32)
        .number((keep * UNITS) as u32)
        .float(1.0 / keep)
        .for_each_value(device, shape(y))
}

/// `x` rounded to bfloat16, at half the width.
pub(crate) fn to_bf16(device: &Device, x: BufferRows, y: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("to_bf16", &[BF16, include_str!("to_bf16.wgsl")]);
    call.matrix("X", x).matrix("Y", y).for_each_value(device, shape(y))
}

/// What [`to_bf16`] rounded, as floats.
pub(crate) fn from_bf16(device: &Device, x: BufferRows, y: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("from_bf16", &[include_str!("from_bf16.wgsl")]);
    call.matrix("X", x).matrix("Y", y).for_each_value(device, shape(y))
}

/// `x` rounded to bfloat16 in place.
pub(crate) fn round_to_bf16(device: &Device, x: BufferRows) -> Result<Dispatch, Error> {
    let call = Call::new("round_to_bf16", &[BF16, include_str!("round_to_bf16.wgsl")]);
    call.matrix("X", x).for_each_value(device, shape(x))
}

/// The number of a function in `activation_function.wgsl`.
fn function(f: Activation) -> u32 {
    match f {
        Activation::Silu => 0,
        Activation::GeluTanh => 1,
        Activation::Gelu => 2,
    }
}

fn shape(rows: BufferRows) -> [u32; 2] {
    [rows.n_rows(), rows.n_cols()]
}
