//! The sets of instructions that kernels are compiled for.

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
