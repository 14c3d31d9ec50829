//! How many bytes of memory training takes under each [`RecomputePolicy`], counted on graphs that are never computed, and
//! the fastest policy within a budget.

use nightgraft_adapter::AdapterTensors;
use nightgraft_ggml::Buffer;

use super::block::Block;
use super::head_graph::head_graph;
use super::layers::{LayerGraphs, ResidualBuffers, TokenBuffers, TokenShape};
use super::precision::compute_type;
use super::recompute::{HEAD_ROWS, RecomputePolicy};
use super::weights::{self, MappedWeights};
use crate::Result;
use crate::base::Base;
use crate::config::Precision;
use crate::lora::Adapter;
use crate::ops::head::Head;
use crate::ops::rope::Angles;

/// Multiplications of two numbers that take as long as reading one number of a quantized matrix: measured.
const MACS_PER_WEIGHT: u64 = 40;
/// Multiplications of two numbers in a matrix product that take as long as one in attention: measured.
const MACS_PER_SCORE: usize = 3;

/// What training takes in memory, in bytes, by policy.
pub struct MemoryEstimate {
    capacity: usize,
    n_trained: usize,
    /// Bytes of the residual stream's inputs and gradient.
    residual: u64,
    /// Bytes of one layer's attention and feed-forward part, if they are saved.
    saved: [u64; 2],
    /// Multiplications that computing these again takes.
    recompute_macs: [u64; 2],
    /// Numbers of the head's matrix.
    head_weights: u64,
    n_embd: usize,
    /// The largest arena of a layer that saves nothing, its attention, its feed-forward part, both.
    arenas: [usize; 4],
    /// The head's arena for each of [`HEAD_ROWS`].
    head_arenas: [usize; HEAD_ROWS.len()],
    /// Bytes of the graphs themselves, and of the angles.
    graphs: u64,
    /// Bytes of working memory of one thread.
    scratch: u64,
}

/// What a policy takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ModelBytes {
    /// The inputs of the trained layers, and the gradient on its way back through them.
    #[serde(rename = "stream")]
    pub residual: u64,
    /// Activations saved for the backward.
    #[serde(rename = "kept")]
    pub saved: u64,
    /// Intermediate results of the largest graph, the logits among them.
    pub arena: u64,
    /// The lists of operations, the angles of the tokens, and what the head takes and gives.
    pub graphs: u64,
}

impl ModelBytes {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.residual + self.saved + self.arena + self.graphs
    }
}

impl MemoryEstimate {
    /// Counts what training adapters shaped like `tensors` takes, with micro-batches of up to `capacity` tokens.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if memory runs out.
    pub fn new(base: &Base, tensors: &AdapterTensors, capacity: usize, precision: Precision) -> Result<Self> {
        let spec = &base.spec;
        let compute_type = compute_type(precision);
        let adapter = Adapter::planned(tensors)?;
        let mapped = MappedWeights::new(base)?;
        let n_dims: Vec<usize> = weights::angles(base).iter().map(Angles::n_dims).collect();
        let is_tempered = spec.temperature.is_some();
        let shape = TokenShape { n_tokens: capacity, n_dims: &n_dims, is_tempered };
        let n_layer = spec.n_layer();
        let lowest = adapter.lowest_layer().unwrap_or(n_layer);
        // The angles and factors of the tokens, and the tables that they are copied from.
        let per_token = n_dims.iter().sum::<usize>() + usize::from(is_tempered);
        let (mut arenas, mut graphs) = ([0; 4], 2 * 4 * (capacity * per_token) as u64);
        let (mut saved, mut recompute_macs, mut scratch) = ([0; 2], [0; 2], 0);
        let has_slow_formats = !base.slow_formats().is_empty();
        for layer in 0..n_layer {
            let block = mapped.block(base, layer, Some(&adapter), compute_type)?;
            let trains = layer >= lowest;
            for (saving, arena) in arenas.iter_mut().enumerate().take(if trains { 4 } else { 1 }) {
                let (bytes, headers) = layer_bytes(&block, shape, saving, trains)?;
                *arena = bytes.max(*arena);
                graphs += if saving == 0 { headers } else { 0 };
            }
            let attention = &block.attention().shape;
            let bytes = nightgraft_kernels::scratch_bytes(capacity, attention, has_slow_formats);
            scratch = scratch.max(bytes as u64);
            if trains || layer + 1 == n_layer {
                // Attention again: half of the tokens before each on average, scores and sums.
                let [of_attention, of_feed_forward] = block.recompute_macs();
                let scores = MACS_PER_SCORE * capacity * attention.query_columns();
                let macs = [of_attention + scores, of_feed_forward];
                for part in 0..2 {
                    // Layers may differ; a plan counts with the largest.
                    saved[part] = block.saved_columns()[part].max(saved[part]);
                    recompute_macs[part] = macs[part].max(recompute_macs[part]);
                }
            }
        }
        let head = mapped.head(base, compute_type);
        let mut head_arenas = [0; HEAD_ROWS.len()];
        for (rows, arena) in HEAD_ROWS.iter().zip(&mut head_arenas) {
            *arena = head_bytes(&head, spec.n_embd, *rows.min(&capacity))?;
        }
        let n_trained = n_layer - lowest;
        Ok(Self {
            capacity,
            n_trained,
            residual: 4 * ((n_trained + 2) * capacity * spec.n_embd) as u64,
            saved: saved.map(|n| 4 * (n * capacity) as u64),
            recompute_macs: recompute_macs.map(|n| (n * capacity) as u64),
            head_weights: (spec.n_vocab * spec.n_embd) as u64,
            n_embd: spec.n_embd,
            arenas,
            head_arenas,
            graphs,
            scratch,
        })
    }

