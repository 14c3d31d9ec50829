//! The operations that ggml itself has: one method each, preconditions checked.

use llama_cpp_sys_2 as sys;

use crate::{Error, Graph, Tensor};

impl Graph {
    /// `a + b`, same shape.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn add(&mut self, a: Tensor, b: Tensor) -> Result<Tensor, Error> {
        self.same_shape("add", a, b)?;
        // SAFETY: f32 tensors of one shape in this context, which has room.
        self.binary("add", a, b, |c, a, b| unsafe { sys::ggml_add(c, a, b) })
    }

    /// A view of `n` columns from `first` on.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn columns(&mut self, x: Tensor, first: usize, n: usize) -> Result<Tensor, Error> {
        let (n_rows, n_cols) = self.shape("columns", x)?;
        if n == 0 || first.checked_add(n).is_none_or(|end| end > n_cols) {
            return Err(Error::Shape {
                op: "columns",
                expected: format!("a range inside {n_cols}"),
                got: format!("{n} from {first}"),
            });
        }
        let source = self.expect_f32("columns", x)?;
        self.reserve_tensors("columns", 1)?;
        // SAFETY: the view lies inside its source; the context has room.
        let view = unsafe {
            sys::ggml_view_2d(self.context(), source, n as i64, n_rows as i64, (*source).nb[1], first * 4)
        };
        self.wrap_view(x, view)
    }

    /// A view of the matrix `[n_rows, n_cols]` that lies at value `first` of the row `x`.
    pub(crate) fn view_in_row(
        &mut self,
        x: Tensor,
        first: usize,
        (n_rows, n_cols): (usize, usize),
    ) -> Result<Tensor, Error> {
        let (rows, length) = self.shape("view_in_row", x)?;
        let end = n_rows.checked_mul(n_cols).filter(|n| *n > 0).and_then(|n| n.checked_add(first));
        if rows != 1 || end.is_none_or(|end| end > length) {
            return Err(Error::Shape {
                op: "view_in_row",
                expected: format!("[{n_rows}, {n_cols}] inside a row of {length}"),
                got: format!("{first} of {rows}"),
            });
        }
        let source = self.expect_f32("view_in_row", x)?;
        self.reserve_tensors("view_in_row", 1)?;
        // SAFETY: the view lies inside its source; the context has room.
        let view = unsafe {
            sys::ggml_view_2d(self.context(), source, n_cols as i64, n_rows as i64, n_cols * 4, first * 4)
        };
        self.wrap_view(x, view)
    }

    fn binary(
        &mut self,
        op: &'static str,
        a: Tensor,
        b: Tensor,
        make: impl FnOnce(
            *mut sys::ggml_context,
            *mut sys::ggml_tensor,
            *mut sys::ggml_tensor,
        ) -> *mut sys::ggml_tensor,
    ) -> Result<Tensor, Error> {
        let (a, b) = (self.expect_f32(op, a)?, self.expect_f32(op, b)?);
        self.reserve_tensors(op, 1)?;
        self.wrap(make(self.context(), a, b))
    }

    fn same_shape(&self, op: &'static str, a: Tensor, b: Tensor) -> Result<(), Error> {
        let (sa, sb) = (self.shape(op, a)?, self.shape(op, b)?);
        if sa != sb {
            return Err(Error::Shape {
                op,
                expected: format!("two matrices {sa:?}"),
                got: format!("{sb:?}"),
            });
        }
        Ok(())
    }
}
