//! From the nodes of a planned graph to dispatches.

use nightgraft_ggml::{
    Accumulator, Indices, Matrix, Memory, Norm, Operation, PlannedGraph, PlannedNode, PlannedProduct,
    WeightMatrix,
};
use nightgraft_kernels::{AttentionShape, ComputeType, Direction};

use super::Step;
use super::indices::{IndexCheck, Rule};
use super::storage::{Placed, Storage};
use crate::operations::{self, Addend, AttentionCall, NormCall};
use crate::{Buffer, BufferRows, Device, Dispatch, Error, Product, Tiles};

/// Makes the steps of one graph.
pub(super) struct Encoder<'a> {
    device: &'a Device,
    tiles: Tiles,
    storage: &'a Storage,
    plan: &'a PlannedGraph,
    arena: &'a Buffer,
    /// Multiply-adds of a dispatch, at most.
    most_work: u64,
    steps: Vec<Step>,
    checks: Vec<IndexCheck>,
}

/// Floats of an arena for this graph: behind the intermediate results there is room for what the gradients of attention, or
/// products in half precision, need besides. All nodes have the same room, because dispatches run one after the other.
pub(super) fn arena_floats(plan: &PlannedGraph) -> u64 {
    let besides = plan.nodes.iter().map(|node| match &node.operation {
        Operation::AttentionBack { shape, dq, .. } => dq.n_rows * shape.n_head(),
        Operation::SumOfProducts { .. } => 2 * node.result.n_rows,
        _ => 0,
    });
    (plan.arena_bytes / 4 + besides.max().unwrap_or(0)) as u64
}

impl<'a> Encoder<'a> {
    pub fn new(
        device: &'a Device,
        tiles: Tiles,
        storage: &'a Storage,
        plan: &'a PlannedGraph,
        arena: &'a Buffer,
        most_work: u64,
    ) -> Self {
        Self { device, tiles, storage, plan, arena, most_work, steps: Vec::new(), checks: Vec::new() }
    }

    /// What to submit, and what to check before that.
    pub fn finish(self) -> (Vec<Step>, Vec<IndexCheck>) {
        (self.steps, self.checks)
    }

    /// Adds the steps of a node.
    ///
    /// # Errors
    /// Those of [`Executor::load`](super::Executor::load).
    pub fn node(&mut self, node: &PlannedNode) -> Result<(), Error> {
        let (device, result) = (self.device, self.rows(&node.result)?);
        let dispatch = match &node.operation {
            Operation::Add { a, b } => operations::add_scaled(device, self.each([a, b])?, 1.0, result)?,
            Operation::AddScaled { a, b, scale } => {
                operations::add_scaled(device, self.each([a, b])?, *scale, result)?
            }
            Operation::Copy { x } => operations::copy(device, self.rows(x)?, result)?,
            Operation::AccumulateOuter { u, x } => {
                let (u, x) = (self.rows(u)?, self.rows(x)?);
                return self.run_all(operations::accumulate_outer(device, u, x, result, self.most_work)?);
            }
            Operation::Activation { f, gate, up } => {
                operations::activation(device, *f, self.rows(gate)?, self.optional(up)?, result)?
            }
            Operation::ActivationBack { f, up, dy } => {
                operations::activation_back(device, *f, result, self.optional(up)?, self.rows(dy)?)?
            }
            Operation::Attention { shape, qkv, starts } => {
                let call = self.attention(shape, qkv, starts, result)?;
                return self.run_all(operations::attention(device, call, self.most_work)?);
            }
            Operation::CrossEntropy { transform, targets, loss } => {
                let rule = Rule::Targets { end: node.result.n_cols };
                let operands = [result, self.indices(targets, rule)?, self.rows(loss)?];
                let most = self.most_work;
                return self.run_all(operations::cross_entropy(device, *transform, operands, most)?);
            }
            Operation::FromBf16 { x } => operations::from_bf16(device, self.rows(x)?, result)?,
            Operation::RmsNorm { x, norm } => {
                operations::rms_norm(device, self.norm(norm)?, self.rows(x)?, result)?
            }
            Operation::RmsNormBack { x, dy, norm, accumulate } => {
                let norm = self.norm(norm)?;
                operations::rms_norm_back(device, norm, self.each([x, dy])?, result, *accumulate)?
            }
            Operation::Rope { rotation, table } => {
                operations::rope(device, *rotation, result, self.rows(table)?)?
            }
            Operation::RoundToBf16 => operations::round_to_bf16(device, result)?,
            Operation::ScaleRows { factors } => operations::scale_rows(device, result, self.rows(factors)?)?,
            Operation::Scaled { x, scale } => operations::scaled(device, self.rows(x)?, *scale, result)?,
            Operation::ToBf16 { x } => operations::to_bf16(device, self.rows(x)?, result)?,
            Operation::TransformLogits { transform } => {
                operations::transform_logits(device, *transform, result)?
            }
            Operation::AttentionBack { shape, qkv, starts, out, dout, dq, dkv } => {
                let call = self.attention(shape, qkv, starts, self.rows(out)?)?;
                let gradients = self.each([dq, dkv])?;
                let delta = self.besides([dq.n_rows, shape.n_head()])?;
                let (dout, most) = (self.rows(dout)?, self.most_work);
                let both = operations::attention_back(device, call, dout, gradients, delta, most)?;
                return self.run_all(both);
            }
            // The first share has all queries.
            Operation::AttentionBackSum { .. } => return Ok(()),
            Operation::ConcatColumns { matrices } => return self.concat_columns(matrices, &node.result),
            Operation::Dropout { x, keep, key, salt } => {
                let (x, y) = (self.placed(x)?, self.placed(&node.result)?);
                self.steps.push(Step::Dropout { x, y, keep: *keep, key: key.clone(), salt: *salt });
                return Ok(());
            }
            Operation::SumOfProducts { products, accumulator } => {
                return self.sum_of_products(products, accumulator, &node.result);
            }
            Operation::QuantizeRowsInt16 { .. } => {
                return Err(Error::Operation { op: "quantize_rows_int16" });
            }
        };
        self.run_all([dispatch])
    }

