//! The graphs of all layers for one number of tokens.

use nightgraft_ggml::{Buffer, Graph};

use super::block::{self, Block, SavedActivations, Tokens};
use super::processor::{Prepared, Processor};
use crate::Result;

/// Room for a block's forward and backward with all adapters; an overfull graph is an error, not a crash.
const BLOCK_NODES: usize = 320;

/// One forward graph a layer, and one backward graph a layer from `lowest` up. A forward graph reads the
/// layer's input from its checkpoint and writes the next one; a backward graph computes again what of the layer was not
/// saved, and turns the gradient of its output in `grad` into that of its input.
pub(super) struct LayerGraphs<G = Graph> {
    pub(super) n_tokens: usize,
    pub(super) forward: Vec<G>,
    /// `backward[i]` belongs to layer `lowest + i`.
    pub(super) backward: Vec<G>,
    tokens: TokenBuffers,
}

/// What all layers need to know of a micro-batch's tokens.
pub(super) struct TokenBuffers {
    /// `[T, n_dims]`, for each rope.
    angles: Vec<Buffer>,
    /// `[T, 1]`, where queries grow with their position.
    temperature: Option<Buffer>,
    /// An i32 row of T.
    starts: Buffer,
}

/// Which of [`TokenBuffers`] a model has.
#[derive(Clone, Copy)]
pub(super) struct TokenShape<'a> {
    pub(super) n_tokens: usize,
    /// Values a token that each rope turns.
    pub(super) n_dims: &'a [usize],
    pub(super) is_tempered: bool,
}

impl TokenBuffers {
    /// Buffers as `matrix` and `row` make them.
    pub(super) fn new(
        shape: TokenShape,
        matrix: impl Fn(usize, usize) -> Result<Buffer, nightgraft_ggml::Error>,
        row: impl Fn(usize) -> Result<Buffer, nightgraft_ggml::Error>,
    ) -> Result<Self> {
        let TokenShape { n_tokens, n_dims, is_tempered } = shape;
        Ok(Self {
            angles: n_dims.iter().map(|&n| matrix(n_tokens, n)).collect::<Result<_, _>>()?,
            temperature: is_tempered.then(|| matrix(n_tokens, 1)).transpose()?,
            starts: row(n_tokens)?,
        })
    }
}

/// The matrices of the residual stream, which live between the layers, and what else is saved of these.
pub(super) struct ResidualBuffers {
    /// The lowest adapted layer; the number of layers if there is none.
    pub(super) lowest: usize,
    /// `[capacity, n_embd]` each: the inputs of the layers from `lowest` on, then the last output. Layers
    /// below `lowest` work in place in the first one.
    pub(super) hidden: Vec<Buffer>,
    /// What else of the layers from `lowest` on is saved for the backward.
    pub(super) saved: Vec<SavedActivations>,
    /// Gradient of the residual stream, `[capacity, n_embd]`.
    pub(super) grad: Option<Buffer>,
}

impl ResidualBuffers {
    /// The input of `layer`; for the number of layers, the last output.
    pub(super) fn input(&self, layer: usize) -> &Buffer {
        &self.hidden[layer.saturating_sub(self.lowest)]
    }
}

impl LayerGraphs {
    /// Makes the graphs for so many tokens; with dropout and a backward pass if `train`, else neither.
    pub(super) fn new(
        blocks: &[Block],
        residual: &ResidualBuffers,
        shape: TokenShape,
        train: bool,
    ) -> Result<Self> {
        Self::with_tokens(blocks, residual, TokenBuffers::new(shape, Buffer::f32, Buffer::i32)?, train)
    }

    /// Makes the graphs with what is known of the tokens in these buffers.
    pub(super) fn with_tokens(
        blocks: &[Block],
        residual: &ResidualBuffers,
        tokens: TokenBuffers,
        train: bool,
    ) -> Result<Self> {
        let (_, n_tokens) = tokens.starts.shape();
        let begin = |layer: usize| -> Result<_> {
            let mut g = Graph::new(BLOCK_NODES)?;
            let x = g.tensor_rows(residual.input(layer), n_tokens)?;
            let attention = blocks[layer].attention();
            let angles = attention.rope.and_then(|rope| tokens.angles.get(rope));
            let temperature = tokens.temperature.as_ref().filter(|_| attention.is_tempered);
            let tokens = Tokens {
                angles: angles.map(|angles| g.tensor(angles)).transpose()?,
                temperature: temperature.map(|factors| g.tensor(factors)).transpose()?,
                starts: g.tensor(&tokens.starts)?,
            };
            Ok((g, x, tokens))
        };
        let mut forward = Vec::new();
        let mut backward = Vec::new();
        for (layer, block) in blocks.iter().enumerate() {
            let block = if train { block } else { &without_dropout(block) };
            let grad = residual.grad.as_ref().filter(|_| train && layer >= residual.lowest);
            let saved =
                grad.and_then(|_| residual.saved.get(layer - residual.lowest)).cloned().unwrap_or_default();
            let (mut g, x, tokens) = begin(layer)?;
            let y = g.tensor_rows(residual.input(layer + 1), n_tokens)?;
            block::forward(&mut g, block, x, tokens, &saved, y)?;
            forward.push(g);

            let Some(grad) = grad else { continue };
            let (mut g, x, tokens) = begin(layer)?;
            let grad = g.tensor_rows(grad, n_tokens)?;
            let is_lowest = layer == residual.lowest;
            block::backward(&mut g, block, x, tokens, &saved, grad, is_lowest)?;
            backward.push(g);
        }
        Ok(Self { n_tokens, forward, backward, tokens })
    }

    /// Makes these graphs ready to be computed, together with others, which are given back.
    pub(super) fn prepare(
        self,
        processor: &mut Processor,
        others: Vec<Graph>,
    ) -> Result<(LayerGraphs<Prepared>, Vec<Prepared>)> {
        let Self { n_tokens, forward, backward, tokens } = self;
        let (n_forward, n_layers) = (forward.len(), forward.len() + backward.len());
        let mut forward = processor.prepare(forward.into_iter().chain(backward).chain(others).collect())?;
        let others = forward.split_off(n_layers);
        let backward = forward.split_off(n_forward);
        Ok((LayerGraphs { n_tokens, forward, backward, tokens }, others))
    }
}

impl<G> LayerGraphs<G> {
    /// Sets the angles of the tokens' positions for each rope, the factors of their queries, and the starts of their segments.
    pub(super) fn set_tokens(
        &self,
        angles: &[Vec<f32>],
        temperature: Option<&[f32]>,
        starts: &[i32],
    ) -> Result<()> {
        for (buffer, angles) in self.tokens.angles.iter().zip(angles) {
            buffer.write(0, angles)?;
        }
        if let (Some(buffer), Some(factors)) = (&self.tokens.temperature, temperature) {
            buffer.write(0, factors)?;
        }
        self.tokens.starts.write_i32(starts)?;
        Ok(())
    }

    /// The matrices of floats that it sets.
    pub(super) fn token_matrices(&self) -> impl Iterator<Item = &Buffer> {
        self.tokens.angles.iter().chain(&self.tokens.temperature)
    }
}

fn without_dropout(block: &Block) -> Block {
    let mut block = block.clone();
    for linear in block.linears_mut() {
        if let Some(adapter) = &mut linear.adapter {
            adapter.dropout = None;
        }
    }
    block
}
