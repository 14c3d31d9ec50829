//! The exponential function and sums of exponentials.

use super::{LANES, sum_lanes};

/// `v = exp(v · scale + offset)`; returns the sum of the results.
#[inline(always)]
pub(crate) fn exp_scaled(values: &mut [f32], scale: f32, offset: f32) -> f32 {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            chunk[i] = exp(chunk[i].mul_add(scale, offset));
            lanes[i] += chunk[i];
        }
    }
    for (i, value) in rest.iter_mut().enumerate() {
        *value = exp(value.mul_add(scale, offset));
        lanes[i] += *value;
    }
    sum_lanes(lanes)
}

/// e^x with an error below 2 units in the last place for x in −87.3 ..= 88; 0 below and ∞ above that.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, and e^r by its Taylor polynomial of degree 7, whose remainder is 2^-27.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting this rounds to an integer, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    /// ln 2 in two parts; the first has few enough bits that a product with n is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    #[allow(clippy::excessive_precision, reason = "the digits of the value meant")]
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.0;

    let rounded = x.mul_add(LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = 1.0 / 5040.0;
    p = r.mul_add(p, 1.0 / 720.0);
    p = r.mul_add(p, 1.0 / 120.0);
    p = r.mul_add(p, 1.0 / 24.0);
    p = r.mul_add(p, 1.0 / 6.0);
    p = r.mul_add(p, 0.5);
    p = r.mul_add(p, 1.0);
    p = r.mul_add(p, 1.0);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    let result = p * power;
    let result = if x < LOWEST { 0.0 } else { result };
    if x > HIGHEST { f32::INFINITY } else { result }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for step in 0..=1_753_000 {
            let x = -87.3f32 + step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let unit = f64::from((exact as f32).next_up()) - f64::from(exact as f32);
            worst = worst.max((f64::from(exp(x)) - exact).abs() / unit);
        }
        assert!(worst < 2.0, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }
}
