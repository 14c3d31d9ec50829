//! The shapes in which a product is cut, of which each device has a fastest one.

use std::fmt;

use nightgraft_kernels::Direction;
use serde::Serialize;

use crate::{Constant, Features, Limits};

/// How a product is cut: what a workgroup computes, and what each of its invocations. All with the same operands give the same sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Tile {
    method: Method,
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

/// What the invocations of a workgroup do with their operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// They bring a slice of both sides to workgroup memory together.
    Staged,
    /// Likewise, in half precision.
    StagedF16,
    /// Likewise, and matrix units take them from there.
    Cooperative,
    /// Each reads its own from the device's memory.
    Direct,
    /// Likewise weights; tokens they have from the other lanes of their subgroup ([`Features::subgroup_sizes`]).
    Subgroup,
}

impl Method {
    /// Each of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Staged, Self::StagedF16, Self::Cooperative, Self::Direct, Self::Subgroup];
}

impl Arithmetic {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Cooperative];
}

impl Tile {
    /// Every shape with operands in workgroup memory, from small ones for few tokens to large ones for GPUs with many registers.
    pub const ALL: [Self; 6] = [
        Self::new([16, 32], [2, 4], 32),
        Self::new([32, 64], [4, 4], 16),
        Self::new([64, 64], [8, 4], 16),
        Self::new([64, 64], [4, 4], 16),
        Self::new([64, 128], [8, 8], 16),
        Self::new([128, 128], [8, 8], 8),
    ];

    /// The one that is taken if no other is right, and with which each format of weights is checked: every device can run it.
    pub const LAST_RESORT: Self = Self::ALL[1];

    /// The shape of products with matrix units: four subgroups of 32 invocations.
    pub(super) const COOPERATIVE: Self = Self::new([32, 32], [4, 2], 32).with(Method::Cooperative);

    /// Those without workgroup memory: a line of 64 or 128 invocations, which have the same tokens, and four outputs each.
    const DIRECT: [Self; 4] = [
        Self::new([4, 64 * 4], [4, 4], 4).with(Method::Direct),
        Self::new([8, 64 * 4], [8, 4], 4).with(Method::Direct),
        Self::new([8, 128 * 4], [8, 4], 4).with(Method::Subgroup),
        Self::new([16, 128 * 4], [16, 4], 4).with(Method::Subgroup),
    ];

    /// All shapes that such a device can run.
    pub fn all(limits: &Limits, features: &Features) -> Vec<Self> {
        Self::all_of(&Arithmetic::ALL, limits, features)
    }

    /// The shapes that such a device can run and that compute in one of these ways: the first one of each, then the second of each.
    pub fn all_of(arithmetics: &[Arithmetic], limits: &Limits, features: &Features) -> Vec<Self> {
        let all: Vec<_> =
            arithmetics.iter().map(|&arithmetic| Self::all_with(arithmetic, limits, features)).collect();
        let longest = all.iter().map(Vec::len).max().unwrap_or(0);
        (0..longest).flat_map(|i| all.iter().filter_map(move |tiles| tiles.get(i).copied())).collect()
    }

    /// The shapes that need nothing of such a device but memory and invocations.
    pub fn plain(limits: &Limits) -> Vec<Self> {
        Self::ALL.into_iter().filter(|tile| tile.fits(limits, &Features::default())).collect()
    }

    /// The shapes that such a device can run and that compute so.
    pub fn all_with(arithmetic: Arithmetic, limits: &Limits, features: &Features) -> Vec<Self> {
        let all = match arithmetic {
            // Some of each method come first: there may be no time for all.
            Arithmetic::F32 => {
                let [few, many, larger @ ..] = Self::ALL;
                let [narrow, direct, subgroup, tall] = Self::DIRECT;
                [&[few, many, direct, subgroup][..], &larger, &[narrow, tall]].concat()
            }
            Arithmetic::F16 => Self::ALL.map(|tile| tile.with(Method::StagedF16)).to_vec(),
            Arithmetic::Cooperative => vec![Self::COOPERATIVE],
        };
        all.into_iter().filter(|tile| tile.fits(limits, features)).collect()
    }

    /// `[tokens, outputs]` of a workgroup and of an invocation, and the terms of a slice.
    ///
    /// The constants of the shader rest on this: what is divided has no remainder, terms and outputs come in fours,
    /// and slices make up whole chains.
    const fn new([tokens, outputs]: [u32; 2], [thread_tokens, thread_outputs]: [u32; 2], depth: u32) -> Self {
        assert!(tokens.is_multiple_of(thread_tokens) && outputs.is_multiple_of(thread_outputs));
        assert!(outputs.is_multiple_of(4) && depth.is_multiple_of(4) && 64_u32.is_multiple_of(depth));
        Self { method: Method::Staged, tokens, outputs, thread_tokens, thread_outputs, depth }
    }

