//! The rows of a tile's left-hand side, read a column at a time.

use std::arch::asm;

/// Rows that share a pointer.
const SHARE: usize = 7;

/// Pointers to the same column of up to 14 rows, so that each is addressed by a register that moves and one that does not.
///
/// The compiler, if it knew how the rows lie, would compute some of the addresses in every column: the processor could then
/// not begin two multiplications in each cycle, for want of room for their instructions.
#[derive(Clone, Copy)]
pub(super) struct LhsRows<T> {
    /// Pointers to the first row, and to the first one that does not share its pointer.
    first: [*const T; 2],
    /// The distance of each row from the pointer that it shares.
    offsets: [usize; SHARE],
}

impl<T> LhsRows<T> {
    /// Pointers to the first column of `n_rows` rows.
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

/// Returns the number, of which the compiler then knows nothing.
#[inline(always)]
fn unknown(mut number: usize) -> usize {
    // SAFETY: there is no instruction.
    unsafe { asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}
