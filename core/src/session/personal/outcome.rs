//! How slices and sessions end.

use serde::{Deserialize, Serialize};

use crate::gate::GateReport;
use crate::policy::Reason;
use crate::store::GraftId;

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
        /// Why, in words.
        reason: String,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learned {
    /// Optimizer steps.
    pub steps: u64,
    /// The step whose adapter is the candidate: the one with the lowest held-out loss.
    pub kept_step: u64,
    /// Tokens run in all steps.
    pub tokens: u64,
    /// Whether it ended because the held-out loss stopped improving.
    pub stopped_early: bool,
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
    pub learned: Option<Learned>,
    /// What was compared, and the verdict.
    pub gate: GateReport,
    /// The graft in the store; none if training diverged.
    pub graft: Option<GraftId>,
    /// Whether it is the one in use now.
    pub promoted: bool,
}
