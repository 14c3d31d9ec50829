//! What the gate found, for people and for files.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::paired_bootstrap::Interval;
use super::rules::GateRules;

/// The gate's answer, with everything that it rests on.
///
/// All numbers are finite and rounded to six decimals, so that a report is the same again when it has been
/// through JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateReport {
    /// Whether the candidate may take the place of the adapter in use.
    pub promote: bool,
    /// Everything against it; empty if it is promoted.
    pub refusals: Vec<Refusal>,
    /// What was compared. A set that was not measured or has no usable numbers is not here.
    pub comparisons: Vec<Comparison>,
    /// The share of the base's loss that was saved on training examples, less the share that was saved on
    /// held-out ones: what was learned by heart. None if one of them is missing.
    pub overfit: Option<f64>,
    /// The lower end of that share's 95 % interval, which decides. None if one of the two has a single example, or in
    /// reports that were written before it was measured.
    #[serde(default)]
    pub overfit_low: Option<f64>,
    /// The share of the base's loss on the user's texts with shuffled words that their order saves; none
    /// if it was not measured.
    pub word_order: Option<Interval>,
    /// The rules it was judged by; none if they made no sense.
    pub rules: Option<GateRules>,
    /// The seed of the bootstrap.
    pub seed: u64,
}

/// Two models on one set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The examples that they were measured on.
    pub set: EvalSet,
    /// Whom the candidate is compared with.
    pub against: ModelRole,
    /// Examples in the set.
    pub examples: u64,
    /// Supervised tokens in them.
    pub tokens: u64,
    /// Mean loss of the one compared with, in nats per token.
    pub reference_loss: f64,
    /// Mean loss of the candidate, in nats per token.
    pub candidate_loss: f64,
    /// `candidate_loss - reference_loss`: below zero, the candidate is better.
    pub difference: f64,
    /// Lower end of the difference's 95 % interval; none for a single example.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
}

/// The examples that a model is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum EvalSet {
    /// Examples of the user's that no training saw.
    #[strum(to_string = "held-out examples")]
    HeldOut,
    /// General texts and chats.
    #[strum(to_string = "general texts")]
    Retention,
    /// A sample of what the candidate was trained on.
    #[strum(to_string = "training examples")]
    Train,
    /// The user's texts with and without their order of words.
    #[strum(to_string = "examples with shuffled words")]
    Order,
}

/// Which model is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// The model without any adapter.
    #[strum(to_string = "the base")]
    Base,
    /// The model with the adapter in use.
    #[strum(to_string = "the adapter in use")]
    Current,
    /// The model with the adapter that is judged.
    #[strum(to_string = "the candidate")]
    Candidate,
}

