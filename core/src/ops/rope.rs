//! Rotary position embedding (arXiv 2104.09864).
//!
//! ```text
//! (y₁, y₂) = (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)      for each rotated pair i of each head
//! θ = position · scale_i · base^(−2i / n_dims) / factor_i
//! dx = the same rotation by −θ
//! ```
//!
//! Positions restart at 0 in each packed segment. The angles are the same for all heads of the layers that share a rope, so
//! they are computed once a micro-batch, in [`Angles::table`]; there they are multiplied by the attention factor of YaRN and
//! LongRoPE, too.

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

/// The angular frequencies of a rope.
#[derive(Debug, Clone, PartialEq)]
pub struct Angles {
    /// One a pair, in f32 as models are trained with.
    frequencies: Vec<f32>,
    /// Those of long segments, if they have others, and the most tokens of a short one.
    long: Option<(Vec<f32>, usize)>,
    /// Multiplies what is turned.
    magnitude: f32,
}

/// What an angular frequency is made of.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    /// Values of a head that are turned.
    pub n_dims: usize,
    /// Base of the geometric series.
    pub base: f32,
    /// Divides each frequency, if there are some (Llama 3, LongRoPE).
    pub factors: Option<&'a [f32]>,
    /// Multiplies frequencies (linear scaling, YaRN).
    pub scale: f32,
    /// The last pair that YaRN does not scale and the first that it scales fully; without, all are scaled.
    pub ramp: Option<[f32; 2]>,
}

impl Series<'_> {
    fn frequencies(&self) -> Vec<f32> {
        (0..self.n_dims / 2).map(|pair| self.frequency(pair)).collect()
    }

    fn frequency(&self, pair: usize) -> f32 {
        let plain = libm::pow(f64::from(self.base), -2.0 * pair as f64 / self.n_dims as f64);
        let factor = self.factors.and_then(|factors| factors.get(pair)).copied().unwrap_or(1.0);
        (plain * self.scale_of(pair) / f64::from(factor)) as f32
    }

    /// Between the ends of the ramp, YaRN's mixture of 1 and the scale (arXiv 2309.00071, equation 23).
    fn scale_of(&self, pair: usize) -> f64 {
        let scale = f64::from(self.scale);
        let Some([low, high]) = self.ramp.map(|ends| ends.map(f64::from)) else { return scale };
        let scaled = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        scaled * scale + (1.0 - scaled)
    }
}

impl Angles {
    /// Frequencies for all segments alike; what is turned is multiplied by `magnitude`.
    pub fn new(series: Series, magnitude: f32) -> Self {
        Self { frequencies: series.frequencies(), long: None, magnitude }
    }

    /// These, but for segments of more than `most` tokens those of `series`.
    pub fn with_long(self, series: Series, most: usize) -> Self {
        Self { long: Some((series.frequencies(), most)), ..self }
    }

    /// Values a token.
    pub fn n_dims(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// For each position the cosines of its angles, then the sines, times the magnitude: `[T, n_dims]`. `starts` has the first
    /// token of each token's segment.
    pub fn table(&self, positions: &[i32], starts: &[i32]) -> Vec<f32> {
        let mut table = Vec::with_capacity(positions.len() * self.n_dims());
        // Tokens of a segment follow each other, and have one start.
        let tokens: Vec<(i32, i32)> = positions.iter().copied().zip(starts.iter().copied()).collect();
        for segment in tokens.chunk_by(|(_, start), (_, next)| start == next) {
            let last = segment.iter().map(|(position, _)| *position).max().unwrap_or(0);
            let longest = usize::try_from(last).unwrap_or(0) + 1;
            let frequencies = match &self.long {
                Some((long, most)) if longest > *most => long,
                _ => &self.frequencies,
            };
            for &(position, _) in segment {
                // The product is rounded to f32, as where models are trained; only then is it exact to compare.
                let angles = || frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
                table.extend(angles().map(|angle| libm::cos(angle) as f32 * self.magnitude));
                table.extend(angles().map(|angle| libm::sin(angle) as f32 * self.magnitude));
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Series = Series { n_dims: 4, base: 100.0, factors: None, scale: 1.0, ramp: None };

    fn assert_close(table: &[f32], wanted: impl IntoIterator<Item = f64>) {
        let wanted: Vec<f64> = wanted.into_iter().collect();
        assert_eq!(table.len(), wanted.len());
        for (got, want) in table.iter().zip(wanted) {
            assert!((f64::from(*got) - want).abs() < 1e-6, "{got} for {want}");
        }
    }

    /// A library of another system or a later version must not change a bit.
    #[test]
    fn tables_are_pinned() {
        let series = Series { n_dims: 64, base: 10_000.0, ..PLAIN };
        let table = Angles::new(series, 1.0).table(&[1, 100, 2047], &[0; 3]);
        let hash = table.iter().fold(0u64, |hash, value| {
            hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(value.to_bits()))
        });
        assert_eq!(hash, 2_875_464_649_716_855_316);
    }

    #[test]
    fn angles_are_positions_times_frequencies() {
        let plain = Angles::new(PLAIN, 1.0);
        assert_eq!(plain.table(&[0], &[0]), [1.0, 1.0, 0.0, 0.0]);
        assert_close(&plain.table(&[7], &[0]), [7f64.cos(), 0.7f64.cos(), 7f64.sin(), 0.7f64.sin()]);
        let scaled = Angles::new(Series { factors: Some(&[2.0, 1.0]), scale: 0.5, ..PLAIN }, 3.0);
        let wanted = [2f64.cos(), 0.4f64.cos(), 2f64.sin(), 0.4f64.sin()].map(|value| 3.0 * value);
        assert_close(&scaled.table(&[8], &[0]), wanted);
    }

    #[test]
    fn yarn_scales_slow_pairs_only() {
        let series = Series { n_dims: 8, base: 1.0, scale: 0.25, ramp: Some([1.0, 3.0]), ..PLAIN };
        assert_eq!(series.frequencies(), [1.0, 1.0, 0.625, 0.25]);
        let step = Series { ramp: Some([2.0, 2.0]), ..series };
        assert_eq!(step.frequencies(), [1.0, 1.0, 1.0, 0.25]);
    }

    #[test]
    fn long_segments_have_frequencies_of_their_own() {
        let series = Series { n_dims: 2, ..PLAIN };
        let angles = Angles::new(series, 1.0).with_long(Series { scale: 0.5, ..series }, 2);
        let together = angles.table(&[0, 1, 0, 1, 2], &[0, 0, 2, 2, 2]);
        assert_close(
            &together,
            [1.0, 0.0, 1f64.cos(), 1f64.sin(), 1.0, 0.0, 0.5f64.cos(), 0.5f64.sin(), 1f64.cos(), 1f64.sin()],
        );
        // As if each were alone.
        assert_eq!(together[..4], angles.table(&[0, 1], &[0, 0]));
        assert_eq!(together[4..], angles.table(&[0, 1, 2], &[0, 0, 0]));
    }
}
