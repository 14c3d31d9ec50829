//! Queries that grow with their position, so that attention stays sharp among many keys (arXiv 2501.19399).
//!
//! ```text
//! y_t = s_t x_t                            s_t = 1 + scale · ln(1 + ⌊position_t / original_context⌋)
//! dx_t = s_t dy_t
//! ```

use nightgraft_ggml::{Error, Graph, Tensor};

/// `y` in the place of `x` `[T, n]`; `factors` `[T, 1]` are of [`factors`].
///
/// # Errors
/// If shapes do not fit.
pub fn forward(g: &mut Graph, x: Tensor, factors: Tensor) -> Result<Tensor, Error> {
    g.scale_rows(x, factors)
}

/// `dx` in the place of `dy`.
///
/// # Errors
/// If shapes do not fit.
pub fn backward(g: &mut Graph, dy: Tensor, factors: Tensor) -> Result<Tensor, Error> {
    g.scale_rows(dy, factors)
}

/// `s_t` for each position.
pub fn factors(positions: &[i32], scale: f32, original_context: usize) -> Vec<f32> {
    let factor = |position: &i32| {
        let times = usize::try_from(*position).unwrap_or(0) / original_context.max(1);
        (1.0 + f64::from(scale) * libm::log1p(times as f64)) as f32
    };
    positions.iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_grow_where_a_context_is_over() {
        let factors = factors(&[0, 7, 8, 15, 16, 80], 0.5, 8);
        let expected = [1.0, 1.0, 1.0 + 0.5 * 2f64.ln(), 1.0 + 0.5 * 2f64.ln(), 1.0 + 0.5 * 3f64.ln()];
        for (got, want) in factors.iter().zip(expected) {
            assert!((f64::from(*got) - want).abs() < 1e-7, "{got} for {want}");
        }
        assert!((f64::from(factors[5]) - (1.0 + 0.5 * 11f64.ln())).abs() < 1e-6);
    }
}
