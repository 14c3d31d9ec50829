//! AdamW: decoupled weight decay (arXiv 1711.05101) with bias correction, the arithmetic of PyTorch's.
//!
//! ```text
//! g ← clip · grad / n        m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
//! p ← p (1 − lr · decay) − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
//! ```

use crate::config::OptimizerConfig;
use crate::lora::{Adapter, Parameter};
use crate::{Error, Result};

/// The moments of every parameter, in the adapter's order.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: OptimizerConfig,
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
        Self { config: config.clone(), mean: zeros(), square: zeros() }
    }

    /// Makes update `t`, from 1: moves the adapter by its accumulated gradients, averaged over `n` supervised tokens and
    /// clipped to the configured global norm. Returns the norm before clipping.
    ///
    /// # Errors
    /// [`Error::NotFinite`] naming the layer and module, if a gradient or what it would lead to is not a finite number.
    /// Adapter and moments are then as they were.
    pub fn update(&mut self, adapter: &Adapter, t: u64, n: u64, lr: f64) -> Result<f64> {
        let norm = gradient_norm(adapter, t, n)?;
        let clip = f64::from(self.config.clip);
        let clipped = if clip > 0.0 { (clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let factor = (clipped / n.max(1) as f64) as f32;
        let rule = Rule::new(&self.config, t, lr, factor);
        self.check(adapter, t, rule)?;

        for ((parameter, mean), square) in adapter.parameters().zip(&mut self.mean).zip(&mut self.square) {
            let mut values = parameter.value.to_vec()?;
            let grad = parameter.grad.to_vec()?;
            for (((p, g), m), v) in values.iter_mut().zip(&grad).zip(mean).zip(square) {
                (*p, *m, *v) = rule.apply(*p, *g, *m, *v);
            }
            parameter.value.write(0, &values)?;
        }
        Ok(norm)
    }

    /// Whether everything would stay finite. A square that overflowed would hold its parameter in place for good.
    fn check(&self, adapter: &Adapter, t: u64, rule: Rule) -> Result<()> {
        for ((parameter, mean), square) in adapter.parameters().zip(&self.mean).zip(&self.square) {
            let Parameter { layer, module, factor, value, grad } = parameter;
            let (values, grad) = (value.to_vec()?, grad.to_vec()?);
            let moments = mean.iter().zip(square);
            // A search would stop at the first that is not, but this is done for many at a time.
            let finite = values.iter().zip(&grad).zip(moments).fold(true, |finite, ((p, g), (m, v))| {
                let (p, _, v) = rule.apply(*p, *g, *m, *v);
                finite & p.is_finite() & v.is_finite()
            });
            if !finite {
                let place = format!("the update of layer {layer} {} {factor}", module.gguf_name());
                return Err(Error::NotFinite { step: t, place });
            }
        }
        Ok(())
    }
}

/// The global L2 norm of the averaged gradients.
fn gradient_norm(adapter: &Adapter, t: u64, n: u64) -> Result<f64> {
    let mut total = 0.0;
    for Parameter { layer, module, factor, grad, .. } in adapter.parameters() {
        let squares: f64 = grad.to_vec()?.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
        if !squares.is_finite() {
            let place = format!("the gradient of layer {layer} {} {factor}", module.gguf_name());
            return Err(Error::NotFinite { step: t, place });
        }
        total += squares;
    }
    Ok(total.sqrt() / n.max(1) as f64)
}

/// What an update does to each number.
#[derive(Clone, Copy)]
struct Rule {
    /// What the summed gradient is multiplied with.
    factor: f32,
    /// β and 1 − β of the first moments.
    mean: [f32; 2],
    /// β and 1 − β of the second moments.
    square: [f32; 2],
    /// `√(1 − β₂ᵗ)`.
    root_correction: f32,
    eps: f32,
    step_size: f32,
    /// What the decay leaves.
    keep: f32,
}

impl Rule {
    fn new(config: &OptimizerConfig, t: u64, lr: f64, factor: f32) -> Self {
        let &OptimizerConfig { beta1, beta2, eps, weight_decay, .. } = config;
        let t = t as f64;
        Self {
            factor,
            mean: [beta1 as f32, (1.0 - beta1) as f32],
            square: [beta2 as f32, (1.0 - beta2) as f32],
            root_correction: (1.0 - libm::pow(beta2, t)).sqrt() as f32,
            eps: eps as f32,
            step_size: (lr / (1.0 - libm::pow(beta1, t))) as f32,
            keep: (1.0 - lr * weight_decay) as f32,
        }
    }

    /// Parameter and moments after the update.
    #[inline(always)]
    fn apply(&self, p: f32, g: f32, m: f32, v: f32) -> (f32, f32, f32) {
        let g = g * self.factor;
        let m = self.mean[0] * m + self.mean[1] * g;
        let v = self.square[0] * v + self.square[1] * g * g;
        (p * self.keep - self.step_size * (m / (v.sqrt() / self.root_correction + self.eps)), m, v)
    }
}
