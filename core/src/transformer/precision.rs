//! The precision that a run computes in.

use nightgraft_ggml::ComputeType;

use crate::config::Precision;

/// What `precision` means on this processor: never `Auto`.
pub fn resolve_precision(precision: Precision) -> Precision {
    match precision {
        Precision::Auto if nightgraft_ggml::int16_is_faster() => Precision::Mixed,
        Precision::Auto => Precision::F32,
        Precision::F32 | Precision::Mixed => precision,
    }
}

/// How `precision` has products with frozen matrices computed on this processor.
pub(super) fn compute_type(precision: Precision) -> ComputeType {
    match resolve_precision(precision) {
        Precision::Mixed => ComputeType::Int16,
        Precision::F32 | Precision::Auto => ComputeType::F32,
    }
}
