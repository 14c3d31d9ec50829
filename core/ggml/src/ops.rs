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

    /// `a ⊙ b` of one shape, or `b` a single row that is repeated for each row of `a`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn mul(&mut self, a: Tensor, b: Tensor) -> Result<Tensor, Error> {
        let (_, n_cols) = self.shape("mul", a)?;
        if self.shape("mul", b)? != (1, n_cols) {
            self.same_shape("mul", a, b)?;
        }
        self.is_f32("mul", b)?;
        // SAFETY: f32 tensors, `b` repeatable to `a`, in this context, which has room.
        self.binary("mul", a, b, |c, a, b| unsafe { sys::ggml_mul(c, a, b) })
    }

    /// `factor · a`.
    ///
    /// # Errors
    /// [`Error::ForeignTensor`].
    pub fn scale(&mut self, a: Tensor, factor: f32) -> Result<Tensor, Error> {
        self.is_contiguous("scale", a)?;
        // SAFETY: a contiguous f32 tensor in this context, which has room.
        self.binary("scale", a, a, |c, a, _| unsafe { sys::ggml_scale(c, a, factor) })
    }

    /// Row-wise `x / √(mean(x²) + eps)` (arXiv 1910.07467), without the weight.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn rms_norm(&mut self, x: Tensor, eps: f32) -> Result<Tensor, Error> {
        self.is_contiguous("rms_norm", x)?;
        // SAFETY: a contiguous f32 tensor in this context, which has room.
        self.binary("rms_norm", x, x, |c, x, _| unsafe { sys::ggml_rms_norm(c, x, eps) })
    }

    /// The gradient of [`Graph::rms_norm`]: `dy` is that of its result, `x` its argument.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn rms_norm_back(&mut self, dy: Tensor, x: Tensor, eps: f32) -> Result<Tensor, Error> {
        self.same_shape("rms_norm_back", dy, x)?;
        // SAFETY: contiguous f32 tensors of one shape in this context, which has room.
        self.binary("rms_norm_back", dy, x, |c, dy, x| unsafe { sys::ggml_rms_norm_back(c, dy, x, eps) })
    }

    /// `x · sigmoid(x)`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn silu(&mut self, x: Tensor) -> Result<Tensor, Error> {
        self.is_contiguous("silu", x)?;
        // SAFETY: a contiguous f32 tensor in this context, which has room.
        self.binary("silu", x, x, |c, x, _| unsafe { sys::ggml_silu(c, x) })
    }

    /// The gradient of [`Graph::silu`]: `dy` is that of its result, `x` its argument.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn silu_back(&mut self, dy: Tensor, x: Tensor) -> Result<Tensor, Error> {
        self.same_shape("silu_back", dy, x)?;
        self.is_contiguous("silu_back", dy)?;
        self.is_contiguous("silu_back", x)?;
        // SAFETY: contiguous f32 tensors of one shape in this context, which has room.
        self.binary("silu_back", dy, x, |c, dy, x| unsafe { sys::ggml_silu_back(c, dy, x) })
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
        let source = self.is_f32("columns", x)?;
        self.count("columns", 1)?;
        // SAFETY: the view lies inside its source; the context has room.
        let view = unsafe {
            sys::ggml_view_2d(self.context(), source, n as i64, n_rows as i64, (*source).nb[1], first * 4)
        };
        self.wrap(view)
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
        let (a, b) = (self.is_f32(op, a)?, self.is_f32(op, b)?);
        self.count(op, 1)?;
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

    /// The pointer of a tensor with f32 values, neighbours in a row next to each other.
    pub(crate) fn is_f32(&self, op: &'static str, tensor: Tensor) -> Result<*mut sys::ggml_tensor, Error> {
        let tensor = self.pointer(op, tensor)?;
        // SAFETY: a tensor of this graph.
        match unsafe { (*tensor).type_ } {
            sys::GGML_TYPE_F32 => Ok(tensor),
            got => Err(Error::WeightType { op, got }),
        }
    }

    fn is_contiguous(&self, op: &'static str, tensor: Tensor) -> Result<(), Error> {
        let tensor = self.pointer(op, tensor)?;
        // SAFETY: a tensor of this graph.
        if unsafe { sys::ggml_is_contiguous(tensor) } {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            expected: "a contiguous matrix".to_owned(),
            got: "a view of columns".to_owned(),
        })
    }
}
