//! What runs when a custom node is computed: its work is divided over the pool, each part by one kernel.
//!
//! A node finds its operands where ggml keeps them (`dst` and `dst.src`), so it needs no other state than a few
//! parameters that the graph keeps.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{
    self as kernels, Accumulator, Activation, AttentionShape, Direction, F32Product, Int16Product, Int16Rows,
    LogitTransform, Part, RmsNorm, Rows, RowsMut, Weights,
};

use crate::custom_node::{CustomNode, CustomOp, NormParams, ProductKind, SumOfProducts};
use crate::{Refusal, pool, profile, weight_type};

/// Parts that a node's work is divided into for each thread: more than one, so that a thread which finished early can
/// take over work from one that was held up. The products take two of them as one where that saves memory traffic.
const PARTS_PER_THREAD: usize = 2;

/// A profile takes a matrix with no more rows for a factor of an adapter.
const MAX_RANK: usize = 64;

/// What ggml calls to run a custom node.
pub(crate) type Callback = unsafe extern "C" fn(*mut sys::ggml_tensor, c_int, c_int, *mut c_void);

/// One part of a running custom node: its operands as the kernels want them.
///
/// What the methods of [`Graph`](crate::Graph) have ruled out when the node was made, such as an operand of another type, is
/// refused here once more.
struct Node<'a> {
    dst: *mut sys::ggml_tensor,
    part: Part,
    op: &'a CustomOp,
}

impl<'a> Node<'a> {
    /// Operand `i`, not counting the tensor that the result overwrites, which ggml has in front of them.
    fn operand(&self, i: usize) -> Option<&'a sys::ggml_tensor> {
        // SAFETY: ggml keeps the node and its operands alive while it runs it, and there are ten places for operands, each
        // with a tensor or null.
        unsafe { (&(*self.dst).src)[i + usize::from(!(*self.dst).view_src.is_null())].as_ref() }
    }

    fn operand_of(&self, i: usize, kind: sys::ggml_type) -> Result<&'a sys::ggml_tensor, Refusal> {
        self.operand(i).filter(|t| t.type_ == kind).ok_or(Refusal::Operand(i))
    }

    fn weights(&self, i: usize) -> Result<Weights<'a>, Refusal> {
        let weights = || {
            let t = self.operand(i)?;
            let kind = weight_type(t.type_)?;
            let (n_cols, n_rows) = (t.ne[0] as usize, t.ne[1] as usize);
            let length = kind.row_bytes(n_cols)?.checked_mul(n_rows)?;
            // SAFETY: the operand's memory holds `n_rows` rows without gaps (`Graph::weight_shape`), and nothing
            // writes to it while this node runs.
            let bytes = unsafe { std::slice::from_raw_parts(t.data.cast(), length) };
            Weights::new(kind, n_rows, n_cols, bytes)
        };
        weights().ok_or(Refusal::Operand(i))
    }

    fn rows(&self, i: usize) -> Result<Rows<'a>, Refusal> {
        let t = self.operand_of(i, sys::GGML_TYPE_F32)?;
        let (n_cols, n_rows, stride) = (t.ne[0] as usize, t.ne[1] as usize, t.nb[1] / 4);
        // SAFETY: an f32 matrix, which is never empty, whose rows are `nb[1]` bytes apart; nothing writes to it while this
        // node runs, except to operands that are accessed through `rows_mut` only.
        let values = unsafe { std::slice::from_raw_parts(t.data.cast(), (n_rows - 1) * stride + n_cols) };
        Rows::new(values, n_rows, n_cols, stride).ok_or(Refusal::Operand(i))
    }

    /// An operand that the node writes to, shared as the result is.
    fn rows_mut(&self, i: usize) -> Result<RowsMut<'a>, Refusal> {
        let t = self.operand_of(i, sys::GGML_TYPE_F32)?;
        // SAFETY: the kernels divide what they write to between the parts of one node; the graph has checked that it may be
        // written to, and lies apart from the others.
        Ok(unsafe { rows_mut(t) })
    }

    fn integers(&self, i: usize) -> Result<&'a [i32], Refusal> {
        let t = self.operand_of(i, sys::GGML_TYPE_I32)?;
        // SAFETY: a contiguous row of i32 (`Graph::expect_i32_row`), read only.
        Ok(unsafe { std::slice::from_raw_parts(t.data.cast(), t.ne[0] as usize) })
    }

    /// The result, shared with the threads that run the other parts.
    fn result(&self) -> RowsMut<'a> {
        // SAFETY: ggml keeps the node alive while it runs it; all results are f32, and the kernels divide them between the
        // parts of one node.
        unsafe { rows_mut(&*self.dst) }
    }

    fn attention(&self) -> Result<AttentionShape, Refusal> {
        match self.op {
            CustomOp::Attention(shape)
            | CustomOp::AttentionBack(shape)
            | CustomOp::AttentionBackSum(shape) => Ok(*shape),
            _ => Err(Refusal::Params),
        }
    }

    /// The norm, whose weight, if it has one, is operand `i`; and whether its gradient is added to what is there.
    fn norm(&self, i: usize) -> Result<(RmsNorm<'a>, bool), Refusal> {
        let (NormParams { width, eps, is_weighted }, accumulate) = match *self.op {
            CustomOp::RmsNorm(norm) => (norm, false),
            CustomOp::RmsNormBack { norm, accumulate } => (norm, accumulate),
            _ => return Err(Refusal::Params),
        };
        let weight = if is_weighted { Some(self.rows(i)?.row(0)) } else { None };
        Ok((RmsNorm { weight, width, eps }, accumulate))
    }

    /// The activation, and whether there is a second operand that gates it.
    fn activation(&self) -> Result<(Activation, bool), Refusal> {
        match *self.op {
            CustomOp::Activation { f, is_gated } | CustomOp::ActivationBack { f, is_gated } => {
                Ok((f, is_gated))
            }
            _ => Err(Refusal::Params),
        }
    }

    fn logits(&self) -> Result<LogitTransform, Refusal> {
        match *self.op {
            CustomOp::CrossEntropy(transform) | CustomOp::TransformLogits(transform) => Ok(transform),
            _ => Err(Refusal::Params),
        }
    }

    fn scale(&self) -> Result<f32, Refusal> {
        match *self.op {
            CustomOp::AddScaled(scale) | CustomOp::Scaled(scale) => Ok(scale),
            _ => Err(Refusal::Params),
        }
    }

    fn products(&self) -> Result<&'a SumOfProducts, Refusal> {
        match self.op {
            CustomOp::SumOfProducts(sum) => Ok(sum),
            _ => Err(Refusal::Params),
        }
    }
}

