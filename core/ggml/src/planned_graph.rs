//! A graph as plain data, for executors other than [`Cpu`](crate::Cpu): what is computed in which order, and where it lies.

use nightgraft_kernels::{Activation, AttentionShape, Direction, LogitTransform, Rotation, WeightType};

use crate::{Buffer, DropoutKey};

/// What a [`Graph`](crate::Graph) computes, as [`Graph::planned`](crate::Graph::planned) describes it. Nodes are to be computed
/// in their order: memory of the arena is reused as soon as a value is dead.
#[derive(Debug)]
pub struct PlannedGraph {
    /// Bytes of the arena that intermediate results lie in.
    pub arena_bytes: usize,
    /// The buffers that nodes read or write, each of them once; [`Memory::Buffer`] counts them from 0.
    pub buffers: Vec<Buffer>,
    /// What is computed.
    pub nodes: Vec<PlannedNode>,
}

/// One operation and its result.
#[derive(Debug)]
pub struct PlannedNode {
    /// What is computed, from what.
    pub operation: Operation,
    /// Where the result goes.
    pub result: Matrix,
}

/// The memory that a value lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The arena.
    Arena,
    /// One of the [buffers](PlannedGraph::buffers).
    Buffer(usize),
}

/// A row-major matrix of f32: value `(row, column)` is value `first + row · stride + column` of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// Where it lies.
    pub memory: Memory,
    /// Values in front of it.
    pub first: usize,
    /// Rows.
    pub n_rows: usize,
    /// Columns.
    pub n_cols: usize,
    /// Values from the start of a row to that of the next.
    pub stride: usize,
}

/// A matrix in any format that is multiplied with rows; rows of blocks follow each other without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightMatrix {
    /// Where it lies.
    pub memory: Memory,
    /// Bytes in front of it.
    pub first_byte: usize,
    /// The format of its values.
    pub kind: WeightType,
    /// Rows: outputs of the linear map.
    pub n_rows: usize,
    /// Columns: inputs of the linear map.
    pub n_cols: usize,
}

/// A row of i32, which a host writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Indices {
    /// Where it lies.
    pub memory: Memory,
    /// Values in front of it.
    pub first: usize,
    /// How many there are.
    pub len: usize,
}

/// What a node computes: the methods of [`Graph`](crate::Graph) say what each operation is. Where one works in place, what it
/// works on is the node's result, and is none of its operands.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the operands' names are those of the methods of the graph")]
pub enum Operation {
    /// ggml's sum of two matrices; the result may lie where the first of them does.
    Add { a: Matrix, b: Matrix },
    /// ggml's copy, which [`Graph::store`](crate::Graph::store) makes.
    Copy { x: Matrix },
    /// [`Graph::accumulate_outer`](crate::Graph::accumulate_outer).
    AccumulateOuter { u: Matrix, x: Matrix },
    /// [`Graph::activation`](crate::Graph::activation).
    Activation { f: Activation, gate: Matrix, up: Option<Matrix> },
    /// [`Graph::activation_back`](crate::Graph::activation_back): the result is the gate, `up` and `dy` are written to as well.
    ActivationBack { f: Activation, up: Option<Matrix>, dy: Matrix },
    /// [`Graph::add_scaled`](crate::Graph::add_scaled).
    AddScaled { a: Matrix, b: Matrix, scale: f32 },
    /// [`Graph::attention`](crate::Graph::attention).
    Attention { shape: AttentionShape, qkv: [Matrix; 3], starts: Indices },
    /// [`Graph::attention_back`](crate::Graph::attention_back).
    AttentionBack {
        shape: AttentionShape,
        qkv: [Matrix; 3],
        starts: Indices,
        out: Matrix,
        dout: Matrix,
        /// The part of the result that is the gradient of the queries.
        dq: Matrix,
        /// The part with the gradients of keys and values side by side: a matrix for all queries, or the first of several for
        /// shares of the queries, which lie one behind the other.
        dkv: Matrix,
    },
    /// Adds up the shares that an [`Operation::AttentionBack`] left of the gradients of keys and values: the result is the first
    /// of them, which an executor may have made of all queries already.
    AttentionBackSum { shape: AttentionShape, others: Matrix, starts: Indices },
    /// [`Graph::concat_columns`](crate::Graph::concat_columns).
    ConcatColumns { matrices: Vec<Matrix> },
    /// [`Graph::cross_entropy`](crate::Graph::cross_entropy): `loss` is written to as well.
    CrossEntropy { transform: LogitTransform, targets: Indices, loss: Matrix },
    /// [`Graph::dropout`](crate::Graph::dropout).
    Dropout { x: Matrix, keep: f32, key: DropoutKey, salt: u64 },
    /// [`Graph::from_bf16`](crate::Graph::from_bf16).
    FromBf16 { x: Matrix },
    /// [`Graph::quantize_rows_int16`](crate::Graph::quantize_rows_int16).
    QuantizeRowsInt16 { x: Matrix },
    /// [`Graph::rms_norm`](crate::Graph::rms_norm).
    RmsNorm { x: Matrix, norm: Norm },
    /// [`Graph::rms_norm_back`](crate::Graph::rms_norm_back).
    RmsNormBack { x: Matrix, dy: Matrix, norm: Norm, accumulate: bool },
    /// [`Graph::rope`](crate::Graph::rope).
    Rope { rotation: Rotation, table: Matrix },
    /// [`Graph::round_to_bf16`](crate::Graph::round_to_bf16).
    RoundToBf16,
    /// [`Graph::scale_rows`](crate::Graph::scale_rows).
    ScaleRows { factors: Matrix },
    /// [`Graph::scaled`](crate::Graph::scaled).
    Scaled { x: Matrix, scale: f32 },
    /// [`Graph::sum_of_products`](crate::Graph::sum_of_products).
    SumOfProducts { products: Vec<PlannedProduct>, accumulator: Accumulator },
    /// [`Graph::to_bf16`](crate::Graph::to_bf16).
    ToBf16 { x: Matrix },
    /// [`Graph::transform_logits`](crate::Graph::transform_logits).
    TransformLogits { transform: LogitTransform },
}

/// The norm of groups of `width` values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// `[1, width]`, if there is one.
    pub weight: Option<Matrix>,
    /// Values of a group.
    pub width: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// A [`Product`](crate::Product) of a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the operands' names are those of the product")]
pub enum PlannedProduct {
    /// `scale · x · wᵀ`.
    Linear { w: WeightMatrix, x: Matrix, scale: f32 },
    /// `dy · w`.
    Transposed { w: WeightMatrix, dy: Matrix },
    /// Either of them for quantized rows.
    Int16 { w: WeightMatrix, x: Matrix, direction: Direction },
}

/// What the sums of products are added to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accumulator {
    /// Nothing: the result is overwritten.
    Zero,
    /// What the result holds already.
    Existing,
    /// A matrix of the result's shape, apart from it.
    Matrix(Matrix),
    /// One row for all rows of the result.
    Row(Matrix),
}
