//! The attention branch of a layer.

use nightgraft_ggml::{AttentionShape, ComputeType, Error, Graph, Output, Tensor};

use super::branch::Branch;
use super::{Tokens, output};
use crate::ops::linear::{self, Linear, MatmulInput};
use crate::ops::norm::{self, Norm};
use crate::ops::rope::{self, PairLayout};
use crate::ops::{attention, temperature};

/// `o = attention(turn(q_norm(h Wqᵀ)), turn(k_norm(h Wkᵀ)), h Wvᵀ)` of `h = before(x)`, which joins the stream.
#[derive(Clone)]
pub struct Attention {
    /// Before the branch.
    pub norm: Option<Norm>,
    /// Queries, keys and values.
    pub projection: QkvProjection,
    /// Of each head's queries.
    pub q_norm: Option<Norm>,
    /// Of each head's keys.
    pub k_norm: Option<Norm>,
    /// The rope that turns queries and keys, if one does: its number among the model's.
    pub rope: Option<usize>,
    /// Whether queries grow with their position.
    pub is_tempered: bool,
    /// Which values of a head are turned together.
    pub layout: PairLayout,
    /// Heads and their sizes.
    pub shape: AttentionShape,
    /// Back to the residual stream.
    pub output: Branch,
}

/// The matrices of queries, keys and values.
#[derive(Clone)]
pub enum QkvProjection {
    /// One each.
    Separate(Box<[Linear; 3]>),
    /// One for all, with the rows of queries, then keys, then values.
    Fused(Box<Linear>),
}

impl QkvProjection {
    /// The matrices.
    pub fn linears(&self) -> Vec<&Linear> {
        match self {
            Self::Separate(linears) => linears.iter().collect(),
            Self::Fused(linear) => vec![linear],
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Separate(linears) => linears.iter_mut().collect(),
            Self::Fused(linear) => vec![linear],
        }
    }
}

/// What the backward needs of the forward.
pub struct Attended<'a> {
    attention: &'a Attention,
    /// What the projections take.
    h: Tensor,
    /// Queries and keys before the norms of their heads.
    projected: [Tensor; 2],
    saved: attention::Saved,
    /// What the norm behind the branch takes, if it is there already.
    product: Option<Tensor>,
}

impl Attention {
    /// Columns of what is saved for the backward.
    pub(super) fn saved_columns(&self) -> Vec<usize> {
        let mut columns: Vec<_> = self.projection.linears().iter().map(|linear| linear.n_out()).collect();
        columns.push(self.shape.result_columns());
        columns.extend(self.output.post_norm.as_ref().map(|_| self.output.linear.n_out()));
        columns
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears = self.projection.linears_mut();
        linears.push(&mut self.output.linear);
        linears
    }

    /// Computes the attention's output from `x`; what the backward needs goes to `saved`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn attend(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        x: Tensor,
        tokens: Tokens,
        saved: Option<&[Tensor]>,
    ) -> Result<Attended<'_>, Error> {
        let h = self.normed(g, x)?;
        let input = MatmulInput::new(g, h, compute_type)?;
        let mut projections = Vec::new();
        for (place, linear) in self.projection.linears().into_iter().enumerate() {
            projections.push(linear::forward(g, linear, input, None, output(saved, place))?);
        }
        let [q, k, v] = self.split(g, &projections)?;
        let [turned_q, turned_k] = self.turn(g, [q, k], tokens)?;
        let out = output(saved, projections.len());
        let saved = attention::forward(g, self.shape, [turned_q, turned_k, v], tokens.starts, out)?;
        Ok(Attended { attention: self, h, projected: [q, k], saved, product: None })
    }

    /// What [`Attention::attend`] saved.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn restore(
        &self,
        g: &mut Graph,
        x: Tensor,
        tokens: Tokens,
        saved: &[Tensor],
    ) -> Result<Attended<'_>, Error> {
        let h = self.normed(g, x)?;
        let n = self.projection.linears().len();
        let [q, k, v] = self.split(g, &saved[..n])?;
        // Without norms, queries and keys were turned where they are saved.
        let has_norms = self.q_norm.is_some() || self.k_norm.is_some();
        let [turned_q, turned_k] = if has_norms { self.turn(g, [q, k], tokens)? } else { [q, k] };
        let (out, product) = (saved[n], saved.get(n + 1).copied());
        let saved =
            attention::Saved { shape: self.shape, qkv: [turned_q, turned_k, v], starts: tokens.starts, out };
        Ok(Attended { attention: self, h, projected: [q, k], saved, product })
    }

    fn normed(&self, g: &mut Graph, x: Tensor) -> Result<Tensor, Error> {
        self.norm.as_ref().map_or(Ok(x), |norm| norm::forward(g, norm, x))
    }

    /// Queries, keys and values of what the projections gave.
    fn split(&self, g: &mut Graph, projections: &[Tensor]) -> Result<[Tensor; 3], Error> {
        if let &[q, k, v] = projections {
            return Ok([q, k, v]);
        }
        let (q, kv) = (self.shape.query_columns(), self.shape.key_columns());
        let all = projections[0];
        Ok([g.columns(all, 0, q)?, g.columns(all, q, kv)?, g.columns(all, q + kv, kv)?])
    }

    /// Norms and turns queries and keys; in place where there is no norm.
    fn turn(&self, g: &mut Graph, [q, k]: [Tensor; 2], tokens: Tokens) -> Result<[Tensor; 2], Error> {
        let mut q = self.q_norm.as_ref().map_or(Ok(q), |norm| norm::forward(g, norm, q))?;
        let mut k = self.k_norm.as_ref().map_or(Ok(k), |norm| norm::forward(g, norm, k))?;
        if let Some(angles) = tokens.angles {
            q = rope::forward(g, self.layout, q, angles)?;
            k = rope::forward(g, self.layout, k, angles)?;
        }
        if let Some(factors) = tokens.temperature {
            q = temperature::forward(g, q, factors)?;
        }
        Ok([q, k])
    }

    /// The gradients of queries and keys as they were projected, from those of what attention took.
    fn turn_back(
        &self,
        g: &mut Graph,
        [q, k]: [Tensor; 2],
        [mut dq, mut dk]: [Tensor; 2],
        tokens: Tokens,
    ) -> Result<[Tensor; 2], Error> {
        if let Some(factors) = tokens.temperature {
            dq = temperature::backward(g, dq, factors)?;
        }
        if let Some(angles) = tokens.angles {
            dq = rope::backward(g, self.layout, dq, angles)?;
            dk = rope::backward(g, self.layout, dk, angles)?;
        }
        if let Some(norm) = &self.q_norm {
            dq = norm::backward(g, norm, q, dq, Output::Alloc)?;
        }
        if let Some(norm) = &self.k_norm {
            dk = norm::backward(g, norm, k, dk, Output::Alloc)?;
        }
        Ok([dq, dk])
    }
}

