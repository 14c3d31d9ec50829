//! One layer: attention and feed-forward, each a branch beside the residual stream with norms where the model has them.
//!
//! ```text
//! x1 = x + s · after(attention(...) Woᵀ)             from before(x)
//! y  = x1 + s · after(f(h2 Wgᵀ) ⊙ h2 Wuᵀ) Wdᵀ)      h2 = before(x1)
//! ```
//!
//! Each matrix may have an adapter and a bias. In mixed precision the backward sees `x1` and what the activation takes rounded
//! to bfloat16. They are saved so, which halves the largest part of what is saved, and rounded also where they are computed
//! again, so that the result is the same.

mod attention;
mod branch;
mod feed_forward;

use nightgraft_ggml::{Buffer, ComputeType, Error, Graph, Output, Tensor};

pub use attention::{Attention, QkvProjection};
pub use branch::Branch;
pub use feed_forward::{FeedForward, FeedForwardProjection};

use crate::ops::linear::Linear;

/// The matrices of one layer, with their adapters, and what is done with them.
#[derive(Clone)]
pub struct Block {
    /// The part in which tokens see each other.
    pub mixer: Mixer,
    /// The part for each token by itself.
    pub feed_forward: FeedForward,
    /// How products with frozen matrices are computed. 16-bit integers mean mixed precision: values of the feed-forward part
    /// are then saved in bfloat16.
    pub compute_type: ComputeType,
}

/// The part of a layer in which tokens see each other.
#[derive(Clone)]
pub enum Mixer {
    /// Causal soft-max attention.
    Attention(Attention),
}

impl Block {
    /// The layer's attention.
    pub fn attention(&self) -> &Attention {
        let Mixer::Attention(attention) = &self.mixer;
        attention
    }

    fn is_mixed(&self) -> bool {
        self.compute_type == ComputeType::Int16
    }

    /// Columns of each matrix that [`SavedActivations`] holds, for the attention and for the feed-forward part.
    fn saved_matrices(&self) -> [Vec<usize>; 2] {
        [self.attention().saved_columns(), self.feed_forward.saved_columns(self.is_mixed(), self.n_embd())]
    }

    /// Floats that [`Block::allocate_saved`] takes for each token, for the attention and for the feed-forward part.
    pub fn saved_columns(&self) -> [usize; 2] {
        self.saved_matrices().map(|columns| columns.iter().sum())
    }

    /// Makes room to save what the backward of the attention or of the feed-forward part needs, or both; `matrix` makes a
    /// matrix of so many columns.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn allocate_saved(
        &self,
        [attention, feed_forward]: [bool; 2],
        matrix: impl Fn(usize) -> Result<Buffer, Error>,
    ) -> Result<SavedActivations, Error> {
        let [of_attention, of_feed_forward] = self.saved_matrices();
        let matrices = |columns: Vec<usize>| columns.into_iter().map(&matrix).collect::<Result<_, _>>();
        Ok(SavedActivations {
            attention: attention.then(|| matrices(of_attention)).transpose()?,
            feed_forward: feed_forward.then(|| matrices(of_feed_forward)).transpose()?,
        })
    }

    /// The layer's matrices, for changing them all.
    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let Mixer::Attention(attention) = &mut self.mixer;
        let mut linears = attention.linears_mut();
        linears.extend(self.feed_forward.linears_mut());
        linears
    }

    /// Width of the residual stream.
    pub fn n_embd(&self) -> usize {
        self.feed_forward.down.linear.n_out()
    }

    /// Multiplications for each token that the matrices take which need not be computed again where the attention is saved,
    /// and where the feed-forward part is.
    pub fn recompute_macs(&self) -> [usize; 2] {
        let macs = |linears: &[&Linear]| -> usize {
            linears.iter().map(|linear| linear.weight.shape()).map(|(n_out, n_in)| n_out * n_in).sum()
        };
        let (attention, feed_forward) = (self.attention(), &self.feed_forward);
        let mut of_attention = macs(&attention.projection.linears());
        let mut of_feed_forward = macs(&feed_forward.projection.linears());
        // What a norm behind a branch takes is saved with the branch; what joins the stream as it is, with what follows.
        let (output, down) = (macs(&[&attention.output.linear]), macs(&[&feed_forward.down.linear]));
        if attention.output.post_norm.is_some() {
            of_attention += output
        } else {
            of_feed_forward += output
        }
        if feed_forward.down.post_norm.is_some() {
            of_feed_forward += down;
        }
        [of_attention, of_feed_forward]
    }
}

