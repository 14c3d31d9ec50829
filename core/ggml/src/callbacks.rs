//! What runs when a custom node is computed: its work is divided over the pool, each part by one kernel.
//!
//! A node finds its operands where ggml keeps them (`dst` and `dst.src`), so it needs no other state than a few
//! parameters that the graph keeps.

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::{
    self as kernels, AttentionShape, Direction, Part, Product, RoundedProduct, RoundedRows, Rows, RowsMut,
    Start, WeightType, Weights,
};

use crate::custom::Params;
use crate::products::{ProductKind, SumOfProducts};
use crate::{pool, profile};

/// Parts that a node's work is divided into for each thread: more than one, so that a thread which finished early can
/// take over work from one that was held up. The products take two of them as one where that saves memory traffic.
const PARTS_PER_THREAD: usize = 2;

/// A matrix with no more rows is taken for a factor of an adapter, in a profile.
const MAX_RANK: usize = 64;

/// What ggml calls to run a custom node.
pub(crate) type Callback = unsafe extern "C" fn(*mut sys::ggml_tensor, c_int, c_int, *mut c_void);

/// One part of a running custom node: its operands as the kernels want them.
///
/// Its methods return `None` only if a shape is wrong, which the methods of [`Graph`](crate::Graph) have ruled out.
struct Node {
    dst: *mut sys::ggml_tensor,
    part: Part,
    params: *const Params,
}

impl Node {
    /// Operand `i`, not counting the tensor whose place the result takes, which ggml has in front of them.
    fn operand(&self, i: usize) -> *mut sys::ggml_tensor {
        // SAFETY: ggml keeps the node alive while it runs it, and there are ten places for operands.
        unsafe { (&(*self.dst).src)[i + usize::from(!(*self.dst).view_src.is_null())] }
    }

    fn weights(&self, i: usize) -> Option<Weights<'_>> {
        // SAFETY: the operand's memory holds `n_rows` rows without gaps (`Graph::weight_shape`), and nothing
        // writes to it while this node runs.
        unsafe {
            let t = self.operand(i).as_ref()?;
            let kind = WeightType::from_ggml_id(t.type_)?;
            let (n_cols, n_rows) = (t.ne[0] as usize, t.ne[1] as usize);
            let bytes =
                std::slice::from_raw_parts(t.data.cast(), kind.row_bytes(n_cols)?.checked_mul(n_rows)?);
            Weights::new(kind, n_rows, n_cols, bytes)
        }
    }

    fn rows(&self, i: usize) -> Option<Rows<'_>> {
        // SAFETY: an f32 matrix whose rows are `nb[1]` bytes apart; nothing writes to it while this node
        // runs, except to operands that are accessed through `rows_mut` only.
        unsafe {
            let t = self.operand(i).as_ref()?;
            let (n_cols, n_rows, stride) = (t.ne[0] as usize, t.ne[1] as usize, t.nb[1] / 4);
            let values = std::slice::from_raw_parts(t.data.cast(), (n_rows - 1) * stride + n_cols);
            Rows::new(values, n_rows, n_cols, stride)
        }
    }

    fn integers(&self, i: usize) -> Option<&[i32]> {
        // SAFETY: a contiguous row of i32 (`Graph::expect_i32_row`), read only.
        unsafe {
            let t = self.operand(i).as_ref()?;
            Some(std::slice::from_raw_parts(t.data.cast(), t.ne[0] as usize))
        }
    }

    /// The result, shared with the threads that run the other parts.
    fn result(&self) -> Option<RowsMut<'_>> {
        // SAFETY: the kernels divide the result between the parts of one node.
        unsafe { rows_mut(self.dst) }
    }

    fn attention(&self) -> Option<AttentionShape> {
        // SAFETY: the graph keeps the parameters.
        match unsafe { self.params.as_ref()? } {
            Params::Attention(shape) => Some(*shape),
            _ => None,
        }
    }
}

/// # Safety
/// The tensor is alive and f32; threads that write through the result write to different places.
unsafe fn rows_mut<'a>(t: *mut sys::ggml_tensor) -> Option<RowsMut<'a>> {
    // SAFETY: the caller's promise.
    unsafe {
        let t = t.as_ref()?;
        Some(RowsMut::from_raw(t.data.cast(), t.ne[1] as usize, t.ne[0] as usize, t.nb[1] / 4))
    }
}

