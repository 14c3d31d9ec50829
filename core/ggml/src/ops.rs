//! The operations that ggml itself has: one method each, preconditions checked.

use llama_cpp_sys_2 as sys;

use crate::{Error, Graph, Tensor};

/// How positions are rotated into queries and keys (RoPE, arXiv 2104.09864).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeParams {
    /// Values per head.
    pub head_dim: usize,
    /// How many of them are rotated; even.
    pub n_dims: usize,
    /// Base of the frequencies.
    pub base: f32,
    /// Positions are multiplied by this (linear scaling: 1 / factor).
    pub position_scale: f32,
    /// Rotate the pairs (i, i + n_dims/2) instead of (2i, 2i + 1).
    pub halves: bool,
}

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

    /// Rotates each head of each row by its token's position. `positions` is an i32 row with one value a
    /// token; `factors`, if any, divide the frequencies (Llama 3), one a rotated pair.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn rope(
        &mut self,
        x: Tensor,
        positions: Tensor,
        factors: Option<Tensor>,
        params: &RopeParams,
    ) -> Result<Tensor, Error> {
        self.rotate("rope", x, positions, factors, params, false)
    }

    /// The gradient of [`Graph::rope`]: rotates the other way.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::ForeignTensor`].
    pub fn rope_back(
        &mut self,
        dy: Tensor,
        positions: Tensor,
        factors: Option<Tensor>,
        params: &RopeParams,
    ) -> Result<Tensor, Error> {
        self.rotate("rope_back", dy, positions, factors, params, true)
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

    fn rotate(
        &mut self,
        op: &'static str,
        x: Tensor,
        positions: Tensor,
        factors: Option<Tensor>,
        params: &RopeParams,
        back: bool,
    ) -> Result<Tensor, Error> {
        const HALVES: i32 = 2; // GGML_ROPE_TYPE_NEOX
        let (n_tokens, n_cols) = self.shape(op, x)?;
        let &RopeParams { head_dim, n_dims, .. } = params;
        let shape_error =
            |expected: String| Error::Shape { op, expected, got: format!("{params:?}, {n_cols} columns") };
        if head_dim == 0
            || !n_cols.is_multiple_of(head_dim)
            || n_dims == 0
            || n_dims % 2 != 0
            || n_dims > head_dim
        {
            return Err(shape_error("whole heads with an even number of rotated values".to_owned()));
        }
        let positions_tensor = self.pointer(op, positions)?;
        // SAFETY: a tensor of this graph.
        let positions_kind = unsafe { (*positions_tensor).type_ };
        if self.shape(op, positions)? != (1, n_tokens) || positions_kind != sys::GGML_TYPE_I32 {
            return Err(shape_error(format!("a row of {n_tokens} i32 positions")));
        }
        let factors = match factors {
            Some(factors) if self.shape(op, factors)?.1 >= n_dims / 2 => self.is_f32(op, factors)?,
            Some(_) => return Err(shape_error(format!("{} frequency factors", n_dims / 2))),
            None => std::ptr::null_mut(),
        };
        let source = self.is_f32(op, x)?;
        self.count(op, 3)?;
        let rotate = if back { sys::ggml_rope_ext_back } else { sys::ggml_rope_ext };
        // SAFETY: the 3-D view has the elements of its source; shapes and types were checked; the context
        // has room for the view, the result and the view that makes it 2-D again.
        let result = unsafe {
            let n_heads = (n_cols / head_dim) as i64;
            let (row, head) = ((*source).nb[1], head_dim * 4);
            let heads = sys::ggml_view_3d(
                self.context(),
                source,
                head_dim as i64,
                n_heads,
                n_tokens as i64,
                head,
                row,
                0,
            );
            let mode = if params.halves { HALVES } else { 0 };
            let (base, scale) = (params.base, params.position_scale);
            let rotated = rotate(
                self.context(),
                heads,
                positions_tensor,
                factors,
                n_dims as i32,
                mode,
                0,
                base,
                scale,
                0.0,
                1.0,
                0.0,
                0.0,
            );
            sys::ggml_reshape_2d(self.context(), rotated, n_cols as i64, n_tokens as i64)
        };
        self.wrap(result)
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
