//! Building graphs: handles, buffers, stores. The operations themselves are in `ops`, `products` and `kernel_ops`.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use llama_cpp_sys_2 as sys;

use crate::arena::ArenaPlan;
use crate::custom_node::{CustomNode, CustomOp};
use crate::raw::Context;
use crate::refusal::FirstRefusal;
use crate::{Buffer, Error};

/// Far more than the largest graph needs, and few enough that ggml, which walks from a result to what it needs by calling
/// itself, does not run out of a small stack.
const MAX_CAPACITY: usize = 1 << 11;

/// A list of operations on buffers, built once and computed any number of times by [`Cpu::compute`].
///
/// [`Cpu::compute`]: crate::Cpu::compute
pub struct Graph {
    id: u64,
    context: Context,
    nodes: NonNull<sys::ggml_cgraph>,
    capacity: usize,
    n_tensors: usize,
    /// Kept alive because nodes point at their tensors.
    buffers: Vec<Buffer>,
    custom: Vec<KeptNode>,
    refused: Arc<FirstRefusal>,
    pub(crate) plan: Option<ArenaPlan>,
    /// Whether every buffer has memory.
    is_allocated: bool,
}

/// A custom node, kept alive because ggml's node points at it; boxed so that it does not move.
struct KeptNode {
    node: Box<CustomNode>,
    /// ggml's node.
    tensor: Option<NonNull<sys::ggml_tensor>>,
}

/// A handle to a value inside one [`Graph`]: a matrix `[n_rows, n_cols]`.
///
/// It knows whether the value can be written to. Results of operations and buffers can; a weight in a mapped file cannot, nor
/// can a view of one: an operation that works in place refuses it with [`Error::ReadOnly`].
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    tensor: NonNull<sys::ggml_tensor>,
    graph: u64,
    is_writable: bool,
}

