//! An adapter at rest: plain numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Factor, Module, PairProblem};

/// Which matrices get a low-rank pair, and of what kind.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSpec {
    /// Inner dimension of the pairs; the largest one where an adapter from elsewhere mixes them.
    pub rank: usize,
    /// A pair of rank `r` is scaled by `alpha / r`.
    pub alpha: f32,
    /// The adapted modules.
    pub modules: Vec<Module>,
    /// The adapted layers.
    pub layers: Range<usize>,
    /// Share of the inputs of `A` that training drops.
    pub dropout: f32,
}

/// A pair of matrices beside each adapted one, by layer and module: an adapter's own numbers, or one more number, such as a
/// moment, for each of them.
pub type LoraPairs = BTreeMap<(usize, Module), LoraPair>;

/// An adapter in memory. `pairs` is what counts: an adapter from elsewhere may leave out places inside the
/// ranges that the spec names.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterTensors {
    /// What is adapted, and how.
    pub spec: LoraSpec,
    /// The pairs by layer and module.
    pub pairs: LoraPairs,
}

/// The two factors beside one matrix `W`: `y = W x + (alpha / rank) · B (A x)`, with the rows and columns of `W`
/// in the order of the GGUF file.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraPair {
    /// The inner dimension.
    pub rank: usize,
    /// Inputs: columns of `W`.
    pub n_in: usize,
    /// Outputs: rows of `W`.
    pub n_out: usize,
    /// `A`, `[rank, n_in]`, row-major.
    pub a: Vec<f32>,
    /// `B` transposed, `[rank, n_out]`, row-major.
    pub b_t: Vec<f32>,
}

impl AdapterTensors {
    /// How many numbers there are in all pairs.
    pub fn n_parameters(&self) -> usize {
        self.pairs.values().map(|pair| pair.a.len() + pair.b_t.len()).sum()
    }
}

impl LoraPair {
    /// What is wrong with the numbers themselves.
    pub fn problem(&self) -> Option<PairProblem> {
        let rank = self.rank;
        if rank == 0 {
            return Some(PairProblem::NoRank);
        }
        let factors = [(Factor::A, &self.a, self.n_in), (Factor::B, &self.b_t, self.n_out)];
        factors.into_iter().find_map(|(factor, values, width)| {
            if rank.checked_mul(width) != Some(values.len()) {
                return Some(PairProblem::Size { factor, found: values.len(), rank, width });
            }
            let value = values.iter().copied().find(|value| !value.is_finite())?;
            Some(PairProblem::NotFinite { factor, value })
        })
    }
}
