//! Tiers of x86-64.

pub(super) mod avx2;
pub(super) mod avx512;
pub(super) mod avx512_vnni;
pub(super) mod avx_vnni;
mod int16_256;
mod lhs;

use std::arch::asm;

use crate::weights::Half;

/// Half precision by the instruction for it, which every tier here has.
pub(super) struct F16c;

impl Half for F16c {
    #[inline(always)]
    fn to_f32(bytes: [u8; 2]) -> f32 {
        let mut value = f32::from_bits(u32::from(u16::from_le_bytes(bytes)));
        // SAFETY: the instruction reads and writes this register only; it is called from functions of these tiers.
        unsafe {
            asm!("vcvtph2ps {value}, {value}", value = inout(xmm_reg) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
}

/// Whether the machine has what the AVX2 tier needs.
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
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