/// # Safety
/// The tensor is f32, and may be written to; threads that write through the result write to different places.
unsafe fn rows_mut<'a>(t: &sys::ggml_tensor) -> RowsMut<'a> {
    // SAFETY: the caller's promise.
    unsafe { RowsMut::from_raw(t.data.cast(), t.ne[1] as usize, t.ne[0] as usize, t.nb[1] / 4) }
}

/// Defines a callback: a function of the running [`Node`] that calls one kernel, once for each part of the work. Where the
/// node is a matrix product, a second function says what to call it in a profile, and how many operations it takes.
macro_rules! callback {
    ($name:ident, |$node:ident| $body:expr) => {
        callback!($name, |$node| $body, |_node| Ok((stringify!($name), 0.0)));
    };
    ($name:ident, |$node:ident| $body:expr, |$whole:ident| $kind:expr) => {
        pub(crate) unsafe extern "C" fn $name(
            dst: *mut sys::ggml_tensor,
            thread: c_int,
            _: c_int,
            custom: *mut c_void,
        ) {
            // ggml calls this on each of its threads, of which there are several only when its own nodes are timed.
            if thread > 0 {
                return;
            }
            // SAFETY: the graph keeps what it gave to the node, and nobody writes to it.
            let CustomNode { op, refused } = unsafe { &*custom.cast::<CustomNode>() };
            let node = Unpartitioned { dst, op };
            let run_part = |part| -> Result<(), Refusal> {
                let $node = &node.part(part);
                // SAFETY: each part is run once, and nobody else touches the result meanwhile.
                unsafe { $body }?;
                Ok(())
            };
            let kind = || -> Result<(&'static str, f64), Refusal> {
                let $whole = &node.part(Part::WHOLE);
                $kind
            };
            let computed = profile::timed(|| kind().unwrap_or_default(), || run_parts(run_part));
            if let Err(refusal) = computed {
                refused.set(op.name(), refusal);
            }
        }
    };
}

