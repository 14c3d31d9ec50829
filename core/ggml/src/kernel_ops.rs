//! The operations that ggml lacks or does slowly, but for the products: custom nodes that call our kernels.
//!
//! Shapes are checked here, when a node is made; what runs it, in `callbacks`, relies on that.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{AttentionShape, Rotation, attention_back_splits, bf16_columns};

use crate::callbacks;
use crate::custom_node::Params;
use crate::matrix_size::matrix_bytes;
use crate::{Buffer, DropoutKey, Error, Graph, Output, Tensor};

impl Graph {
    /// Causal soft-max attention inside segments. `q` is `[T, n_head · head_dim]`, `k` and `v`
    /// `[T, n_head_kv · head_dim]`, `starts` an i32 row: for each token the first token of its segment.
    /// The result is `[T, n_head · head_dim + n_head]`: the output, then each head's log-sum-exp.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn attention(
        &mut self,
        shape: AttentionShape,
        [q, k, v]: [Tensor; 3],
        starts: Tensor,
        output: Output,
    ) -> Result<Tensor, Error> {
        let op = "attention";
        if matches!(output, Output::Accumulate(_)) {
            return Err(Error::Shape { op, expected: "an output of its own".into(), got: "a sum".into() });
        }
        let n_tokens = self.attention_shape(op, &shape, [q, k, v], starts)?;
        self.custom_to(
            op,
            output,
            [n_tokens, shape.result_columns()],
            &[q, k, v, starts],
            callbacks::attention,
            Some(Params::Attention(shape)),
        )
    }

    /// The gradients of [`Graph::attention`] for `q`, and for `k` and `v` side by side, `[T, 2 · n_head_kv · head_dim]`;
    /// `out` is its result, `dout` `[T, n_head · head_dim]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn attention_back(
        &mut self,
        shape: AttentionShape,
        [q, k, v]: [Tensor; 3],
        starts: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> Result<[Tensor; 2], Error> {
        let op = "attention_back";
        let n_tokens = self.attention_shape(op, &shape, [q, k, v], starts)?;
        self.expect_shape(op, out, (n_tokens, shape.result_columns()))?;
        self.expect_shape(op, dout, (n_tokens, shape.query_columns()))?;
        let (q_width, kv_width) = (shape.query_columns(), 2 * shape.key_columns());
        let n_splits = attention_back_splits(&shape);
        // So large a matrix has been refused if any of the sizes below, which are parts of it, does not fit.
        matrix_bytes(op, [n_tokens, q_width + n_splits * kv_width])?;
        let others = n_tokens * (n_splits - 1);
        // One node has one result: the matrices lie in it one behind the other.
        let all = self.custom(
            op,
            [1, n_tokens * (q_width + kv_width) + others * kv_width],
            &[q, k, v, starts, out, dout],
            callbacks::attention_back,
            Some(Params::Attention(shape)),
        )?;
        let dq = self.view_in_row(all, 0, (n_tokens, q_width))?;
        let dkv = self.view_in_row(all, n_tokens * q_width, (n_tokens, kv_width))?;
        if others == 0 {
            return Ok([dq, dkv]);
        }
        let others = self.view_in_row(all, n_tokens * (q_width + kv_width), (others, kv_width))?;
        let (op, params) = ("attention_back_sum", Some(Params::Attention(shape)));
        let dkv = self.custom_inplace(op, dkv, &[others, starts], callbacks::attention_back_sum, params)?;
        Ok([dq, dkv])
    }

    /// Cross-entropy of each row of `logits` `[T, n_vocab]` with `targets` (an i32 row of T; negative = no
    /// loss). The logits become their gradient `softmax − onehot`, which is returned; each row of the
    /// buffer `loss` `[≥ T, 2]` gets `−ln p(target)` and 1 if the target is the most likely token, else 0.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn cross_entropy(&mut self, logits: Tensor, targets: Tensor, loss: &Buffer) -> Result<Tensor, Error> {
        let op = "cross_entropy";
        let (n_tokens, _) = self.shape(op, logits)?;
        self.expect_i32_row(op, targets, n_tokens)?;
        let (n_rows, width) = loss.shape();
        if n_rows < n_tokens || width != 2 {
            return Err(Error::Shape {
                op,
                expected: format!("a loss of [{n_tokens}, 2]"),
                got: format!("[{n_rows}, {width}]"),
            });
        }
        let loss = self.tensor_rows(loss, n_tokens)?;
        self.expect_writable(op, loss)?;
        self.custom_inplace(op, logits, &[targets, loss], callbacks::cross_entropy, None)
    }

    /// Rotates each head of `x` `[T, n_heads · head_dim]` by the angles in `table` `[T, n_dims]`: the cosines of a
    /// token's pairs, then their sines. The result overwrites `x`, which must not be used any more.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn rope(&mut self, x: Tensor, table: Tensor, rotation: Rotation) -> Result<Tensor, Error> {
        let op = "rope";
        let ((n_tokens, n_cols), (n_rows, n_dims)) = (self.shape(op, x)?, self.shape(op, table)?);
        let Rotation { head_dim, .. } = rotation;
        self.expect_f32(op, table)?;
        if head_dim == 0
            || n_cols % head_dim != 0
            || n_dims % 2 != 0
            || n_dims > head_dim
            || n_rows != n_tokens
        {
            return Err(Error::Shape {
                op,
                expected: format!(
                    "whole heads of {head_dim}, and for each token an even number of angles inside one"
                ),
                got: format!("[{n_tokens}, {n_cols}] and a table [{n_rows}, {n_dims}]"),
            });
        }
        self.custom_inplace(op, x, &[table], callbacks::rope, Some(Params::Rope(rotation)))
    }

    /// Row-wise `w ⊙ x / √(mean(x²) + eps)` (arXiv 1910.07467) of `x` `[T, n]`; `w` is `[1, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn rms_norm(&mut self, x: Tensor, w: Tensor, eps: f32) -> Result<Tensor, Error> {
        let op = "rms_norm";
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        self.expect_shape(op, w, (1, n_cols))?;
        self.custom(op, [n_rows, n_cols], &[x, w], callbacks::rms_norm, Some(Params::Norm { eps }))
    }

    /// The gradient of [`Graph::rms_norm`] for `x`, added to `dx`, which must not be used any more; `dy` is that of the
    /// result. All `[T, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn rms_norm_back(
        &mut self,
        dx: Tensor,
        x: Tensor,
        w: Tensor,
        eps: f32,
        dy: Tensor,
    ) -> Result<Tensor, Error> {
        let op = "rms_norm_back";
        let shape = self.shape(op, x)?;
        self.expect_shape(op, w, (1, shape.1))?;
        for tensor in [dx, x, dy] {
            self.expect_shape(op, tensor, shape)?;
        }
        self.custom_inplace(op, dx, &[x, w, dy], callbacks::rms_norm_back, Some(Params::Norm { eps }))
    }

    /// `silu(gate) ⊙ up` (arXiv 2002.05202), all `[T, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn swiglu(&mut self, gate: Tensor, up: Tensor) -> Result<Tensor, Error> {
        let op = "swiglu";
        let (n_rows, n_cols) = self.shape(op, gate)?;
        self.expect_f32(op, gate)?;
        self.expect_shape(op, up, (n_rows, n_cols))?;
        self.custom(op, [n_rows, n_cols], &[gate, up], callbacks::swiglu, None)
    }

    /// Computes the gradients of [`Graph::swiglu`] when the graph is computed, after everything that was stored or scheduled
    /// before: `gate` and `up` become their gradients, and `dy`, the gradient of the result, becomes the result.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn swiglu_back(&mut self, gate: Tensor, up: Tensor, dy: Tensor) -> Result<(), Error> {
        let op = "swiglu_back";
        let shape = self.shape(op, gate)?;
        for tensor in [gate, up, dy] {
            self.expect_shape(op, tensor, shape)?;
        }
        self.expect_disjoint(op, up, dy)?;
        for written in [up, dy] {
            self.expect_writable(op, written)?;
        }
        let node = self.custom_inplace(op, gate, &[up, dy], callbacks::swiglu_back, None)?;
        self.schedule(node)
    }

    /// Rounds `x` `[T, n]` to bfloat16, at half the width, into `out` `[T, bf16_columns(n)]`, when the graph is computed.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn to_bf16(&mut self, x: Tensor, out: Tensor) -> Result<(), Error> {
        let op = "to_bf16";
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        self.expect_shape(op, out, (n_rows, bf16_columns(n_cols)))?;
        let node = self.custom_inplace(op, out, &[x], callbacks::to_bf16, None)?;
        self.schedule(node)
    }

    /// The matrix of `n_cols` columns that [`Graph::to_bf16`] rounded to `x`, as floats.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn from_bf16(&mut self, x: Tensor, n_cols: usize) -> Result<Tensor, Error> {
        let op = "from_bf16";
        let (n_rows, _) = self.shape(op, x)?;
        self.expect_shape(op, x, (n_rows, bf16_columns(n_cols)))?;
        self.custom(op, [n_rows, n_cols], &[x], callbacks::from_bf16, None)
    }

    /// `x` rounded to bfloat16 in place: `x` must not be used any more.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn round_to_bf16(&mut self, x: Tensor) -> Result<Tensor, Error> {
        self.custom_inplace("round_to_bf16", x, &[], callbacks::round_to_bf16, None)
    }

    /// `x / keep` where a pseudo-random mask of density `keep` holds, else 0. The mask depends on the key's
    /// value at the time of the computation, on `salt` and on the position in the matrix.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::Shape`] unless `0 < keep <= 1`.
    pub fn dropout(&mut self, x: Tensor, keep: f32, key: &DropoutKey, salt: u64) -> Result<Tensor, Error> {
        let op = "dropout";
        if !(keep > 0.0 && keep <= 1.0) {
            return Err(Error::Shape { op, expected: "0 < keep <= 1".to_owned(), got: keep.to_string() });
        }
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        let params = Params::Dropout { keep, key: key.clone(), salt };
        self.custom(op, [n_rows, n_cols], &[x], callbacks::dropout, Some(params))
    }

    fn attention_shape(
        &self,
        op: &'static str,
        shape: &AttentionShape,
        [q, k, v]: [Tensor; 3],
        starts: Tensor,
    ) -> Result<usize, Error> {
        let (n_tokens, _) = self.shape(op, q)?;
        self.expect_shape(op, q, (n_tokens, shape.query_columns()))?;
        self.expect_shape(op, k, (n_tokens, shape.key_columns()))?;
        self.expect_shape(op, v, (n_tokens, shape.key_columns()))?;
        self.expect_i32_row(op, starts, n_tokens)?;
        Ok(n_tokens)
    }

    fn expect_i32_row(&self, op: &'static str, tensor: Tensor, n: usize) -> Result<(), Error> {
        let got = self.shape(op, tensor)?;
        // SAFETY: `pointer` checks that it is a tensor of this graph.
        let kind = unsafe { (*self.pointer(op, tensor)?).type_ };
        if got != (1, n) || kind != sys::GGML_TYPE_I32 {
            return Err(Error::Shape { op, expected: format!("a row of {n} i32"), got: format!("{got:?}") });
        }
        Ok(())
    }
}
