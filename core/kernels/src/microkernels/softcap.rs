//! Soft-caps of scores and logits.

use super::exp::exp;

/// `v = cap · tanh(scale · v / cap)`.
#[inline(always)]
pub(crate) fn softcap(values: &mut [f32], scale: f32, cap: f32) {
    for value in values {
        *value = capped(*value * scale, cap);
    }
}

/// `cap · tanh(v / cap)`, by `tanh x = 1 − 2 / (1 + exp 2x)`.
#[inline(always)]
pub(super) fn capped(v: f32, cap: f32) -> f32 {
    cap * (1.0 - 2.0 / (1.0 + exp(2.0 * (v / cap))))
}
