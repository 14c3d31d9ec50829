// The function of the feed-forward part and its slope: FUNCTION is 0 for v sigmoid(v) (arXiv 1702.03118), 1 for v Phi(v) with Phi
// by its tanh, 2 for v Phi(v) (arXiv 1606.08415).

fn sigmoid(v: f32) -> f32 {
    return 1.0 / (1.0 + exp_f32(-v));
}

// Phi(v), by a rational Chebyshev approximation of the complementary error function (Press et al., Numerical Recipes, 6.2).
fn normal_distribution(v: f32) -> f32 {
    let x = abs(v) * 0.70710678;
    let t = 1.0 / fma(0.5, x, 1.0);
    var p = 0.17087277;
    p = fma(t, p, -0.82215223);
    p = fma(t, p, 1.48851587);
    p = fma(t, p, -1.13520398);
    p = fma(t, p, 0.27886807);
    p = fma(t, p, -0.18628806);
    p = fma(t, p, 0.09678418);
    p = fma(t, p, 0.37409196);
    p = fma(t, p, 1.00002368);
    p = fma(t, p, -1.26551223);
    let tail = 0.5 * t * exp_f32(fma(x, -x, p));
    return select(1.0 - tail, tail, v < 0.0);
}

// f(v) and f'(v).
fn value_and_slope(v: f32) -> vec2<f32> {
    switch FUNCTION {
        case 0u: {
            let s = sigmoid(v);
            let value = v * s;
            return vec2<f32>(value, fma(value, 1.0 - s, s));
        }
        case 1u: {
            // (1 + tanh z) / 2 is sigmoid(2z), with the slope 2z' s (1 - s); z = sqrt(2/pi) (v + 0.044715 v^3).
            let square = v * v;
            let s = sigmoid(1.5957691 * v * fma(0.044715, square, 1.0));
            let slope = 1.5957691 * fma(0.134145, square, 1.0);
            let value = v * s;
            // Where the slope overflows, its factors have long been 0.
            return vec2<f32>(value, select(s, fma(value * slope, 1.0 - s, s), s * (1.0 - s) > 0.0));
        }
        default: {
            // Phi(v) + v phi(v).
            let phi = normal_distribution(v);
            return vec2<f32>(v * phi, fma(v * 0.3989423, exp_f32(-0.5 * v * v), phi));
        }
    }
}
