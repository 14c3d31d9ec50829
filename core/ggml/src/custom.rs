//! The operations that ggml lacks or does slowly: custom nodes that call our kernels on the pool's threads.
//!
//! Shapes are checked here, when a node is made; what runs it, in `callbacks`, relies on that.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{AttentionShape, MAX_HEAD_DIM, Rotation, WeightType};

use crate::callbacks::{self, Callback};
use crate::{Error, Graph, Leaf, Tensor};

/// ggml calls a node once; the node divides the work itself.
const ONE_TASK: c_int = 1;

/// What a custom node needs besides its operands.
pub(crate) enum Params {
    Attention(AttentionShape),
    Dropout { keep: f32, key: DropoutKey, salt: u64 },
    Rope(Rotation),
}

/// The seed of the dropout masks of a whole model; set anew before each micro-step, so that graphs need not
/// be rebuilt. The forward pass and its recomputation in the backward pass see the same masks.
#[derive(Debug, Clone, Default)]
pub struct DropoutKey(pub(crate) Arc<AtomicU64>);

impl DropoutKey {
    /// Sets the key for the computations that follow.
    pub fn set(&self, key: u64) {
        self.0.store(key, Ordering::Relaxed);
    }
}

impl Graph {
    /// `y = x · Wᵀ`: `w` is `[n_out, n_in]` in any format, `x` `[T, n_in]`, the result `[T, n_out]`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::WeightType`], [`Error::ForeignTensor`].
    pub fn linear(&mut self, w: Tensor, x: Tensor) -> Result<Tensor, Error> {
        let (n_tokens, n_out) = self.linear_shape("linear", w, x)?;
        self.custom("linear", [n_tokens, n_out], &[w, x], callbacks::linear, None)
    }

