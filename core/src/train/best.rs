//! The best adapter so far, and when to stop waiting for a better one.

use nightgraft_adapter::AdapterTensors;

/// An adapter is better if it adds this share of what the best one gained over the start. Less is not worth its price: what goes on
/// learning texts that are known by then changes everything else the more (SmolLM2-135M at a constant rate of 2e-3 on twenty short
/// notes of one pattern: from step 6 to 12 the loss on general texts rose from 2.99 to 4.16, and that on held-out ones fell from
/// 0.007 to 0.0006).
const MIN_DELTA: f64 = 0.01;

/// Remembers the adapter with the lowest held-out loss, but for differences that are not worth while (`MIN_DELTA`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BestAdapter {
    /// Its held-out loss and step; none before the first evaluation.
    pub at: Option<(f64, u64)>,
    /// The adapter itself; none while the best is the start.
    pub adapter: Option<AdapterTensors>,
    /// Evaluations since it was found.
    pub evaluations_since: u64,
}

impl BestAdapter {
    /// Takes in an evaluation of a run whose loss was `start` before the first step; `keep` is asked to write the adapter, over the
    /// last best one, only if it is the best yet, which is returned.
    ///
    /// # Errors
    /// Whatever `keep` fails with.
    pub fn consider<E>(
        &mut self,
        step: u64,
        loss: f64,
        start: f64,
        keep: impl FnOnce(&mut Option<AdapterTensors>) -> Result<(), E>,
    ) -> Result<bool, E> {
        // A loss that is not a number never beats one that is.
        let better = self.at.is_none_or(|(best, _)| {
            let needed = MIN_DELTA * (start - best).max(0.0);
            loss < best - needed || best.is_nan()
        });
        if better {
            keep(&mut self.adapter)?;
            self.at = Some((loss, step));
            self.evaluations_since = 0;
        } else {
            self.evaluations_since += 1;
        }
        Ok(better)
    }

    /// Whether `patience` evaluations in a row have brought nothing better; never if `patience` is 0.
    pub fn is_out_of_patience(&self, patience: usize) -> bool {
        patience > 0 && self.evaluations_since >= patience as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use nightgraft_adapter::LoraSpec;

    use super::*;

    fn consider(best: &mut BestAdapter, step: u64, loss: f64) -> bool {
        let spec = LoraSpec { rank: 1, alpha: 1.0, modules: Vec::new(), layers: 0..0, dropout: 0.0 };
        let keep = |best: &mut Option<AdapterTensors>| {
            *best = Some(AdapterTensors { spec, pairs: BTreeMap::new() });
            Ok::<_, Infallible>(())
        };
        match best.consider(step, loss, 3.0, keep) {
            Ok(better) => better,
            Err(never) => match never {},
        }
    }

    #[test]
    fn keeps_the_lowest_and_counts_what_came_after() {
        let mut best = BestAdapter::default();
        assert!(consider(&mut best, 0, 3.0));
        assert!(consider(&mut best, 5, 2.0));
        assert!(!consider(&mut best, 10, 2.0), "equal is not better");
        assert!(!consider(&mut best, 15, f64::NAN));
        assert_eq!((best.at, best.evaluations_since), (Some((2.0, 5)), 2));
        assert!(best.is_out_of_patience(2) && !best.is_out_of_patience(3) && !best.is_out_of_patience(0));
        assert!(consider(&mut best, 20, 1.0));
        assert!(!best.is_out_of_patience(1));
        assert!(!consider(&mut best, 25, 0.981) && consider(&mut best, 30, 0.979), "a hundredth of the gain");
    }
}
