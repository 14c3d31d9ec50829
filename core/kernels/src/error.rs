//! Why a kernel computed nothing.

use std::fmt;

/// Why a kernel did not do its part: its results, if it had begun, are then undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelError {
    /// Matrices whose shapes do not fit together; nothing was written.
    Shape(ShapeError),
    /// An index that points at nothing; nothing was written.
    Index(IndexError),
    /// The system gave a thread no working memory.
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => error.fmt(f),
            Self::Index(error) => error.fmt(f),
            Self::OutOfMemory { bytes } => write!(f, "out of memory: a thread needs {bytes} bytes"),
        }
    }
}

impl std::error::Error for KernelError {}

impl From<ShapeError> for KernelError {
    fn from(error: ShapeError) -> Self {
        Self::Shape(error)
    }
}

impl From<IndexError> for KernelError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

/// Matrices whose shapes do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The kernel that was asked.
    pub op: &'static str,
    /// The quantity that differs.
    pub what: &'static str,
    /// What it has to be, given the other arguments.
    pub expected: usize,
    /// What it is.
    pub got: usize,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}, expected {}", self.op, self.what, self.got, self.expected)
    }
}

impl std::error::Error for ShapeError {}

/// An index in a row of integers that points at nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexError {
    /// The kernel that was asked.
    pub op: &'static str,
    /// What the index is.
    pub what: &'static str,
    /// The token that it belongs to.
    pub token: usize,
    /// What it must be below.
    pub end: usize,
    /// What it is.
    pub got: i32,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, what, token, end, got } = self;
        write!(f, "{op}: the {what} of token {token} is {got}, outside 0..{end}")
    }
}

impl std::error::Error for IndexError {}

/// `Ok` if `got == expected`.
pub(crate) fn same(
    op: &'static str,
    what: &'static str,
    expected: usize,
    got: usize,
) -> Result<(), ShapeError> {
    if expected == got { Ok(()) } else { Err(ShapeError { op, what, expected, got }) }
}
