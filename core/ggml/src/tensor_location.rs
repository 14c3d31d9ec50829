//! Where a tensor of weights lies in a mapped file.

use nightgraft_kernels::WeightType;

use crate::Error;

/// Where a weight matrix lies in a mapped file: whole rows of whole blocks, at an offset where they can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorLocation {
    kind: WeightType,
    n_rows: usize,
    n_cols: usize,
    offset: usize,
    end: usize,
}

impl TensorLocation {
    /// A matrix `[n_rows, n_cols]` (outputs, inputs) in the format `kind`, `offset` bytes from the start of the file.
    ///
    /// # Errors
    /// [`Error::Shape`] if the matrix is empty or no address space could hold it, if its rows are not whole blocks, or if the
    /// offset is not a multiple of the format's [alignment](WeightType::alignment).
    pub fn new(kind: WeightType, [n_rows, n_cols]: [usize; 2], offset: usize) -> Result<Self, Error> {
        let refused = |expected: String| {
            let got = format!("[{n_rows}, {n_cols}] {} from byte {offset} on", kind.name());
            Err(Error::Shape { op: "location of a weight", expected, got })
        };
        if !offset.is_multiple_of(kind.alignment()) {
            return refused(format!("an offset that is a multiple of {}", kind.alignment()));
        }
        let bytes = kind.row_bytes(n_cols).and_then(|row| row.checked_mul(n_rows)).filter(|bytes| *bytes > 0);
        match bytes.and_then(|bytes| bytes.checked_add(offset)).filter(|end| isize::try_from(*end).is_ok()) {
            Some(end) => Ok(Self { kind, n_rows, n_cols, offset, end }),
            None => refused(format!("rows of whole blocks of {} values", kind.block_len())),
        }
    }

    /// The format of the values.
    pub fn kind(&self) -> WeightType {
        self.kind
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.n_rows, self.n_cols)
    }

    /// Bytes from the start of the file to the matrix.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes from the start of the file to the end of the matrix.
    pub fn end(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::weight_types;

    #[test]
    fn a_location_is_where_its_values_can_be_read() {
        for kind in weight_types() {
            let shape = [3, kind.block_len()];
            let location = TensorLocation::new(kind, shape, 64).unwrap();
            assert_eq!((location.shape(), location.offset()), ((3, kind.block_len()), 64));
            assert_eq!(location.end(), 64 + 3 * kind.block_bytes());
            for offset in [1, 2, 3, 65, 66] {
                let refused = TensorLocation::new(kind, shape, offset).is_err();
                assert_eq!(refused, offset % kind.alignment() > 0, "{} at {offset}", kind.name());
            }
            assert!(TensorLocation::new(kind, shape, usize::MAX).is_err(), "{}", kind.name());
        }
    }

    #[test]
    fn a_location_is_of_whole_blocks_that_can_be_counted() {
        let huge = usize::MAX / 256 * 256;
        for (kind, shape, offset) in [
            (WeightType::F32, [0, 8], 0),
            (WeightType::F32, [8, 0], 0),
            (WeightType::Q4_K, [1, 32], 0),
            (WeightType::Q8_0, [1, 33], 0),
            (WeightType::F32, [1, usize::MAX], 0),
            (WeightType::F32, [usize::MAX / 4, 2], 0),
            (WeightType::Q4_K, [usize::MAX, 256], 0),
            (WeightType::Q4_0, [2, huge], 0),
            (WeightType::F32, [1, 1], usize::MAX - 3),
        ] {
            assert!(
                TensorLocation::new(kind, shape, offset).is_err(),
                "{} {shape:?} at {offset}",
                kind.name()
            );
        }
    }
}
