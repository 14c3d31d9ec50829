//! One row of the activation of the feed-forward part, gated by a second projection or not, forward and backward.

use super::exp::exp;

/// The function between the projections of the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `v · sigmoid(v)` (arXiv 1702.03118).
    Silu,
    /// `v · Φ(v)` with Φ by its approximation `½ (1 + tanh(√(2/π) (v + 0.044715 v³)))` (arXiv 1606.08415).
    GeluTanh,
    /// `v · Φ(v)`, Φ being the distribution function of the normal distribution (arXiv 1606.08415).
    Gelu,
}

/// Compiles a loop for each function, so that none of them asks which it is.
macro_rules! with_function {
    ($activation:expr, $F:ident => $body:expr) => {
        match $activation {
            Activation::Silu => {
                type $F = Silu;
                $body
            }
            Activation::GeluTanh => {
                type $F = GeluTanh;
                $body
            }
            Activation::Gelu => {
                type $F = Gelu;
                $body
            }
        }
    };
}

/// `y = f(gate) ⊙ up`.
#[inline(always)]
pub(crate) fn gated(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) {
    with_function!(activation, F => {
        let n = y.len();
        let (gate, up) = (&gate[..n], &up[..n]);
        for i in 0..n {
            y[i] = F::value_and_slope(gate[i]).0 * up[i];
        }
    });
}

/// `gate` and `up` become their gradients, and `dy` becomes `y`.
#[inline(always)]
pub(crate) fn gated_back(activation: Activation, gate: &mut [f32], up: &mut [f32], dy: &mut [f32]) {
    with_function!(activation, F => {
        let n = dy.len();
        let (gate, up) = (&mut gate[..n], &mut up[..n]);
        for i in 0..n {
            let (value, slope) = F::value_and_slope(gate[i]);
            let (u, d) = (up[i], dy[i]);
            gate[i] = d * u * slope;
            up[i] = d * value;
            dy[i] = value * u;
        }
    });
}

/// `y = f(x)`.
#[inline(always)]
pub(crate) fn activate(activation: Activation, x: &[f32], y: &mut [f32]) {
    with_function!(activation, F => {
        let n = y.len();
        let x = &x[..n];
        for i in 0..n {
            y[i] = F::value_and_slope(x[i]).0;
        }
    });
}

/// `x` becomes its gradient, and `dy` becomes `y`.
#[inline(always)]
pub(crate) fn activate_back(activation: Activation, x: &mut [f32], dy: &mut [f32]) {
    with_function!(activation, F => {
        let n = dy.len();
        let x = &mut x[..n];
        for i in 0..n {
            let (value, slope) = F::value_and_slope(x[i]);
            x[i] = dy[i] * slope;
            dy[i] = value;
        }
    });
}

trait Function {
    /// `f(v)` and `f'(v)`.
    fn value_and_slope(v: f32) -> (f32, f32);
}

struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value_and_slope(v: f32) -> (f32, f32) {
        let s = sigmoid(v);
        let silu = v * s;
        (silu, silu.mul_add(1.0 - s, s))
    }
}

struct GeluTanh;

impl Function for GeluTanh {
    /// `½ (1 + tanh z)` is `sigmoid(2z)`, with the slope `2z' · s (1 − s)`.
    #[inline(always)]
    fn value_and_slope(v: f32) -> (f32, f32) {
        /// 2 √(2/π).
        const FACTOR: f32 = 2.0 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
        const CUBIC: f32 = 0.044_715;
        let square = v * v;
        let s = sigmoid(FACTOR * v * CUBIC.mul_add(square, 1.0));
        let slope = FACTOR * (3.0 * CUBIC).mul_add(square, 1.0);
        let value = v * s;
        // Where the slope overflows, its factors have long been 0.
        (value, if s * (1.0 - s) > 0.0 { (value * slope).mul_add(1.0 - s, s) } else { s })
    }
}

struct Gelu;

impl Function for Gelu {
    /// The slope is `Φ(v) + v φ(v)`.
    #[inline(always)]
    fn value_and_slope(v: f32) -> (f32, f32) {
        /// 1 / √(2π).
        const DENSITY: f32 = 0.398_942_3;
        let phi = normal_distribution(v);
        (v * phi, (v * DENSITY).mul_add(exp(-0.5 * v * v), phi))
    }
}

/// Φ(v), by a rational Chebyshev approximation of the complementary error function whose error is below 1.2e-7 of it (Press et
/// al., Numerical Recipes, 6.2).
#[inline(always)]
fn normal_distribution(v: f32) -> f32 {
    #[allow(clippy::excessive_precision, reason = "the digits of the values meant")]
    const COEFFICIENTS: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let x = v.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.5f32.mul_add(x, 1.0);
    let mut p = COEFFICIENTS[0];
    for i in 1..COEFFICIENTS.len() {
        p = t.mul_add(p, COEFFICIENTS[i]);
    }
    let tail = 0.5 * t * exp(x.mul_add(-x, p));
    if v < 0.0 { tail } else { 1.0 - tail }
}

#[inline(always)]
fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + exp(-v))
}
