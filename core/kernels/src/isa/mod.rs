//! Instruction-set tiers: one table of inner kernels each, chosen at run time.
//!
//! A table holds the parts that are worth specializing: the register-blocked tile of a product, the dequantization of
//! panels, and operations on a row. Everything else is written once on top of it. All tables give the same bits.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod request;
mod scalar;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::sync::OnceLock;

pub use request::{TIER_VARIABLE, TierError};
pub(crate) use table::{Kernels, copy_row};

/// A set of instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The target's baseline, without further vector instructions.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AVX2 and FMA with VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with VNNI.
    Avx512Vnni,
    /// 64-bit Arm with Advanced SIMD.
    Neon,
    /// Advanced SIMD with products of matrices of 8-bit integers.
    NeonI8mm,
}

impl Tier {
    /// Every tier, of any processor, slowest first.
    pub const ALL: [Tier; 7] =
        [Tier::Scalar, Tier::Neon, Tier::NeonI8mm, Tier::Avx2, Tier::AvxVnni, Tier::Avx512, Tier::Avx512Vnni];

    /// The tiers that this machine can run, slowest first.
    pub fn available() -> Vec<Tier> {
        Self::ALL.into_iter().filter(|tier| Kernels::of(*tier).is_some()).collect()
    }

    /// The tier in use: the fastest available, or the one that the environment variable `NIGHTGRAFT_ISA` names
    /// (`scalar`, `avx2`, `avxvnni`, `avx512`, `avx512vnni`, `neon` or `neoni8mm`). Where it names none that this machine has,
    /// it is the fastest; [`Tier::requested`] tells.
    pub fn current() -> Tier {
        Kernels::current().tier
    }

    /// The tier that `NIGHTGRAFT_ISA` names; none where it is not set, or empty.
    ///
    /// # Errors
    /// [`TierError`] if it names none, or one that this machine cannot run. Whoever is about to compute asks first.
    pub fn requested() -> Result<Option<Tier>, TierError> {
        request::requested().clone()
    }

    /// Whether products of 16-bit integers are faster than products of floats. Measured: 1.3 times with AVX2, 1.6 to 2 with
    /// AVX-512 and VNNI; by the count of multiplications an instruction makes: AVX-VNNI and I8MM, which make twice as many.
    pub fn int16_is_faster(self) -> bool {
        matches!(self, Tier::Avx2 | Tier::AvxVnni | Tier::Avx512Vnni | Tier::NeonI8mm)
    }

    /// The name that `NIGHTGRAFT_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Scalar => "scalar",
            Tier::Avx2 => "avx2",
            Tier::AvxVnni => "avxvnni",
            Tier::Avx512 => "avx512",
            Tier::Avx512Vnni => "avx512vnni",
            Tier::Neon => "neon",
            Tier::NeonI8mm => "neoni8mm",
        }
    }
}

impl Kernels {
    /// The table in use, chosen at the first call.
    pub fn current() -> &'static Kernels {
        static CURRENT: OnceLock<&Kernels> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let asked = request::requested().as_ref().ok().copied().flatten();
            let tier = asked.or_else(|| Tier::available().last().copied());
            tier.and_then(Kernels::of).unwrap_or(&scalar::KERNELS)
        })
    }

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
