//! ggml's own matrix products: what ours are tested and timed against. The engine itself uses neither.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::WeightType;

use crate::matrix_size::matrix_bytes;
use crate::{Cpu, Error, Graph, Tensor};

impl Graph {
    /// ggml's `MUL_MAT`, `y = x · Wᵀ` as [`Graph::linear`]. On x86 it rounds `x` to 8 bits in front of quantized weights.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn ggml_mul_mat(&mut self, w: Tensor, x: Tensor) -> Result<Tensor, Error> {
        let (n_rows, n_cols) = self.linear_shape("ggml_mul_mat", w, x)?;
        matrix_bytes("ggml_mul_mat", [n_rows, n_cols])?;
        self.reserve_tensors("ggml_mul_mat", 1)?;
        let (w, x) = (self.pointer("ggml_mul_mat", w)?, self.expect_f32("ggml_mul_mat", x)?);
        // SAFETY: matrices with rows of one length, `x` of f32, in this context, which has room.
        self.wrap(unsafe { sys::ggml_mul_mat(self.context(), w, x) })
    }

    /// ggml's `OUT_PROD`, `dx = dy · W` as [`Graph::linear_transposed`]: what ggml trains with.
    ///
    /// # Errors
    /// It fails as [`Graph::linear_transposed`] does, and with [`Error::WeightType`] for F16 and BF16, for which ggml has none.
    pub fn ggml_out_prod(&mut self, w: Tensor, dy: Tensor) -> Result<Tensor, Error> {
        let op = "ggml_out_prod";
        let (n_rows, n_cols) = self.transposed_shape(op, w, dy)?;
        matrix_bytes(op, [n_rows, n_cols])?;
        let (w, dy) = (self.pointer(op, w)?, self.expect_f32(op, dy)?);
        // SAFETY: a tensor of this graph.
        let kind = unsafe { (*w).type_ };
        if [WeightType::F16, WeightType::BF16].iter().any(|half| half.ggml_id() as i64 == i64::from(kind)) {
            return Err(Error::WeightType { op, got: kind });
        }
        self.reserve_tensors(op, 2)?;
        // SAFETY: matrices with as many columns of `dy` as rows of `w`, in this context, which has room.
        self.wrap(unsafe { sys::ggml_out_prod(self.context(), w, sys::ggml_transpose(self.context(), dy)) })
    }
}

impl Cpu {
    /// How many threads of its own ggml takes for [`Graph::ggml_mul_mat`] and [`Graph::ggml_out_prod`], up to as many as this
    /// value has; one otherwise.
    pub fn set_ggml_threads(&mut self, n_threads: u16) {
        // ggml ends the process where it gets no thread: no more are tried than could be had before.
        let n_threads = usize::from(n_threads).clamp(1, self.n_threads());
        // SAFETY: the backend is alive, and held exclusively.
        unsafe { sys::ggml_backend_cpu_set_n_threads(self.backend(), n_threads as i32) }
    }
}
