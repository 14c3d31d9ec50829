//! The loss of a row of logits and its gradient, in place.

use crate::error::{IndexError, KernelError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, RowsMut};

/// What turns products with the rows of the head into logits: `cap · tanh(scale · z / cap)`, or `scale · z` without a cap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitTransform {
    /// Multiplies the products; positive.
    pub scale: f32,
    /// The soft-cap, if there is one; positive.
    pub softcap: Option<f32>,
}

impl LogitTransform {
    /// The products are the logits.
    pub const NONE: Self = Self { scale: 1.0, softcap: None };
}

/// Values summed in single precision before the sum goes on in double: keeps the error independent of the vocabulary.
const BLOCK: usize = 4096;

/// Cross-entropy of the logits that `transform` makes of each row of `products` `[T, n_vocab]`, with `targets[t]`, a column
/// index.
///
/// `products` becomes its gradient, `softmax(logits) − onehot(target)` times the transform's slope (of the row's own loss, not
/// of a mean). `loss` `[T, 2]` gets −log p(target) and 1.0 if the target is the largest logit (the first of them, if several are), else
/// 0.0. A negative target means no loss: the row's gradient, loss and hit are 0.
///
/// # Errors
/// For arguments that [`check_cross_entropy`] refuses, which leave everything untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `products`
/// and `loss` meanwhile.
pub unsafe fn cross_entropy(
    products: RowsMut,
    transform: LogitTransform,
    targets: &[i32],
    loss: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { cross_entropy_on(Kernels::current(), products, transform, targets, loss, part) }
}

/// Turns products `[T, n_vocab]` into logits, in place.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `products`
/// meanwhile.
pub unsafe fn transform_logits(products: RowsMut, transform: LogitTransform, part: Part) {
    let kernels = Kernels::current();
    for row in part.range(products.n_rows()) {
        // SAFETY: the row exists, parts share no row, and the caller promises that nothing else touches it.
        let values = unsafe { products.row_mut(row, 0..products.n_cols()) };
        // SAFETY: the table in use is one that the machine can run.
        unsafe {
            match transform.softcap {
                Some(cap) => (kernels.softcap)(values, transform.scale, cap),
                None => (kernels.scale)(values, transform.scale),
            }
        }
    }
}

/// Whether the shapes fit for [`cross_entropy`], and no target is past the vocabulary.
///
/// # Errors
/// For the first thing that does not fit.
pub fn check_cross_entropy(logits: &RowsMut, targets: &[i32], loss: &RowsMut) -> Result<(), KernelError> {
    const OP: &str = "cross_entropy";
    same(OP, "number of targets", logits.n_rows(), targets.len())?;
    same(OP, "rows of loss", logits.n_rows(), loss.n_rows())?;
    same(OP, "columns of loss", 2, loss.n_cols())?;
    let end = logits.n_cols();
    let is_past = |target: &i32| usize::try_from(*target).is_ok_and(|target| target >= end);
    match targets.iter().position(is_past) {
        Some(token) => Err(IndexError { op: OP, what: "target", token, end, got: targets[token] }.into()),
        None => Ok(()),
    }
}

/// # Safety
/// As for [`cross_entropy`], and the machine must have the instructions of `kernels`.
unsafe fn cross_entropy_on(
    kernels: &Kernels,
    products: RowsMut,
    transform: LogitTransform,
    targets: &[i32],
    loss: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    check_cross_entropy(&products, targets, &loss)?;
    for row in part.range(products.n_rows()) {
        // SAFETY: the row exists in both, parts share no row, and the caller promises that nothing else touches them.
        let (values, loss) =
            unsafe { (products.row_mut(row, 0..products.n_cols()), loss.row_mut(row, 0..2)) };
        let (negative_log_p, hit) = match usize::try_from(targets[row]).ok() {
            // SAFETY: the caller promises the instructions.
            Some(target) => unsafe {
                match transform.softcap {
                    None => row_loss(kernels, values, transform.scale, target),
                    Some(cap) => capped_row_loss(kernels, values, (transform.scale, cap), target),
                }
            },
            None => {
                values.fill(0.0);
                (0.0, false)
            }
        };
        loss[0] = negative_log_p;
        loss[1] = f32::from(u8::from(hit));
    }
    Ok(())
}

/// −log p(target) and whether the target is the first largest value; `values` become the gradient.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
unsafe fn row_loss(kernels: &Kernels, values: &mut [f32], scale: f32, target: usize) -> (f32, bool) {
    // SAFETY: the caller promises the instructions.
    let largest = unsafe { (kernels.max)(values) };
    let own = values[target];
    let hit = own == largest && !values[..target].contains(&largest);
    let mut sum = 0.0f64;
    for block in values.chunks_mut(BLOCK) {
        // SAFETY: the caller promises the instructions.
        sum += f64::from(unsafe { (kernels.exp_scaled)(block, scale, -(scale * largest)) });
    }
    // SAFETY: the caller promises the instructions.
    unsafe { (kernels.scale)(values, (1.0 / sum) as f32 * scale) };
    values[target] -= scale;
    let [largest, own] = [largest, own].map(|value| f64::from(scale * value));
    ((libm::log(sum) + largest - own) as f32, hit)
}

