//! The size of a matrix in memory.

use crate::Error;

/// No matrix takes so many bytes; all of a graph together can be counted.
const MAX_BYTES: usize = 1 << 40;

/// Bytes of a matrix of values of 4 bytes.
///
/// # Errors
/// [`Error::Shape`] if it is empty, or so large that sizes could not be counted any more.
pub(crate) fn matrix_bytes(op: &'static str, [n_rows, n_cols]: [usize; 2]) -> Result<usize, Error> {
    let bytes = n_rows.checked_mul(n_cols).and_then(|n| n.checked_mul(4));
    bytes.filter(|bytes| (1..MAX_BYTES).contains(bytes)).ok_or_else(|| Error::Shape {
        op,
        expected: "a matrix that is neither empty nor absurdly large".to_owned(),
        got: format!("[{n_rows}, {n_cols}]"),
    })
}