    fn run_all(&mut self, dispatches: impl IntoIterator<Item = Dispatch>) -> Result<(), Error> {
        self.steps.extend(dispatches.into_iter().map(Step::Run));
        Ok(())
    }

    fn concat_columns(&mut self, matrices: &[Matrix], result: &Matrix) -> Result<(), Error> {
        let mut first = result.first;
        for matrix in matrices {
            let columns = Matrix { first, n_cols: matrix.n_cols, ..*result };
            let copy = operations::copy(self.device, self.rows(matrix)?, self.rows(&columns)?)?;
            self.run_all([copy])?;
            first += matrix.n_cols;
        }
        Ok(())
    }

    /// One product after the other, each added to what is there.
    fn sum_of_products(
        &mut self,
        products: &[PlannedProduct],
        accumulator: &Accumulator,
        result: &Matrix,
    ) -> Result<(), Error> {
        let (device, output) = (self.device, self.rows(result)?);
        let mut addend = match accumulator {
            Accumulator::Zero => Addend::Zero,
            Accumulator::Existing => Addend::Existing,
            Accumulator::Matrix(matrix) | Accumulator::Row(matrix) => Addend::Rows(self.rows(matrix)?),
        };
        for product in products {
            let (w, x, direction, scale) = match product {
                PlannedProduct::Linear { w, x, scale } => (w, x, Direction::Linear, *scale),
                PlannedProduct::Transposed { w, dy } => (w, dy, Direction::Transposed, 1.0),
                PlannedProduct::Int16 { .. } => {
                    return Err(Error::Operation { op: "a product of 16-bit integers" });
                }
            };
            let input = self.rows(x)?;
            match (self.frozen(w), direction) {
                (Some(matrix), direction) => {
                    if let Addend::Rows(rows) = addend {
                        self.run_all([operations::copy(device, rows, output)?])?;
                    }
                    let accumulate = !matches!(addend, Addend::Zero);
                    let scales = Some(self.besides([result.n_rows, 2])?);
                    let product = Product { matrix, direction, input, output, scale, accumulate, scales };
                    let tile = self.tiles.of(direction);
                    self.run_all(device.product_in_pieces(&product, tile, self.most_work)?)?;
                }
                (None, Direction::Linear) => {
                    let operands = [self.floats(w)?, input, output];
                    let most = self.most_work;
                    self.run_all(operations::adapter_linear(device, operands, scale, addend, most)?)?;
                }
                (None, Direction::Transposed) => {
                    let operands = [self.floats(w)?, input, output];
                    let most = self.most_work;
                    self.run_all(operations::adapter_transposed(device, operands, addend, most)?)?;
                }
            }
            addend = Addend::Existing;
        }
        Ok(())
    }

