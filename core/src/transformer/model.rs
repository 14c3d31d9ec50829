//! Running a whole model over one micro-batch.

mod fall_back;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nightgraft_ggml::{Buffer, ComputeType, Graph, OpTime};
use nightgraft_text::data::Batch;

use super::block::{Block, SavedActivations};
use super::gpu::OpenGpu;
use super::head_graph::{HEAD_NODES, head_graph};
use super::layers::{LayerGraphs, ResidualBuffers, TokenShape};
use super::precision::compute_type;
use super::processor::{GpuActivity, OperationCount, Prepared, Processor};
use super::recompute::RecomputePolicy;
use super::weights::{self, MappedWeights};
use crate::Result;
use crate::base::Base;
use crate::config::Precision;
use crate::error::GpuError;
use crate::lora::Adapter;
use crate::ops::head::{self, Head};
use crate::ops::rope::Angles;
use crate::ops::temperature;
use crate::process_memory::available_bytes;

/// Rows of embeddings that are written at a time.
const EMBEDDED_ROWS: usize = 16;

/// A base model, with or without an adapter, that runs micro-batches of up to a fixed number of tokens.
///
/// On a GPU it has all matrices there: weights go over once, the adapter when it has changed, and gradients and losses come back
/// after each micro-batch. If the GPU fails, the micro-batch is repeated on the CPU, and so are all that follow.
pub struct Model {
    base: Base,
    adapter: Option<Adapter>,
    options: ModelOptions,
    stop: Arc<AtomicBool>,
    parts: Parts,
    /// For each rope of the model.
    angles: Vec<Angles>,
    /// The policy in use.
    recompute: RecomputePolicy,
    /// Whether it is asked to take little memory.
    is_small: bool,
    /// The model's file is larger than the memory that was free.
    is_larger_than_memory: bool,
    /// What became of the GPU, until somebody asks.
    failure: Option<DeviceFailure>,
    operations: OperationCount,
}

/// What a processor computes with.
struct Parts {
    processor: Processor,
    blocks: Vec<Block>,
    residual: ResidualBuffers,
    /// The graphs for the mode and the number of tokens last seen.
    layers: Option<(Mode, LayerGraphs<Prepared>)>,
    head: Head,
    chunk: HeadChunk,
    /// Loss and hit of each supervised token of a micro-batch, `[capacity, 2]`.
    losses: Buffer,
    /// The head's graphs by mode and number of rows.
    head_graphs: HashMap<(Mode, usize), Prepared>,
}

/// What a model is prepared for.
#[derive(Debug, Clone)]
pub struct ModelOptions {
    /// Whether there is room for computing the adapter's gradients.
    pub trains: bool,
    /// The most tokens of a micro-batch.
    pub capacity: usize,
    /// Threads that compute.
    pub n_threads: usize,
    /// How products are computed on the CPU; a GPU computes as it was chosen for.
    pub precision: Precision,
    /// What is saved for the backward on the CPU.
    pub recompute: RecomputePolicy,
    /// The GPU that computes; none for the CPU.
    pub gpu: Option<ModelGpu>,
}

/// A GPU, and what is saved for the backward there.
#[derive(Debug, Clone)]
pub struct ModelGpu {
    /// The device.
    pub device: OpenGpu,
    /// What is saved for the backward.
    pub recompute: RecomputePolicy,
}

/// A GPU that failed, so that the CPU computes from then on.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceFailure {
    /// What its driver calls it.
    pub device: String,
    /// What went wrong.
    pub error: GpuError,
}

impl ModelOptions {
    /// No gradients, exact products, on a GPU if there is one.
    pub fn for_eval(capacity: usize, n_threads: usize, gpu: Option<&OpenGpu>) -> Self {
        let recompute = RecomputePolicy::EVAL;
        Self {
            trains: false,
            capacity,
            n_threads,
            precision: Precision::F32,
            recompute,
            gpu: gpu.map(|device| ModelGpu { device: device.clone(), recompute }),
        }
    }

