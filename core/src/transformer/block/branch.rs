//! The end of a branch, where it joins the residual stream.

use nightgraft_ggml::{Error, Graph, Output, Tensor};

use crate::ops::linear::{self, Linear, LoraActivationGrad, MatmulInput};
use crate::ops::norm::{self, Norm};
use crate::ops::residual;

/// `y = x + scale · after(a Wᵀ + b)`, where `a` is what the branch has computed.
#[derive(Clone)]
pub struct Branch {
    /// The matrix back to the residual stream.
    pub linear: Linear,
    /// The norm behind it.
    pub post_norm: Option<Norm>,
    /// Multiplies what joins the stream.
    pub scale: f32,
}

impl Branch {
    /// Whether the product can be added to the stream while its sums are at hand.
    fn is_plain(&self) -> bool {
        self.post_norm.is_none() && self.scale == 1.0 && self.linear.bias.is_none()
    }

    /// What the norm behind the branch takes, to `output`: computed only for that norm.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn product(&self, g: &mut Graph, a: MatmulInput, output: Output) -> Result<Option<Tensor>, Error> {
        self.post_norm.as_ref().map(|_| linear::forward(g, &self.linear, a, None, output)).transpose()
    }

    /// Computes `y` from `a` and the stream `x`, to `output`; `product` is of [`Branch::product`].
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn join(
        &self,
        g: &mut Graph,
        a: MatmulInput,
        product: Option<Tensor>,
        x: Tensor,
        output: Output,
    ) -> Result<Tensor, Error> {
        if self.is_plain() {
            return linear::forward(g, &self.linear, a, Some(x), output);
        }
        let o = match (&self.post_norm, product) {
            (Some(norm), Some(product)) => norm::forward(g, norm, product)?,
            _ => linear::forward(g, &self.linear, a, None, Output::Alloc)?,
        };
        residual::forward(g, x, o, self.scale, output)
    }

    /// The gradient of `a Wᵀ + b` from that of `y`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn product_gradient(
        &self,
        g: &mut Graph,
        product: Option<Tensor>,
        grad: Tensor,
    ) -> Result<Tensor, Error> {
        let d = residual::backward(g, grad, self.scale)?;
        match (&self.post_norm, product) {
            (Some(norm), Some(product)) => norm::backward(g, norm, product, d, Output::Alloc),
            _ => Ok(d),
        }
    }

    /// `da` from the gradient `d` of the product, and what [`linear::adapter_gradients`] needs.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn input_gradient(
        &self,
        g: &mut Graph,
        d: MatmulInput,
    ) -> Result<(Tensor, LoraActivationGrad), Error> {
        linear::input_gradient(g, &self.linear, d, None)
    }
}