impl Graph {
    /// An empty graph with room for `capacity` operations, buffers and views together.
    ///
    /// # Errors
    /// [`Error::Shape`] for no room or more than any graph needs, [`Error::OutOfMemory`].
    pub fn new(capacity: usize) -> Result<Self, Error> {
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(Error::Shape {
                op: "new graph",
                expected: format!("room for 1 to {MAX_CAPACITY}"),
                got: capacity.to_string(),
            });
        }
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let context = Context::new(capacity, capacity)?;
        // SAFETY: the context was made with room for one graph of this size.
        let nodes = unsafe { sys::ggml_new_graph_custom(context.as_ptr(), capacity, false) };
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            nodes: NonNull::new(nodes).expect("the context has room for its graph"),
            context,
            capacity,
            n_tensors: 0,
            buffers: Vec::new(),
            custom: Vec::new(),
            refused: Arc::default(),
            plan: None,
            is_allocated: true,
        })
    }

    /// The tensor that stands for a buffer in this graph.
    ///
    /// # Errors
    /// [`Error::Shape`] if the graph is full.
    pub fn tensor(&mut self, buffer: &Buffer) -> Result<Tensor, Error> {
        let (n_rows, _) = buffer.shape();
        self.tensor_rows(buffer, n_rows)
    }

    /// The tensor that stands for the first `n_rows` rows of a buffer in this graph.
    ///
    /// # Errors
    /// [`Error::Shape`] if the buffer has fewer rows, or the graph is full.
    pub fn tensor_rows(&mut self, buffer: &Buffer, n_rows: usize) -> Result<Tensor, Error> {
        let (available, n_cols) = buffer.shape();
        if n_rows == 0 || n_rows > available {
            return Err(Error::Shape {
                op: "tensor_rows",
                expected: format!("1 to {available} rows"),
                got: n_rows.to_string(),
            });
        }
        // The buffer itself takes a slot in ggml's list of leafs, a view one in the context.
        self.reserve_tensors("tensor_rows", if n_rows == available { 1 } else { 2 })?;
        self.is_allocated &= buffer.is_allocated();
        self.buffers.push(buffer.clone());
        let whole = Tensor { is_writable: buffer.is_writable(), ..self.wrap(buffer.as_ptr())? };
        if n_rows == available {
            return Ok(whole);
        }
        // SAFETY: the buffer is kept by the graph, the view lies inside it, the context has room.
        let view = unsafe {
            let source = buffer.as_ptr();
            sys::ggml_view_2d(self.context(), source, n_cols as i64, n_rows as i64, (*source).nb[1], 0)
        };
        self.wrap_view(whole, view)
    }

    /// Has `tensor` computed and copied into the first rows of `buffer` when the graph is computed, after everything that was
    /// stored or scheduled before.
    ///
    /// # Errors
    /// [`Error::Shape`] if it does not fit, or is of the buffer itself; [`Error::ReadOnly`] if the buffer is a mapped weight.
    pub fn store(&mut self, tensor: Tensor, buffer: &Buffer) -> Result<(), Error> {
        let (n_rows, n_cols) = self.shape("store", tensor)?;
        let (available, width) = buffer.shape();
        if n_cols != width || n_rows > available {
            return Err(Error::Shape {
                op: "store",
                expected: format!("a buffer of at least [{n_rows}, {n_cols}]"),
                got: format!("[{available}, {width}]"),
            });
        }
        let source = self.expect_f32("store", tensor)?;
        let target = self.tensor_rows(buffer, n_rows)?;
        self.expect_disjoint("store", tensor, target)?;
        let target = self.expect_writable("store", target)?;
        self.reserve_tensors("store", 1)?;
        // SAFETY: both tensors are alive, apart, and of one shape; the context has room.
        let copy = unsafe { sys::ggml_cpy(self.context(), source, target) };
        let copy = self.wrap(copy)?;
        self.schedule(copy)
    }

    /// Has `tensor` computed when the graph is, after everything that was stored or scheduled before. This is for operations
    /// that write in place; a [stored](Self::store) tensor is scheduled already.
    ///
    /// # Errors
    /// [`Error::ForeignTensor`].
    pub fn schedule(&mut self, tensor: Tensor) -> Result<(), Error> {
        let tensor = self.pointer("schedule", tensor)?;
        self.plan = None;
        // SAFETY: graph and tensor live in this context. The graph cannot overflow: it has as many slots
        // as the context has tensors.
        unsafe { sys::ggml_build_forward_expand(self.nodes.as_ptr(), tensor) };
        Ok(())
    }

    /// Bytes of intermediate results that computing this graph needs at once.
    pub fn arena_bytes(&mut self) -> usize {
        self.arena_plan().bytes
    }

    /// Bytes of the graph itself.
    pub fn header_bytes(&self) -> usize {
        // SAFETY: both functions only compute sizes.
        unsafe {
            self.n_tensors * sys::ggml_tensor_overhead()
                + sys::ggml_graph_overhead_custom(self.capacity, false)
        }
    }

    /// Rows and columns of a tensor of this graph.
    ///
    /// # Errors
    /// [`Error::ForeignTensor`].
    pub fn shape(&self, op: &'static str, tensor: Tensor) -> Result<(usize, usize), Error> {
        // SAFETY: `pointer` checked that the tensor belongs to this graph, which is alive.
        let ne = unsafe { (*self.pointer(op, tensor)?).ne };
        Ok((ne[1] as usize, ne[0] as usize))
    }

    pub(crate) fn arena_plan(&mut self) -> &mut ArenaPlan {
        let nodes = self.nodes;
        self.plan.get_or_insert_with(|| {
            // SAFETY: the graph and all of its tensors are alive.
            unsafe { ArenaPlan::new(nodes.as_ptr()) }
        })
    }

    /// Whether the graph can be computed: all of its buffers have memory.
    pub(crate) fn is_allocated(&self) -> bool {
        self.is_allocated
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::ggml_cgraph {
        self.nodes.as_ptr()
    }

    pub(crate) fn context(&self) -> *mut sys::ggml_context {
        self.context.as_ptr()
    }

    /// Reserves room for `n` more tensors: ggml aborts when its pool is exhausted.
    pub(crate) fn reserve_tensors(&mut self, op: &'static str, n: usize) -> Result<(), Error> {
        if self.n_tensors + n > self.capacity {
            return Err(Error::Shape {
                op,
                expected: format!("a graph of at most {} tensors", self.capacity),
                got: "one more".to_owned(),
            });
        }
        self.n_tensors += n;
        Ok(())
    }

    pub(crate) fn pointer(&self, op: &'static str, tensor: Tensor) -> Result<*mut sys::ggml_tensor, Error> {
        if tensor.graph == self.id { Ok(tensor.tensor.as_ptr()) } else { Err(Error::ForeignTensor { op }) }
    }

    /// The pointer of a tensor, which must be of f32 values.
    pub(crate) fn expect_f32(
        &self,
        op: &'static str,
        tensor: Tensor,
    ) -> Result<*mut sys::ggml_tensor, Error> {
        let tensor = self.pointer(op, tensor)?;
        // SAFETY: a tensor of this graph.
        match unsafe { (*tensor).type_ } {
            sys::GGML_TYPE_F32 => Ok(tensor),
            got => Err(Error::WeightType { op, got }),
        }
    }

    pub(crate) fn expect_shape(
        &self,
        op: &'static str,
        tensor: Tensor,
        expected: (usize, usize),
    ) -> Result<(), Error> {
        let got = self.shape(op, tensor)?;
        self.expect_f32(op, tensor)?;
        if got != expected {
            return Err(Error::Shape { op, expected: format!("{expected:?}"), got: format!("{got:?}") });
        }
        Ok(())
    }

    pub(crate) fn expect_disjoint(&self, op: &'static str, a: Tensor, b: Tensor) -> Result<(), Error> {
        let (a, b) = (self.pointer(op, a)?, self.pointer(op, b)?);
        if !overlaps(a, b) {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            expected: "operands apart from the target".into(),
            got: "an operand in the target's memory".into(),
        })
    }

    /// Refuses two matrices with values in common. Columns of one matrix have none, though their memory is interleaved.
    pub(crate) fn expect_no_common_values(
        &self,
        op: &'static str,
        a: Tensor,
        b: Tensor,
    ) -> Result<(), Error> {
        let (first, second) = (self.pointer(op, a)?, self.pointer(op, b)?);
        if are_apart_in_rows(first, second) { Ok(()) } else { self.expect_disjoint(op, a, b) }
    }

    /// The pointer of a tensor, which must be of f32 values that an operation may write to.
    pub(crate) fn expect_writable(
        &self,
        op: &'static str,
        tensor: Tensor,
    ) -> Result<*mut sys::ggml_tensor, Error> {
        let pointer = self.expect_f32(op, tensor)?;
        if tensor.is_writable { Ok(pointer) } else { Err(Error::ReadOnly { op }) }
    }

    /// The handle of a new value.
    pub(crate) fn wrap(&self, tensor: *mut sys::ggml_tensor) -> Result<Tensor, Error> {
        let tensor = NonNull::new(tensor).ok_or(Error::OutOfMemory { what: "graph", bytes: 0 })?;
        Ok(Tensor { tensor, graph: self.id, is_writable: true })
    }

    /// The handle of a view of `source`: as writable as that is.
    pub(crate) fn wrap_view(&self, source: Tensor, view: *mut sys::ggml_tensor) -> Result<Tensor, Error> {
        Ok(Tensor { is_writable: source.is_writable, ..self.wrap(view)? })
    }

    /// Keeps what a custom node's callback gets to see for as long as the graph lives, at a fixed address.
    pub(crate) fn keep_node(&mut self, op: CustomOp) -> *mut CustomNode {
        self.custom.push(KeptNode {
            node: Box::new(CustomNode { op, refused: self.refused.clone() }),
            tensor: None,
        });
        let last = self.custom.last_mut().expect("just pushed");
        std::ptr::from_mut(last.node.as_mut())
    }

    /// The handle of the value of the node that was kept last.
    pub(crate) fn wrap_node(&mut self, tensor: *mut sys::ggml_tensor) -> Result<Tensor, Error> {
        if let Some(kept) = self.custom.last_mut() {
            kept.tensor = NonNull::new(tensor);
        }
        self.wrap(tensor)
    }

    /// What is computed by the node `tensor`, if it is a custom one.
    pub(crate) fn custom_op(&self, tensor: *mut sys::ggml_tensor) -> Option<&CustomOp> {
        let kept = self.custom.iter().find(|kept| kept.tensor == NonNull::new(tensor))?;
        Some(&kept.node.op)
    }

    /// ggml's nodes, in the order in which they are computed.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = *mut sys::ggml_tensor> {
        let graph = self.as_ptr();
        // SAFETY: the graph is alive, and indices are below the count.
        (0..unsafe { sys::ggml_graph_n_nodes(graph) }).map(move |i| unsafe { sys::ggml_graph_node(graph, i) })
    }

    /// The buffers that this graph reads or writes, some of them several times.
    pub(crate) fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The first node that was refused in a computation.
    pub(crate) fn refused(&self) -> &FirstRefusal {
        &self.refused
    }
}

