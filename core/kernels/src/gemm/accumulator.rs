//! What the sums of a product are added to.

use crate::matrix::Rows;

/// What the sums of a product are added to.
#[derive(Clone, Copy)]
pub enum Accumulator<'a> {
    /// Nothing: the result is overwritten.
    Zero,
    /// What the result holds already.
    Existing,
    /// Another matrix of the result's shape, apart from it.
    Matrix(Rows<'a>),
    /// One row, such as a bias, for all rows of the result, and apart from it.
    Row(&'a [f32]),
}

/// Distance between the rows of an accumulator that is one row.
const SAME_ROW: usize = 0;

impl Accumulator<'_> {
    /// A pointer to what the sums of a row, from a column on, are added to, and the distance between rows, if that lies apart
    /// from the result.
    pub(super) fn apart(&self, row: usize, column: usize) -> Option<(*const f32, usize)> {
        match self {
            Accumulator::Zero | Accumulator::Existing => None,
            Accumulator::Matrix(matrix) => Some((matrix.row(row)[column..].as_ptr(), matrix.stride())),
            Accumulator::Row(values) => Some((values[column..].as_ptr(), SAME_ROW)),
        }
    }
}