/// What a layer needs to know of the micro-batch's tokens.
#[derive(Clone, Copy)]
pub struct Tokens {
    /// The angles of their positions, `[T, n_dims]`, where the layer turns queries and keys.
    pub angles: Option<Tensor>,
    /// The factors of queries, `[T, 1]`, where they grow with their position.
    pub temperature: Option<Tensor>,
    /// The first token of each token's segment, an i32 row of T.
    pub starts: Tensor,
}

/// Where values of one layer are saved from the forward to the backward, matrices of `capacity` rows. What is not saved is
/// computed again; the more is saved, the less there is to compute.
#[derive(Clone, Default)]
pub struct SavedActivations {
    /// The queries, keys and values (fused where their matrix is; before the norms of their heads, if they have some, else
    /// turned), the attention's output with its log-sum-exps, and what a norm behind the branch takes.
    pub attention: Option<Vec<Buffer>>,
    /// `x1`, what the activation takes, and what a norm behind the branch takes; in mixed precision at half the width, in
    /// bfloat16.
    pub feed_forward: Option<Vec<Buffer>>,
}

impl SavedActivations {
    /// All of them.
    pub fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.attention.iter().chain(&self.feed_forward).flatten()
    }
}

/// Writes `y` over `y`, from `x`; both `[T, n_embd]`, and they may be one place. Fills `saved`.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(
    g: &mut Graph,
    block: &Block,
    x: Tensor,
    tokens: Tokens,
    saved: &SavedActivations,
    y: Tensor,
) -> Result<(), Error> {
    let (n_tokens, _) = g.shape("block", x)?;
    let of_attention = tensors(g, saved.attention.as_ref(), n_tokens)?;
    let of_feed_forward = tensors(g, saved.feed_forward.as_ref(), n_tokens)?;
    // Values that are saved as they are go there at once.
    let exact = of_feed_forward.as_deref().filter(|_| !block.is_mixed());
    let x1_output = output(exact, 0);
    let mut attended = block.attention().attend(g, block.compute_type, x, tokens, of_attention.as_deref())?;
    let x1 = attended.join(g, block.compute_type, x, of_attention.as_deref(), x1_output)?;
    let y = block.feed_forward.forward(g, block.compute_type, x1, of_feed_forward.as_deref(), y)?;
    g.schedule(y)
}

/// Turns `grad`, the gradient of `y`, into that of `x` in its place, unless `is_lowest`: then nobody needs it. Adds to the
/// gradients of the layer's adapters. `x`, `tokens` and `saved` are those of the forward.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(
    g: &mut Graph,
    block: &Block,
    x: Tensor,
    tokens: Tokens,
    saved: &SavedActivations,
    grad: Tensor,
    is_lowest: bool,
) -> Result<(), Error> {
    let (n_tokens, _) = g.shape("block", x)?;
    let of_attention = tensors(g, saved.attention.as_ref(), n_tokens)?;
    let of_feed_forward = tensors(g, saved.feed_forward.as_ref(), n_tokens)?;
    let attention = block.attention();
    let mut attended = match &of_attention {
        Some(saved) => attention.restore(g, x, tokens, saved)?,
        None => attention.attend(g, block.compute_type, x, tokens, None)?,
    };
    let activations = match &of_feed_forward {
        Some(saved) => block.feed_forward.restore(g, block.is_mixed(), block.n_embd(), saved)?,
        None => {
            let x1 = attended.join(g, block.compute_type, x, of_attention.as_deref(), Output::Alloc)?;
            block.feed_forward.recompute(g, block.compute_type, x1)?
        }
    };
    let grad = block.feed_forward.backward(g, block.compute_type, &activations, grad)?;
    match attended.backward(g, block.compute_type, x, tokens, grad, is_lowest)? {
        Some(grad) => g.schedule(grad),
        None => Ok(()),
    }
}

/// The first rows of what is saved.
fn tensors(
    g: &mut Graph,
    saved: Option<&Vec<Buffer>>,
    n_tokens: usize,
) -> Result<Option<Vec<Tensor>>, Error> {
    let tensors = |saved: &Vec<Buffer>| saved.iter().map(|buffer| g.tensor_rows(buffer, n_tokens)).collect();
    saved.map(tensors).transpose()
}

/// Where a computed value goes: to its place in what is saved, or to a new tensor.
fn output(saved: Option<&[Tensor]>, place: usize) -> Output {
    saved.and_then(|saved| saved.get(place)).map_or(Output::Alloc, |&place| Output::Overwrite(place))
}