    /// Working memory of each thread that computes, whatever the policy.
    pub fn scratch_per_thread(&self) -> u64 {
        self.scratch
    }

    /// What `policy` takes.
    pub fn bytes(&self, policy: RecomputePolicy) -> ModelBytes {
        let [attention, feed_forward] = self.saved;
        let both = policy.saved_attention.min(policy.saved_feed_forward);
        let either = policy.saved_attention.max(policy.saved_feed_forward);
        // Measuring runs the layers without saving anything, but its graphs are smaller than those of the backward.
        let present = [
            either < self.n_trained || self.n_trained == 0,
            policy.saved_attention > both,
            policy.saved_feed_forward > both,
            both > 0,
        ];
        let layers = self.arenas.iter().zip(present).filter(|(_, present)| *present).map(|(bytes, _)| *bytes);
        let head = HEAD_ROWS.iter().position(|&rows| rows <= policy.head_rows).unwrap_or(HEAD_ROWS.len() - 1);
        ModelBytes {
            residual: self.residual,
            saved: policy.saved_attention as u64 * attention
                + policy.saved_feed_forward as u64 * feed_forward,
            arena: layers.chain([self.head_arenas[head]]).max().unwrap_or(0) as u64,
            graphs: self.graphs + 4 * (2 * policy.head_rows * self.n_embd) as u64,
        }
    }

    /// The fastest policy where memory is not limited, but for `spare` bytes of saved activations.
    pub fn fastest_with_spare(&self, spare: u64) -> RecomputePolicy {
        let whole = RecomputePolicy { head_rows: HEAD_ROWS[0], ..RecomputePolicy::MIN_MEMORY };
        self.fastest_within(self.bytes(whole).total() + spare).unwrap_or(RecomputePolicy::MIN_MEMORY)
    }

    /// The fastest policy that takes at most `budget` bytes; none if even the smallest takes more.
    pub fn fastest_within(&self, budget: u64) -> Option<RecomputePolicy> {
        let fits = |policy: &RecomputePolicy| self.bytes(*policy).total() <= budget;
        let n = self.n_trained;
        // Layers save the feed-forward part first, then the attention, too, or the other way round: whichever spares more
        // time for its bytes comes first.
        let feed_forward_first =
            self.recompute_macs[1] * self.saved[0] >= self.recompute_macs[0] * self.saved[1];
        let policies = HEAD_ROWS.into_iter().filter_map(|head_rows| {
            let filled = |i: usize| {
                let (first, second) = (i.min(n), i.saturating_sub(n));
                let (saved_feed_forward, saved_attention) =
                    if feed_forward_first { (first, second) } else { (second, first) };
                RecomputePolicy { saved_attention, saved_feed_forward, head_rows }
            };
            (0..=2 * n).rev().map(filled).find(fits)
        });
        policies.min_by_key(|policy| self.recompute_cost(policy))
    }

    /// The time that a policy costs: what it computes again, and reading the head's matrix for each chunk, both counted in
    /// multiplications.
    fn recompute_cost(&self, policy: &RecomputePolicy) -> u64 {
        let [attention, feed_forward] = self.recompute_macs;
        let chunks = self.capacity.div_ceil(policy.head_rows) as u64;
        // The head's matrix is read forward and backward for every chunk.
        attention * (self.n_trained - policy.saved_attention) as u64
            + feed_forward * (self.n_trained - policy.saved_feed_forward) as u64
            + 2 * chunks * self.head_weights * MACS_PER_WEIGHT
    }
}

/// Bytes of the larger of a layer's two arenas, and of the graphs themselves; `saving` has a bit for each part.
fn layer_bytes(block: &Block, shape: TokenShape, saving: usize, trains: bool) -> Result<(usize, u64)> {
    let rows = || Buffer::unallocated(shape.n_tokens, block.n_embd());
    let saved =
        block.allocate_saved([saving & 1 > 0, saving & 2 > 0], |n| Buffer::unallocated(shape.n_tokens, n))?;
    // Two layers, because the lowest takes less than those above it.
    let residual = ResidualBuffers {
        lowest: 0,
        hidden: vec![rows()?, rows()?, rows()?],
        saved: vec![saved.clone(), saved],
        grad: trains.then(rows).transpose()?,
    };
    let blocks = [block.clone(), block.clone()];
    let tokens = TokenBuffers::new(shape, Buffer::unallocated, Buffer::unallocated_i32)?;
    let mut graphs = LayerGraphs::with_tokens(&blocks, &residual, tokens, trains)?;
    let (mut arena, mut headers) = (0, 0);
    for graph in graphs.forward.last_mut().into_iter().chain(graphs.backward.last_mut()) {
        arena = graph.arena_bytes().max(arena);
        headers += graph.header_bytes() as u64;
    }
    Ok((arena, headers))
}

fn head_bytes(head: &Head, n_embd: usize, n_rows: usize) -> Result<usize> {
    let rows = || Buffer::unallocated(n_rows, n_embd);
    let chunk = [rows()?, rows()?, Buffer::unallocated(n_rows, 2)?];
    Ok(head_graph(head, &chunk, &Buffer::unallocated_i32(n_rows)?, n_rows, true)?.arena_bytes())
}

#[cfg(test)]
mod tests;