/// Defines a callback: a function of the running [`Node`] that calls one kernel, once for each part of the work. Where the
/// node is a matrix product, a second function says what to call it in a profile, and how many operations it takes.
macro_rules! callback {
    ($name:ident, |$node:ident| $body:expr) => {
        callback!($name, |$node| $body, |_node| Some((stringify!($name), 0.0)));
    };
    ($name:ident, |$node:ident| $body:expr, |$whole:ident| $kind:expr) => {
        pub(crate) unsafe extern "C" fn $name(
            dst: *mut sys::ggml_tensor,
            thread: c_int,
            _: c_int,
            params: *mut c_void,
        ) {
            // ggml calls this on each of its threads, of which there are several only when its own nodes are timed.
            if thread > 0 {
                return;
            }
            let node = Unpartitioned { dst, params: params.cast() };
            let run_part = |part| -> Option<()> {
                let $node = &node.part(part);
                // SAFETY: each part is run once, and nobody else touches the result meanwhile; shapes were checked when
                // the node was made.
                unsafe { $body }
                Some(())
            };
            let kind = || -> Option<(&'static str, f64)> {
                let $whole = &node.part(Part::WHOLE);
                $kind
            };
            profile::timed(|| kind().unwrap_or_default(), || run_parts(run_part));
        }
    };
}

/// What to call a sum of products: as its largest one.
fn products_kind(n: &Node) -> Option<(&'static str, f64)> {
    // SAFETY: the graph keeps the parameters.
    let Params::Products(SumOfProducts { kinds, .. }) = (unsafe { n.params.as_ref()? }) else { return None };
    let mut largest = ("", 0.0);
    let mut flops = 0.0;
    for (i, kind) in kinds.iter().enumerate() {
        let w = n.weights(2 * i)?;
        let name = match kind {
            ProductKind::Linear { .. } => "linear f32",
            ProductKind::Transposed => "linear transposed f32",
            ProductKind::Rounded(Direction::Linear) => "linear i16",
            ProductKind::Rounded(Direction::Transposed) => "linear transposed i16",
        };
        let own = 2.0 * (n.result()?.n_rows() * w.n_rows()) as f64 * w.n_cols() as f64;
        flops += own;
        if own > largest.1 {
            largest = (name, own);
        }
    }
    // A single product with so narrow a matrix is one with a factor of an adapter.
    let is_narrow = kinds.len() == 1 && n.weights(0)?.n_rows() <= MAX_RANK;
    Some((if is_narrow { "adapter factor" } else { largest.0 }, flops))
}

/// Of attention: `products` products of head vectors for each pair of tokens.
fn attention_flops(n: &Node, products: usize) -> Option<f64> {
    let shape = n.attention()?;
    let starts = n.integers(3)?;
    let pairs = starts.iter().enumerate().map(|(t, start)| {
        let segment = t + 1 - usize::try_from(*start).unwrap_or(0).min(t);
        segment.min(shape.window.unwrap_or(usize::MAX)) as f64
    });
    Some(2.0 * (products * shape.n_head * shape.head_dim) as f64 * pairs.sum::<f64>())
}

/// A running custom node before its work is divided.
struct Unpartitioned {
    dst: *mut sys::ggml_tensor,
    params: *const Params,
}

// SAFETY: while a node runs, its tensors' headers and parameters are only read, and the kernels' parts write to different
// places of its result.
unsafe impl Sync for Unpartitioned {}

impl Unpartitioned {
    fn part(&self, part: Part) -> Node {
        Node { dst: self.dst, part, params: self.params }
    }
}

/// Runs the parts on the pool of whoever computes. ggml calls this, so a panic must not leave it; none is known, and if
/// there were one, the process would end here rather than go on with undefined results.
fn run_parts(run_part: impl Fn(Part) -> Option<()> + Sync) {
    pool::run_parts(PARTS_PER_THREAD, |index, count| {
        let done = run_part(Part { index, count });
        debug_assert!(done.is_some(), "shapes are checked when a node is made");
    });
}