impl Attended<'_> {
    /// Computes `x1` from `x`, to `output`; what a norm behind the branch takes goes to its place in `saved`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn join(
        &mut self,
        g: &mut Graph,
        compute_type: ComputeType,
        x: Tensor,
        saved: Option<&[Tensor]>,
        x1: Output,
    ) -> Result<Tensor, Error> {
        let branch = &self.attention.output;
        let attended = self.saved.output(g)?;
        let attended = MatmulInput::new(g, attended, compute_type)?;
        if self.product.is_none() {
            let place = self.attention.projection.linears().len() + 1;
            self.product = branch.product(g, attended, output(saved, place))?;
        }
        branch.join(g, attended, self.product, x, x1)
    }

    /// Turns `grad`, the gradient of `x1`, into that of `x` in its place, which is returned unless `is_lowest`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn backward(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        x: Tensor,
        tokens: Tokens,
        grad: Tensor,
        is_lowest: bool,
    ) -> Result<Option<Tensor>, Error> {
        let Self { attention, h, projected, .. } = *self;
        let branch = &attention.output;
        let attended = self.saved.output(g)?;
        let product = match self.product {
            None if branch.post_norm.is_some() => {
                let attended = MatmulInput::new(g, attended, compute_type)?;
                branch.product(g, attended, Output::Alloc)?
            }
            product => product,
        };
        let d = branch.product_gradient(g, product, grad)?;
        let d = MatmulInput::new(g, d, compute_type)?;
        let dattended = linear::backward(g, &branch.linear, attended, d, None)?;
        let [dq, dk, dv] = attention::backward(g, &self.saved, dattended)?;
        let [dq, dk] = attention.turn_back(g, projected, [dq, dk], tokens)?;
        // Without a norm in front, the gradient of what the projections take is added to the stream's as it is.
        let mut dh = attention.norm.is_none().then_some(grad);
        match &attention.projection {
            QkvProjection::Separate(linears) => {
                let inputs = [
                    MatmulInput::new(g, dq, compute_type)?,
                    MatmulInput::new(g, dk, compute_type)?,
                    MatmulInput::new(g, dv, compute_type)?,
                ];
                for (linear, d) in linears.iter().zip(inputs) {
                    dh = Some(linear::backward(g, linear, h, d, dh)?);
                }
            }
            QkvProjection::Fused(linear) => {
                let d = g.concat_columns(&[dq, dk, dv])?;
                let d = MatmulInput::new(g, d, compute_type)?;
                dh = Some(linear::backward(g, linear, h, d, dh)?);
            }
        }
        if is_lowest {
            return Ok(None);
        }
        match (&attention.norm, dh) {
            (Some(norm), Some(dh)) => norm::backward(g, norm, x, dh, Output::Accumulate(grad)).map(Some),
            (_, dh) => Ok(dh),
        }
    }
}
