//! Running a whole model over one micro-batch.

#[cfg(all(test, target_arch = "x86_64"))]
mod on_gpu;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nightgraft_ggml::{Buffer, Cpu, Graph};
use nightgraft_text::data::Batch;

use super::block::Block;
use super::head_graph::{HEAD_NODES, head_graph};
use super::layers::{LayerGraphs, ResidualBuffers, TokenShape};
use super::precision::compute_type;
use super::recompute::RecomputePolicy;
use super::weights::{self, MappedWeights};
use crate::Result;
use crate::base::Base;
use crate::config::Precision;
use crate::lora::Adapter;
use crate::ops::head::{self, Head};
use crate::ops::rope::Angles;
use crate::ops::temperature;
use crate::process_memory::available_bytes;

/// A base model, with or without an adapter, that runs micro-batches of up to a fixed number of tokens.
pub struct Model {
    base: Base,
    blocks: Vec<Block>,
    /// For each rope of the model.
    angles: Vec<Angles>,
    residual: ResidualBuffers,
    /// The graphs for the mode and the number of tokens last seen.
    layers: Option<(Mode, LayerGraphs)>,
    head: Head,
    chunk: HeadChunk,
    /// The head's graphs by mode and number of rows.
    head_graphs: HashMap<(Mode, usize), Graph>,
    capacity: usize,
    /// The policy that was asked for.
    requested_recompute: RecomputePolicy,
    /// The policy in use.
    recompute: RecomputePolicy,
    /// The model's file is larger than the memory that was free.
    is_larger_than_memory: bool,
    cpu: Cpu,
}

/// What a model is prepared for.
#[derive(Debug, Clone, Copy)]
pub struct ModelOptions {
    /// Whether there is room for computing the adapter's gradients.
    pub trains: bool,
    /// The most tokens of a micro-batch.
    pub capacity: usize,
    /// Threads that compute.
    pub n_threads: usize,
    /// How products are computed.
    pub precision: Precision,
    /// What is saved for the backward.
    pub recompute: RecomputePolicy,
}