/// What a profile calls a sum of products, which is the name of its largest one, and the operations that it takes.
fn products_kind(n: &Node) -> Result<(&'static str, f64), Refusal> {
    let SumOfProducts { kinds, .. } = n.products()?;
    let mut largest = ("", 0.0);
    let mut flops = 0.0;
    for (i, kind) in kinds.iter().enumerate() {
        let w = n.weights(2 * i)?;
        let name = match kind {
            ProductKind::Linear { .. } => "linear f32",
            ProductKind::Transposed => "linear transposed f32",
            ProductKind::Int16(Direction::Linear) => "linear i16",
            ProductKind::Int16(Direction::Transposed) => "linear transposed i16",
        };
        let own = 2.0 * product([n.result().n_rows(), w.n_rows(), w.n_cols()]);
        flops += own;
        if own > largest.1 {
            largest = (name, own);
        }
    }
    // A single product with so narrow a matrix is one with a factor of an adapter.
    let is_narrow = kinds.len() == 1 && n.weights(0)?.n_rows() <= MAX_RANK;
    Ok((if is_narrow { "adapter factor" } else { largest.0 }, flops))
}

/// The operations of attention that computes `products` products of head vectors for each pair of tokens.
fn attention_flops(n: &Node, products: usize) -> Result<f64, Refusal> {
    let shape = n.attention()?;
    let starts = n.integers(3)?;
    let pairs = starts.iter().enumerate().map(|(t, start)| {
        let segment = t + 1 - usize::try_from(*start).unwrap_or(0).min(t);
        segment.min(shape.window().unwrap_or(usize::MAX)) as f64
    });
    Ok(2.0 * product([products, shape.query_columns()]) * pairs.sum::<f64>())
}

fn product<const N: usize>(factors: [usize; N]) -> f64 {
    factors.iter().map(|factor| *factor as f64).product()
}

/// A running custom node before its work is divided.
struct Unpartitioned<'a> {
    dst: *mut sys::ggml_tensor,
    op: &'a CustomOp,
}

// SAFETY: while a node runs, its tensors' headers and parameters are only read, and the kernels' parts write to different
// places of its result.
unsafe impl Sync for Unpartitioned<'_> {}

impl<'a> Unpartitioned<'a> {
    fn part(&self, part: Part) -> Node<'a> {
        Node { dst: self.dst, part, op: self.op }
    }
}

/// Runs the parts on the pool of whoever computes; why one was refused, if one was. ggml calls this, so a panic must not leave
/// it; none is known, and if there were one, the process would end here rather than go on with undefined results.
fn run_parts(run_part: impl Fn(Part) -> Result<(), Refusal> + Sync) -> Result<(), Refusal> {
    let refused = OnceLock::new();
    pool::run_parts(PARTS_PER_THREAD, |index, count| {
        if let Err(refusal) = run_part(Part { index, count }) {
            // Parts are refused for one reason; the first to say so is enough.
            let _ = refused.set(refusal);
        }
    });
    refused.into_inner().map_or(Ok(()), Err)
}

