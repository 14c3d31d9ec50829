// The exponential function and what follows from it, computed alike on every device: drivers' own differ by far more than a unit in
// the last place.

// e^x = 2^n e^r, x = n ln 2 + r with |r| <= ln 2 / 2, and e^r by its Taylor polynomial of degree 7; 0 below -87.3, the largest
// number above 88.
fn exp_f32(x: f32) -> f32 {
    let n = round(clamp(x, -87.3, 88.0) * 1.44269504);
    // ln 2 in two parts; the first has few enough bits that a product with n is exact.
    let r = fma(n, 2.1219444e-4, fma(n, -0.693359375, x));
    var p = 1.0 / 5040.0;
    p = fma(r, p, 1.0 / 720.0);
    p = fma(r, p, 1.0 / 120.0);
    p = fma(r, p, 1.0 / 24.0);
    p = fma(r, p, 1.0 / 6.0);
    p = fma(r, p, 0.5);
    p = fma(r, p, 1.0);
    p = fma(r, p, 1.0);
    let result = p * bitcast<f32>(u32(i32(n) + 127) << 23u);
    return select(select(result, 0.0, x < -87.3), 3.4028234e38, x > 88.0);
}

// ln x of a positive number: x = 2^n m with m from 1/sqrt 2 to sqrt 2, and ln m = 2 artanh((m - 1) / (m + 1)) by its series.
fn log_f32(x: f32) -> f32 {
    let bits = bitcast<i32>(x);
    // The bits of 1/sqrt 2 are taken off, so that the exponent changes there.
    let n = (bits - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(bits - (n << 23u));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    var p = 1.0 / 9.0;
    p = fma(square, p, 1.0 / 7.0);
    p = fma(square, p, 1.0 / 5.0);
    p = fma(square, p, 1.0 / 3.0);
    p = fma(square, p, 1.0);
    return fma(f32(n), 0.6931471805599453, 2.0 * s * p);
}

// cap tanh(v / cap), by tanh x = 1 - 2 / (1 + exp 2x).
fn capped(v: f32, cap: f32) -> f32 {
    return cap * (1.0 - 2.0 / (1.0 + exp_f32(2.0 * (v / cap))));
}