impl ModelOptions {
    /// No gradients, exact products.
    pub fn for_eval(capacity: usize, n_threads: usize) -> Self {
        Self {
            trains: false,
            capacity,
            n_threads,
            precision: Precision::F32,
            recompute: RecomputePolicy::EVAL,
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
        let ModelOptions { trains, capacity, n_threads, precision, recompute } = options;
        let compute_type = compute_type(precision);
        let (n_layer, n_embd) = (base.spec.n_layer(), base.spec.n_embd);
        let mapped = MappedWeights::new(&base)?;
        let blocks = (0..n_layer).map(|layer| mapped.block(&base, layer, adapter, compute_type));
        let blocks = blocks.collect::<Result<_>>()?;
        let lowest = adapter.filter(|_| trains).and_then(Adapter::lowest_layer).unwrap_or(n_layer);
        let rows = |n| Buffer::f32(n, n_embd);
        let file = base.file();
        let is_larger_than_memory = available_bytes().is_some_and(|free| file.n_bytes() > free);
        if is_larger_than_memory {
            let path = file.path().display();
            tracing::warn!(%path, "the model is larger than the memory that is free: it is read anew in every step, which is slow");
        }
        Ok(Self {
            blocks,
            angles: weights::angles(&base),
            residual: ResidualBuffers {
                lowest,
                hidden: (lowest..=n_layer).map(|_| rows(capacity)).collect::<Result<_, _>>()?,
                saved: Vec::new(),
                grad: trains.then(|| rows(capacity)).transpose()?,
            },
            layers: None,
            head: mapped.head(&base, compute_type),
            chunk: HeadChunk {
                x: rows(recompute.head_rows)?,
                dx: rows(recompute.head_rows)?,
                targets: HashMap::new(),
                loss: Buffer::f32(recompute.head_rows, 2)?,
            },
            head_graphs: HashMap::new(),
            capacity,
            requested_recompute: recompute,
            recompute,
            is_larger_than_memory,
            cpu: Cpu::new(n_threads, stop)?,
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
        let recompute = if small { RecomputePolicy::MIN_MEMORY } else { self.requested_recompute };
        if recompute != self.recompute {
            self.recompute = recompute;
            self.release();
        }
    }

    /// Gives back what computing takes; the next micro-batch takes it again.
    pub fn release(&mut self) {
        self.head_graphs.clear();
        self.layers = None;
        self.residual.saved.clear();
        self.cpu.release_arena();
    }

    /// The loss of a micro-batch.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) if the stop flag was raised, [`Error::Ggml`](crate::Error::Ggml) if memory runs out or the batch is
    /// larger than the capacity, [`Error::ModelChanged`](crate::Error::ModelChanged) if the weights are not what they were.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<LossSum> {
        self.with_unchanged_file(|model| {
            model.forward(batch, Mode::Eval)?;
            model.run_head(batch, Mode::Eval)
        })
    }

    /// The loss of a micro-batch; adds the gradients of its *sum* over supervised tokens to the sums in the
    /// adapter's own buffers. Only for a model that `trains`.
    ///
    /// # Errors
    /// As [`Model::evaluate`]. After any of them the adapter's gradients are undefined.
    pub fn accumulate_gradients(&mut self, batch: &Batch) -> Result<LossSum> {
        self.with_unchanged_file(|model| model.forward_and_backward(batch))
    }

    fn forward_and_backward(&mut self, batch: &Batch) -> Result<LossSum> {
        self.forward(batch, Mode::Train)?;
        let sum = self.run_head(batch, Mode::Train)?;
        let releases = self.releases_weights();
        let (_, layers) = self.layers.as_mut().expect("made by the forward pass");
        let trained = &self.base.layers[self.residual.lowest..];
        for (graph, weights) in layers.backward.iter_mut().zip(trained).rev() {
            self.cpu.compute(graph)?;
            if releases {
                self.base.release(weights.iter());
            }
        }
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
        self.forward(batch, Mode::Eval)?;
        let supervised: Vec<usize> = supervised(batch).collect();
        for positions in supervised.chunks(self.recompute.head_rows) {
            self.gather(positions)?;
            let out = Buffer::f32(positions.len(), self.base.spec.n_vocab)?;
            let mut graph = Graph::new(HEAD_NODES)?;
            let x = graph.tensor_rows(&self.chunk.x, positions.len())?;
            let logits = head::logits(&mut graph, &self.head, x)?;
            graph.store(logits, &out)?;
            self.cpu.compute(&mut graph)?;
            on_rows(&out.to_vec()?)?;
        }
        Ok(())
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
    pub fn first_non_finite_layer(&self, n_tokens: usize) -> Result<Option<usize>> {
        let mut values = vec![0.0; n_tokens * self.base.spec.n_embd];
        for layer in self.residual.lowest..self.base.spec.n_layer() {
            self.residual.input(layer + 1).read(0, &mut values)?;
            if !values.iter().all(|value| value.is_finite()) {
                return Ok(Some(layer));
            }
        }
        Ok(None)
    }

    /// Makes the graphs of `mode` for so many tokens, unless they are there.
    fn prepare_layers(&mut self, n_tokens: usize, mode: Mode) -> Result<()> {
        let made_for = self.layers.as_ref().map(|(mode, layers)| (*mode, layers.n_tokens));
        if made_for != Some((mode, n_tokens)) {
            self.layers = None; // freed before their successors are made
            let train = mode == Mode::Train;
            if train && self.residual.saved.is_empty() {
                let RecomputePolicy { saved_attention, saved_feed_forward, .. } = self.recompute;
                let trained = self.blocks[self.residual.lowest..].iter().enumerate();
                let saved = trained.take(saved_attention.max(saved_feed_forward)).map(|(i, block)| {
                    let parts = [i < saved_attention, i < saved_feed_forward];
                    block.allocate_saved(parts, |n| Buffer::f32(self.capacity, n))
                });
                self.residual.saved = saved.collect::<Result<_, _>>()?;
            }
            let n_dims: Vec<usize> = self.angles.iter().map(Angles::n_dims).collect();
            let is_tempered = self.base.spec.temperature.is_some();
            let shape = TokenShape { n_tokens, n_dims: &n_dims, is_tempered };
            let layers = LayerGraphs::new(&self.blocks, &self.residual, shape, train)?;
            self.layers = Some((mode, layers));
        }
        Ok(())
    }

    /// Runs all layers; leaves the checkpoints and the last output in the residual stream.
    fn forward(&mut self, batch: &Batch, mode: Mode) -> Result<()> {
        let n_tokens = batch.ids.len();
        self.prepare_layers(n_tokens, mode)?;
        self.set_inputs(batch)?;
        let releases = self.releases_weights();
        let (_, layers) = self.layers.as_mut().expect("just made");
        for (graph, weights) in layers.forward.iter_mut().zip(&self.base.layers) {
            self.cpu.compute(graph)?;
            if releases {
                self.base.release(weights.iter());
            }
        }
        Ok(())
    }

    /// Writes what the layers take of a batch's tokens, for which their graphs are made: where they stand, and their embeddings.
    fn set_inputs(&mut self, batch: &Batch) -> Result<()> {
        let (_, layers) = self.layers.as_mut().expect("made for the batch");
        let angles = self.angles.iter().map(|angles| angles.table(&batch.positions, &batch.starts));
        let angles: Vec<Vec<f32>> = angles.collect();
        let temperature = self.base.spec.temperature.map(|temperature| {
            temperature::factors(&batch.positions, temperature.scale, temperature.original_context)
        });
        layers.set_tokens(&angles, temperature.as_deref(), &batch.starts)?;
        let mut row = vec![0.0; self.base.spec.n_embd];
        for (t, &id) in batch.ids.iter().enumerate() {
            self.base.embed(&[id], &mut row)?;
            self.residual.input(0).write(t, &row)?;
        }
        Ok(())
    }

    /// Whether weights are given back after each use. The system keeps them in its cache until somebody needs the memory,
    /// and then has them at once.
    fn releases_weights(&self) -> bool {
        self.is_larger_than_memory || self.recompute == RecomputePolicy::MIN_MEMORY
    }

    /// Runs the head over the supervised tokens, chunk by chunk; in training mode it leaves the gradient
    /// of the last output in the residual stream.
    fn run_head(&mut self, batch: &Batch, mode: Mode) -> Result<LossSum> {
        let n_embd = self.base.spec.n_embd;
        let grad = self.residual.grad.clone().filter(|_| mode == Mode::Train);
        if let Some(grad) = &grad {
            grad.clear()?;
        }
        let supervised: Vec<usize> = supervised(batch).collect();
        let mut sum = LossSum { supervised: supervised.len() as u64, ..LossSum::default() };
        let mut row = vec![0.0; n_embd];
        for positions in supervised.chunks(self.recompute.head_rows) {
            let targets: Vec<i32> = positions.iter().map(|&t| batch.targets[t]).collect();
            self.gather(positions)?;
            self.compute_head(&targets, mode)?;
            let mut losses = vec![0.0; 2 * positions.len()];
            self.chunk.loss.read(0, &mut losses)?;
            for pair in losses.chunks_exact(2) {
                sum.loss += f64::from(pair[0]);
                sum.correct += u64::from(pair[1] > 0.5);
            }
            let Some(grad) = &grad else { continue };
            for (i, &t) in positions.iter().enumerate() {
                self.chunk.dx.read(i, &mut row)?;
                grad.write(t, &row)?;
            }
        }
        if self.releases_weights() {
            self.base.release([&self.base.output]);
        }
        Ok(sum)
    }

    /// Copies the last output at these positions of the micro-batch into `chunk.x`.
    fn gather(&mut self, positions: &[usize]) -> Result<()> {
        let output = self.residual.input(self.base.spec.n_layer());
        let mut row = vec![0.0; self.base.spec.n_embd];
        for (i, &t) in positions.iter().enumerate() {
            output.read(t, &mut row)?;
            self.chunk.x.write(i, &row)?;
        }
        Ok(())
    }

    /// One chunk: `chunk.x` and `targets` to `chunk.loss` and, in training mode, `chunk.dx`.
    fn compute_head(&mut self, targets: &[i32], mode: Mode) -> Result<()> {
        let n_rows = targets.len();
        let Self { chunk, head, head_graphs, cpu, recompute, .. } = self;
        // Of the chunks that are not full, which end a micro-batch, only the last size stays: there are many.
        let stays = |rows: usize| rows == n_rows || rows == recompute.head_rows;
        head_graphs.retain(|(_, rows), _| stays(*rows));
        chunk.targets.retain(|rows, _| stays(*rows));
        let targets_buffer = match chunk.targets.entry(n_rows) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Buffer::i32(n_rows)?),
        }
        .clone();
        targets_buffer.write_i32(targets)?;
        chunk.dx.clear()?;
        let graph = match head_graphs.entry((mode, n_rows)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let buffers = [chunk.x.clone(), chunk.dx.clone(), chunk.loss.clone()];
                entry.insert(head_graph(head, &buffers, &targets_buffer, n_rows, mode == Mode::Train)?)
            }
        };
        Ok(cpu.compute(graph)?)
    }
}

/// The positions of a micro-batch that have a target.
fn supervised(batch: &Batch) -> impl Iterator<Item = usize> {
    (0..batch.targets.len()).filter(|&t| batch.targets[t] >= 0)
}
