//! Views of `f32` matrices, and one thread's share of a kernel's work.

use std::marker::PhantomData;
use std::ops::Range;

/// A read-only row-major `f32` matrix `[n_rows, n_cols]` whose rows start `stride` floats apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_cols: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// A view of `data`; `None` if `stride < n_cols` or `data` is too short for the last row.
    pub fn new(data: &'a [f32], n_rows: usize, n_cols: usize, stride: usize) -> Option<Self> {
        (data.len() >= span(n_rows, n_cols, stride)?).then_some(Self { data, n_rows, n_cols, stride })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Distance between the starts of two rows, in floats.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Row `row`, below `n_rows`: `n_cols` values.
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.n_cols]
    }

    /// The rows `rows`; there must be at least one.
    pub(crate) fn row_range(&self, rows: Range<usize>) -> Rows<'a> {
        debug_assert!(!rows.is_empty() && rows.end <= self.n_rows);
        Rows { data: &self.data[rows.start * self.stride..], n_rows: rows.len(), ..*self }
    }

    /// The columns `first..first + n_cols` of the same rows.
    pub(crate) fn columns(&self, first: usize, n_cols: usize) -> Rows<'a> {
        debug_assert!(first + n_cols <= self.n_cols);
        Rows { data: self.data.get(first..).unwrap_or(&[]), n_cols, ..*self }
    }

    /// The values from the first to the last element of a block; `None` if the block is empty.
    pub(crate) fn block(&self, rows: Range<usize>, columns: Range<usize>) -> Option<&'a [f32]> {
        let length = rows.len().checked_sub(1)? * self.stride + columns.len();
        self.data.get(rows.start * self.stride + columns.start..)?.get(..length)
    }

    /// The bytes from the first value on; rows are `4 * stride` bytes apart.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        // SAFETY: any initialised f32 is four initialised bytes, and u8 has no alignment to keep.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), std::mem::size_of_val(self.data)) }
    }
}

/// A row-major `f32` matrix `[n_rows, n_cols]` that several threads write at disjoint places.
///
/// It is a pointer with a shape: copying it is free, and only the `unsafe` kernels write through it.
#[derive(Clone, Copy, Debug)]
pub struct RowsMut<'a> {
    data: *mut f32,
    n_rows: usize,
    n_cols: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: the view is a pointer and three numbers; it is read and written only by unsafe functions, whose callers
// promise that no two threads touch the same element.
unsafe impl Send for RowsMut<'_> {}
// SAFETY: as for Send; no method writes through a shared reference without that promise.
unsafe impl Sync for RowsMut<'_> {}

impl<'a> RowsMut<'a> {
    /// A view of `data`; `None` if `stride < n_cols` or `data` is too short for the last row.
    pub fn new(data: &'a mut [f32], n_rows: usize, n_cols: usize, stride: usize) -> Option<Self> {
        (data.len() >= span(n_rows, n_cols, stride)?).then_some(Self {
            data: data.as_mut_ptr(),
            n_rows,
            n_cols,
            stride,
            owner: PhantomData,
        })
    }

    /// A view of memory that other threads may hold a view of, too.
    ///
    /// # Safety
    /// `data` must be valid for reads and writes of `(n_rows - 1) * stride + n_cols` floats during `'a` (of none
    /// if `n_rows` is 0), `stride >= n_cols`, and all those floats must be initialised.
    pub unsafe fn from_raw(data: *mut f32, n_rows: usize, n_cols: usize, stride: usize) -> Self {
        Self { data, n_rows, n_cols, stride, owner: PhantomData }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Distance between the starts of two rows, in floats.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Splits a single row into a matrix of its first values and a row of the rest; `None` if there are fewer values.
    pub fn split_matrix(self, n_rows: usize, n_cols: usize) -> Option<(Self, Self)> {
        let length = n_rows.checked_mul(n_cols)?;
        let left = self.n_cols.checked_sub(length).filter(|_| self.n_rows == 1)?;
        // SAFETY: the values behind the first ones are in the row, too, or there are none.
        let data = unsafe { self.data.add(length) };
        let first = Self { n_rows, n_cols, stride: n_cols, ..self };
        Some((first, Self { data, n_cols: left, stride: left, ..self }))
    }

    /// Pointer to the element `[row, col]`.
    ///
    /// # Safety
    /// `row < n_rows` and `col < n_cols`.
    pub(crate) unsafe fn at(&self, row: usize, col: usize) -> *mut f32 {
        debug_assert!(row < self.n_rows && col < self.n_cols);
        // SAFETY: the element is inside the matrix, so the offset stays inside its memory.
        unsafe { self.data.add(row * self.stride + col) }
    }

    /// The columns `cols` of row `row` as a slice.
    ///
    /// # Safety
    /// `row < n_rows`, `cols` is inside the row, and nothing else reads or writes these elements while the slice
    /// lives.
    pub(crate) unsafe fn row_mut(&self, row: usize, cols: Range<usize>) -> &'a mut [f32] {
        debug_assert!(row < self.n_rows && cols.start <= cols.end && cols.end <= self.n_cols);
        // SAFETY: the caller promises that the place is inside the matrix and that it is ours alone.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride + cols.start), cols.len()) }
    }
}

