//! What became of each night, as the store remembers it.

use nightgraft_core::session::night;

use crate::progress::{NothingToDoReason, WaitKind};
use crate::refusal::Refusal;

/// What became of one night: of one call of `run_night`.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct NightRecord {
    /// When it began, in seconds since 1970, by the device's clock.
    pub began: i64,
    /// Seconds from then until the record was last written.
    pub seconds: f64,
    /// Seconds of them in which it worked, rests of a warm device included.
    pub running_seconds: f64,
    /// What it waited for, each kind once, in the order in which it came up.
    pub waits: Vec<NightWait>,
    /// Optimizer steps that were made.
    pub steps: u64,
    /// How it ended; none while it goes on, and of one whose process was killed.
    pub end: Option<NightEnd>,
}

/// For how long a night waited for something.
#[derive(Debug, Clone, Copy, PartialEq, uniffi::Record)]
pub struct NightWait {
    /// For what. `TooWarm` and `InUse` are also what came shortly after.
    pub kind: WaitKind,
    /// How long, all such waits together.
    pub seconds: f64,
}

/// How a night ended.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum NightEnd {
    /// Its time was up, and the training goes on with the next.
    GoesOn,
    /// The app stopped it.
    Stopped,
    /// There was nothing to train.
    NothingToDo {
        /// Why.
        reason: NothingToDoReason,
    },
    /// The session is over, and its result was judged.
    Finished {
        /// The new graft; none if training diverged.
        graft: Option<u64>,
        /// Whether it came into use.
        promoted: bool,
        /// Why not.
        refusals: Vec<Refusal>,
    },
    /// An error ended it.
    Failed,
}

impl From<night::NightRecord> for NightRecord {
    fn from(record: night::NightRecord) -> Self {
        let night::NightRecord { began, seconds, running, waits, steps, end } = record;
        let waits = waits.into_iter().map(|wait| NightWait { kind: wait.kind.into(), seconds: wait.seconds });
        Self {
            began,
            seconds,
            running_seconds: running,
            waits: waits.collect(),
            steps,
            end: end.map(NightEnd::from),
        }
    }
}

impl From<night::NightEnd> for NightEnd {
    fn from(end: night::NightEnd) -> Self {
        match end {
            night::NightEnd::GoesOn => Self::GoesOn,
            night::NightEnd::Stopped => Self::Stopped,
            night::NightEnd::NothingToDo { reason } => Self::NothingToDo { reason: reason.into() },
            night::NightEnd::Finished { graft, promoted, refusals } => Self::Finished {
                graft: graft.map(|id| id.0),
                promoted,
                refusals: refusals.iter().map(Refusal::from).collect(),
            },
            // The only other one.
            _ => Self::Failed,
        }
    }
}
