//! The loss of a row of logits and its gradient, in place.

use crate::isa::Kernels;
use crate::matrix::{Part, RowsMut, ShapeError, same};

/// Values summed in single precision before the sum goes on in double: keeps the error independent of the vocabulary.
const BLOCK: usize = 4096;

/// Cross-entropy of each row of `logits` `[T, n_vocab]` with `targets[t]`, a column index.
///
/// `logits` becomes the gradient `softmax(logits) − onehot(target)` (of the row's own loss, not of a mean). `loss`
/// `[T, 2]` gets −log p(target) and 1.0 if the target is the largest logit (the first of them, if several are), else
/// 0.0. A target outside the vocabulary, such as −1, means no loss: the row's gradient, loss and hit are 0. Shapes
/// that [`check_cross_entropy`] refuses leave everything untouched.
///
/// # Safety
/// Each part `0..part.count` must be run exactly once, at the same time or not, and nothing else may touch `logits` and
/// `loss` meanwhile.
pub unsafe fn cross_entropy(logits: RowsMut, targets: &[i32], loss: RowsMut, part: Part) {
    // SAFETY: the caller's promise is passed on, and the table in use is one that the machine can run.
    unsafe { cross_entropy_on(Kernels::current(), logits, targets, loss, part) }
}

/// Whether the shapes fit for [`cross_entropy`].
pub fn check_cross_entropy(logits: &RowsMut, targets: &[i32], loss: &RowsMut) -> Result<(), ShapeError> {
    same("cross_entropy", "number of targets", logits.n_rows(), targets.len())?;
    same("cross_entropy", "rows of loss", logits.n_rows(), loss.n_rows())?;
    same("cross_entropy", "columns of loss", 2, loss.n_cols())
}

/// # Safety
/// As for [`cross_entropy`], and the machine must have the instructions of `kernels`.
unsafe fn cross_entropy_on(kernels: &Kernels, logits: RowsMut, targets: &[i32], loss: RowsMut, part: Part) {
    if check_cross_entropy(&logits, targets, &loss).is_err() {
        debug_assert!(false, "{:?}", check_cross_entropy(&logits, targets, &loss));
        return;
    }
    for row in part.range(logits.n_rows()) {
        // SAFETY: the row exists in both, parts share no row, and the caller promises that nothing else touches them.
        let (values, loss) = unsafe { (logits.row_mut(row, 0..logits.n_cols()), loss.row_mut(row, 0..2)) };
        let target = usize::try_from(targets[row]).ok().filter(|target| *target < values.len());
        let (negative_log_p, hit) = match target {
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
    unsafe { (kernels.multiply)(values, (1.0 / sum) as f32) };
    values[target] -= 1.0;
    ((sum.ln() + f64::from(largest) - f64::from(own)) as f32, hit)
}
