//! What is wrong with the numbers of a checkpoint or an adapter.

use std::io;

/// Why bytes are no checkpoint or adapter. It comes within an [`io::Error`] of the kind
/// [`InvalidData`](io::ErrorKind::InvalidData).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatProblem {
    /// An adapter in another version of the format.
    #[error("its adapter is in version {found} of the format, this program reads version {known}")]
    AdapterVersion {
        /// The version of the format.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// A header that is not what this program writes.
    #[error("its header makes no sense at byte {column}")]
    Header {
        /// Where, from 1.
        column: usize,
    },
    /// A checkpoint without an adapter.
    #[error("it has no adapter")]
    NoAdapter,
    /// A checkpoint with sets of numbers that are not known.
    #[error("its header names sets that there are not")]
    UnknownSets,
    /// A shape of more numbers than can be counted.
    #[error("a shape in its header is too large")]
    ShapeTooLarge,
    /// Two pairs of the same module.
    #[error("a pair is there twice")]
    RepeatedPair,
}

impl From<FormatProblem> for io::Error {
    fn from(problem: FormatProblem) -> Self {
        Self::new(io::ErrorKind::InvalidData, problem)
    }
}