/// As [`row_loss`] with soft-capped logits `c`: a gradient for them is multiplied by `scale · (1 − (c / cap)²)`. Both are
/// needed at once, so the logits are computed in a block of their own, once for each use.
///
/// # Safety
/// The machine must have the instructions of `kernels`.
unsafe fn capped_row_loss(
    kernels: &Kernels,
    values: &mut [f32],
    (scale, cap): (f32, f32),
    target: usize,
) -> (f32, bool) {
    let logits = |block: &[f32]| {
        let mut logits = block.to_vec();
        // SAFETY: the caller promises the instructions.
        unsafe { (kernels.softcap)(&mut logits, scale, cap) };
        logits
    };
    // SAFETY: the caller promises the instructions.
    let first = unsafe { (kernels.max)(values) };
    let hit = values[target] == first && !values[..target].contains(&first);
    let (largest, own) = (logits(&[first])[0], logits(&values[target..=target])[0]);
    let mut sum = 0.0f64;
    for block in values.chunks(BLOCK) {
        // SAFETY: the caller promises the instructions.
        sum += f64::from(unsafe { (kernels.exp_scaled)(&mut logits(block), 1.0, -largest) });
    }
    let factor = (1.0 / sum) as f32 * scale;
    for (index, block) in values.chunks_mut(BLOCK).enumerate() {
        let logits = logits(block);
        block.copy_from_slice(&logits);
        // SAFETY: the caller promises the instructions.
        unsafe { (kernels.exp_scaled)(block, 1.0, -largest) };
        for (i, (value, logit)) in block.iter_mut().zip(&logits).enumerate() {
            let own = if index * BLOCK + i == target { scale } else { 0.0 };
            let tanh = logit / cap;
            *value = (*value * factor - own) * (1.0 - tanh * tanh);
        }
    }
    ((libm::log(sum) + f64::from(largest) - f64::from(own)) as f32, hit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tier;
    use crate::weights::reference::Random;

    /// Logits `[n, n_vocab]` become gradients; the second result is `[n, 2]`.
    fn run(tier: Tier, logits: &[f32], targets: &[i32], count: usize) -> (Vec<f32>, Vec<f32>) {
        run_transformed(tier, logits, LogitTransform::NONE, targets, count)
    }

    fn run_transformed(
        tier: Tier,
        logits: &[f32],
        transform: LogitTransform,
        targets: &[i32],
        count: usize,
    ) -> (Vec<f32>, Vec<f32>) {
        let (n, n_vocab) = (targets.len(), logits.len() / targets.len());
        let (mut gradient, mut loss) = (logits.to_vec(), vec![f32::NAN; 2 * n]);
        for index in 0..count {
            let logits = RowsMut::new(&mut gradient, n, n_vocab, n_vocab).unwrap();
            let loss = RowsMut::new(&mut loss, n, 2, 2).unwrap();
            let part = Part { index, count };
            // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
            unsafe {
                let kernels = Kernels::of(tier).unwrap();
                cross_entropy_on(kernels, logits, transform, targets, loss, part).unwrap();
            }
        }
        (gradient, loss)
    }

    #[test]
    fn loss_and_gradient_agree_with_double_precision() {
        for (n_vocab, n, spread) in
            [(1, 2, 1.0), (5, 3, 1.0), (1000, 7, 20.0), (49_152, 3, 5.0), (262_144, 2, 3.0)]
        {
            let mut random = Random::new(n_vocab as u64);
            let logits: Vec<f32> = random.floats(n * n_vocab).iter().map(|value| value * spread).collect();
            let targets: Vec<i32> = (0..n).map(|t| (t * 7919 % n_vocab) as i32).collect();
            let (gradient, loss) = run(*Tier::available().last().unwrap(), &logits, &targets, 1);
            for t in 0..n {
                let row: Vec<f64> = logits[t * n_vocab..][..n_vocab].iter().map(|v| f64::from(*v)).collect();
                let largest = row.iter().copied().fold(f64::MIN, f64::max);
                let lse = largest + row.iter().map(|value| (value - largest).exp()).sum::<f64>().ln();
                let target = targets[t] as usize;
                let expected = lse - row[target];
                assert!((f64::from(loss[2 * t]) - expected).abs() < 2e-7 * (1.0 + expected), "{n_vocab} {t}");
                assert_eq!(loss[2 * t + 1] == 1.0, row[target] == largest);
                for i in 0..n_vocab {
                    let p = (row[i] - lse).exp();
                    let expected = p - f64::from(u8::from(i == target));
                    // The difference to the largest logit is rounded once.
                    let relative = 4e-7 + 6e-8 * (largest - row[i]);
                    let bound = relative * p + 6e-8 * f64::from(u8::from(i == target));
                    let error = (f64::from(gradient[t * n_vocab + i]) - expected).abs();
                    assert!(error < bound, "{n_vocab} {t} {i}: {error} {bound}");
                }
            }
            for tier in Tier::available() {
                for count in 1..4 {
                    assert_eq!(run(tier, &logits, &targets, count), (gradient.clone(), loss.clone()));
                }
            }
        }
    }

    /// Rounding of logits up to 30, and of the soft-cap's own tanh, which is exact to some 1e-7 of the cap.
    const TRANSFORMED_TOLERANCE: f64 = 2e-5;

    #[test]
    fn scaled_and_capped_logits_agree_with_double_precision() {
        for transform in [
            LogitTransform { scale: 0.125, softcap: None },
            LogitTransform { scale: 1.0, softcap: Some(30.0) },
            LogitTransform { scale: 2.5, softcap: Some(7.0) },
        ] {
            let (n_vocab, n) = (5000, 3);
            let products: Vec<f32> = Random::new(5).floats(n * n_vocab).iter().map(|v| v * 30.0).collect();
            let targets = [3, 4999, -1];
            let fastest = *Tier::available().last().unwrap();
            let (gradient, loss) = run_transformed(fastest, &products, transform, &targets, 1);
            let (scale, cap) = (f64::from(transform.scale), transform.softcap.map(f64::from));
            let logit = |z: f32| {
                let z = f64::from(z) * scale;
                cap.map_or((z, scale), |cap| {
                    let tanh = (z / cap).tanh();
                    (cap * tanh, scale * (1.0 - tanh * tanh))
                })
            };
            for (t, target) in targets[..2].iter().map(|target| *target as usize).enumerate() {
                let row: Vec<_> = products[t * n_vocab..][..n_vocab].iter().map(|z| logit(*z)).collect();
                let largest = row.iter().map(|(logit, _)| *logit).fold(f64::MIN, f64::max);
                let sum: f64 = row.iter().map(|(logit, _)| (logit - largest).exp()).sum();
                let lse = largest + sum.ln();
                assert!((f64::from(loss[2 * t]) - (lse - row[target].0)).abs() < TRANSFORMED_TOLERANCE);
                for (i, (logit, slope)) in row.iter().enumerate() {
                    let expected = ((logit - lse).exp() - f64::from(u8::from(i == target))) * slope;
                    let error = (f64::from(gradient[t * n_vocab + i]) - expected).abs();
                    assert!(error < TRANSFORMED_TOLERANCE, "{transform:?} {t} {i}: {error}");
                }
            }
            assert!(gradient[2 * n_vocab..].iter().all(|value| *value == 0.0));
            for tier in Tier::available() {
                let other = run_transformed(tier, &products, transform, &targets, 2);
                assert_eq!(other, (gradient.clone(), loss.clone()));
            }
            let mut logits = products.clone();
            let rows = RowsMut::new(&mut logits, n, n_vocab, n_vocab).unwrap();
            // SAFETY: the only part is run once, and nothing else touches the logits.
            unsafe { transform_logits(rows, transform, Part::WHOLE) };
            for (got, z) in logits.iter().zip(&products) {
                assert!((f64::from(*got) - logit(*z).0).abs() < TRANSFORMED_TOLERANCE);
            }
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        for tier in Tier::available() {
            let (gradient, loss) = run(tier, &[1e30, -1e30, 3e4, 1e30], &[1], 1);
            assert_eq!(gradient, [0.5, -1.0, 0.0, 0.5]);
            assert_eq!(loss, [2e30, 0.0]);
        }
    }

    #[test]
    fn the_first_of_equal_logits_is_the_hit() {
        let logits = [2.0, 7.0, 7.0, 2.0, 7.0, 7.0];
        assert_eq!(
            run(Tier::Scalar, &logits, &[1, 2], 1).1[1..].iter().step_by(2).collect::<Vec<_>>(),
            [&1.0, &0.0]
        );
    }

    #[test]
    fn a_target_past_the_vocabulary_is_an_error() {
        let (mut logits, mut loss) = ([1.0; 12], [7.0; 6]);
        for target in [4, i32::MAX] {
            let logits = RowsMut::new(&mut logits, 3, 4, 4).unwrap();
            let loss = RowsMut::new(&mut loss, 3, 2, 2).unwrap();
            // SAFETY: the only part is run once, and nothing else touches the results.
            let refused =
                unsafe { cross_entropy(logits, LogitTransform::NONE, &[3, -1, target], loss, Part::WHOLE) };
            let expected = IndexError { op: "cross_entropy", what: "target", token: 2, end: 4, got: target };
            assert_eq!(refused, Err(expected.into()));
        }
        assert_eq!((logits, loss), ([1.0; 12], [7.0; 6]));
    }

    #[test]
    fn a_row_without_target_has_no_loss() {
        let (gradient, loss) = run(Tier::Scalar, &[1.0; 12], &[-1, 2, i32::MIN], 2);
        assert_eq!(gradient[..4], [0.0; 4]);
        assert_eq!(gradient[4..8], [0.25, 0.25, -0.75, 0.25]);
        assert_eq!(gradient[8..], [0.0; 4]);
        assert_eq!((loss[0], loss[1], loss[4], loss[5]), (0.0, 0.0, 0.0, 0.0));
        assert!((loss[2] - 4.0f32.ln()).abs() < 1e-6);
    }
}
