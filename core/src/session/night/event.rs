//! What happens in a night.

use nightgraft_policy::Reason;
use serde::{Deserialize, Serialize};

use crate::session::NothingToDo;

/// One thing that happened in a night. `at` is always seconds of device time since the night began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NightEvent {
    /// What the device said.
    State {
        /// When.
        at: f64,
        /// In °C, if there is a sensor.
        temperature: Option<f64>,
        /// The battery's charge, 0 to 1.
        battery: f64,
        /// On the charger.
        charging: bool,
    },
    /// The system granted time.
    Slice {
        /// When.
        at: f64,
    },
    /// The policy lets training run.
    Running {
        /// When.
        at: f64,
        /// The share of the time that it works.
        duty: f64,
        /// Why.
        reason: Reason,
    },
    /// Training waits.
    Waiting {
        /// When.
        at: f64,
        /// Why.
        reason: Reason,
    },
    /// An optimizer step was made.
    Step {
        /// When.
        at: f64,
        /// Its number, from 1.
        step: u64,
        /// Mean loss over its supervised tokens, in nats.
        loss: f64,
        /// How fast it was, in real time.
        tokens_per_second: f64,
        /// Seconds of real time that it took.
        seconds: f64,
        /// Resident memory of the process after it, the mapped model included.
        rss_bytes: u64,
    },
    /// Training is over; the new adapter is being measured.
    Judging {
        /// When.
        at: f64,
    },
    /// The adapter was measured on the held-out examples.
    Evaluated {
        /// When.
        at: f64,
        /// After how many steps.
        step: u64,
        /// Mean loss per supervised token, in nats.
        loss: f64,
    },
    /// The whole state is on disk.
    Saved {
        /// When.
        at: f64,
        /// After how many steps.
        step: u64,
    },
    /// The system killed the process; what was not saved is lost.
    Killed {
        /// When.
        at: f64,
    },
    /// A slice ended, with everything saved.
    SliceEnded {
        /// When.
        at: f64,
        /// How.
        outcome: SliceEnd,
    },
    /// The quality gate judged the adapter.
    Gate {
        /// When.
        at: f64,
        /// Whether it came into use.
        promoted: bool,
        /// What was compared and found, in a few plain lines.
        report: String,
    },
    /// Something that the owner should know but that does not stop the night.
    Warning {
        /// When.
        at: f64,
        /// In words.
        text: String,
    },
    /// There is no session to work on.
    NothingToDo {
        /// When.
        at: f64,
        /// Why.
        #[serde(flatten)]
        reason: NothingToDo,
    },
    /// How much longer it takes.
    Estimate {
        /// When.
        at: f64,
        /// Steps to go.
        remaining: u64,
        /// Seconds of training that they take, if a sustained pace is known.
        seconds: Option<f64>,
        /// Nights that they take, if it is known what a night gets done.
        nights: Option<f64>,
        /// In words.
        text: String,
    },
    /// The night is over.
    Done {
        /// When.
        at: f64,
        /// How.
        outcome: NightOutcome,
    },
}

impl NightEvent {
    /// Seconds of device time since the night began.
    pub fn at(&self) -> f64 {
        match *self {
            Self::State { at, .. }
            | Self::Slice { at }
            | Self::Running { at, .. }
            | Self::Waiting { at, .. }
            | Self::Step { at, .. }
            | Self::Judging { at }
            | Self::Evaluated { at, .. }
            | Self::Saved { at, .. }
            | Self::Killed { at }
            | Self::SliceEnded { at, .. }
            | Self::Gate { at, .. }
            | Self::Warning { at, .. }
            | Self::NothingToDo { at, .. }
            | Self::Estimate { at, .. }
            | Self::Done { at, .. } => at,
        }
    }

    /// Logs what is worth a line.
    pub(super) fn log(&self) {
        match self {
            Self::Running { reason, .. } => tracing::info!("the night runs: {reason}"),
            Self::Waiting { reason, .. } => tracing::info!("the night waits: {reason}"),
            Self::Judging { .. } => tracing::info!("all steps are made, the new adapter is measured"),
            Self::Saved { step, .. } => tracing::debug!(step, "everything is saved"),
            Self::SliceEnded { outcome, .. } => tracing::info!("the slice ended: {outcome}"),
            Self::Gate { promoted, .. } => tracing::info!(promoted, "the new adapter is judged"),
            Self::Warning { text, .. } => tracing::info!("{text}"),
            Self::NothingToDo { reason, .. } => tracing::info!("nothing to do: {reason}"),
            Self::Estimate { text, .. } => tracing::info!("estimate: {text}"),
            Self::Done { outcome, .. } => tracing::info!("the night ended: {outcome}"),
            _ => {}
        }
    }
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum SliceEnd {
    /// The policy asked to pause.
    Paused,
    /// The time that the system granted was over.
    #[strum(to_string = "the granted time was over")]
    TimeUp,
    /// There was nothing left to train.
    Finished,
    /// The owner stopped it.
    Stopped,
}

/// How a night ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
pub enum NightOutcome {
    /// The training is finished.
    #[strum(to_string = "the training is finished")]
    Finished,
    /// There was nothing to train.
    #[strum(to_string = "there was nothing to train")]
    NothingToDo,
    /// The night is over, the training goes on in the next.
    #[strum(to_string = "the training goes on next night")]
    GoesOn,
    /// The owner stopped it.
    #[strum(to_string = "stopped on request")]
    Stopped,
}
