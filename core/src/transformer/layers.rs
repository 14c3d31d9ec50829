//! The graphs of all layers for one number of tokens.

use nightgraft_ggml::{Buffer, Graph};

use super::block::{self, Block, Geometry, SavedActivations, Tokens};
use crate::Result;

/// Room for a block's forward and backward with all adapters; an overfull graph is an error, not a crash.
const BLOCK_NODES: usize = 320;

/// One forward graph a layer, and one backward graph a layer from `lowest` up. A forward graph reads the
/// layer's input from its checkpoint and writes the next one; a backward graph computes again what of the layer was not
/// saved, and turns the gradient of its output in `grad` into that of its input.
pub(super) struct LayerGraphs {
    pub(super) n_tokens: usize,
    pub(super) forward: Vec<Graph>,
    /// `backward[i]` belongs to layer `lowest + i`.
    pub(super) backward: Vec<Graph>,
    /// `[T, n_dims]`.
    angles: Buffer,
    /// An i32 row of T.
    starts: Buffer,
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
    /// Makes the graphs for `n_tokens` tokens with `n_dims` rotated values a head; with dropout and a backward pass if
    /// `train`, else neither.
    pub(super) fn new(
        blocks: &[Block],
        geometry: &Geometry,
        residual: &ResidualBuffers,
        [n_tokens, n_dims]: [usize; 2],
        train: bool,
    ) -> Result<Self> {
        let buffers = [Buffer::f32(n_tokens, n_dims)?, Buffer::i32(n_tokens)?];
        Self::with_tokens(blocks, geometry, residual, buffers, train)
    }

    /// Makes the graphs with the angles and the starts in these buffers.
    pub(super) fn with_tokens(
        blocks: &[Block],
        geometry: &Geometry,
        residual: &ResidualBuffers,
        [angles, starts]: [Buffer; 2],
        train: bool,
    ) -> Result<Self> {
        let (n_tokens, _) = angles.shape();
        let begin = |layer| -> Result<_> {
            let mut g = Graph::new(BLOCK_NODES)?;
            let x = g.tensor_rows(residual.input(layer), n_tokens)?;
            let tokens = Tokens { angles: g.tensor(&angles)?, starts: g.tensor(&starts)? };
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
            block::forward(&mut g, block, geometry, x, tokens, &saved, y)?;
            forward.push(g);

            let Some(grad) = grad else { continue };
            let (mut g, x, tokens) = begin(layer)?;
            let grad = g.tensor_rows(grad, n_tokens)?;
            let is_lowest = layer == residual.lowest;
            block::backward(&mut g, block, geometry, x, tokens, &saved, grad, is_lowest)?;
            backward.push(g);
        }
        Ok(Self { n_tokens, forward, backward, angles, starts })
    }

    /// Sets the angles of the tokens' positions and the starts of their segments.
    pub(super) fn set_tokens(&self, angles: &[f32], starts: &[i32]) -> Result<()> {
        self.angles.write(0, angles)?;
        self.starts.write_i32(starts)?;
        Ok(())
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
