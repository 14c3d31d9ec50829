//! What a model keeps in memory and what it computes again: how many bytes each choice takes, counted on graphs that are
//! never computed, and the fastest choice within a budget.

use nightgraft_ggml::Buffer;

use super::block::{Block, Geometry};
use super::layers::{LayerGraphs, Stream};
use super::model;
use super::weights::{self, MappedWeights};
use crate::Result;
use crate::base::Base;
use crate::config::Precision;
use crate::lora::{Adapter, AdapterTensors};
use crate::ops::head::Head;

/// What is kept between the forward and the backward, and how much of the head is computed at once. The numbers of a
/// micro-batch do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Trained layers, from the lowest, that keep what their attention takes and gives.
    pub attention: usize,
    /// Trained layers that keep what their feed-forward part takes.
    pub feed_forward: usize,
    /// Rows of the head computed at once: logits take this many times the vocabulary, in f32.
    pub head_rows: usize,
}

impl Layout {
    /// Everything is computed again, and few logits exist at once.
    pub const SMALLEST: Self = Self { attention: 0, feed_forward: 0, head_rows: 16 };
    /// For models that do not train.
    pub const MEASURING: Self = Self { attention: 0, feed_forward: 0, head_rows: HEAD_ROWS[0] };
}

/// The choices for [`Layout::head_rows`]. More would not be faster.
const HEAD_ROWS: [usize; 4] = [128, 64, 32, 16];
/// Products of two numbers that take as long as reading one number of a quantized matrix: measured.
const PRODUCTS_A_WEIGHT: u64 = 40;
/// The same for a product of two numbers in attention.
const PRODUCTS_A_SCORE: usize = 3;

/// What training takes in memory, in bytes, by layout.
pub struct Demand {
    capacity: usize,
    n_trained: usize,
    stream: u64,
    /// Numbers of one layer's attention and feed-forward part, if they are kept.
    kept: [u64; 2],
    /// Products of computing these again.
    again: [u64; 2],
    /// Numbers of the head's matrix.
    head_weights: u64,
    n_embd: usize,
    /// The largest arena of a layer that keeps nothing, its attention, its feed-forward part, both.
    arenas: [usize; 4],
    /// The same of the head, by [`HEAD_ROWS`].
    head_arenas: [usize; HEAD_ROWS.len()],
    /// Of the graphs themselves, and of the angles.
    graphs: u64,
    /// Of one thread.
    scratch: u64,
}

/// What a layout takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ModelBytes {
    /// The inputs of the trained layers, and the gradient on its way back through them.
    pub stream: u64,
    /// Values kept for the backward.
    pub kept: u64,
    /// Intermediate results of the largest graph, the logits among them.
    pub arena: u64,
    /// The lists of operations, the angles of the tokens, and what the head takes and gives.
    pub graphs: u64,
}

impl ModelBytes {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.stream + self.kept + self.arena + self.graphs
    }
}

impl Demand {
    /// Of training adapters shaped like `tensors` with micro-batches of up to `capacity` tokens.
    ///
    /// # Errors
    /// [`Error::Ggml`](crate::Error::Ggml) if memory runs out.
    pub fn new(base: &Base, tensors: &AdapterTensors, capacity: usize, precision: Precision) -> Result<Self> {
        let spec = &base.spec;
        let compute_type = model::compute_type(precision);
        let adapter = Adapter::planned(tensors)?;
        let mapped = MappedWeights::new(base)?;
        let geometry = weights::geometry(base, compute_type)?;
        let n_dims = weights::angles(base).n_dims();
        let lowest = adapter.lowest_layer().unwrap_or(spec.n_layer);
        // The angles of the tokens, and the table that they are copied from.
        let (mut arenas, mut graphs) = ([0; 4], 2 * 4 * (capacity * n_dims) as u64);
        for layer in 0..spec.n_layer {
            let block = mapped.block(base, layer, Some(&adapter));
            let trains = layer >= lowest;
            for (keeping, arena) in arenas.iter_mut().enumerate().take(if trains { 4 } else { 1 }) {
                let (bytes, headers) = layer_bytes(&block, &geometry, [capacity, n_dims], keeping, trains)?;
                *arena = bytes.max(*arena);
                graphs += if keeping == 0 { headers } else { 0 };
            }
        }
        let head = mapped.head(base, compute_type);
        let mut head_arenas = [0; HEAD_ROWS.len()];
        for (rows, arena) in HEAD_ROWS.iter().zip(&mut head_arenas) {
            *arena = head_bytes(&head, spec.n_embd, *rows.min(&capacity))?;
        }
        let block = mapped.block(base, lowest.min(spec.n_layer - 1), Some(&adapter));
        let columns: [usize; 2] = block.kept_columns(&geometry);
        let attended = geometry.attention.query_columns();
        let macs = |linears: &[&crate::ops::linear::Linear]| -> usize {
            linears.iter().map(|linear| linear.weight.shape()).map(|(n_out, n_in)| n_out * n_in).sum()
        };
        // Attention again: half of the tokens before each on average, scores and sums.
        let attention =
            macs(&[&block.attn_q, &block.attn_k, &block.attn_v]) + PRODUCTS_A_SCORE * capacity * attended;
        let feed_forward = macs(&[&block.attn_output, &block.ffn_gate, &block.ffn_up]);
        let n_trained = spec.n_layer - lowest;
        Ok(Self {
            capacity,
            n_trained,
            stream: 4 * ((n_trained + 2) * capacity * spec.n_embd) as u64,
            kept: columns.map(|n| 4 * (n * capacity) as u64),
            again: [attention, feed_forward].map(|n| (n * capacity) as u64),
            head_weights: (spec.n_vocab * spec.n_embd) as u64,
            n_embd: spec.n_embd,
            arenas,
            head_arenas,
            graphs,
            scratch: nightgraft_kernels::scratch_bytes(capacity, &geometry.attention) as u64,
        })
    }

