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
    /// It was stopped: by the app, unless the system did it.
    Stopped {
        /// Why the system did, as far as the app has noted it.
        by: Option<Interruption>,
    },
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

/// Why a device's system stopped a night before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Interruption {
    /// The time that it gives was over.
    TimeUp,
    /// The charger was taken away.
    NotCharging,
    /// Somebody began to use the device.
    InUse,
    /// The battery ran low.
    BatteryLow,
    /// Storage ran low.
    StorageLow,
    /// Something else was more important.
    Preempted,
    /// The app may work in the background no longer, or no more for now.
    Restricted,
    /// The user ended it, in the system's own screens.
    User,
    /// It does not say.
    Unknown,
}

impl From<Interruption> for night::Interruption {
    fn from(reason: Interruption) -> Self {
        match reason {
            Interruption::TimeUp => Self::TimeUp,
            Interruption::NotCharging => Self::NotCharging,
            Interruption::InUse => Self::InUse,
            Interruption::BatteryLow => Self::BatteryLow,
            Interruption::StorageLow => Self::StorageLow,
            Interruption::Preempted => Self::Preempted,
            Interruption::Restricted => Self::Restricted,
            Interruption::User => Self::User,
            Interruption::Unknown => Self::Unknown,
        }
    }
}

impl From<night::Interruption> for Interruption {
    fn from(reason: night::Interruption) -> Self {
        match reason {
            night::Interruption::TimeUp => Self::TimeUp,
            night::Interruption::NotCharging => Self::NotCharging,
            night::Interruption::InUse => Self::InUse,
            night::Interruption::BatteryLow => Self::BatteryLow,
            night::Interruption::StorageLow => Self::StorageLow,
            night::Interruption::Preempted => Self::Preempted,
            night::Interruption::Restricted => Self::Restricted,
            night::Interruption::User => Self::User,
            // The only other one.
            _ => Self::Unknown,
        }
    }
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
            night::NightEnd::Stopped { by } => Self::Stopped { by: by.map(Interruption::from) },
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
