//! From ggml's nodes to a [`PlannedGraph`].

use std::collections::HashMap;
use std::ffi::CStr;

use llama_cpp_sys_2 as sys;
use nightgraft_kernels::AttentionShape;

use crate::custom_node::{CustomOp, NormParams, ProductKind, SumOfProducts};
use crate::planned_graph::{
    Accumulator, Indices, Matrix, Memory, Norm, Operation, PlannedGraph, PlannedNode, PlannedProduct,
    WeightMatrix,
};
use crate::{Buffer, Error, Graph, weight_type};

/// The size of all values but weights.
const VALUE_BYTES: usize = 4;

impl Graph {
    /// How many operations computing the graph takes; views are none.
    pub fn n_operations(&self) -> usize {
        // SAFETY: the nodes of this graph are alive.
        let ops = self.nodes().map(|tensor| unsafe { (*tensor).op });
        ops.filter(|op| !matches!(*op, sys::GGML_OP_VIEW | sys::GGML_OP_NONE)).count()
    }

    /// What this graph computes, as data: the operations in their order, with their operands and where these lie. The arena is
    /// planned as [`Cpu::compute`](crate::Cpu::compute) plans it.
    ///
    /// # Errors
    /// [`Error::NotDescribed`] for a product of ggml's own ([`Graph::ggml_mul_mat`], [`Graph::ggml_out_prod`]).
    pub fn planned(&mut self) -> Result<PlannedGraph, Error> {
        let plan = self.arena_plan();
        let arena_bytes = plan.bytes;
        let arena = plan.places().collect();
        let mut buffers: Vec<Buffer> = Vec::new();
        let mut numbers = HashMap::new();
        for buffer in self.buffers() {
            numbers.entry(buffer.as_ptr()).or_insert_with(|| {
                buffers.push(buffer.clone());
                buffers.len() - 1
            });
        }
        let places = Places { arena, buffers: numbers };
        let mut nodes = Vec::new();
        for tensor in self.nodes() {
            // SAFETY: a node of this graph, which is alive.
            let node = Node { tensor: unsafe { &*tensor }, places: &places };
            let operation = match (node.tensor.op, self.custom_op(tensor)) {
                // Views are no work: whoever reads one finds its place.
                (sys::GGML_OP_VIEW | sys::GGML_OP_NONE, _) => continue,
                (sys::GGML_OP_ADD, _) => {
                    Some((|| Some(Operation::Add { a: node.source(0)?, b: node.source(1)? }))())
                }
                (sys::GGML_OP_CPY, _) => Some(node.source(0).map(|x| Operation::Copy { x })),
                (_, Some(op)) => Some(node.custom(op)),
                _ => None,
            };
            let planned = operation.flatten().zip(node.result());
            let (operation, result) = planned.ok_or_else(|| Error::NotDescribed { op: node.op_name() })?;
            nodes.push(PlannedNode { operation, result });
        }
        Ok(PlannedGraph { arena_bytes, buffers, nodes })
    }
}

/// Where the memory of tensors begins.
struct Places {
    /// Bytes from the start of the arena, for what lies there.
    arena: HashMap<*mut sys::ggml_tensor, usize>,
    buffers: HashMap<*mut sys::ggml_tensor, usize>,
}

impl Places {
    /// The memory of a tensor, and the bytes in front of it.
    fn of(&self, tensor: &sys::ggml_tensor) -> Option<(Memory, usize)> {
        let is_view = !tensor.view_src.is_null();
        let own = std::ptr::from_ref(tensor).cast_mut();
        let (owner, offset) = if is_view { (tensor.view_src, tensor.view_offs) } else { (own, 0) };
        match self.arena.get(&owner) {
            Some(first) => Some((Memory::Arena, first + offset)),
            None => self.buffers.get(&owner).map(|number| (Memory::Buffer(*number), offset)),
        }
    }
}

