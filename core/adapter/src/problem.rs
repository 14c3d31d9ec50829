//! What can be wrong with the numbers of an adapter, by themselves or for a model.

use std::fmt;

use super::Module;

/// One of the two matrices of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Factor {
    /// `A`, from the inputs.
    A,
    /// `B`, to the outputs.
    B,
}

/// Why a pair cannot be computed with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PairProblem {
    /// It has no inner dimension.
    #[error("rank 0")]
    NoRank,
    /// One of its matrices has not as many numbers as its shape says.
    #[error("{factor} has {found} values instead of {rank} x {width}")]
    Size {
        /// The matrix.
        factor: Factor,
        /// How many numbers it has.
        found: usize,
        /// Its rows.
        rank: usize,
        /// Its columns.
        width: usize,
    },
    /// A number that is none.
    #[error("{factor} holds {value}")]
    NotFinite {
        /// The matrix.
        factor: Factor,
        /// What it holds.
        value: f32,
    },
}

/// Why an adapter does not fit a model. Each is about the pair of a module in a layer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The model has no such layer.
    #[error("it adapts {}, the model has {n_layer} layers", module.tensor_name(*layer))]
    Layer {
        /// The layer.
        layer: usize,
        /// The module.
        module: Module,
        /// How many layers the model has.
        n_layer: usize,
    },
    /// The model has no such matrix.
    #[error("it adapts {}, which the model does not have", module.tensor_name(*layer))]
    Module {
        /// The layer.
        layer: usize,
        /// The module.
        module: Module,
    },
    /// The model's matrix has another shape.
    #[error(
        "{}: expected {} outputs and {} inputs, got {} and {}; it was trained for another model",
        module.tensor_name(*layer), expected.0, expected.1, found.0, found.1
    )]
    Shape {
        /// The layer.
        layer: usize,
        /// The module.
        module: Module,
        /// Outputs and inputs of the model's matrix.
        expected: (usize, usize),
        /// Outputs and inputs of the pair.
        found: (usize, usize),
    },
    /// The numbers themselves are wrong.
    #[error("{}: {problem}", module.tensor_name(*layer))]
    Pair {
        /// The layer.
        layer: usize,
        /// The module.
        module: Module,
        /// What is wrong.
        problem: PairProblem,
    },
}

impl Factor {
    /// Both, in the order of files.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_is_wrong() {
        let (layer, module) = (3, Module::AttnQ);
        let problem = PairProblem::Size { factor: Factor::B, found: 7, rank: 2, width: 4 };
        for (mismatch, words) in [
            (
                Mismatch::Layer { layer, module, n_layer: 3 },
                "it adapts blk.3.attn_q.weight, the model has 3 layers",
            ),
            (
                Mismatch::Shape { layer, module, expected: (4, 5), found: (6, 7) },
                "blk.3.attn_q.weight: expected 4 outputs and 5 inputs, got 6 and 7; it was trained for another model",
            ),
            (
                Mismatch::Pair { layer, module, problem },
                "blk.3.attn_q.weight: B has 7 values instead of 2 x 4",
            ),
        ] {
            assert_eq!(mismatch.to_string(), words);
        }
        assert_eq!(PairProblem::NoRank.to_string(), "rank 0");
        let infinite = PairProblem::NotFinite { factor: Factor::A, value: f32::NEG_INFINITY };
        assert_eq!(infinite.to_string(), "A holds -inf");
    }
}
