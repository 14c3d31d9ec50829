//! The rows of a tile's left-hand side, read a column at a time.

use std::arch::asm;

/// Rows that share a pointer.
const SHARE: usize = 7;

/// Pointers to the same column of up to 14 rows, so that each is addressed by a register that moves and one that does not.
///
/// The compiler, if it knew how the rows lie, would compute some of the addresses in every column: the processor could then not
/// begin two multiplications in each cycle, for want of room for their instructions.
#[derive(Clone, Copy)]
pub(super) struct Left<T> {
    /// To the first row and the one after those that share the first pointer.
    first: [*const T; 2],
    /// From either on.
    offsets: [usize; SHARE],
}

impl<T> Left<T> {
    /// For the first column of `n_rows` rows.
    ///
    /// # Safety
    /// They must be valid pointers.
    #[inline(always)]
    pub unsafe fn new(x: *const T, stride: usize, n_rows: usize) -> Self {
        let second = if n_rows > SHARE { x.wrapping_add(SHARE * stride) } else { x };
        Self { first: [x, second], offsets: std::array::from_fn(|row| unknown(row * stride)) }
    }

    /// The element of row `row` in this column.
    ///
    /// # Safety
    /// There must be one.
    #[inline(always)]
    pub unsafe fn at(&self, row: usize) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.first[row / SHARE].add(self.offsets[row % SHARE]) }
    }

    /// Moves on to the next column; there may be none.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.first = self.first.map(|first| first.wrapping_add(1));
    }
}

/// The same number, of which the compiler knows nothing.
#[inline(always)]
fn unknown(mut number: usize) -> usize {
    // SAFETY: there is no instruction.
    unsafe { asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}