    pub(super) const fn with(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// How it computes.
    pub fn arithmetic(self) -> Arithmetic {
        match self.method {
            Method::Staged | Method::Direct | Method::Subgroup => Arithmetic::F32,
            Method::StagedF16 => Arithmetic::F16,
            Method::Cooperative => Arithmetic::Cooperative,
        }
    }

    pub(crate) fn method(self) -> Method {
        self.method
    }

    /// Tokens of a workgroup.
    pub fn tokens(self) -> u32 {
        self.tokens
    }

    /// Outputs of a workgroup.
    pub fn outputs(self) -> u32 {
        self.outputs
    }

    /// Whether such a device can run it.
    pub fn fits(self, limits: &Limits, features: &Features) -> bool {
        let is_there = match self.method {
            Method::Staged | Method::Direct => true,
            Method::StagedF16 => features.f16,
            Method::Cooperative => features.cooperative_matrices,
            Method::Subgroup => self.has_whole_subgroups(features),
        };
        let invocations = limits.workgroup_invocations;
        is_there && self.invocations() <= invocations && self.workgroup_bytes() <= limits.workgroup_bytes
    }

    /// Whether a workgroup is made of whole subgroups of a size that its shader can work with, if it has one that does. Vulkan may
    /// still leave lanes out, which no driver is known to do; the probe would find it.
    pub(super) fn has_whole_subgroups(self, features: &Features) -> bool {
        // Sizes are powers of two.
        let fits = |[least, most]: [u32; 2]| least >= 4 && most <= self.invocations();
        self.method != Method::Subgroup || features.subgroup_sizes.is_some_and(fits)
    }

    /// The shape that is used while nothing was measured: the smallest one for few tokens, one that every device runs for more.
    pub fn unmeasured(n_tokens: u32) -> Self {
        let [few, ..] = Self::ALL;
        if n_tokens <= few.tokens { few } else { Self::LAST_RESORT }
    }

    /// The one that is displayed so, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        let halves = Self::ALL.map(|tile| tile.with(Method::StagedF16));
        let all = [&Self::ALL[..], &halves, &Self::DIRECT, &[Self::COOPERATIVE]].concat();
        all.into_iter().find(|tile| tile.to_string() == name)
    }

    fn invocations(self) -> u32 {
        (self.tokens / self.thread_tokens) * (self.outputs / self.thread_outputs)
    }

    /// Both tiles, with some numbers more in each line, and the results of matrix units.
    fn workgroup_bytes(self) -> u32 {
        let (number, results) = match self.method {
            Method::Staged => (4, 0),
            Method::StagedF16 => (2, 0),
            Method::Cooperative => (4, self.tokens * self.outputs),
            Method::Direct | Method::Subgroup => (0, 0),
        };
        number * self.depth * (self.tokens + self.outputs + 2 * self.line_padding()) + 4 * results
    }

    /// Numbers behind each line of a tile: an odd length spreads them over the memory's banks, and matrix units read whole ones.
    fn line_padding(self) -> u32 {
        if self.method == Method::Cooperative { 0 } else { 1 }
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
    /// [`Tile::LAST_RESORT`] for both.
    pub const LAST_RESORT: Self = Self { linear: Tile::LAST_RESORT, transposed: Tile::LAST_RESORT };

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

/// Such as `64x64/8x4`: tokens and outputs of a workgroup, then of an invocation; behind it what is done with operands, if they are
/// not in workgroup memory in single precision.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, tokens, outputs, thread_tokens, thread_outputs, .. } = self;
        let how = match method {
            Method::Staged => "",
            Method::StagedF16 => " f16",
            Method::Cooperative => " cooperative",
            Method::Direct => " direct",
            Method::Subgroup => " subgroup",
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
        let plain = Features::default();
        for n_tokens in [1, 16, 17, 4096] {
            assert!(Tile::unmeasured(n_tokens).fits(&Limits::LEAST, &plain));
        }
        let names = |arithmetic, features| -> Vec<String> {
            let tiles = Tile::all_with(arithmetic, &Limits::LEAST, &features);
            tiles.iter().map(Tile::to_string).collect()
        };
        let least =
            ["16x32/2x4", "32x64/4x4", "8x256/8x4 direct", "64x64/8x4", "64x128/8x8", "4x256/4x4 direct"];
        assert_eq!(names(Arithmetic::F32, plain), least);
        assert!(names(Arithmetic::F16, plain).is_empty() && names(Arithmetic::Cooperative, plain).is_empty());
    }

    #[test]
    fn shapes_that_need_more_than_every_device_has_are_found_where_it_is() {
        let roomy = Limits { workgroup_bytes: 32 << 10, workgroup_invocations: 1024, ..Limits::LEAST };
        let features = Features { f16: true, subgroup_sizes: Some([8, 64]), cooperative_matrices: true };
        let all = Tile::all(&roomy, &features);
        let n_with = |arithmetic| all.iter().filter(|tile| tile.arithmetic() == arithmetic).count();
        assert_eq!(Arithmetic::ALL.map(n_with), [Tile::ALL.len() + 4, Tile::ALL.len(), 1]);
        for tile in all {
            assert_eq!(Tile::named(&tile.to_string()), Some(tile));
        }
        // Half of a subgroup would be of another workgroup, or lanes fewer than terms are taken at once.
        for sizes in [[8, 256], [2, 4]] {
            let features = Features { subgroup_sizes: Some(sizes), ..features };
            assert_eq!(Tile::all_with(Arithmetic::F32, &roomy, &features).len(), Tile::ALL.len() + 2);
        }
    }
}