callback!(
    sum_of_products,
    |n| {
        let SumOfProducts { kinds, accumulate } = n.products()?;
        let (mut int16, mut products) = (None, Vec::with_capacity(kinds.len()));
        for (i, kind) in kinds.iter().enumerate() {
            let (w, rows) = (n.weights(2 * i)?, n.rows(2 * i + 1)?);
            match *kind {
                ProductKind::Linear { scale } => products.push(F32Product::Linear { w, x: rows, scale }),
                ProductKind::Transposed => products.push(F32Product::Transposed { w, dy: rows }),
                ProductKind::Int16(direction) => {
                    let n = if direction == Direction::Linear { w.n_cols() } else { w.n_rows() };
                    let x = Int16Rows::new(rows, n).ok_or(Refusal::Operand(2 * i + 1))?;
                    int16 = Some(Int16Product { w, x, direction });
                }
            }
        }
        let accumulator = match n.operand(2 * kinds.len()) {
            None if *accumulate => Accumulator::Existing,
            None => Accumulator::Zero,
            Some(_) => match n.rows(2 * kinds.len())? {
                rows if rows.n_rows() == 1 => Accumulator::Row(rows.row(0)),
                rows => Accumulator::Matrix(rows),
            },
        };
        kernels::sum_of_products(int16, &products, accumulator, n.result(), n.part)
    },
    |n| products_kind(n)
);
callback!(quantize_rows_int16, |n| kernels::quantize_rows_int16(n.rows(0)?, n.result(), n.part));
callback!(accumulate_outer, |n| kernels::accumulate_outer(n.rows(0)?, n.rows(1)?, n.result(), n.part), |n| {
    let (u, x) = (n.rows(0)?, n.rows(1)?);
    Ok(("adapter gradient", 2.0 * product([u.n_rows(), u.n_cols(), x.n_cols()])))
});
callback!(
    attention,
    |n| {
        let (q, k, v, starts) = (n.rows(0)?, n.rows(1)?, n.rows(2)?, n.integers(3)?);
        kernels::attention(&n.attention()?, q, k, v, starts, n.result(), n.part)
    },
    |n| Ok(("attention", attention_flops(n, 2)?))
);
callback!(
    attention_back,
    |n| {
        let (q, k, v, starts) = (n.rows(0)?, n.rows(1)?, n.rows(2)?, n.integers(3)?);
        let (out, dout) = (n.rows(4)?, n.rows(5)?);
        let shape = n.attention()?;
        // The gradients lie in the node's one result, one behind the other.
        let (rows, columns) = (k.n_rows() * kernels::attention_back_splits(&shape), 2 * k.n_cols());
        let divided = n.result().split_matrix(q.n_rows(), q.n_cols()).and_then(|(dq, rest)| {
            let (dkv, _) = rest.split_matrix(rows, columns)?;
            Some((dq, dkv))
        });
        let (dq, dkv) = divided.ok_or(Refusal::Params)?;
        kernels::attention_back(&shape, q, k, v, out, dout, starts, dq, dkv, n.part)
    },
    |n| Ok(("attention back", attention_flops(n, 5)?))
);
callback!(attention_back_sum, |n| kernels::attention_back_sum(
    &n.attention()?,
    n.rows(0)?,
    n.integers(1)?,
    n.result(),
    n.part
));
callback!(cross_entropy, |n| kernels::cross_entropy(
    n.result(),
    n.logits()?,
    n.integers(0)?,
    n.rows_mut(1)?,
    n.part
));
callback!(transform_logits, |n| {
    kernels::transform_logits(n.result(), n.logits()?, n.part);
    Ok::<(), Refusal>(())
});
callback!(rope, |n| {
    let CustomOp::Rope(rotation) = n.op else { return Err(Refusal::Params) };
    kernels::rope(*rotation, n.result(), n.rows(0)?, n.part)
});
callback!(rms_norm, |n| kernels::rms_norm(n.norm(1)?.0, n.rows(0)?, n.result(), n.part));
callback!(rms_norm_back, |n| {
    let (norm, accumulate) = n.norm(2)?;
    kernels::rms_norm_back(norm, n.rows(0)?, n.rows(1)?, n.result(), accumulate, n.part)
});
callback!(activation, |n| {
    let (f, is_gated) = n.activation()?;
    let up = is_gated.then(|| n.rows(1)).transpose()?;
    kernels::activation(f, n.rows(0)?, up, n.result(), n.part)
});
callback!(activation_back, |n| {
    let (f, is_gated) = n.activation()?;
    let up = is_gated.then(|| n.rows_mut(1)).transpose()?;
    kernels::activation_back(f, n.result(), up, n.rows_mut(0)?, n.part)
});
callback!(add_scaled, |n| kernels::add_scaled(n.rows(0)?, n.rows(1)?, n.scale()?, n.result(), n.part));
callback!(scaled, |n| kernels::scaled(n.rows(0)?, n.scale()?, n.result(), n.part));
callback!(scale_rows, |n| kernels::scale_rows(n.result(), n.rows(0)?, n.part));
callback!(concat_columns, |n| {
    let count = (0..).take_while(|i| n.operand(*i).is_some()).count();
    let matrices = (0..count).map(|i| n.rows(i)).collect::<Result<Vec<_>, _>>()?;
    kernels::concat_columns(&matrices, n.result(), n.part)
});
callback!(to_bf16, |n| kernels::to_bf16(n.rows(0)?, n.result(), n.part));
callback!(from_bf16, |n| kernels::from_bf16(n.rows(0)?, n.result(), n.part));
callback!(round_to_bf16, |n| {
    kernels::round_to_bf16(n.result(), n.part);
    Ok::<(), Refusal>(())
});
callback!(dropout, |n| {
    let CustomOp::Dropout { keep, key, salt } = n.op else { return Err(Refusal::Params) };
    kernels::dropout(n.rows(0)?, n.result(), *keep, key.salted(*salt), n.part)
});
