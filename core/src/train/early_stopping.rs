//! When a held-out loss is the best so far, and when to stop waiting for a better one.

use nightgraft_store::checkpoint::EarlyStopping;

use crate::Result;

/// An adapter is better if it adds this share of what the best one gained over the start. Less is not worth its price: what goes on
/// learning texts that are known by then changes everything else the more (SmolLM2-135M at a constant rate of 2e-3 on twenty short
/// notes of one pattern: from step 6 to 12 the loss on general texts rose from 2.99 to 4.16, and that on held-out ones fell from
/// 0.007 to 0.0006).
const MIN_DELTA: f64 = 0.01;
/// Nothing is better than an adapter whose loss is this share of that at the start: what is known is only learned by heart (such
/// notes at 1.2e-3, in micro-batches of one or two: from step 6 to 12 the loss on held-out ones fell from 0.037 to 0.0025, and that
/// on general texts rose to 20 % above the start's).
const KNOWN: f64 = 0.02;

/// Takes in an evaluation of a run whose loss was `start` before the first step; tells whether it is the best yet, but for
/// differences that are not worth while (`MIN_DELTA`, `KNOWN`). Only then `keep` is asked to keep the adapter.
///
/// # Errors
/// Whatever `keep` fails with; nothing was taken in then.
pub(super) fn consider(
    known: &mut EarlyStopping,
    step: u64,
    loss: f64,
    start: f64,
    keep: impl FnOnce() -> Result<()>,
) -> Result<bool> {
    // A loss that is not a number never beats one that is.
    let better = known.best_loss.is_none_or(|best| {
        let needed = MIN_DELTA * (start - best).max(0.0);
        best.is_nan() || (loss < best - needed && best > KNOWN * start)
    });
    if better {
        keep()?;
        *known = EarlyStopping { best_loss: Some(loss), best_step: step, evaluations_since: 0 };
    } else {
        known.evaluations_since += 1;
    }
    Ok(better)
}

/// Whether `patience` evaluations in a row have brought nothing better; never if `patience` is 0.
pub(super) fn is_out_of_patience(known: &EarlyStopping, patience: usize) -> bool {
    patience > 0 && known.evaluations_since >= patience as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Error;

    #[test]
    fn keeps_the_lowest_and_counts_what_came_after() {
        let mut known = EarlyStopping::default();
        let mut kept = Vec::new();
        let mut consider = |known: &mut EarlyStopping, step, loss| {
            let keep = || {
                kept.push(step);
                Ok(())
            };
            super::consider(known, step, loss, 3.0, keep).unwrap()
        };
        assert!(consider(&mut known, 0, 3.0));
        assert!(consider(&mut known, 5, 2.0));
        assert!(!consider(&mut known, 10, 2.0), "equal is not better");
        assert!(!consider(&mut known, 15, f64::NAN));
        assert_eq!(known, EarlyStopping { best_loss: Some(2.0), best_step: 5, evaluations_since: 2 });
        assert!(is_out_of_patience(&known, 2) && !is_out_of_patience(&known, 3));
        assert!(!is_out_of_patience(&known, 0));
        assert!(consider(&mut known, 20, 1.0));
        assert!(!is_out_of_patience(&known, 1));
        assert!(
            !consider(&mut known, 25, 0.981) && consider(&mut known, 30, 0.979),
            "a hundredth of the gain"
        );
        assert!(consider(&mut known, 35, 0.059));
        assert!(!consider(&mut known, 40, 0.0), "it is known");
        assert_eq!(kept, [0, 5, 20, 30, 35]);
    }

    #[test]
    fn an_adapter_that_cannot_be_kept_is_not_the_best() {
        let mut known = EarlyStopping::default();
        consider(&mut known, 3, 1.0, 2.0, || Err(Error::Cancelled)).unwrap_err();
        assert_eq!(known, EarlyStopping::default());
    }
}