/// A node of ggml's. What is found missing here was ruled out when the node was made.
struct Node<'a> {
    tensor: &'a sys::ggml_tensor,
    places: &'a Places,
}

impl<'a> Node<'a> {
    fn op_name(&self) -> &'static str {
        // SAFETY: ggml has a name for each of its operations, which is never changed.
        let name = unsafe { CStr::from_ptr(sys::ggml_op_name(self.tensor.op)) };
        name.to_str().unwrap_or("an operation")
    }

    fn result(&self) -> Option<Matrix> {
        self.matrix(self.tensor)
    }

    /// An operand as ggml counts them.
    fn source(&self, i: usize) -> Option<Matrix> {
        self.matrix(self.source_tensor(i)?)
    }

    /// An operand of a custom node, not counting the tensor that the result overwrites, which ggml has in front of them.
    fn operand_tensor(&self, i: usize) -> Option<&'a sys::ggml_tensor> {
        self.source_tensor(i + usize::from(!self.tensor.view_src.is_null()))
    }

    fn source_tensor(&self, i: usize) -> Option<&'a sys::ggml_tensor> {
        // SAFETY: the operands of a node live as long as its graph.
        unsafe { self.tensor.src.get(i)?.as_ref() }
    }

    fn operand(&self, i: usize) -> Option<Matrix> {
        self.matrix(self.operand_tensor(i)?)
    }

    fn operands<const N: usize>(&self) -> Option<[Matrix; N]> {
        let mut found = [self.operand(0)?; N];
        for (i, operand) in found.iter_mut().enumerate() {
            *operand = self.operand(i)?;
        }
        Some(found)
    }

    fn matrix(&self, tensor: &sys::ggml_tensor) -> Option<Matrix> {
        if tensor.type_ != sys::GGML_TYPE_F32 {
            return None;
        }
        let (memory, offset) = self.places.of(tensor)?;
        Some(Matrix {
            memory,
            first: offset / VALUE_BYTES,
            n_rows: tensor.ne[1] as usize,
            n_cols: tensor.ne[0] as usize,
            stride: tensor.nb[1] / VALUE_BYTES,
        })
    }

    fn indices(&self, i: usize) -> Option<Indices> {
        let tensor = self.operand_tensor(i).filter(|tensor| tensor.type_ == sys::GGML_TYPE_I32)?;
        let (memory, offset) = self.places.of(tensor)?;
        Some(Indices { memory, first: offset / VALUE_BYTES, len: tensor.ne[0] as usize })
    }

    fn weight(&self, i: usize) -> Option<WeightMatrix> {
        let tensor = self.operand_tensor(i)?;
        let (memory, first_byte) = self.places.of(tensor)?;
        Some(WeightMatrix {
            memory,
            first_byte,
            kind: weight_type(tensor.type_)?,
            n_rows: tensor.ne[1] as usize,
            n_cols: tensor.ne[0] as usize,
        })
    }

    fn custom(&self, op: &CustomOp) -> Option<Operation> {
        Some(match op {
            CustomOp::AccumulateOuter => {
                let [u, x] = self.operands()?;
                Operation::AccumulateOuter { u, x }
            }
            CustomOp::Activation { f, .. } => {
                Operation::Activation { f: *f, gate: self.operand(0)?, up: self.operand(1) }
            }
            CustomOp::ActivationBack { f, .. } => {
                Operation::ActivationBack { f: *f, dy: self.operand(0)?, up: self.operand(1) }
            }
            CustomOp::AddScaled(scale) => {
                let [a, b] = self.operands()?;
                Operation::AddScaled { a, b, scale: *scale }
            }
            CustomOp::Attention(shape) => {
                Operation::Attention { shape: *shape, qkv: self.operands()?, starts: self.indices(3)? }
            }
            CustomOp::AttentionBack(shape) => self.attention_back(shape)?,
            CustomOp::AttentionBackSum(shape) => Operation::AttentionBackSum {
                shape: *shape,
                others: self.operand(0)?,
                starts: self.indices(1)?,
            },
            CustomOp::ConcatColumns => {
                Operation::ConcatColumns { matrices: (0..).map_while(|i| self.operand(i)).collect() }
            }
            CustomOp::CrossEntropy(transform) => Operation::CrossEntropy {
                transform: *transform,
                targets: self.indices(0)?,
                loss: self.operand(1)?,
            },
            CustomOp::Dropout { keep, key, salt } => {
                Operation::Dropout { x: self.operand(0)?, keep: *keep, key: key.clone(), salt: *salt }
            }
            CustomOp::FromBf16 => Operation::FromBf16 { x: self.operand(0)? },
            CustomOp::QuantizeRowsInt16 => Operation::QuantizeRowsInt16 { x: self.operand(0)? },
            CustomOp::RmsNorm(norm) => Operation::RmsNorm { x: self.operand(0)?, norm: self.norm(norm, 1) },
            CustomOp::RmsNormBack { norm, accumulate } => {
                let [x, dy] = self.operands()?;
                Operation::RmsNormBack { x, dy, norm: self.norm(norm, 2), accumulate: *accumulate }
            }
            CustomOp::Rope(rotation) => Operation::Rope { rotation: *rotation, table: self.operand(0)? },
            CustomOp::RoundToBf16 => Operation::RoundToBf16,
            CustomOp::ScaleRows => Operation::ScaleRows { factors: self.operand(0)? },
            CustomOp::Scaled(scale) => Operation::Scaled { x: self.operand(0)?, scale: *scale },
            CustomOp::SumOfProducts(sum) => self.sum_of_products(sum)?,
            CustomOp::ToBf16 => Operation::ToBf16 { x: self.operand(0)? },
            CustomOp::TransformLogits(transform) => Operation::TransformLogits { transform: *transform },
        })
    }

    /// The norm, whose weight, if it has one, is operand `i`.
    fn norm(&self, norm: &NormParams, i: usize) -> Norm {
        let weight = if norm.is_weighted { self.operand(i) } else { None };
        Norm { weight, width: norm.width, eps: norm.eps }
    }

    fn attention_back(&self, shape: &AttentionShape) -> Option<Operation> {
        let (result, qkv): (_, [Matrix; 3]) = (self.result()?, self.operands()?);
        let (n_rows, q_cols, kv_cols) = (qkv[0].n_rows, shape.query_columns(), 2 * shape.key_columns());
        // The matrices lie in the result, which is one row, one behind the other.
        let part =
            |first, n_cols| Matrix { first: result.first + first, n_rows, n_cols, stride: n_cols, ..result };
        Some(Operation::AttentionBack {
            shape: *shape,
            qkv,
            starts: self.indices(3)?,
            out: self.operand(4)?,
            dout: self.operand(5)?,
            dq: part(0, q_cols),
            dkv: part(n_rows * q_cols, kv_cols),
        })
    }

    fn sum_of_products(&self, sum: &SumOfProducts) -> Option<Operation> {
        let product = |(i, kind): (usize, &ProductKind)| {
            let (w, rows) = (self.weight(2 * i)?, self.operand(2 * i + 1)?);
            Some(match *kind {
                ProductKind::Linear { scale } => PlannedProduct::Linear { w, x: rows, scale },
                ProductKind::Transposed => PlannedProduct::Transposed { w, dy: rows },
                ProductKind::Int16(direction) => PlannedProduct::Int16 { w, x: rows, direction },
            })
        };
        let products = sum.kinds.iter().enumerate().map(product).collect::<Option<_>>()?;
        let accumulator = match self.operand(2 * sum.kinds.len()) {
            None if sum.accumulate => Accumulator::Existing,
            None => Accumulator::Zero,
            Some(row) if row.n_rows == 1 => Accumulator::Row(row),
            Some(matrix) => Accumulator::Matrix(matrix),
        };
        Some(Operation::SumOfProducts { products, accumulator })
    }
}