/// Floats from the first element to the last; `None` if rows overlap or the number does not fit.
fn span(n_rows: usize, n_cols: usize, stride: usize) -> Option<usize> {
    if stride < n_cols {
        return None;
    }
    match n_rows {
        0 => Some(0),
        n => (n - 1).checked_mul(stride)?.checked_add(n_cols),
    }
}

/// A share of a kernel's work, done by one thread: number `index` of `count` equal shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which share, from 0.
    pub index: usize,
    /// How many shares there are.
    pub count: usize,
}

impl Part {
    /// All of the work in one call.
    pub const WHOLE: Part = Part { index: 0, count: 1 };

    /// This part's contiguous range of `n` equal items; empty if `index` is not below `count`.
    pub(crate) fn range(self, n: usize) -> Range<usize> {
        if self.index >= self.count {
            return 0..0;
        }
        let (quotient, rest) = (n / self.count, n % self.count);
        let start = self.index * quotient + self.index.min(rest);
        start..start + quotient + usize::from(self.index < rest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn views_refuse_short_or_overlapping_memory() {
        let data = [0.0f32; 11];
        assert!(Rows::new(&data, 3, 3, 4).is_some());
        assert!(Rows::new(&data[..10], 3, 3, 4).is_none());
        assert!(Rows::new(&data, 3, 4, 3).is_none());
        assert!(Rows::new(&data, usize::MAX, 1, 2).is_none());
        assert!(Rows::new(&[], 0, 5, 5).is_some());
        let rows = Rows::new(&data, 3, 3, 4).unwrap();
        assert_eq!((rows.row(2).len(), rows.columns(1, 2).row(2).len(), rows.bytes().len()), (3, 2, 44));
    }

    #[test]
    fn a_row_divides_into_matrices() {
        let mut data: Vec<f32> = (0..10).map(|value| value as f32).collect();
        let row = RowsMut::new(&mut data, 1, 10, 10).unwrap();
        let (first, rest) = row.split_matrix(2, 3).unwrap();
        let (second, rest) = rest.split_matrix(1, 4).unwrap();
        assert_eq!((first.n_rows(), first.n_cols(), first.stride()), (2, 3, 3));
        // SAFETY: the places are inside, and nobody else uses them.
        unsafe {
            assert_eq!(first.row_mut(1, 0..3), [3.0, 4.0, 5.0]);
            assert_eq!(second.row_mut(0, 0..4), [6.0, 7.0, 8.0, 9.0]);
        }
        assert_eq!(rest.n_cols(), 0);
        assert!(rest.split_matrix(1, 1).is_none() && row.split_matrix(2, usize::MAX).is_none());
        assert!(first.split_matrix(1, 1).is_none(), "not a single row");
    }

    #[test]
    fn parts_cover_everything_once() {
        for n in 0..40 {
            for count in 1..9 {
                let mut next = 0;
                for index in 0..count {
                    let range = Part { index, count }.range(n);
                    assert_eq!(range.start, next);
                    assert!(range.len() <= n.div_ceil(count));
                    next = range.end;
                }
                assert_eq!(next, n);
            }
        }
        assert!(Part { index: 3, count: 3 }.range(9).is_empty());
        assert!(Part { index: 0, count: 0 }.range(9).is_empty());
    }
}
