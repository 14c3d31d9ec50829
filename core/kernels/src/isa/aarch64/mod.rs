//! Tiers of 64-bit Arm.

pub(super) mod neon;
pub(super) mod neon_i8mm;

use std::arch::asm;

use crate::weights::Half;

/// Half precision by the instruction for it, which every 64-bit Arm has.
pub(super) struct FcvtHalf;

impl Half for FcvtHalf {
    #[inline(always)]
    fn to_f32(bytes: [u8; 2]) -> f32 {
        let mut value = f32::from_bits(u32::from(u16::from_le_bytes(bytes)));
        // SAFETY: the instruction reads and writes this register only.
        unsafe {
            asm!("fcvt {value:s}, {value:h}", value = inout(vreg) value, options(pure, nomem, nostack, preserves_flags));
        }
        value
    }
}

/// Whether the machine has what the tier of Advanced SIMD needs.
pub(super) fn has_neon() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

/// Whether the machine has what the tier with products of 8-bit matrices needs.
pub(super) fn has_neon_i8mm() -> bool {
    has_neon() && std::arch::is_aarch64_feature_detected!("i8mm")
}