    /// What computes.
    fn processor(&self, stop: Arc<AtomicBool>) -> Result<Processor> {
        match &self.gpu {
            Some(gpu) => Ok(Processor::gpu(&gpu.device, stop)),
            None => Processor::cpu(self.n_threads, stop),
        }
    }

    /// The numbers that graphs compute with; a GPU has products of its own.
    fn compute_type(&self) -> ComputeType {
        if self.gpu.is_some() { ComputeType::F32 } else { compute_type(self.precision) }
    }

    /// What is saved where it computes now. A GPU may have no room for as many logits as were planned.
    fn recompute_policy(&self, base: &Base) -> RecomputePolicy {
        match &self.gpu {
            Some(ModelGpu { device, recompute }) => {
                let head_rows = recompute.head_rows.min(device.most_head_rows(base.spec.n_vocab));
                RecomputePolicy { head_rows, ..*recompute }
            }
            None => self.recompute,
        }
    }
}

/// Sums over supervised tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossSum {
    /// The sum of the cross-entropies, in nats.
    pub loss: f64,
    /// How often the most likely token was the target.
    pub correct: u64,
    /// How many tokens had a target.
    pub supervised: u64,
}

impl std::ops::AddAssign for LossSum {
    fn add_assign(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.supervised += other.supervised;
    }
}

/// Whether the model measures, or computes gradients (then with dropout).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mode {
    Eval,
    Train,
}

/// What goes into and comes out of the head for one chunk of supervised tokens.
struct HeadChunk {
    x: Buffer,
    dx: Buffer,
    targets: HashMap<usize, Buffer>,
    loss: Buffer,
}

impl Parts {
    fn new(
        base: &Base,
        adapter: Option<&Adapter>,
        options: &ModelOptions,
        processor: Processor,
    ) -> Result<Self> {
        let &ModelOptions { trains, capacity, .. } = options;
        let (compute_type, head_rows) = (options.compute_type(), options.recompute_policy(base).head_rows);
        let (n_layer, n_embd) = (base.spec.n_layer(), base.spec.n_embd);
        let mapped = MappedWeights::new(base)?;
        let blocks = (0..n_layer).map(|layer| mapped.block(base, layer, adapter, compute_type));
        let blocks = blocks.collect::<Result<_>>()?;
        let lowest = adapter.filter(|_| trains).and_then(Adapter::lowest_layer).unwrap_or(n_layer);
        let rows = |n| processor.matrix(n, n_embd);
        Ok(Self {
            blocks,
            residual: ResidualBuffers {
                lowest,
                hidden: (lowest..=n_layer).map(|_| rows(capacity)).collect::<Result<_, _>>()?,
                saved: Vec::new(),
                grad: trains.then(|| rows(capacity)).transpose()?,
            },
            layers: None,
            head: mapped.head(base, compute_type),
            chunk: HeadChunk {
                x: rows(head_rows)?,
                dx: rows(head_rows)?,
                targets: HashMap::new(),
                loss: processor.matrix(head_rows, 2)?,
            },
            losses: processor.matrix(capacity, 2)?,
            head_graphs: HashMap::new(),
            processor,
        })
    }
}

impl Model {
    /// Prepares `base`, with an adapter made for it or without.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if memory runs out.
    pub fn new(
        base: Base,
        adapter: Option<&Adapter>,
        options: ModelOptions,
        stop: Arc<AtomicBool>,
    ) -> Result<Self> {
        let recompute = options.recompute_policy(&base);
        let parts = Parts::new(&base, adapter, &options, options.processor(stop.clone())?)?;
        let is_larger_than_memory = options.gpu.is_none() && is_larger_than_memory(&base);
        Ok(Self {
            parts,
            angles: weights::angles(&base),
            recompute,
            is_small: false,
            is_larger_than_memory,
            failure: None,
            operations: OperationCount::default(),
            adapter: adapter.cloned(),
            options,
            stop,
            base,
        })
    }

    /// The base model.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// Takes less memory, and more time, for the same numbers; or goes back. Values of a layer are then computed again in
    /// the backward rather than saved, fewer logits exist at once, and weights leave memory after each use.
    pub fn set_small(&mut self, small: bool) {
        self.is_small = small;
        let recompute = self.wanted_policy();
        if recompute != self.recompute {
            self.recompute = recompute;
            self.release();
        }
    }