    /// `y += x · Wᵀ`, over the place of `y`, which must not be used any more.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn linear_onto(&mut self, y: Tensor, w: Tensor, x: Tensor) -> Result<Tensor, Error> {
        let shape = self.linear_shape("linear_onto", w, x)?;
        self.expect_shape("linear_onto", y, shape)?;
        self.custom_onto("linear_onto", y, &[w, x], callbacks::linear_onto)
    }

    /// `dx = dy · W`: `w` is `[n_out, n_in]` in any format, `dy` `[T, n_out]`, the result `[T, n_in]`.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn linear_transposed(&mut self, w: Tensor, dy: Tensor) -> Result<Tensor, Error> {
        let (n_tokens, n_in) = self.transposed_shape("linear_transposed", w, dy)?;
        self.custom("linear_transposed", [n_tokens, n_in], &[w, dy], callbacks::linear_transposed, None)
    }

    /// `dx += dy · W`, over the place of `dx`, which must not be used any more.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn linear_transposed_onto(&mut self, dx: Tensor, w: Tensor, dy: Tensor) -> Result<Tensor, Error> {
        let shape = self.transposed_shape("linear_transposed_onto", w, dy)?;
        self.expect_shape("linear_transposed_onto", dx, shape)?;
        self.custom_onto("linear_transposed_onto", dx, &[w, dy], callbacks::linear_transposed_onto)
    }

    /// `grad += uᵀ · x`, when the graph is computed: `u` is `[T, r]`, `x` `[T, n]`, `grad` `[r, n]`.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn accumulate_outer(&mut self, grad: &Leaf, u: Tensor, x: Tensor) -> Result<(), Error> {
        let op = "accumulate_outer";
        let ((n_tokens, rank), (n_tokens_x, n)) = (self.shape(op, u)?, self.shape(op, x)?);
        if n_tokens != n_tokens_x || grad.shape() != (rank, n) || !grad.is_writable() {
            return Err(Error::Shape {
                op,
                expected: format!("[T, r], [T, n] and a writable [r, n], here [{rank}, {n}]"),
                got: format!("[{n_tokens}, {rank}], [{n_tokens_x}, {n}] and {:?}", grad.shape()),
            });
        }
        let grad = self.leaf(grad)?;
        let node = self.custom_onto(op, grad, &[u, x], callbacks::accumulate_outer)?;
        self.run(node)
    }

    /// Causal soft-max attention inside segments. `q` is `[T, n_head · head_dim]`, `k` and `v`
    /// `[T, n_head_kv · head_dim]`, `starts` an i32 row: for each token the first token of its segment.
    /// The result is `[T, n_head · head_dim + n_head]`: the output, then each head's log-sum-exp.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn attention(
        &mut self,
        shape: AttentionShape,
        [q, k, v]: [Tensor; 3],
        starts: Tensor,
    ) -> Result<Tensor, Error> {
        let op = "attention";
        let n_tokens = self.attention_shape(op, &shape, [q, k, v], starts)?;
        let n_cols = shape.n_head * shape.head_dim + shape.n_head;
        self.custom(
            op,
            [n_tokens, n_cols],
            &[q, k, v, starts],
            callbacks::attention,
            Some(Params::Attention(shape)),
        )
    }

    /// The gradient of [`Graph::attention`] for `q`; `out` is its result, `dout` `[T, n_head · head_dim]`.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn attention_back_q(
        &mut self,
        shape: AttentionShape,
        qkv: [Tensor; 3],
        starts: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> Result<Tensor, Error> {
        let op = "attention_back_q";
        let n_tokens = self.attention_back_shape(op, &shape, qkv, starts, out, dout)?;
        let [q, k, v] = qkv;
        let params = Some(Params::Attention(shape));
        let n_cols = shape.n_head * shape.head_dim;
        self.custom(
            op,
            [n_tokens, n_cols],
            &[q, k, v, starts, out, dout],
            callbacks::attention_back_q,
            params,
        )
    }

    /// The gradients of [`Graph::attention`] for `k` and `v`, side by side: `[T, 2 · n_head_kv · head_dim]`.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn attention_back_kv(
        &mut self,
        shape: AttentionShape,
        qkv: [Tensor; 3],
        starts: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> Result<Tensor, Error> {
        let op = "attention_back_kv";
        let n_tokens = self.attention_back_shape(op, &shape, qkv, starts, out, dout)?;
        let [q, k, v] = qkv;
        let params = Some(Params::Attention(shape));
        let n_cols = 2 * shape.n_head_kv * shape.head_dim;
        self.custom(
            op,
            [n_tokens, n_cols],
            &[q, k, v, starts, out, dout],
            callbacks::attention_back_kv,
            params,
        )
    }

    /// Cross-entropy of each row of `logits` `[T, n_vocab]` with `targets` (an i32 row of T; negative = no
    /// loss). The logits' place becomes their gradient `softmax − onehot`, which is returned; each row of the
    /// leaf `loss` `[≥ T, 2]` gets `−ln p(target)` and 1 if the target is the most likely token, else 0.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn cross_entropy(&mut self, logits: Tensor, targets: Tensor, loss: &Leaf) -> Result<Tensor, Error> {
        let op = "cross_entropy";
        let (n_tokens, _) = self.shape(op, logits)?;
        self.expect_i32_row(op, targets, n_tokens)?;
        let (n_rows, width) = loss.shape();
        if n_rows < n_tokens || width != 2 || !loss.is_writable() {
            return Err(Error::Shape {
                op,
                expected: format!("a writable loss of [{n_tokens}, 2]"),
                got: format!("[{n_rows}, {width}]"),
            });
        }
        let loss = self.leaf_rows(loss, n_tokens)?;
        self.is_f32(op, loss)?;
        self.custom_onto(op, logits, &[targets, loss], callbacks::cross_entropy)
    }

    /// Rotates each head of `x` `[T, n_heads · head_dim]` by the angles in `table` `[T, n_dims]`: the cosines of a
    /// token's pairs, then their sines.
    ///
    /// # Errors
    /// As [`Graph::linear`].
    pub fn rope(&mut self, x: Tensor, table: Tensor, rotation: Rotation) -> Result<Tensor, Error> {
        let op = "rope";
        let ((n_tokens, n_cols), (n_rows, n_dims)) = (self.shape(op, x)?, self.shape(op, table)?);
        let Rotation { head_dim, .. } = rotation;
        self.is_f32(op, x)?;
        self.is_f32(op, table)?;
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
        self.custom(op, [n_tokens, n_cols], &[x, table], callbacks::rope, Some(Params::Rope(rotation)))
    }

    /// `x / keep` where a pseudo-random mask of density `keep` holds, else 0. The mask depends on the key's
    /// value at the time of the computation, on `salt` and on the place in the matrix.
    ///
    /// # Errors
    /// As [`Graph::linear`], and [`Error::Shape`] unless `0 < keep <= 1`.
    pub fn dropout(&mut self, x: Tensor, keep: f32, key: &DropoutKey, salt: u64) -> Result<Tensor, Error> {
        let op = "dropout";
        if !(keep > 0.0 && keep <= 1.0) {
            return Err(Error::Shape { op, expected: "0 < keep <= 1".to_owned(), got: keep.to_string() });
        }
        let (n_rows, n_cols) = self.shape(op, x)?;
        let params = Params::Dropout { keep, key: key.clone(), salt };
        self.custom(op, [n_rows, n_cols], &[x], callbacks::dropout, Some(params))
    }

    pub(crate) fn linear_shape(
        &self,
        op: &'static str,
        w: Tensor,
        x: Tensor,
    ) -> Result<(usize, usize), Error> {
        let ((n_out, n_in), (n_tokens, width)) = (self.weight_shape(op, w)?, self.shape(op, x)?);
        if n_in != width {
            return Err(Error::Shape {
                op,
                expected: format!("x of {n_in} columns"),
                got: width.to_string(),
            });
        }
        self.is_f32(op, x)?;
        Ok((n_tokens, n_out))
    }

    pub(crate) fn transposed_shape(
        &self,
        op: &'static str,
        w: Tensor,
        dy: Tensor,
    ) -> Result<(usize, usize), Error> {
        let ((n_out, n_in), (n_tokens, width)) = (self.weight_shape(op, w)?, self.shape(op, dy)?);
        if n_out != width {
            return Err(Error::Shape {
                op,
                expected: format!("dy of {n_out} columns"),
                got: width.to_string(),
            });
        }
        self.is_f32(op, dy)?;
        Ok((n_tokens, n_in))
    }

    /// The shape of a weight in a supported format whose rows follow each other without gaps.
    fn weight_shape(&self, op: &'static str, w: Tensor) -> Result<(usize, usize), Error> {
        let tensor = self.pointer(op, w)?;
        // SAFETY: a tensor of this graph.
        let (kind, row) = unsafe { ((*tensor).type_, (*tensor).nb[1]) };
        let (n_rows, n_cols) = self.shape(op, w)?;
        let kind = WeightType::from_ggml_id(kind).ok_or(Error::WeightType { op, got: kind })?;
        if kind.row_bytes(n_cols) != Some(row) {
            return Err(Error::Shape {
                op,
                expected: "whole rows of weights".into(),
                got: "a view of columns".into(),
            });
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
        let &AttentionShape { n_head, n_head_kv, head_dim, .. } = shape;
        let fits = n_head_kv > 0 && n_head > 0 && n_head.is_multiple_of(n_head_kv);
        let head_fits = (1..=MAX_HEAD_DIM).contains(&head_dim) && shape.window != Some(0);
        if !(fits && head_fits && shape.scale > 0.0 && shape.scale.is_finite()) {
            return Err(Error::Shape {
                op,
                expected: format!("n_head a multiple of n_head_kv, heads of at most {}", MAX_HEAD_DIM),
                got: format!("{shape:?}"),
            });
        }
        let (n_tokens, _) = self.shape(op, q)?;
        self.expect_shape(op, q, (n_tokens, n_head * head_dim))?;
        self.expect_shape(op, k, (n_tokens, n_head_kv * head_dim))?;
        self.expect_shape(op, v, (n_tokens, n_head_kv * head_dim))?;
        self.expect_i32_row(op, starts, n_tokens)?;
        Ok(n_tokens)
    }

    fn attention_back_shape(
        &self,
        op: &'static str,
        shape: &AttentionShape,
        qkv: [Tensor; 3],
        starts: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> Result<usize, Error> {
        let n_tokens = self.attention_shape(op, shape, qkv, starts)?;
        self.expect_shape(op, out, (n_tokens, shape.n_head * shape.head_dim + shape.n_head))?;
        self.expect_shape(op, dout, (n_tokens, shape.n_head * shape.head_dim))?;
        Ok(n_tokens)
    }

    fn expect_shape(&self, op: &'static str, tensor: Tensor, expected: (usize, usize)) -> Result<(), Error> {
        let got = self.shape(op, tensor)?;
        self.is_f32(op, tensor)?;
        if got != expected {
            return Err(Error::Shape { op, expected: format!("{expected:?}"), got: format!("{got:?}") });
        }
        Ok(())
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

    fn custom(
        &mut self,
        op: &'static str,
        [n_rows, n_cols]: [usize; 2],
        operands: &[Tensor],
        callback: Callback,
        params: Option<Params>,
    ) -> Result<Tensor, Error> {
        let mut operands = self.operands(op, operands)?;
        self.count(op, 1)?;
        let params = params.map_or(std::ptr::null_mut(), |params| self.keep(params));
        // SAFETY: fewer operands than ggml's limit of 10, all in this context, which has room; the callback
        // gets operands whose shapes the caller of this method checked, and parameters that the graph keeps.
        let node = unsafe {
            sys::ggml_custom_4d(
                self.context(),
                sys::GGML_TYPE_F32,
                n_cols as i64,
                n_rows as i64,
                1,
                1,
                operands.as_mut_ptr(),
                operands.len() as c_int,
                Some(callback),
                ONE_TASK,
                params.cast(),
            )
        };
        self.wrap(node)
    }

    fn custom_onto(
        &mut self,
        op: &'static str,
        target: Tensor,
        operands: &[Tensor],
        callback: Callback,
    ) -> Result<Tensor, Error> {
        let target = self.is_f32(op, target)?;
        let mut operands = self.operands(op, operands)?;
        // SAFETY: tensors of this graph.
        let memory =
            |t: *mut sys::ggml_tensor| unsafe { if (*t).view_src.is_null() { t } else { (*t).view_src } };
        if operands.iter().any(|&operand| memory(operand) == memory(target)) {
            return Err(Error::Shape {
                op,
                expected: "operands apart from the target".into(),
                got: "an operand in the target's place".into(),
            });
        }
        self.count(op, 1)?;
        // SAFETY: as in `custom`; the node is a view of its target.
        let node = unsafe {
            sys::ggml_custom_inplace(
                self.context(),
                target,
                operands.as_mut_ptr(),
                operands.len() as c_int,
                Some(callback),
                ONE_TASK,
                std::ptr::null_mut(),
            )
        };
        self.wrap(node)
    }

    fn operands(&self, op: &'static str, tensors: &[Tensor]) -> Result<Vec<*mut sys::ggml_tensor>, Error> {
        tensors.iter().map(|&t| self.pointer(op, t)).collect()
    }
}
