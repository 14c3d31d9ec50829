//! The shapes in which a product is cut, of which each device has a fastest one.

use std::fmt;

use nightgraft_kernels::Direction;
use serde::Serialize;

use crate::{Constant, Limits};

/// How a product is cut: what a workgroup computes, and what each of its invocations. All with the same operands give the same sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Tile {
    arithmetic: Arithmetic,
    tokens: u32,
    outputs: u32,
    thread_tokens: u32,
    thread_outputs: u32,
    depth: u32,
}

/// How a product computes; sums are in single precision always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arithmetic {
    /// With multiply-adds in single precision: every device.
    #[default]
    F32,
    /// With operands in half precision in workgroup memory, and a power of two for each row of the input
    /// ([`Features::f16`](crate::Features)).
    F16,
    /// With matrix units in single precision ([`Features::cooperative_matrices`](crate::Features)). It has been translated for
    /// Metal and Vulkan, and has run nowhere yet.
    Cooperative,
}

impl Tile {
    /// Every shape, from small ones for few tokens to large ones for GPUs with many registers.
    pub const ALL: [Self; 6] = [
        Self::new([16, 32], [2, 4], 32),
        Self::new([32, 64], [4, 4], 16),
        Self::new([64, 64], [8, 4], 16),
        Self::new([64, 64], [4, 4], 16),
        Self::new([64, 128], [8, 8], 16),
        Self::new([128, 128], [8, 8], 8),
    ];

    /// The shape of products with matrix units: four subgroups of 32 invocations.
    const COOPERATIVE: Self = Self { arithmetic: Arithmetic::Cooperative, ..Self::new([32, 32], [4, 2], 32) };

    /// The shapes that a device of these limits can run and that compute so.
    pub fn all_with(arithmetic: Arithmetic, limits: &Limits) -> Vec<Self> {
        match arithmetic {
            Arithmetic::Cooperative => vec![Self::COOPERATIVE],
            _ => Self::fitting(limits).map(|tile| tile.with_arithmetic(arithmetic)).collect(),
        }
    }

    /// `[tokens, outputs]` of a workgroup and of an invocation, and the terms of a slice.
    ///
    /// The constants of the shader rest on this: what is divided has no remainder, terms and outputs come in fours,
    /// and slices make up whole chains.
    const fn new([tokens, outputs]: [u32; 2], [thread_tokens, thread_outputs]: [u32; 2], depth: u32) -> Self {
        assert!(tokens.is_multiple_of(thread_tokens) && outputs.is_multiple_of(thread_outputs));
        assert!(outputs.is_multiple_of(4) && depth.is_multiple_of(4) && 64_u32.is_multiple_of(depth));
        Self { arithmetic: Arithmetic::F32, tokens, outputs, thread_tokens, thread_outputs, depth }
    }

    /// Gives the same shape another arithmetic; matrix units have a shape of their own.
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        match arithmetic {
            Arithmetic::Cooperative => Self::COOPERATIVE,
            _ => Self { arithmetic, ..self },
        }
    }

    /// How operands are kept.
    pub fn arithmetic(self) -> Arithmetic {
        self.arithmetic
    }

    /// Tokens of a workgroup.
    pub fn tokens(self) -> u32 {
        self.tokens
    }

    /// Outputs of a workgroup.
    pub fn outputs(self) -> u32 {
        self.outputs
    }

    /// Whether a device of these limits can run it.
    pub fn fits(self, limits: &Limits) -> bool {
        self.invocations() <= limits.workgroup_invocations && self.workgroup_bytes() <= limits.workgroup_bytes
    }

    /// The shapes that a device of these limits can run; the second one runs within [`Limits::LEAST`].
    pub fn fitting(limits: &Limits) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|tile| tile.fits(limits))
    }

    /// The shape that is used while nothing was measured: the smallest one for few tokens, one that every device runs for more.
    pub fn unmeasured(n_tokens: u32) -> Self {
        let [few, many, ..] = Self::ALL;
        if n_tokens <= few.tokens { few } else { many }
    }

    /// The one that is displayed so, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let both = |tile: Self| [tile, tile.with_arithmetic(Arithmetic::F16)];
        Self::ALL.into_iter().flat_map(both).chain([Self::COOPERATIVE]).find(|tile| tile.to_string() == name)
    }

    fn invocations(self) -> u32 {
        (self.tokens / self.thread_tokens) * (self.outputs / self.thread_outputs)
    }

    /// Both tiles, with some numbers more in each line.
    fn workgroup_bytes(self) -> u32 {
        let number = if self.arithmetic == Arithmetic::F16 { 2 } else { 4 };
        number * self.depth * (self.tokens + self.outputs + 2 * self.line_padding())
    }

    /// Numbers behind each line of a tile: an odd length spreads them over the memory's banks, and matrix units read whole ones.
    fn line_padding(self) -> u32 {
        if self.arithmetic == Arithmetic::Cooperative { 0 } else { 1 }
    }

    pub(super) fn constants(self) -> Vec<(&'static str, Constant)> {
        [
            ("TILE_TOKENS", self.tokens),
            ("TILE_OUTPUTS", self.outputs),
            ("THREAD_TOKENS", self.thread_tokens),
            ("THREAD_OUTPUTS", self.thread_outputs),
            ("DEPTH", self.depth),
            ("THREADS", self.invocations()),
            ("LINE_PADDING", self.line_padding()),
        ]
        .map(|(name, value)| (name, Constant::Number(value)))
        .to_vec()
    }
}

/// The shapes of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tiles {
    /// The tile of `x Wᵀ`.
    pub linear: Tile,
    /// The tile of `dy W`.
    pub transposed: Tile,
}

impl Tiles {
    /// Those that are used while nothing was measured.
    pub fn unmeasured(n_tokens: u32) -> Self {
        let tile = Tile::unmeasured(n_tokens);
        Self { linear: tile, transposed: tile }
    }

    /// That of a direction.
    pub fn of(self, direction: Direction) -> Tile {
        match direction {
            Direction::Linear => self.linear,
            Direction::Transposed => self.transposed,
        }
    }
}

/// Such as `64x64/8x4`: tokens and outputs of a workgroup, then of an invocation; behind it how it computes, if
/// not with multiply-adds in single precision.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arithmetic, tokens, outputs, thread_tokens, thread_outputs, .. } = self;
        let how = match arithmetic {
            Arithmetic::F32 => "",
            Arithmetic::F16 => " f16",
            Arithmetic::Cooperative => " cooperative",
        };
        write!(f, "{tokens}x{outputs}/{thread_tokens}x{thread_outputs}{how}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_used_unmeasured_runs_on_every_device() {
        for n_tokens in [1, 16, 17, 4096] {
            assert!(Tile::unmeasured(n_tokens).fits(&Limits::LEAST));
        }
        let fitting: Vec<_> = Tile::fitting(&Limits::LEAST).map(|tile| tile.to_string()).collect();
        assert_eq!(fitting, ["16x32/2x4", "32x64/4x4", "64x64/8x4", "64x128/8x8"]);
        let names: std::collections::HashSet<_> = Tile::ALL.iter().map(Tile::to_string).collect();
        assert_eq!(names.len(), Tile::ALL.len());
    }
}
