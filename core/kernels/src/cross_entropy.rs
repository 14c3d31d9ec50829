//! The loss of a row of logits and its gradient, in place.

use crate::error::{IndexError, KernelError, same};
use crate::isa::Kernels;
use crate::matrix::{Part, RowsMut};

/// Values summed in single precision before the sum goes on in double: keeps the error independent of the vocabulary.
const BLOCK: usize = 4096;

/// Cross-entropy of each row of `logits` `[T, n_vocab]` with `targets[t]`, a column index.
///
/// `logits` becomes the gradient `softmax(logits) − onehot(target)` (of the row's own loss, not of a mean). `loss`
/// `[T, 2]` gets −log p(target) and 1.0 if the target is the largest logit (the first of them, if several are), else
/// 0.0. A negative target means no loss: the row's gradient, loss and hit are 0.
///
/// # Errors
/// For arguments that [`check_cross_entropy`] refuses, which leave everything untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `logits` and
/// `loss` meanwhile.
pub unsafe fn cross_entropy(
    logits: RowsMut,
    targets: &[i32],
    loss: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { cross_entropy_on(Kernels::current(), logits, targets, loss, part) }
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
    logits: RowsMut,
    targets: &[i32],
    loss: RowsMut,
    part: Part,
) -> Result<(), KernelError> {
    check_cross_entropy(&logits, targets, &loss)?;
    for row in part.range(logits.n_rows()) {
        // SAFETY: the row exists in both, parts share no row, and the caller promises that nothing else touches them.
        let (values, loss) = unsafe { (logits.row_mut(row, 0..logits.n_cols()), loss.row_mut(row, 0..2)) };
        let (negative_log_p, hit) = match usize::try_from(targets[row]).ok() {
            // SAFETY: the caller promises the instructions.
            Some(target) => unsafe { row_loss(kernels, values, target) },
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
unsafe fn row_loss(kernels: &Kernels, values: &mut [f32], target: usize) -> (f32, bool) {
    // SAFETY: the caller promises the instructions.
    let largest = unsafe { (kernels.max)(values) };
    let own = values[target];
    let hit = own == largest && !values[..target].contains(&largest);
    let mut sum = 0.0f64;
    for block in values.chunks_mut(BLOCK) {
        // SAFETY: the caller promises the instructions.
        sum += f64::from(unsafe { (kernels.exp_scaled)(block, 1.0, -largest) });
    }
    // SAFETY: the caller promises the instructions.
    unsafe { (kernels.scale)(values, (1.0 / sum) as f32) };
    values[target] -= 1.0;
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
        let (n, n_vocab) = (targets.len(), logits.len() / targets.len());
        let (mut gradient, mut loss) = (logits.to_vec(), vec![f32::NAN; 2 * n]);
        for index in 0..count {
            let logits = RowsMut::new(&mut gradient, n, n_vocab, n_vocab).unwrap();
            let loss = RowsMut::new(&mut loss, n, 2, 2).unwrap();
            let part = Part { index, count };
            // SAFETY: the tier is available, each part is run once, and nothing else touches the results.
            unsafe { cross_entropy_on(Kernels::of(tier).unwrap(), logits, targets, loss, part) }.unwrap();
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
            let refused = unsafe { cross_entropy(logits, &[3, -1, target], loss, Part::WHOLE) };
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