/// Whether the memory of two living tensors overlaps; that of interleaved columns of one matrix does.
fn overlaps(a: *mut sys::ggml_tensor, b: *mut sys::ggml_tensor) -> bool {
    // SAFETY: the callers have them from a graph that is alive.
    let [(owner_a, a), (owner_b, b)] = [a, b].map(|t| unsafe {
        let owner = if (*t).view_src.is_null() { t } else { (*t).view_src };
        (owner, (*t).view_offs..(*t).view_offs + sys::ggml_nbytes(t))
    });
    owner_a == owner_b && a.start < b.end && b.start < a.end
}

/// Whether two living tensors are of the same rows of one matrix, and of columns that do not overlap.
fn are_apart_in_rows(a: *mut sys::ggml_tensor, b: *mut sys::ggml_tensor) -> bool {
    // SAFETY: the callers have them from a graph that is alive.
    let [(owner_a, pitch_a, a), (owner_b, pitch_b, b)] = [a, b].map(|t| unsafe {
        let pitch = (*t).nb[1].max(1);
        let first = (*t).view_offs % pitch;
        let width = (*t).ne[0] as usize * size_of::<f32>();
        // A row that goes on in the next one of its owner is no part of a row.
        let columns = (first + width <= pitch).then_some(first..first + width);
        ((*t).view_src, pitch, columns)
    });
    let (Some(a), Some(b)) = (a, b) else { return false };
    !owner_a.is_null() && owner_a == owner_b && pitch_a == pitch_b && (a.end <= b.start || b.end <= a.start)
}