    /// Working memory of each thread that computes, whatever the layout.
    pub fn scratch(&self) -> u64 {
        self.scratch
    }

    /// What `layout` takes.
    pub fn bytes(&self, layout: Layout) -> ModelBytes {
        let [attention, feed_forward] = self.kept;
        let both = layout.attention.min(layout.feed_forward);
        let either = layout.attention.max(layout.feed_forward);
        // Measuring runs the layers without keeping anything, but its graphs are smaller than those of the backward.
        let present = [
            either < self.n_trained || self.n_trained == 0,
            layout.attention > both,
            layout.feed_forward > both,
            both > 0,
        ];
        let layers = self.arenas.iter().zip(present).filter(|(_, present)| *present).map(|(bytes, _)| *bytes);
        let head = HEAD_ROWS.iter().position(|&rows| rows <= layout.head_rows).unwrap_or(HEAD_ROWS.len() - 1);
        ModelBytes {
            stream: self.stream,
            kept: layout.attention as u64 * attention + layout.feed_forward as u64 * feed_forward,
            arena: layers.chain([self.head_arenas[head]]).max().unwrap_or(0) as u64,
            graphs: self.graphs + 4 * (2 * layout.head_rows * self.n_embd) as u64,
        }
    }

    /// The fastest layout where memory is not limited, but for `spare` bytes of kept values.
    pub fn unlimited(&self, spare: u64) -> Layout {
        let whole = Layout { head_rows: HEAD_ROWS[0], ..Layout::SMALLEST };
        self.within(self.bytes(whole).total() + spare).unwrap_or(Layout::SMALLEST)
    }

    /// The fastest layout that takes at most `budget` bytes; none if even the smallest takes more.
    pub fn within(&self, budget: u64) -> Option<Layout> {
        let fits = |layout: &Layout| self.bytes(*layout).total() <= budget;
        let n = self.n_trained;
        // Layers keep the feed-forward part first, then the attention, too: whichever saves more for its bytes.
        let feed_forward_first = self.again[1] * self.kept[0] >= self.again[0] * self.kept[1];
        let layouts = HEAD_ROWS.into_iter().filter_map(|head_rows| {
            let filled = |i: usize| {
                let (first, second) = (i.min(n), i.saturating_sub(n));
                let (feed_forward, attention) =
                    if feed_forward_first { (first, second) } else { (second, first) };
                Layout { attention, feed_forward, head_rows }
            };
            (0..=2 * n).rev().map(filled).find(fits)
        });
        layouts.min_by_key(|layout| self.cost(layout))
    }

    /// Products' worth of time that a layout takes beyond the largest.
    fn cost(&self, layout: &Layout) -> u64 {
        let [attention, feed_forward] = self.again;
        let chunks = self.capacity.div_ceil(layout.head_rows) as u64;
        // The head's matrix is read forward and backward for every chunk.
        attention * (self.n_trained - layout.attention) as u64
            + feed_forward * (self.n_trained - layout.feed_forward) as u64
            + 2 * chunks * self.head_weights * PRODUCTS_A_WEIGHT
    }
}

/// Bytes of the larger of a layer's two arenas, and of the graphs themselves; `keeping` has a bit for each part.
fn layer_bytes(
    block: &Block,
    geometry: &Geometry,
    [n_tokens, n_dims]: [usize; 2],
    keeping: usize,
    trains: bool,
) -> Result<(usize, u64)> {
    let rows = || Buffer::unallocated(n_tokens, block.attn_output.n_out());
    let kept =
        block.keep(geometry, [keeping & 1 > 0, keeping & 2 > 0], |n| Buffer::unallocated(n_tokens, n))?;
    // Two layers, because the lowest takes less than those above it.
    let stream = Stream {
        lowest: 0,
        hidden: vec![rows()?, rows()?, rows()?],
        kept: vec![kept.clone(), kept],
        grad: trains.then(rows).transpose()?,
    };
    let blocks = [block.clone(), block.clone()];
    let buffers = [Buffer::unallocated(n_tokens, n_dims)?, Buffer::unallocated_i32(n_tokens)?];
    let mut graphs = LayerGraphs::with_tokens(&blocks, geometry, &stream, buffers, trains)?;
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
    Ok(model::head_graph(head, &chunk, &Buffer::unallocated_i32(n_rows)?, n_rows, true)?.arena_bytes())
}
