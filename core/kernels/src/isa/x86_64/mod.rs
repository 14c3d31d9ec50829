//! Tiers of x86-64.

pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod avx512_vnni;
pub(super) mod avx_vnni;
mod pairs;

/// Whether the machine has what the AVX2 tier needs.
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Whether the machine has what the AVX-VNNI tier needs.
pub(super) fn has_avx_vnni() -> bool {
    has_avx2() && is_x86_feature_detected!("avxvnni")
}

/// Whether the machine has what the AVX-512 tier needs.
pub(super) fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// Whether the machine has what the tier of AVX-512 with VNNI needs.
pub(super) fn has_avx512_vnni() -> bool {
    has_avx512() && is_x86_feature_detected!("avx512vnni")
}
