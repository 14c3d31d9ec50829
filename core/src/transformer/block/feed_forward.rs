//! The feed-forward branch of a layer.

use nightgraft_ggml::{Activation, ComputeType, Error, Graph, Output, Tensor, bf16_columns};

use super::branch::Branch;
use super::output;
use crate::ops::activation;
use crate::ops::linear::{self, Linear, MatmulInput};
use crate::ops::norm::{self, Norm};

/// `a = f(h2 Wgᵀ) ⊙ h2 Wuᵀ`, or `a = f(h2 Wuᵀ)`, of `h2 = before(x1)`, which joins the stream.
#[derive(Clone)]
pub struct FeedForward {
    /// Before the branch.
    pub norm: Option<Norm>,
    /// The matrices before the activation.
    pub projection: FeedForwardProjection,
    /// The function `f`.
    pub activation: Activation,
    /// Back to the residual stream.
    pub down: Branch,
}

/// The matrices before the activation.
#[derive(Clone)]
pub enum FeedForwardProjection {
    /// The gate, then what it multiplies.
    Separate(Box<[Linear; 2]>),
    /// Both in one, with the rows of the gate first.
    Fused(Box<Linear>),
    /// No gate.
    Ungated(Box<Linear>),
}

impl FeedForwardProjection {
    /// The matrices.
    pub fn linears(&self) -> Vec<&Linear> {
        match self {
            Self::Separate(linears) => linears.iter().collect(),
            Self::Fused(linear) | Self::Ungated(linear) => vec![linear],
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::Separate(linears) => linears.iter_mut().collect(),
            Self::Fused(linear) | Self::Ungated(linear) => vec![linear],
        }
    }
}

/// What the backward needs of the forward.
pub(super) struct Activations {
    x1: Tensor,
    h2: Tensor,
    /// What the matrices before the activation gave.
    projections: Vec<Tensor>,
    /// What the norm behind the branch takes, if there is one.
    product: Option<Tensor>,
}

impl FeedForward {
    /// Columns of what is saved for the backward: of floats, or of bfloat16 in their places.
    pub(super) fn saved_columns(&self, is_mixed: bool, n_embd: usize) -> Vec<usize> {
        let mut columns = self.value_columns(n_embd);
        if is_mixed {
            columns.iter_mut().for_each(|n| *n = bf16_columns(*n));
        }
        columns
    }

    /// Columns of `x1`, the projections, and what the norm behind the branch takes.
    fn value_columns(&self, n_embd: usize) -> Vec<usize> {
        let projections = self.projection.linears().into_iter().map(Linear::n_out);
        let product = self.down.post_norm.as_ref().map(|_| n_embd);
        [n_embd].into_iter().chain(projections).chain(product).collect()
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut linears = self.projection.linears_mut();
        linears.push(&mut self.down.linear);
        linears
    }

