//! One transformer block: attention and feed-forward, each behind a norm and beside a residual stream.
//!
//! ```text
//! h  = norm(x)                  q, k, v = h Wqᵀ, h Wkᵀ, h Wvᵀ (each with its adapter and, if it has one, its bias)
//! x1 = x + attention(rope(q), rope(k), v) Woᵀ
//! y  = x1 + (silu(h2 Wgᵀ) ⊙ h2 Wuᵀ) Wdᵀ              h2 = norm(x1)
//! ```
//!
//! In mixed precision the backward sees `x1` and the activation's two arguments rounded to bfloat16. They are saved so, which
//! halves the largest part of what is saved, and rounded also where they are computed again, so that the result is the same.

use nightgraft_ggml::{AttentionShape, Buffer, ComputeType, Error, Graph, Output, Tensor, bf16_columns};

use crate::ops::linear::{self, Linear, MatmulInput};
use crate::ops::norm::{self, Norm};
use crate::ops::rope::{self, PairLayout};
use crate::ops::{attention, swiglu};

/// What all blocks of a model share.
#[derive(Clone)]
pub struct Geometry {
    /// Heads and their sizes.
    pub attention: AttentionShape,
    /// Which values of a head are rotated together.
    pub layout: PairLayout,
    /// How products with frozen matrices are computed. 16-bit integers mean mixed precision: values of the feed-forward part
    /// are then saved in bfloat16.
    pub compute_type: ComputeType,
}

impl Geometry {
    fn is_mixed(&self) -> bool {
        self.compute_type == ComputeType::Int16
    }
}

/// The matrices of one block, with their adapters.
#[derive(Clone)]
pub struct Block {
    /// Before the attention.
    pub attn_norm: Norm,
    /// Queries.
    pub attn_q: Linear,
    /// Keys.
    pub attn_k: Linear,
    /// Values.
    pub attn_v: Linear,
    /// After the attention.
    pub attn_output: Linear,
    /// Before the feed-forward part.
    pub ffn_norm: Norm,
    /// What the activation is applied to.
    pub ffn_gate: Linear,
    /// What the activation multiplies.
    pub ffn_up: Linear,
    /// Back to the residual stream.
    pub ffn_down: Linear,
}

impl Block {
    /// Columns of the queries, keys, values and output that [`SavedActivations::attention`] holds.
    fn attention_columns(&self, geometry: &Geometry) -> [usize; 4] {
        let [q, k, v] = [&self.attn_q, &self.attn_k, &self.attn_v].map(Linear::n_out);
        [q, k, v, q + geometry.attention.n_head()]
    }

    /// Columns of what [`SavedActivations::feed_forward`] holds.
    fn feed_forward_columns(&self, geometry: &Geometry) -> [usize; 3] {
        let width = |n| if geometry.is_mixed() { bf16_columns(n) } else { n };
        [&self.attn_output, &self.ffn_gate, &self.ffn_up].map(|linear| width(linear.n_out()))
    }

    /// Floats that [`Block::allocate_saved`] takes for each token, for the attention and for the feed-forward part.
    pub fn saved_columns(&self, geometry: &Geometry) -> [usize; 2] {
        [self.attention_columns(geometry).iter().sum(), self.feed_forward_columns(geometry).iter().sum()]
    }

    /// Makes room to save what the backward of the attention or of the feed-forward part needs, or both; `matrix` makes a
    /// matrix of so many columns.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn allocate_saved(
        &self,
        geometry: &Geometry,
        [attention, feed_forward]: [bool; 2],
        matrix: impl Fn(usize) -> Result<Buffer, Error> + Copy,
    ) -> Result<SavedActivations, Error> {
        Ok(SavedActivations {
            attention: attention.then(|| matrices(self.attention_columns(geometry), matrix)).transpose()?,
            feed_forward: feed_forward
                .then(|| matrices(self.feed_forward_columns(geometry), matrix))
                .transpose()?,
        })
    }

    /// The block's matrices, for changing them all.
    pub fn linears_mut(&mut self) -> [&mut Linear; 7] {
        [
            &mut self.attn_q,
            &mut self.attn_k,
            &mut self.attn_v,
            &mut self.attn_output,
            &mut self.ffn_gate,
            &mut self.ffn_up,
            &mut self.ffn_down,
        ]
    }
}

/// What a block needs to know of the micro-batch's tokens.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// The angles of their positions, `[T, n_dims]`.
    pub angles: Tensor,
    /// The first token of each token's segment, an i32 row of T.
    pub starts: Tensor,
}

/// Where values of one layer are saved from the forward to the backward, `[capacity, n]` each. What is not saved is computed
/// again; the more is saved, the less there is to compute.
#[derive(Clone, Default)]
pub struct SavedActivations {
    /// The rotated queries and keys, the values, and the attention's output with its log-sum-exps.
    pub attention: Option<[Buffer; 4]>,
    /// `x1`, and the two projections that the activation takes; in mixed precision at half the width, in bfloat16.
    pub feed_forward: Option<[Buffer; 3]>,
}