callback!(
    sum_of_products,
    |n| {
        let Params::Products(SumOfProducts { kinds, onto }) = n.params.as_ref()? else { return None };
        let (mut rounded, mut products) = (None, Vec::with_capacity(kinds.len()));
        for (i, kind) in kinds.iter().enumerate() {
            let (w, rows) = (n.weights(2 * i)?, n.rows(2 * i + 1)?);
            match *kind {
                ProductKind::Linear { scale } => products.push(Product::Linear { w, x: rows, scale }),
                ProductKind::Transposed => products.push(Product::Transposed { w, dy: rows }),
                ProductKind::Rounded(direction) => {
                    let n = if direction == Direction::Linear { w.n_cols() } else { w.n_rows() };
                    let x = RoundedRows::new(rows, n)?;
                    rounded = Some(RoundedProduct { w, x, direction });
                }
            }
        }
        let start = match n.rows(2 * kinds.len()) {
            Some(start) if start.n_rows() == 1 => {
                Start::From(Rows::repeated(start.row(0), n.result()?.n_rows()))
            }
            Some(start) => Start::From(start),
            None if *onto => Start::Itself,
            None => Start::Zero,
        };
        kernels::sum_of_products(rounded, &products, start, n.result()?, n.part);
    },
    |n| products_kind(n)
);
callback!(round_rows, |n| kernels::round_rows(n.rows(0)?, n.result()?, n.part));
callback!(
    accumulate_outer,
    |n| kernels::accumulate_outer(n.rows(0)?, n.rows(1)?, n.result()?, n.part),
    |n| Some((
        "adapter gradient",
        2.0 * (n.rows(0)?.n_rows() * n.rows(0)?.n_cols() * n.rows(1)?.n_cols()) as f64
    ))
);
callback!(
    attention,
    |n| {
        let (q, k, v, starts) = (n.rows(0)?, n.rows(1)?, n.rows(2)?, n.integers(3)?);
        kernels::attention(&n.attention()?, q, k, v, starts, n.result()?, n.part);
    },
    |n| Some(("attention", attention_flops(n, 2)?))
);
callback!(
    attention_back,
    |n| {
        let (q, k, v, starts) = (n.rows(0)?, n.rows(1)?, n.rows(2)?, n.integers(3)?);
        let (out, dout) = (n.rows(4)?, n.rows(5)?);
        let shape = n.attention()?;
        let all = n.result()?;
        let (dq, rest) = all.first_rows(q.n_rows(), q.n_cols())?;
        let (dkv, _) = rest.first_rows(k.n_rows() * kernels::attention_slices(&shape), 2 * k.n_cols())?;
        kernels::attention_back(&shape, q, k, v, out, dout, starts, dq, dkv, n.part);
    },
    |n| Some(("attention back", attention_flops(n, 5)?))
);
callback!(attention_back_sum, |n| {
    kernels::attention_back_sum(&n.attention()?, n.rows(0)?, n.integers(1)?, n.result()?, n.part);
});
callback!(cross_entropy, |n| {
    kernels::cross_entropy(n.result()?, n.integers(0)?, rows_mut(n.operand(1))?, n.part);
});
callback!(rope, |n| {
    let Params::Rope(rotation) = n.params.as_ref()? else { return None };
    kernels::rope(*rotation, n.result()?, n.rows(0)?, n.part);
});
callback!(rms_norm, |n| {
    let Params::Norm { eps } = n.params.as_ref()? else { return None };
    kernels::rms_norm(n.rows(0)?, n.rows(1)?.row(0), *eps, n.result()?, n.part);
});
callback!(rms_norm_back, |n| {
    let Params::Norm { eps } = n.params.as_ref()? else { return None };
    kernels::rms_norm_back(n.rows(0)?, n.rows(1)?.row(0), *eps, n.rows(2)?, n.result()?, n.part);
});
callback!(swiglu, |n| kernels::swiglu(n.rows(0)?, n.rows(1)?, n.result()?, n.part));
callback!(swiglu_back, |n| {
    kernels::swiglu_back(n.result()?, rows_mut(n.operand(0))?, rows_mut(n.operand(1))?, n.part);
});
callback!(narrow, |n| kernels::narrow(n.rows(0)?, n.result()?, n.part));
callback!(widen, |n| kernels::widen(n.rows(0)?, n.result()?, n.part));
callback!(round_to_bf16, |n| kernels::round_to_bf16(n.result()?, n.part));
callback!(dropout, |n| {
    let Params::Dropout { keep, key, salt } = n.params.as_ref()? else { return None };
    let key = key.0.load(Ordering::Relaxed).wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    kernels::dropout(n.rows(0)?, n.result()?, *keep, key, n.part);
});
