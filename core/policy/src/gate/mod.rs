//! Whether a newly trained adapter is good enough to take the place of the one in use.
//!
//! The gate is arithmetic on losses that somebody else measured: no model, no files, no clock. [`judge`]
//! compares a candidate with the base and with the adapter in use on three sets ([`ModelLosses`]) by the rules
//! in [`GateRules`], and answers with a [`GateReport`] that says what was compared, on how many tokens, with
//! what uncertainty, and each reason against the candidate ([`Refusal`]).
//!
//! What speaks against a candidate, and where the default limits come from (`judge/measured.json` has the figures;
//! shares are of the base's loss, so that they hold for models and texts with large and small losses):
//!
//! | asked | why so |
//! |---|---|
//! | held-out examples gain at least a share, and surely more than nothing | The interval of the paired bootstrap is widened for few examples, so that four examples need a gain that all of them show. With fewer than `min_held_out` nothing is promoted; a session holds out so many, or is not begun. |
//! | training examples do not gain much more than held-out ones | Held-out losses alone do not show what was learned by heart: with a low rate they stay low long after. |
//! | general texts get hardly worse | Learning a manner of speaking costs something on other chats even in a good run. |
//! | the user's texts have an order of words | A low rate learns the words of garbage and gains on held-out garbage, while general texts even get better. Only the base tells the two apart: for language, shuffling the words makes the loss much larger. |
//!
//! ```
//! use nightgraft_policy::gate::{ExampleLoss, GateRules, ModelLosses, judge};
//!
//! let losses = |per_token: f64| -> Vec<_> {
//!     (1..=10).map(|n| ExampleLoss { loss: per_token * n as f64 * 10.0, tokens: n * 10 }).collect()
//! };
//! let set = |user, general| ModelLosses {
//!     held_out: losses(user),
//!     train: losses(user),
//!     retention: losses(general),
//!     ..ModelLosses::default()
//! };
//! let (base, candidate) = (set(3.2, 2.8), set(2.1, 2.81));
//! assert!(judge(&GateRules::default(), &base, None, &candidate, 42).promote);
//! assert!(!judge(&GateRules::default(), &base, None, &base, 42).promote); // changes nothing
//! ```

mod judge;
mod paired_bootstrap;
mod report;
mod rules;
mod word_order;

pub use judge::judge;
pub use paired_bootstrap::Interval;
pub use report::{Comparison, EvalSet, GateReport, ModelRole, Refusal};
pub use rules::GateRules;
pub use word_order::{shuffled_line, shuffled_words};

/// The loss of one example.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ExampleLoss {
    /// Cross-entropy in nats, summed over the supervised tokens.
    pub loss: f64,
    /// Supervised tokens.
    pub tokens: u64,
}

/// The losses of one example of the user's data as it is, and with the words in it shuffled.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct WordOrderLoss {
    /// The loss of the example as it is.
    pub original: ExampleLoss,
    /// The loss of what [`shuffled_line`] makes of it. The number of tokens may differ; the words are the same.
    pub shuffled: ExampleLoss,
}

/// The losses of one model: the base, the base with the adapter in use, or with the candidate.
///
/// All three are measured on the same examples in the same order.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct ModelLosses {
    /// Examples of the user's that no training saw.
    pub held_out: Vec<ExampleLoss>,
    /// General texts and chats, on which a personalized model should not get worse.
    pub retention: Vec<ExampleLoss>,
    /// A sample of the examples that the candidate was trained on.
    pub train: Vec<ExampleLoss>,
    /// Examples of the user's, seen in training or not, with and without their order of words. Only
    /// the base's count, others may leave it empty; an example that [`shuffled_line`] has nothing for is
    /// left out.
    pub order: Vec<WordOrderLoss>,
}