    fn wanted_policy(&self) -> RecomputePolicy {
        if self.is_small { RecomputePolicy::MIN_MEMORY } else { self.options.recompute_policy(&self.base) }
    }

    /// Gives back what computing takes; the next micro-batch takes it again.
    pub fn release(&mut self) {
        self.parts.head_graphs.clear();
        self.parts.layers = None;
        self.parts.residual.saved.clear();
        self.parts.processor.release_arena();
    }

    /// The GPU, if one computes.
    pub fn gpu(&self) -> Option<&OpenGpu> {
        self.options.gpu.as_ref().map(|gpu| &gpu.device)
    }

    /// What became of the GPU, if it has failed since this was last asked.
    pub fn take_failure(&mut self) -> Option<DeviceFailure> {
        self.failure.take()
    }

    /// Operations of all graphs that were computed so far.
    pub fn operations(&self) -> OperationCount {
        self.operations
    }

    /// Keeps the shaders that a GPU's driver has compiled so far for the next process.
    pub fn keep_pipelines(&mut self) {
        if let Some(gpu) = self.parts.processor.as_gpu() {
            gpu.keep_pipelines();
        }
    }

    /// What the GPU has done so far, if one computes.
    pub fn gpu_activity(&mut self) -> Option<GpuActivity> {
        self.parts.processor.as_gpu().map(|gpu| gpu.activity())
    }

    /// Times each kind of shader from now on, or no longer.
    pub fn set_gpu_profiling(&mut self, on: bool) {
        if let Some(gpu) = self.parts.processor.as_gpu() {
            gpu.set_profiling(on);
        }
    }

    /// The time that each kind of shader took since profiling began; none on the processor.
    pub fn gpu_times(&mut self) -> Vec<(&'static str, OpTime)> {
        self.parts.processor.as_gpu().map(|gpu| gpu.shader_times()).unwrap_or_default()
    }

    /// Billions of operations a second that the GPU does where no memory is in between; none on the processor.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::Error::Gpu).
    pub fn gpu_peak(&mut self) -> Result<Option<f64>> {
        self.parts.processor.as_gpu().map(|gpu| Ok(gpu.peak_gflops()?)).transpose()
    }