/// A reason not to promote, with its figures. Shares are of the loss of the one compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// The rules make no sense.
    InvalidRules {
        /// Which, and what is allowed.
        problem: String,
    },
    /// A measured loss is NaN, infinite, negative or beyond what any model can have.
    NotFinite {
        /// Where.
        set: EvalSet,
        /// Whose loss.
        #[serde(rename = "whose")]
        role: ModelRole,
    },
    /// Two models were not measured on the same examples.
    Mismatched {
        /// Where.
        set: EvalSet,
        /// Whose examples are not the candidate's.
        #[serde(rename = "whose")]
        role: ModelRole,
    },
    /// A set without which nothing can be said has no examples.
    Unmeasured {
        /// Which.
        set: EvalSet,
    },
    /// Too few held-out examples to tell luck from learning.
    TooFewHeldOut {
        /// There are.
        examples: u64,
        /// There must be.
        needed: u64,
    },
    /// The candidate does what the base does.
    NoEffect {
        /// Mean change of the loss, up or down, as a share.
        change: f64,
    },
    /// Held-out examples do not get better, or not by enough, or not for certain.
    NotBetter {
        /// Compared with whom.
        against: ModelRole,
        /// Share of the loss that was saved; below zero, the candidate is worse.
        gain: f64,
        /// Lower end of its 95 % interval, which must be above zero; none for a single example.
        low: Option<f64>,
        /// The least that counts.
        needed: f64,
    },
    /// It learned its examples by heart instead of what they have in common.
    Overfits {
        /// The share of the loss saved on them and not on held-out ones.
        share: f64,
        /// Lower end of its 95 % interval, which is above the limit; none as in [`GateReport::overfit_low`].
        #[serde(default)]
        low: Option<f64>,
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
    /// The user's texts are hardly better language than their own words in random order.
    NotLanguage {
        /// The share of the loss that their order saves.
        saved: f64,
        /// The least that is asked.
        needed: f64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = Percent;
        match self {
            Self::InvalidRules { problem } => write!(f, "the gate's rules make no sense: {problem}"),
            Self::NotFinite { set, role } => write!(f, "a loss of {role} on {set} is not a usable number"),
            Self::Mismatched { set, role } => {
                write!(f, "{role} and the candidate were not measured on the same {set}")
            }
            Self::Unmeasured { set } => write!(f, "there are no {set} to measure on"),
            Self::TooFewHeldOut { examples, needed } => {
                write!(f, "only {examples} held-out examples: at least {needed} are needed to tell")
            }
            Self::NoEffect { change } => {
                write!(f, "it changes nothing: losses differ from the base's by {} in the mean", p(*change))
            }
            Self::NotBetter { against, gain, low, needed } => {
                write!(
                    f,
                    "held-out examples are not clearly better than with {against}: {} saved",
                    p(*gain)
                )?;
                if let Some(low) = low {
                    write!(f, ", perhaps only {}", p(*low))?;
                }
                write!(f, "; at least {} is asked, and more than nothing for certain", p(*needed))
            }
            Self::Overfits { share, low, limit } => {
                write!(
                    f,
                    "it learned its examples by heart: {} more of the loss is saved on them than on held-out ones",
                    p(*share)
                )?;
                if let Some(low) = low {
                    write!(f, ", {} for certain", p(*low))?;
                }
                write!(f, "; at most {} is allowed", p(*limit))
            }
            Self::Forgets { increase, limit } => write!(
                f,
                "general texts get worse: the loss is {} higher, at most {} is allowed",
                p(*increase),
                p(*limit)
            ),
            Self::NotLanguage { saved, needed } => write!(
                f,
                "the examples make hardly any sense to the base: the order of their words saves {} of its loss, at \
                 least {} is asked (lists, and languages that it does not know, need min_word_order = 0)",
                p(*saved),
                p(*needed)
            ),
        }
    }
}

impl Refusal {
    /// Whether more held-out examples alone could do away with it: there were too few, or too few to be certain of a gain
    /// that is large enough.
    fn is_lack_of_held_out(&self) -> bool {
        match self {
            Self::TooFewHeldOut { .. } | Self::Unmeasured { set: EvalSet::HeldOut } => true,
            Self::NotBetter { gain, needed, .. } => gain >= needed,
            _ => false,
        }
    }
}

impl GateReport {
    /// Whether nothing speaks against the candidate but that it was measured on too few held-out examples, and on fewer
    /// than these.
    pub fn lacks_held_out(&self, examples: u64) -> bool {
        let measured = self.comparisons.iter().find(|comparison| comparison.set == EvalSet::HeldOut);
        !self.promote
            && self.refusals.iter().all(Refusal::is_lack_of_held_out)
            && measured.map_or(0, |measured| measured.examples) < examples
    }

    /// The report on a training that ended in numbers that are none: there is nothing to compare.
    pub fn diverged() -> Self {
        Self {
            promote: false,
            refusals: vec![Refusal::NotFinite { set: EvalSet::Train, role: ModelRole::Candidate }],
            comparisons: Vec::new(),
            overfit: None,
            overfit_low: None,
            word_order: None,
            rules: None,
            seed: 0,
        }
    }
}

impl fmt::Display for GateReport {
    /// A few lines: the answer with its reasons, then what was compared.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.promote { "promoted" } else { "not promoted" })?;
        for refusal in &self.refusals {
            write!(f, "\n  - {refusal}")?;
        }
        for comparison in &self.comparisons {
            write!(f, "\n{comparison}")?;
        }
        if let Some(share) = self.overfit {
            write!(f, "\nlearned by heart: {} of the base's loss", Percent(share))?;
            if let Some(low) = self.overfit_low {
                write!(f, ", {} for certain", Percent(low))?;
            }
        }
        if let Some(Interval { value, low, high }) = self.word_order {
            let (value, low, high) = (Percent(value), Percent(low), Percent(high));
            write!(f, "\nthe order of words saves {value} of the base's loss (95 %: {low} to {high})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, against, examples, tokens, reference_loss, candidate_loss, difference, .. } = self;
        write!(f, "{set}, against {against}: {reference_loss:.3} to {candidate_loss:.3} ({difference:+.3}")?;
        if let (Some(low), Some(high)) = (self.low, self.high) {
            write!(f, ", 95 %: {low:+.3} to {high:+.3}")?;
        }
        write!(f, "), {examples} examples, {tokens} tokens")
    }
}

/// A share as a percentage.
struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0 * 100.0)
    }
}
