//! What the gate has against an adapter, in kinds and numbers.

use nightgraft_policy::gate::{self, ModelRole};

/// A reason not to use a new adapter.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Refusal {
    /// Which, with its figures. Shares are of the loss of the one compared with.
    pub kind: RefusalKind,
    /// The same as an English sentence without a full stop.
    pub text: String,
}

/// A reason not to use a new adapter, for texts in other languages.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Enum)]
pub enum RefusalKind {
    /// The gate's settings make no sense.
    InvalidSettings,
    /// A measured loss is no usable number: the training diverged, or the base cannot be measured.
    NotFinite,
    /// Two models were not measured on the same examples.
    Mismatched,
    /// There is nothing to measure on.
    Unmeasured,
    /// Too few examples were held out.
    TooFewHeldOut {
        /// There are.
        examples: u64,
        /// There must be.
        needed: u64,
    },
    /// The adapter does what the base does.
    NoEffect {
        /// Mean change of the loss, up or down, as a share.
        change: f64,
    },
    /// Held-out examples do not get better, or not by enough, or not for certain.
    NotBetter {
        /// Compared with the graft in use; otherwise with the base.
        than_current: bool,
        /// Share of the loss that was saved; below zero, the new adapter is worse.
        gain: f64,
        /// The least that counts.
        needed: f64,
    },
    /// It learned its examples by heart instead of what they have in common.
    Overfits {
        /// The share of the loss saved on them and not on held-out ones.
        share: f64,
        /// The most that is allowed.
        limit: f64,
    },
    /// General texts get worse.
    Forgets {
        /// Share by which the loss rose.
        increase: f64,
        /// The most that is allowed.
        limit: f64,
    },
    /// The examples are hardly better language than their own words in random order.
    NotLanguage {
        /// The share of the loss that their order saves.
        saved: f64,
        /// The least that is asked.
        needed: f64,
    },
}

impl From<&gate::Refusal> for Refusal {
    fn from(refusal: &gate::Refusal) -> Self {
        use gate::Refusal as R;
        let kind = match *refusal {
            R::InvalidRules { .. } => RefusalKind::InvalidSettings,
            R::NotFinite { .. } => RefusalKind::NotFinite,
            R::Mismatched { .. } => RefusalKind::Mismatched,
            R::Unmeasured { .. } => RefusalKind::Unmeasured,
            R::TooFewHeldOut { examples, needed } => RefusalKind::TooFewHeldOut { examples, needed },
            R::NoEffect { change } => RefusalKind::NoEffect { change },
            R::NotBetter { against, gain, needed, .. } => {
                RefusalKind::NotBetter { than_current: against == ModelRole::Current, gain, needed }
            }
            R::Overfits { share, limit, .. } => RefusalKind::Overfits { share, limit },
            R::Forgets { increase, limit } => RefusalKind::Forgets { increase, limit },
            R::NotLanguage { saved, needed } => RefusalKind::NotLanguage { saved, needed },
        };
        Self { kind, text: refusal.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_kind_its_figures_and_its_sentence() {
        let refusal =
            gate::Refusal::NotBetter { against: ModelRole::Current, gain: 0.001, low: None, needed: 0.002 };
        let told = Refusal::from(&refusal);
        let kind = RefusalKind::NotBetter { than_current: true, gain: 0.001, needed: 0.002 };
        assert_eq!(told, Refusal { kind, text: refusal.to_string() });
        let forgets = gate::Refusal::Forgets { increase: 0.5, limit: 0.2 };
        assert_eq!(Refusal::from(&forgets).kind, RefusalKind::Forgets { increase: 0.5, limit: 0.2 });
    }
}