/// Writes `y` over `y`, from `x`; both `[T, n_embd]`, and they may be one place. Fills `saved`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    x: Tensor,
    tokens: Tokens,
    saved: &SavedActivations,
    y: Tensor,
) -> Result<(), Error> {
    let (n_tokens, _) = g.shape("block", x)?;
    let [q, k, v, out] = outputs(g, saved.attention.as_ref(), n_tokens)?;
    let saved = saved.feed_forward.as_ref().map(|saved| tensors(g, saved, n_tokens)).transpose()?;
    // Values that are saved as they are go there at once.
    let [x1, gate, up] = saved
        .filter(|_| !geometry.is_mixed())
        .map_or([Output::Alloc; 3], |saved| saved.map(Output::Overwrite));
    let h = norm::forward(g, &block.attn_norm, x)?;
    let attention = attend(g, block, geometry, h, tokens, [q, k, v], out)?;
    let x1 = add_attended(g, block, geometry, &attention, x, x1)?;
    let h2 = norm::forward(g, &block.ffn_norm, x1)?;
    let [gate, up] = project(g, block, geometry, h2, [gate, up])?;
    if let Some(saved) = saved.filter(|_| geometry.is_mixed()) {
        for (value, saved) in [x1, gate, up].into_iter().zip(saved) {
            g.to_bf16(value, saved)?;
        }
    }
    let activated = swiglu::forward(g, gate, up)?;
    let activated = MatmulInput::new(g, activated, geometry.compute_type)?;
    let y = linear::forward(g, &block.ffn_down, activated, Some(x1), Output::Overwrite(y))?;
    g.schedule(y)
}

/// Turns `grad`, the gradient of `y`, into that of `x` in its place, unless `is_lowest`: then nobody needs it. Adds to the
/// gradients of the block's adapters. `x`, `tokens` and `saved` are those of the forward.
///
/// # Errors
/// If shapes do not fit.
#[allow(clippy::too_many_arguments, reason = "what the forward was given, and the gradient")]
pub fn backward(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    x: Tensor,
    tokens: Tokens,
    saved: &SavedActivations,
    grad: Tensor,
    is_lowest: bool,
) -> Result<(), Error> {
    let (n_tokens, _) = g.shape("block", x)?;
    let h = norm::forward(g, &block.attn_norm, x)?;
    let attention = match &saved.attention {
        Some(saved) => {
            let [q, k, v, out] = tensors(g, saved, n_tokens)?;
            attention::Saved { shape: geometry.attention, qkv: [q, k, v], starts: tokens.starts, out }
        }
        None => attend(g, block, geometry, h, tokens, [Output::Alloc; 3], Output::Alloc)?,
    };
    let (x1, h2, gate, up) = match &saved.feed_forward {
        Some(saved) => {
            let saved = tensors(g, saved, n_tokens)?;
            let [x1, gate, up] = if geometry.is_mixed() { from_bf16(g, block, saved)? } else { saved };
            (x1, norm::forward(g, &block.ffn_norm, x1)?, gate, up)
        }
        None => {
            let x1 = add_attended(g, block, geometry, &attention, x, Output::Alloc)?;
            let h2 = norm::forward(g, &block.ffn_norm, x1)?;
            let [gate, up] = project(g, block, geometry, h2, [Output::Alloc; 2])?;
            if geometry.is_mixed() {
                let [x1, gate, up] = round_to_bf16(g, [x1, gate, up])?;
                (x1, norm::forward(g, &block.ffn_norm, x1)?, gate, up)
            } else {
                (x1, h2, gate, up)
            }
        }
    };

    let dy = MatmulInput::new(g, grad, geometry.compute_type)?;
    let (dactivated, u) = linear::input_gradient(g, &block.ffn_down, dy, None)?;
    let [dgate, dup, activated] = swiglu::backward(g, gate, up, dactivated)?;
    linear::adapter_gradients(g, &block.ffn_down, activated, grad, u)?;
    let dgate = MatmulInput::new(g, dgate, geometry.compute_type)?;
    let dup = MatmulInput::new(g, dup, geometry.compute_type)?;
    let dh2 = linear::backward(g, &block.ffn_gate, h2, dgate, None)?;
    let dh2 = linear::backward(g, &block.ffn_up, h2, dup, Some(dh2))?;
    let grad = norm::backward(g, &block.ffn_norm, x1, dh2, grad)?;

    let attended = attention.output(g)?;
    let dx1 = MatmulInput::new(g, grad, geometry.compute_type)?;
    let dattended = linear::backward(g, &block.attn_output, attended, dx1, None)?;
    let [dq, dk, dv] = attention::backward(g, &attention, dattended)?;
    let dq = rope::backward(g, geometry.layout, dq, tokens.angles)?;
    let dk = rope::backward(g, geometry.layout, dk, tokens.angles)?;
    let dq = MatmulInput::new(g, dq, geometry.compute_type)?;
    let dk = MatmulInput::new(g, dk, geometry.compute_type)?;
    let dv = MatmulInput::new(g, dv, geometry.compute_type)?;
    let dh = linear::backward(g, &block.attn_q, h, dq, None)?;
    let dh = linear::backward(g, &block.attn_k, h, dk, Some(dh))?;
    let dh = linear::backward(g, &block.attn_v, h, dv, Some(dh))?;
    if is_lowest {
        return Ok(());
    }
    let grad = norm::backward(g, &block.attn_norm, x, dh, grad)?;
    g.schedule(grad)
}

