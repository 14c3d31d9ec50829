//! Instruction-set tiers: one table of inner kernels each, chosen at run time.
//!
//! A table holds the parts that are worth specializing: the register-blocked tile of a product, the dequantization of
//! panels, and operations on a row. Everything else is written once on top of it. All tables give the same bits.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod choice;
mod scalar;
mod table;
mod tier;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use choice::{TIER_VARIABLE, TierError};
pub(crate) use table::{Kernels, copy_row};
pub use tier::Tier;

impl Tier {
    /// The tiers that this machine can run, slowest first.
    pub fn available() -> Vec<Tier> {
        Self::ALL.into_iter().filter(|tier| Kernels::of(*tier).is_some()).collect()
    }
}

impl Kernels {
    /// The table of a tier, if this machine can run it.
    pub fn of(tier: Tier) -> Option<&'static Kernels> {
        match tier {
            Tier::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => x86_64::has_avx2().then_some(&x86_64::avx2::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Tier::AvxVnni => x86_64::has_avx_vnni().then_some(&x86_64::avx_vnni::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => x86_64::has_avx512().then_some(&x86_64::avx512::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni => x86_64::has_avx512_vnni().then_some(&x86_64::avx512_vnni::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => aarch64::has_neon().then_some(&aarch64::neon::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Tier::NeonI8mm => aarch64::has_neon_i8mm().then_some(&aarch64::neon_i8mm::KERNELS),
            _ => None,
        }
    }
}