    fn attention(
        &mut self,
        shape: &AttentionShape,
        qkv: &[Matrix; 3],
        starts: &Indices,
        out: BufferRows<'a>,
    ) -> Result<AttentionCall<'a>, Error> {
        if shape.compute_type() != ComputeType::F32 {
            return Err(Error::Operation { op: "attention in 16-bit integers" });
        }
        let starts = self.indices(starts, Rule::Starts)?;
        Ok(AttentionCall { shape: *shape, qkv: self.each(qkv.each_ref())?, starts, out })
    }

    fn norm(&self, norm: &Norm) -> Result<NormCall<'a>, Error> {
        Ok(NormCall { weight: self.optional(&norm.weight)?, width: number(norm.width), eps: norm.eps })
    }

    /// A matrix that an operation needs besides, behind the intermediate results.
    fn besides(&self, shape: [usize; 2]) -> Result<BufferRows<'a>, Error> {
        let first = (self.plan.arena_bytes / 4) as u64;
        let [n_rows, n_cols] = shape.map(number);
        BufferRows::new(self.arena, first, [n_rows, n_cols], n_cols)
    }

    /// The matrix of a file that was uploaded, if it is one.
    fn frozen(&self, w: &WeightMatrix) -> Option<&'a crate::Matrix> {
        match w.memory {
            Memory::Arena => None,
            Memory::Buffer(number) => self.storage.weights(w, self.plan.buffers.get(number)?),
        }
    }

    /// Weights that are floats in the device's own memory, such as an adapter's factors.
    fn floats(&self, w: &WeightMatrix) -> Result<BufferRows<'a>, Error> {
        let &WeightMatrix { memory, first_byte, n_rows, n_cols, .. } = w;
        self.rows(&Matrix { memory, first: first_byte / 4, n_rows, n_cols, stride: n_cols })
    }

    /// A row of integers, which are checked before each computation.
    fn indices(&mut self, indices: &Indices, rule: Rule) -> Result<BufferRows<'a>, Error> {
        let &Indices { memory, first, len } = indices;
        let Memory::Buffer(number) = memory else {
            return Err(Error::Operation { op: "computing integers" });
        };
        let (buffer, storage) = (&self.plan.buffers[number], self.storage);
        let is_same = |check: &IndexCheck| {
            check.buffer == *buffer && check.rule == rule && (check.first, check.len) == (first, len)
        };
        if !self.checks.iter().any(is_same) {
            let (buffer, place) = (buffer.clone(), storage.of(buffer)?.clone());
            self.checks.push(IndexCheck { buffer, place, first, len, rule });
        }
        self.rows(&Matrix { memory, first, n_rows: 1, n_cols: len, stride: len })
    }

    fn each<const N: usize>(&self, matrices: [&Matrix; N]) -> Result<[BufferRows<'a>; N], Error> {
        let mut found = [self.rows(matrices[0])?; N];
        for (found, matrix) in found.iter_mut().zip(matrices) {
            *found = self.rows(matrix)?;
        }
        Ok(found)
    }

    fn optional(&self, matrix: &Option<Matrix>) -> Result<Option<BufferRows<'a>>, Error> {
        matrix.as_ref().map(|matrix| self.rows(matrix)).transpose()
    }

    fn rows(&self, matrix: &Matrix) -> Result<BufferRows<'a>, Error> {
        let (buffer, before) = self.memory(matrix.memory)?;
        let [n_rows, n_cols, stride] = [matrix.n_rows, matrix.n_cols, matrix.stride].map(number);
        BufferRows::new(buffer, before + matrix.first as u64, [n_rows, n_cols], stride)
    }

    fn placed(&self, matrix: &Matrix) -> Result<Placed, Error> {
        let (buffer, before) = self.memory(matrix.memory)?;
        let [n_rows, n_cols, stride] = [matrix.n_rows, matrix.n_cols, matrix.stride].map(number);
        Ok(Placed { buffer: buffer.clone(), first: before + matrix.first as u64, n_rows, n_cols, stride })
    }

    /// A piece of memory, and the floats in front of what is meant.
    fn memory(&self, memory: Memory) -> Result<(&'a Buffer, u64), Error> {
        match memory {
            Memory::Arena => Ok((self.arena, 0)),
            Memory::Buffer(number) => {
                let placed = self.storage.of(&self.plan.buffers[number])?;
                Ok((&placed.buffer, placed.first))
            }
        }
    }
}

/// No matrix that fits into a binding has more rows or columns; a larger one ends behind every buffer.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
