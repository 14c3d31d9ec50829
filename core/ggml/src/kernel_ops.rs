//! The operations that ggml lacks or does slowly, but for the products: custom nodes that call our kernels.
//!
//! Shapes are checked here, when a node is made; what runs it, in `callbacks`, relies on that.

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{
    Activation, AttentionShape, LogitTransform, Rotation, attention_back_splits, bf16_columns,
};

use crate::custom_node::{CustomOp, NormParams};
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
        let columns = shape.result_columns();
        self.custom_to(CustomOp::Attention(shape), output, [n_tokens, columns], &[q, k, v, starts])
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
            CustomOp::AttentionBack(shape),
            [1, n_tokens * (q_width + kv_width) + others * kv_width],
            &[q, k, v, starts, out, dout],
        )?;
        let dq = self.view_in_row(all, 0, (n_tokens, q_width))?;
        let dkv = self.view_in_row(all, n_tokens * q_width, (n_tokens, kv_width))?;
        if others == 0 {
            return Ok([dq, dkv]);
        }
        let others = self.view_in_row(all, n_tokens * (q_width + kv_width), (others, kv_width))?;
        let dkv = self.custom_inplace(CustomOp::AttentionBackSum(shape), dkv, &[others, starts])?;
        Ok([dq, dkv])
    }

    /// Cross-entropy of the logits that `transform` makes of each row of `products` `[T, n_vocab]`, with `targets` (an i32 row
    /// of T; negative = no loss). The products become their gradient, which is returned; each row of the buffer `loss` `[≥ T, 2]` gets `−ln p(target)` and 1 if the target is the most likely token, else 0.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn cross_entropy(
        &mut self,
        products: Tensor,
        transform: LogitTransform,
        targets: Tensor,
        loss: &Buffer,
    ) -> Result<Tensor, Error> {
        let op = "cross_entropy";
        let (n_tokens, _) = self.shape(op, products)?;
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
        self.custom_inplace(CustomOp::CrossEntropy(transform), products, &[targets, loss])
    }

    /// Turns products with the head's rows into logits. The result overwrites `products`, which must not be used any more.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn transform_logits(&mut self, products: Tensor, transform: LogitTransform) -> Result<Tensor, Error> {
        self.custom_inplace(CustomOp::TransformLogits(transform), products, &[])
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
        self.custom_inplace(CustomOp::Rope(rotation), x, &[table])
    }

    /// `w ⊙ v / √(mean(v²) + eps)` (arXiv 1910.07467) of each group `v` of `width` values of each row of `x` `[T, n]`; `w`,
    /// if there is one, is `[1, width]`, and n a multiple of that.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn rms_norm(
        &mut self,
        x: Tensor,
        w: Option<Tensor>,
        width: usize,
        eps: f32,
    ) -> Result<Tensor, Error> {
        let op = "rms_norm";
        let (n_rows, n_cols) = self.norm_shape(op, x, w, width)?;
        let operands: Vec<_> = [x].into_iter().chain(w).collect();
        let norm = NormParams { width, eps, is_weighted: w.is_some() };
        self.custom(CustomOp::RmsNorm(norm), [n_rows, n_cols], &operands)
    }

    /// The gradient of [`Graph::rms_norm`] for `x`, from `dy`, that of the result. With [`Output::Accumulate`] it is added to
    /// what that tensor holds. All `[T, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn rms_norm_back(
        &mut self,
        x: Tensor,
        w: Option<Tensor>,
        (width, eps): (usize, f32),
        dy: Tensor,
        dx: Output,
    ) -> Result<Tensor, Error> {
        let op = "rms_norm_back";
        let (n_rows, n_cols) = self.norm_shape(op, x, w, width)?;
        self.expect_shape(op, dy, (n_rows, n_cols))?;
        let operands: Vec<_> = [x, dy].into_iter().chain(w).collect();
        let accumulate = matches!(dx, Output::Accumulate(_));
        let norm = NormParams { width, eps, is_weighted: w.is_some() };
        self.custom_to(CustomOp::RmsNormBack { norm, accumulate }, dx, [n_rows, n_cols], &operands)
    }

    /// `f(gate) ⊙ up` (arXiv 2002.05202), or `f(gate)` without `up`; all `[T, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn activation(&mut self, f: Activation, gate: Tensor, up: Option<Tensor>) -> Result<Tensor, Error> {
        let op = "activation";
        let (n_rows, n_cols) = self.shape(op, gate)?;
        self.expect_f32(op, gate)?;
        if let Some(up) = up {
            self.expect_shape(op, up, (n_rows, n_cols))?;
        }
        let operands: Vec<_> = [gate].into_iter().chain(up).collect();
        self.custom(CustomOp::Activation { f, is_gated: up.is_some() }, [n_rows, n_cols], &operands)
    }

    /// Computes the gradients of [`Graph::activation`] when the graph is computed, after everything that was stored or
    /// scheduled before: `gate` and `up` become their gradients, and `dy`, the gradient of the result, becomes the result.
    /// `gate` and `up` may be columns of one matrix.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn activation_back(
        &mut self,
        f: Activation,
        gate: Tensor,
        up: Option<Tensor>,
        dy: Tensor,
    ) -> Result<(), Error> {
        let op = "activation_back";
        let shape = self.shape(op, gate)?;
        for tensor in [gate, dy].into_iter().chain(up) {
            self.expect_shape(op, tensor, shape)?;
            self.expect_writable(op, tensor)?;
        }
        self.expect_disjoint(op, gate, dy)?;
        if let Some(up) = up {
            self.expect_disjoint(op, up, dy)?;
            self.expect_no_common_values(op, gate, up)?;
        }
        let operands: Vec<_> = [dy].into_iter().chain(up).collect();
        let back = CustomOp::ActivationBack { f, is_gated: up.is_some() };
        // The kernel takes `gate` and `up` as memory that it writes to, row by row, so that they may lie side by side.
        let node = self.inplace_node(back, gate, &operands)?;
        self.schedule(node)
    }

    /// `a + scale · b`, all `[T, n]`, to `output`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn add_scaled(&mut self, a: Tensor, b: Tensor, scale: f32, output: Output) -> Result<Tensor, Error> {
        let op = "add_scaled";
        if matches!(output, Output::Accumulate(_)) {
            return Err(Error::Shape { op, expected: "an output of its own".into(), got: "a sum".into() });
        }
        let (n_rows, n_cols) = self.shape(op, a)?;
        self.expect_f32(op, a)?;
        self.expect_shape(op, b, (n_rows, n_cols))?;
        self.custom_to(CustomOp::AddScaled(scale), output, [n_rows, n_cols], &[a, b])
    }

    /// `scale · x` of `x` `[T, n]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does.
    pub fn scaled(&mut self, x: Tensor, scale: f32) -> Result<Tensor, Error> {
        let op = "scaled";
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        self.custom(CustomOp::Scaled(scale), [n_rows, n_cols], &[x])
    }

    /// Multiplies each row of `x` `[T, n]` by its own factor of `factors` `[T, 1]`. The result overwrites `x`, which must not
    /// be used any more.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn scale_rows(&mut self, x: Tensor, factors: Tensor) -> Result<Tensor, Error> {
        let op = "scale_rows";
        let (n_rows, _) = self.shape(op, x)?;
        self.expect_shape(op, factors, (n_rows, 1))?;
        self.custom_inplace(CustomOp::ScaleRows, x, &[factors])
    }

    /// Matrices `[T, n_i]` side by side, `[T, Σ n_i]`.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and for no matrix or more than three.
    pub fn concat_columns(&mut self, matrices: &[Tensor]) -> Result<Tensor, Error> {
        let op = "concat_columns";
        let Some(first) = matrices.first().filter(|_| matrices.len() <= 3) else {
            let got = matrices.len().to_string();
            return Err(Error::Shape { op, expected: "one to three matrices".into(), got });
        };
        let (n_rows, _) = self.shape(op, *first)?;
        let mut n_cols = 0usize;
        for matrix in matrices {
            let (_, n) = self.shape(op, *matrix)?;
            self.expect_shape(op, *matrix, (n_rows, n))?;
            n_cols = n_cols.saturating_add(n);
        }
        self.custom(CustomOp::ConcatColumns, [n_rows, n_cols], matrices)
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
        let node = self.custom_inplace(CustomOp::ToBf16, out, &[x])?;
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
        self.custom(CustomOp::FromBf16, [n_rows, n_cols], &[x])
    }

    /// `x` rounded to bfloat16 in place: `x` must not be used any more.
    ///
    /// # Errors
    /// It fails as [`Graph::linear`] does, and with [`Error::ReadOnly`] for a mapped weight where it writes.
    pub fn round_to_bf16(&mut self, x: Tensor) -> Result<Tensor, Error> {
        self.custom_inplace(CustomOp::RoundToBf16, x, &[])
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
        self.custom(CustomOp::Dropout { keep, key: key.clone(), salt }, [n_rows, n_cols], &[x])
    }

    /// The shape of `x`, whose rows are whole groups of `width` values, as many as `w` has.
    fn norm_shape(
        &self,
        op: &'static str,
        x: Tensor,
        w: Option<Tensor>,
        width: usize,
    ) -> Result<(usize, usize), Error> {
        let (n_rows, n_cols) = self.shape(op, x)?;
        self.expect_f32(op, x)?;
        if let Some(w) = w {
            self.expect_shape(op, w, (1, width))?;
        }
        if width == 0 || n_cols % width != 0 {
            let expected = format!("whole groups of {width} values");
            return Err(Error::Shape { op, expected, got: format!("{n_cols} columns") });
        }
        Ok((n_rows, n_cols))
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
