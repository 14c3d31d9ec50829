//! How slices and sessions end.

use nightgraft_policy::Reason;
use nightgraft_policy::gate::GateReport;
use nightgraft_store::GraftId;
use serde::{Deserialize, Serialize};

/// How a slice ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum SliceOutcome {
    /// There is more to do; everything so far is on disk.
    Paused {
        /// Why.
        reason: Pause,
    },
    /// The session is over.
    Finished {
        /// What it came to.
        report: Box<SessionReport>,
    },
    /// There was no session to work on.
    NothingToDo {
        /// Why.
        #[serde(flatten)]
        reason: NothingToDo,
    },
}

/// Why nothing is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NothingToDo {
    /// The store has no examples.
    #[strum(to_string = "there are no examples to learn from")]
    NoExamples,
    /// The graft in use has learned from every example that is not held out.
    #[strum(to_string = "the graft in use has learned from every example")]
    EverythingLearned,
    /// Some examples have to be held out, and the others are not worth a training. A long text counts once for each piece
    /// that the context holds, and an example that the model cannot use not at all.
    #[strum(to_string = "too few examples: {have} of the {need} that are needed, since some are held out \
                         to judge the result")]
    TooFew {
        /// Examples that there are.
        have: u64,
        /// Examples with which a session begins.
        need: u64,
    },
    /// An earlier session learned these examples with these settings, and the gate refused its result.
    #[strum(to_string = "graft {graft} learned the same examples with the same settings, and was refused")]
    RefusedBefore {
        /// The result.
        graft: GraftId,
    },
    /// An earlier session learned these examples with these settings, and its result was taken out of use or never promoted.
    #[strum(to_string = "graft {graft} learned the same examples with the same settings, and is not in \
                         use; promote it, or change something")]
    NotInUse {
        /// The result.
        graft: GraftId,
    },
    /// An earlier session tried these examples with these settings, and diverged.
    #[strum(to_string = "the same examples with the same settings were tried before, and the training \
                         diverged")]
    DivergedBefore,
    /// An earlier graft came into use again: it has seen every example but the deleted ones.
    #[strum(to_string = "graft {graft} is in use again: it has seen every example but the deleted ones")]
    InUseAgain {
        /// That graft.
        graft: GraftId,
    },
}

/// Why a slice ended before its session was over.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "pause", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pause {
    /// The stop flag was raised.
    Stopped,
    /// Its time was up.
    Deadline,
    /// The device is needed for something else.
    Policy {
        /// Which rule.
        reason: Reason,
    },
}

/// What training came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Optimizer steps.
    pub steps: u64,
    /// The step whose adapter is the candidate: the one with the lowest held-out loss.
    #[serde(rename = "kept_step")]
    pub best_step: u64,
    /// Tokens run in all steps.
    pub tokens: u64,
    /// Whether it ended because the held-out loss stopped improving.
    pub stopped_early: bool,
    /// What computed the steps, one after the other: names of GPUs with their arithmetic, or the processor with its instructions.
    pub devices: Vec<String>,
}

/// The sum of a session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionReport {
    /// Examples trained on, old ones included.
    pub trained: u64,
    /// Old examples among them.
    pub replayed: u64,
    /// Examples measured on.
    pub held_out: u64,
    /// What training came to; none if it diverged.
    pub learned: Option<TrainingSummary>,
    /// What was compared, and the verdict.
    pub gate: GateReport,
    /// The graft in the store; none if training diverged.
    pub graft: Option<GraftId>,
    /// Whether it is the one in use now.
    pub promoted: bool,
}
