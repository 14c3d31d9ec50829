//! Rotary position embedding (arXiv 2104.09864).
//!
//! ```text
//! (y₁, y₂) = (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)      for each rotated pair i of each head
//! θ = scale · position · base^(−2i / n_dims) / factor_i
//! dx = the same rotation by −θ
//! ```
//!
//! Positions restart at 0 in each packed segment. The angles are the same for all heads and layers, so they
//! are computed once a micro-batch, in [`Angles::table`].

use nightgraft_ggml::{Error, Graph, RopeStyle, Rotation, Tensor};

/// How the values of a head are paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairLayout {
    /// Values per head.
    pub head_dim: usize,
    /// Which values are a pair.
    pub style: RopeStyle,
}

/// Rotates queries or keys `[T, n_heads · head_dim]` by `angles` `[T, n_dims]`, in place.
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, layout: PairLayout, x: Tensor, angles: Tensor) -> Result<Tensor, Error> {
    g.rope(x, angles, layout.rotation(false))
}

/// Rotates the gradient back, in place.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, layout: PairLayout, dy: Tensor, angles: Tensor) -> Result<Tensor, Error> {
    g.rope(dy, angles, layout.rotation(true))
}

impl PairLayout {
    fn rotation(self, back: bool) -> Rotation {
        Rotation { head_dim: self.head_dim, style: self.style, back }
    }
}

/// The angular frequencies of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Angles {
    /// One a pair, in f32 as models are trained with.
    frequencies: Vec<f32>,
}

impl Angles {
    /// `n_dims` rotated values a head; `factors`, if any, divide the frequencies (Llama 3); positions are
    /// multiplied by `position_scale` (linear scaling).
    pub fn new(n_dims: usize, base: f32, factors: Option<&[f32]>, position_scale: f32) -> Self {
        let frequency = |pair: usize| {
            let plain = libm::pow(f64::from(base), -2.0 * pair as f64 / n_dims as f64);
            let factor = factors.and_then(|factors| factors.get(pair)).copied().unwrap_or(1.0);
            (plain * f64::from(position_scale) / f64::from(factor)) as f32
        };
        Self { frequencies: (0..n_dims / 2).map(frequency).collect() }
    }

    /// Values a token.
    pub fn n_dims(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// For each position the cosines of its angles, then the sines: `[T, n_dims]`.
    pub fn table(&self, positions: &[i32]) -> Vec<f32> {
        let mut table = Vec::with_capacity(positions.len() * self.n_dims());
        for &position in positions {
            // The product is rounded to f32, as where models are trained; only then is it exact to compare.
            let angles = || self.frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
            table.extend(angles().map(|angle| libm::cos(angle) as f32));
            table.extend(angles().map(|angle| libm::sin(angle) as f32));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library of another system or a later version must not change a bit.
    #[test]
    fn tables_are_pinned() {
        let table = Angles::new(64, 10_000.0, None, 1.0).table(&[1, 100, 2047]);
        let hash = table.iter().fold(0u64, |hash, value| {
            hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(value.to_bits()))
        });
        assert_eq!(hash, 2_875_464_649_716_855_316);
    }

    #[test]
    fn angles_are_positions_times_frequencies() {
        let plain = Angles::new(4, 100.0, None, 1.0);
        assert_eq!(plain.table(&[0]), [1.0, 1.0, 0.0, 0.0]);
        let at_seven = plain.table(&[7]);
        for (got, want) in at_seven.iter().zip([7f64.cos(), 0.7f64.cos(), 7f64.sin(), 0.7f64.sin()]) {
            assert!((f64::from(*got) - want).abs() < 1e-6);
        }
        let scaled = Angles::new(4, 100.0, Some(&[2.0, 1.0]), 0.5);
        for (got, want) in scaled.table(&[8]).iter().zip([2f64.cos(), 0.4f64.cos(), 2f64.sin(), 0.4f64.sin()])
        {
            assert!((f64::from(*got) - want).abs() < 1e-6);
        }
    }
}