    /// Writes `y` over `y`, from `x1`; what the backward needs goes to `saved`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn forward(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        x1: Tensor,
        saved: Option<&[Tensor]>,
        y: Tensor,
    ) -> Result<Tensor, Error> {
        let is_mixed = compute_type == ComputeType::Int16;
        let exact = saved.filter(|_| !is_mixed);
        let h2 = self.normed(g, x1)?;
        let projections = self.project(g, compute_type, h2, exact)?;
        let rounded = saved.filter(|_| is_mixed).unwrap_or_default();
        for (value, &place) in [x1].iter().chain(&projections).zip(rounded) {
            g.to_bf16(*value, place)?;
        }
        let activated = self.activate(g, compute_type, &projections)?;
        let place = projections.len() + 1;
        let product = self.down.product(g, activated, output(exact, place))?;
        if let (Some(product), Some(&place)) = (product, rounded.get(place)) {
            g.to_bf16(product, place)?;
        }
        self.down.join(g, activated, product, x1, Output::Overwrite(y))
    }

    /// What [`FeedForward::forward`] saved.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn restore(
        &self,
        g: &mut Graph,
        is_mixed: bool,
        n_embd: usize,
        saved: &[Tensor],
    ) -> Result<Activations, Error> {
        let mut values = saved.to_vec();
        if is_mixed {
            for (value, n) in values.iter_mut().zip(self.value_columns(n_embd)) {
                *value = g.from_bf16(*value, n)?;
            }
        }
        let n = self.projection.linears().len();
        let (x1, product) = (values[0], values.get(n + 1).copied());
        let h2 = self.normed(g, x1)?;
        Ok(Activations { x1, h2, projections: values[1..=n].to_vec(), product })
    }

    /// Computes again, from `x1`, what the forward did not save, and in mixed precision rounds it as it would have been saved.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn recompute(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        x1: Tensor,
    ) -> Result<Activations, Error> {
        let h2 = self.normed(g, x1)?;
        let mut projections = self.project(g, compute_type, h2, None)?;
        let mut product = None;
        if self.down.post_norm.is_some() {
            let activated = self.activate(g, compute_type, &projections)?;
            product = self.down.product(g, activated, Output::Alloc)?;
        }
        if compute_type != ComputeType::Int16 {
            return Ok(Activations { x1, h2, projections, product });
        }
        // These are computed from values as they are, before they are rounded in their places.
        for value in projections.iter().chain(&product) {
            g.schedule(*value)?;
        }
        let x1 = g.round_to_bf16(x1)?;
        for value in projections.iter_mut().chain(&mut product) {
            *value = g.round_to_bf16(*value)?;
        }
        let h2 = self.normed(g, x1)?;
        Ok(Activations { x1, h2, projections, product })
    }

    /// Turns `grad`, the gradient of `y`, into that of `x1` in its place.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub(super) fn backward(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        activations: &Activations,
        grad: Tensor,
    ) -> Result<Tensor, Error> {
        let &Activations { x1, h2, ref projections, product } = activations;
        let (gate, up) = self.gate_and_up(g, projections)?;
        let d = self.down.product_gradient(g, product, grad)?;
        let (dactivated, u) = {
            let d = MatmulInput::new(g, d, compute_type)?;
            self.down.input_gradient(g, d)?
        };
        activation::backward(g, self.activation, gate, up, dactivated)?;
        // Everything is now in the place of something else: gradients in those of projections, the activation in its own
        // gradient's.
        let activated = dactivated;
        linear::adapter_gradients(g, &self.down.linear, activated, d, u)?;
        let mut inputs = Vec::new();
        for &d in projections {
            inputs.push(MatmulInput::new(g, d, compute_type)?);
        }
        // Without a norm in front, the gradient of what the projections take is added to the stream's as it is.
        let mut dh2 = self.norm.is_none().then_some(grad);
        for (linear, d) in self.projection.linears().into_iter().zip(inputs) {
            dh2 = Some(linear::backward(g, linear, h2, d, dh2)?);
        }
        match (&self.norm, dh2) {
            (Some(norm), Some(dh2)) => norm::backward(g, norm, x1, dh2, Output::Accumulate(grad)),
            (_, dh2) => Ok(dh2.unwrap_or(grad)),
        }
    }

    fn normed(&self, g: &mut Graph, x1: Tensor) -> Result<Tensor, Error> {
        self.norm.as_ref().map_or(Ok(x1), |norm| norm::forward(g, norm, x1))
    }

    /// What the activation takes, from the normed `h2`.
    fn project(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        h2: Tensor,
        saved: Option<&[Tensor]>,
    ) -> Result<Vec<Tensor>, Error> {
        let h2 = MatmulInput::new(g, h2, compute_type)?;
        let linears = self.projection.linears().into_iter().enumerate();
        linears.map(|(i, linear)| linear::forward(g, linear, h2, None, output(saved, i + 1))).collect()
    }

    fn activate(
        &self,
        g: &mut Graph,
        compute_type: ComputeType,
        projections: &[Tensor],
    ) -> Result<MatmulInput, Error> {
        let (gate, up) = self.gate_and_up(g, projections)?;
        let activated = activation::forward(g, self.activation, gate, up)?;
        MatmulInput::new(g, activated, compute_type)
    }

    /// What the activation is applied to, and what it multiplies.
    fn gate_and_up(&self, g: &mut Graph, projections: &[Tensor]) -> Result<(Tensor, Option<Tensor>), Error> {
        if let &[gate, up] = projections {
            return Ok((gate, Some(up)));
        }
        let all = projections[0];
        match &self.projection {
            FeedForwardProjection::Fused(linear) => {
                let n_ff = linear.n_out() / 2;
                Ok((g.columns(all, 0, n_ff)?, Some(g.columns(all, n_ff, n_ff)?)))
            }
            _ => Ok((all, None)),
        }
    }
}
