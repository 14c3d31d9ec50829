//! AdamW: decoupled weight decay (arXiv 1711.05101) with bias correction, the arithmetic of PyTorch's.
//!
//! ```text
//! g ← clip · grad / n        m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
//! p ← p (1 − lr · decay) − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
//! ```

use crate::config::OptimizerConfig;
use crate::lora::{Adapter, Parameter};
use crate::{Error, Result};

/// The moments of every parameter, in the adapter's order, and how many updates they have seen.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: OptimizerConfig,
    /// `t`: updates so far.
    pub updates: u64,
    /// First moments.
    pub mean: Vec<Vec<f32>>,
    /// Second moments.
    pub square: Vec<Vec<f32>>,
}

impl AdamW {
    /// Moments of zero.
    pub fn new(config: &OptimizerConfig, adapter: &Adapter) -> Self {
        let zeros = || -> Vec<Vec<f32>> {
            let sizes = adapter.parameters().map(|p| p.value.shape());
            sizes.map(|(n_rows, n_cols)| vec![0.0; n_rows * n_cols]).collect()
        };
        Self { config: config.clone(), updates: 0, mean: zeros(), square: zeros() }
    }

    /// The same optimizer after so many updates, with these first and second moments.
    pub fn restored(&self, updates: u64, [mean, square]: [Vec<Vec<f32>>; 2]) -> Self {
        Self { config: self.config.clone(), updates, mean, square }
    }

    /// Moves the adapter by its accumulated gradients, averaged over `n` supervised tokens and clipped to
    /// the configured global norm. Returns the norm before clipping.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the layer and module: of a gradient, before anything was moved, or of an update that
    /// overflowed.
    pub fn update(&mut self, adapter: &Adapter, n: u64, lr: f64) -> Result<f64> {
        let norm = self.gradient_norm(adapter, n)?;
        let clip = f64::from(self.config.clip);
        let clipped = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let factor = (clipped / n.max(1) as f64) as f32;

        self.updates += 1;
        let t = self.updates as f64;
        let OptimizerConfig { beta1, beta2, eps, weight_decay, .. } = self.config;
        let step_size = (lr / (1.0 - beta1.powf(t))) as f32;
        let root_correction = (1.0 - beta2.powf(t)).sqrt() as f32;
        let keep = (1.0 - lr * weight_decay) as f32;
        let (b1, b2, eps) = (beta1 as f32, beta2 as f32, eps as f32);
        let (c1, c2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        for ((parameter, mean), square) in adapter.parameters().zip(&mut self.mean).zip(&mut self.square) {
            let mut values = parameter.value.to_vec()?;
            let grad = parameter.grad.to_vec()?;
            for (((p, g), m), v) in values.iter_mut().zip(&grad).zip(mean).zip(square.iter_mut()) {
                let g = g * factor;
                *m = b1 * *m + c1 * g;
                *v = b2 * *v + c2 * g * g;
                *p = *p * keep - step_size * (*m / (v.sqrt() / root_correction + eps));
            }
            parameter.value.write(0, &values)?;
            // A square that overflowed would hold its parameter in place for good.
            if !values.iter().chain(square.iter()).all(|value| value.is_finite()) {
                let Parameter { layer, module, factor, .. } = parameter;
                let place = format!("the update of layer {layer} {} {factor}", module.gguf_name());
                return Err(Error::NotFinite { step: self.updates, place });
            }
        }
        Ok(norm)
    }

    /// The global L2 norm of the averaged gradients.
    fn gradient_norm(&self, adapter: &Adapter, n: u64) -> Result<f64> {
        let mut total = 0.0;
        for Parameter { layer, module, factor, grad, .. } in adapter.parameters() {
            let squares: f64 = grad.to_vec()?.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            if !squares.is_finite() {
                let place = format!("the gradient of layer {layer} {} {factor}", module.gguf_name());
                return Err(Error::NotFinite { step: self.updates + 1, place });
            }
            total += squares;
        }
        Ok(total.sqrt() / n.max(1) as f64)
    }
}
