//! Tiers of 64-bit Arm.

pub(super) mod neon;
pub(super) mod neon_i8mm;

/// Whether the machine has what the tier of Advanced SIMD needs.
pub(super) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Whether the machine has what the tier with products of 8-bit matrices needs.
pub(super) fn has_neon_i8mm() -> bool {
    has_neon() && std::arch::is_aarch64_feature_detected!("i8mm")
}