    /// The loss of a micro-batch.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) if the stop flag was raised, [`Error::Ggml`](crate::Error::Ggml) if memory runs out or the batch is
    /// larger than the capacity, [`Error::ModelChanged`](crate::Error::ModelChanged) if the weights are not what they were.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<LossSum> {
        self.with_unchanged_file(|model| {
            model.on_any_device(|model| {
                model.forward(batch, Mode::Eval)?;
                model.run_head(batch, Mode::Eval)?;
                model.losses(batch)
            })
        })
    }

    /// The loss of a micro-batch; adds the gradients of its *sum* over supervised tokens to the sums in the
    /// adapter's own buffers. Only for a model that `trains`.
    ///
    /// # Errors
    /// As [`Model::evaluate`]. After any of them the adapter's gradients are undefined.
    pub fn accumulate_gradients(&mut self, batch: &Batch) -> Result<LossSum> {
        self.with_unchanged_file(|model| model.on_any_device(|model| model.forward_and_backward(batch)))
    }

    fn forward_and_backward(&mut self, batch: &Batch) -> Result<LossSum> {
        self.forward(batch, Mode::Train)?;
        self.run_head(batch, Mode::Train)?;
        let releases = self.releases_weights();
        let Parts { processor, layers, residual, .. } = &mut self.parts;
        processor.count_trained();
        let (_, layers) = layers.as_mut().expect("made by the forward pass");
        let trained = &self.base.layers[residual.lowest..];
        for (graph, weights) in layers.backward.iter_mut().zip(trained).rev() {
            processor.compute(graph, &mut self.operations)?;
            if releases {
                self.base.release(weights.iter());
            }
        }
        let sum = self.losses(batch)?;
        let gradients = self.adapter.iter().flat_map(Adapter::parameters).map(|parameter| parameter.grad);
        self.parts.processor.give_to_host(&gradients.collect::<Vec<_>>())?;
        Ok(sum)
    }

    /// Calls `on_rows` with the logits `[n, n_vocab]` of some supervised tokens of a micro-batch at a time, in their
    /// order, for comparing with other engines.
    ///
    /// # Errors
    /// As [`Model::evaluate`], and what `on_rows` returns.
    pub fn supervised_logits(
        &mut self,
        batch: &Batch,
        on_rows: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        self.with_unchanged_file(|model| model.each_supervised_logits(batch, on_rows))
    }

    fn each_supervised_logits(
        &mut self,
        batch: &Batch,
        mut on_rows: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let supervised: Vec<usize> = supervised(batch).collect();
        let mut told = 0;
        self.on_any_device(|model| {
            model.forward(batch, Mode::Eval)?;
            for positions in supervised[told..].chunks(model.recompute.head_rows) {
                on_rows(&model.logits(positions)?)?;
                told += positions.len();
            }
            Ok(())
        })
    }

    /// The logits at these positions of the micro-batch that ran last, a row each.
    fn logits(&mut self, positions: &[usize]) -> Result<Vec<f32>> {
        self.gather(positions)?;
        let n_vocab = self.base.spec.n_vocab;
        let Parts { processor, head, chunk, .. } = &mut self.parts;
        let out = processor.matrix(positions.len(), n_vocab)?;
        let mut graph = Graph::new(HEAD_NODES)?;
        let x = graph.tensor_rows(&chunk.x, positions.len())?;
        let logits = head::logits(&mut graph, head, x)?;
        graph.store(logits, &out)?;
        for mut graph in processor.prepare(vec![graph])? {
            processor.compute(&mut graph, &mut self.operations)?;
        }
        let mut values = vec![0.0; positions.len() * n_vocab];
        processor.read(&out, 0, &mut values)?;
        Ok(values)
    }

    /// Does `work`, whose result counts only if the file under the weights is the one that was opened, before and after.
    fn with_unchanged_file<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.base.file().check()?;
        let result = work(self);
        // First of all: whatever else went wrong may have come from it.
        self.base.file().check()?;
        result
    }

    /// The first of the trained layers whose output was not finite in the last micro-batch, which had `n_tokens` tokens.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if there are not so many tokens.
    pub fn first_non_finite_layer(&mut self, n_tokens: usize) -> Result<Option<usize>> {
        let mut values = vec![0.0; n_tokens * self.base.spec.n_embd];
        let Parts { processor, residual, .. } = &mut self.parts;
        for layer in residual.lowest..self.base.spec.n_layer() {
            processor.read(residual.input(layer + 1), 0, &mut values)?;
            if !values.iter().all(|value| value.is_finite()) {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    /// Makes the graphs of `mode` for so many tokens, unless they are there.
    fn prepare_layers(&mut self, n_tokens: usize, mode: Mode) -> Result<()> {
        let Parts { processor, blocks, residual, layers, head, chunk, losses, head_graphs } = &mut self.parts;
        let made_for = layers.as_ref().map(|(mode, layers)| (*mode, layers.n_tokens));
        if made_for == Some((mode, n_tokens)) {
            return Ok(());
        }
        *layers = None; // freed before their successors are made
        let train = mode == Mode::Train;
        let capacity = self.options.capacity;
        if train && residual.saved.is_empty() {
            let RecomputePolicy { saved_attention, saved_feed_forward, .. } = self.recompute;
            let trained = blocks[residual.lowest..].iter().enumerate();
            let saved = trained.take(saved_attention.max(saved_feed_forward)).map(|(i, block)| {
                let parts = [i < saved_attention, i < saved_feed_forward];
                block.allocate_saved(parts, |n| processor.matrix(capacity, n))
            });
            residual.saved = saved.collect::<Result<_, _>>()?;
        }
        let n_dims: Vec<usize> = self.angles.iter().map(Angles::n_dims).collect();
        let is_tempered = self.base.spec.temperature.is_some();
        let shape = TokenShape { n_tokens, n_dims: &n_dims, is_tempered };
        let graphs = LayerGraphs::new(blocks, residual, shape, train)?;
        processor.hold([&*losses])?;
        // In memory of their own, which is free again when they go.
        processor.hold(residual.saved.iter().flat_map(SavedActivations::buffers))?;
        // On a GPU, graphs have their arena for as long as they are there: one that grows would be there twice.
        let n_rows = self.recompute.head_rows;
        let heads = match processor.is_gpu() {
            true => {
                head_graphs.clear();
                vec![chunk.graph(head, n_rows, mode)?]
            }
            false => Vec::new(),
        };
        let (graphs, heads) = graphs.prepare(processor, heads)?;
        head_graphs.extend(heads.into_iter().map(|graph| ((mode, n_rows), graph)));
        *layers = Some((mode, graphs));
        if processor.is_gpu() {
            // It has its own by now.
            self.base.release(self.base.layers.iter().flat_map(|weights| weights.iter()));
        }
        Ok(())
    }

    /// Runs all layers; leaves the checkpoints and the last output in the residual stream.
    fn forward(&mut self, batch: &Batch, mode: Mode) -> Result<()> {
        let n_tokens = batch.ids.len();
        self.prepare_layers(n_tokens, mode)?;
        self.set_inputs(batch)?;
        let releases = self.releases_weights();
        let Parts { processor, layers, .. } = &mut self.parts;
        let (_, layers) = layers.as_mut().expect("just made");
        let parameters = self.adapter.iter().flat_map(Adapter::parameters);
        // Without a backward pass nothing has the gradients.
        let matrices = parameters.flat_map(|p| [Some(p.value), (mode == Mode::Train).then_some(p.grad)]);
        processor.take_from_host(matrices.flatten())?;
        for (graph, weights) in layers.forward.iter_mut().zip(&self.base.layers) {
            processor.compute(graph, &mut self.operations)?;
            if releases {
                self.base.release(weights.iter());
            }
        }
        Ok(())
    }

    /// Writes what the layers take of a batch's tokens, for which their graphs are made: where they stand, and their embeddings.
    fn set_inputs(&mut self, batch: &Batch) -> Result<()> {
        let Parts { processor, layers, residual, .. } = &mut self.parts;
        let (_, layers) = layers.as_mut().expect("made for the batch");
        let angles = self.angles.iter().map(|angles| angles.table(&batch.positions, &batch.starts));
        let angles: Vec<Vec<f32>> = angles.collect();
        let temperature = self.base.spec.temperature.map(|temperature| {
            temperature::factors(&batch.positions, temperature.scale, temperature.original_context)
        });
        layers.set_tokens(&angles, temperature.as_deref(), &batch.starts)?;
        processor.take_from_host(layers.token_matrices())?;
        let n_embd = self.base.spec.n_embd;
        let mut rows = vec![0.0; EMBEDDED_ROWS * n_embd];
        for (i, ids) in batch.ids.chunks(EMBEDDED_ROWS).enumerate() {
            let rows = &mut rows[..ids.len() * n_embd];
            self.base.embed(ids, rows)?;
            processor.write(residual.input(0), i * EMBEDDED_ROWS, rows)?;
        }
        Ok(())
    }

    /// Whether weights are given back after each use. The system keeps them in its cache until somebody needs the memory,
    /// and then has them at once.
    fn releases_weights(&self) -> bool {
        !self.parts.processor.is_gpu()
            && (self.is_larger_than_memory || self.recompute == RecomputePolicy::MIN_MEMORY)
    }

    /// Runs the head over the supervised tokens, chunk by chunk; in training mode it leaves the gradient
    /// of the last output in the residual stream.
    fn run_head(&mut self, batch: &Batch, mode: Mode) -> Result<()> {
        let grad = self.parts.residual.grad.clone().filter(|_| mode == Mode::Train);
        if let Some(grad) = &grad {
            self.parts.processor.clear(grad)?;
        }
        let supervised: Vec<usize> = supervised(batch).collect();
        let mut done = 0;
        for positions in supervised.chunks(self.recompute.head_rows) {
            let targets: Vec<i32> = positions.iter().map(|&t| batch.targets[t]).collect();
            self.gather(positions)?;
            self.compute_head(&targets, mode)?;
            let Parts { processor, chunk, losses, .. } = &mut self.parts;
            let places: Vec<_> = (0..positions.len()).map(|i| [i, done + i]).collect();
            processor.copy_rows([&chunk.loss, losses], &places)?;
            done += positions.len();
            let Some(grad) = &grad else { continue };
            let places: Vec<_> = positions.iter().enumerate().map(|(i, &t)| [i, t]).collect();
            processor.copy_rows([&chunk.dx, grad], &places)?;
        }
        if self.releases_weights() {
            self.base.release([&self.base.output]);
        }
        Ok(())
    }

    /// What the head found in the micro-batch that ran last.
    fn losses(&mut self, batch: &Batch) -> Result<LossSum> {
        let n = supervised(batch).count();
        let mut pairs = vec![0.0; 2 * n];
        self.parts.processor.read(&self.parts.losses, 0, &mut pairs)?;
        let mut sum = LossSum { supervised: n as u64, ..LossSum::default() };
        for pair in pairs.chunks_exact(2) {
            sum.loss += f64::from(pair[0]);
            sum.correct += u64::from(pair[1] > 0.5);
        }
        // If the CPU finds the same, it is the run's fault and not the GPU's.
        self.parts.processor.trust_loss(sum.loss)?;
        Ok(sum)
    }

    /// Copies the last output at these positions of the micro-batch into `chunk.x`.
    fn gather(&mut self, positions: &[usize]) -> Result<()> {
        let Parts { processor, residual, chunk, .. } = &mut self.parts;
        let output = residual.input(self.base.spec.n_layer());
        let places: Vec<_> = positions.iter().enumerate().map(|(i, &t)| [t, i]).collect();
        processor.copy_rows([output, &chunk.x], &places)
    }

    /// One chunk: `chunk.x` and `targets` to `chunk.loss` and, in training mode, `chunk.dx`.
    fn compute_head(&mut self, targets: &[i32], mode: Mode) -> Result<()> {
        let n_rows = targets.len();
        let Parts { chunk, head, head_graphs, processor, .. } = &mut self.parts;
        // Of the chunks that are not full, which end a micro-batch, only the last size stays: there are many.
        let full = self.recompute.head_rows;
        let stays = |rows: usize| rows == n_rows || rows == full;
        head_graphs.retain(|(_, rows), _| stays(*rows));
        chunk.targets.retain(|rows, _| stays(*rows));
        let graph = match head_graphs.entry((mode, n_rows)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let graph = chunk.graph(head, n_rows, mode)?;
                let mut prepared = processor.prepare(vec![graph])?;
                entry.insert(prepared.swap_remove(0))
            }
        };
        chunk.targets(n_rows)?.write_i32(targets)?;
        if mode == Mode::Train {
            processor.clear(&chunk.dx)?;
        }
        processor.compute(graph, &mut self.operations)
    }
}

impl HeadChunk {
    /// Where the targets of so many rows are.
    fn targets(&mut self, n_rows: usize) -> Result<&Buffer> {
        Ok(match self.targets.entry(n_rows) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Buffer::i32(n_rows)?),
        })
    }

    /// The head's graph for so many rows.
    fn graph(&mut self, head: &Head, n_rows: usize, mode: Mode) -> Result<Graph> {
        let targets = self.targets(n_rows)?.clone();
        let buffers = [self.x.clone(), self.dx.clone(), self.loss.clone()];
        head_graph(head, &buffers, &targets, n_rows, mode == Mode::Train)
    }
}

/// Whether the model does not fit into the memory that is free, which is told.
fn is_larger_than_memory(base: &Base) -> bool {
    let file = base.file();
    let is_larger = available_bytes().is_some_and(|free| file.n_bytes() > free);
    if is_larger {
        let path = file.path().display();
        tracing::warn!(%path, "the model is larger than the memory that is free: it is read anew in every step, which is slow");
    }
    is_larger
}

/// The positions of a micro-batch that have a target.
fn supervised(batch: &Batch) -> impl Iterator<Item = usize> {
    (0..batch.targets.len()).filter(|&t| batch.targets[t] >= 0)
}