/// Computes the attention's output from the normed `h`; queries, keys and values go to `q`, `k` and `v`, the output to `out`.
fn attend(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    h: Tensor,
    tokens: Tokens,
    [q, k, v]: [Output; 3],
    out: Output,
) -> Result<attention::Saved, Error> {
    let h = MatmulInput::new(g, h, geometry.compute_type)?;
    let q = linear::forward(g, &block.attn_q, h, None, q)?;
    let k = linear::forward(g, &block.attn_k, h, None, k)?;
    let v = linear::forward(g, &block.attn_v, h, None, v)?;
    let q = rope::forward(g, geometry.layout, q, tokens.angles)?;
    let k = rope::forward(g, geometry.layout, k, tokens.angles)?;
    attention::forward(g, geometry.attention, [q, k, v], tokens.starts, out)
}

/// Computes `x1`, to `output`.
fn add_attended(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    attention: &attention::Saved,
    x: Tensor,
    output: Output,
) -> Result<Tensor, Error> {
    let attended = attention.output(g)?;
    let attended = MatmulInput::new(g, attended, geometry.compute_type)?;
    linear::forward(g, &block.attn_output, attended, Some(x), output)
}

/// Computes what the activation takes from the normed `h2`.
fn project(
    g: &mut Graph,
    block: &Block,
    geometry: &Geometry,
    h2: Tensor,
    [gate, up]: [Output; 2],
) -> Result<[Tensor; 2], Error> {
    let h2 = MatmulInput::new(g, h2, geometry.compute_type)?;
    let gate = linear::forward(g, &block.ffn_gate, h2, None, gate)?;
    let up = linear::forward(g, &block.ffn_up, h2, None, up)?;
    Ok([gate, up])
}

fn matrices<const N: usize>(
    columns: [usize; N],
    matrix: impl Fn(usize) -> Result<Buffer, Error>,
) -> Result<[Buffer; N], Error> {
    let buffers: Vec<_> = columns.into_iter().map(matrix).collect::<Result<_, _>>()?;
    Ok(std::array::from_fn(|i| buffers[i].clone()))
}

/// What [`SavedActivations::feed_forward`] holds in mixed precision, as floats.
fn from_bf16(g: &mut Graph, block: &Block, [x1, gate, up]: [Tensor; 3]) -> Result<[Tensor; 3], Error> {
    Ok([
        g.from_bf16(x1, block.attn_output.n_out())?,
        g.from_bf16(gate, block.ffn_gate.n_out())?,
        g.from_bf16(up, block.ffn_up.n_out())?,
    ])
}

/// Rounds values that were computed again as [`SavedActivations::feed_forward`] holds them in mixed precision.
fn round_to_bf16(g: &mut Graph, [x1, gate, up]: [Tensor; 3]) -> Result<[Tensor; 3], Error> {
    // These are computed from `x1` as it is, before it is rounded in its place.
    g.schedule(gate)?;
    g.schedule(up)?;
    Ok([g.round_to_bf16(x1)?, g.round_to_bf16(gate)?, g.round_to_bf16(up)?])
}

/// The first rows of what is saved.
fn tensors<const N: usize>(
    g: &mut Graph,
    saved: &[Buffer; N],
    n_tokens: usize,
) -> Result<[Tensor; N], Error> {
    let tensors: Vec<_> =
        saved.iter().map(|buffer| g.tensor_rows(buffer, n_tokens)).collect::<Result<_, _>>()?;
    Ok(std::array::from_fn(|i| tensors[i]))
}

/// Where computed values go: to the first rows of what is saved, or to new tensors.
fn outputs<const N: usize>(
    g: &mut Graph,
    saved: Option<&[Buffer; N]>,
    n_tokens: usize,
) -> Result<[Output; N], Error> {
    Ok(match saved {
        Some(saved) => tensors(g, saved, n_tokens)?.map(Output::Overwrite),
        None => [Output::Alloc; N],
    })
}
