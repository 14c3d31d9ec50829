//! How far a session is.

use nightgraft_core::session::night::NightEvent;
use nightgraft_core::session::{self, Event, NothingToDo, Pause};
use nightgraft_policy::{Reason, ReasonKind};

use crate::error::ListenerError;
use crate::graft::Verdict;

/// A look at a session.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps of the whole session; 0 until it is known.
    pub total_steps: u64,
    /// Mean loss of the last step, in nats per token.
    pub loss: Option<f64>,
    /// The last loss on held-out examples, in nats per token.
    pub held_out_loss: Option<f64>,
    /// Speed of the last step.
    pub tokens_per_second: Option<f64>,
    /// Seconds of training that are left at the present pace, pauses not counted.
    pub seconds_left: Option<f64>,
    /// Resident memory of the process in bytes, the mapped model included; 0 until it is known.
    pub memory_bytes: u64,
    /// Why it waits, while it does.
    pub waiting: Option<Waiting>,
    /// How much longer it takes, once a night has ended.
    pub estimate: Option<Estimate>,
    /// The last thing that its owner should know, in words.
    pub warning: Option<String>,
    /// Why there is nothing to do, in the phase of that name.
    pub nothing_to_do: Option<NothingToDoReason>,
}

/// How much longer a session takes, as far as that is known.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Estimate {
    /// Optimizer steps to go.
    pub steps_left: u64,
    /// Seconds of training that they take at the sustained pace.
    pub seconds_left: Option<f64>,
    /// Nights that they take.
    pub nights_left: Option<f64>,
    /// All of it in English, without a full stop.
    pub text: String,
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Phase {
    /// It was not run yet, or reads model and examples.
    Preparing,
    /// It makes optimizer steps.
    Training,
    /// It measures the new adapter.
    Judging,
    /// The device is needed for something else.
    Waiting,
    /// Its slice has ended; everything is saved.
    Paused,
    /// It is over.
    Finished,
    /// There is nothing to learn, or too little.
    NothingToDo,
}

/// Why training waits.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Waiting {
    /// Which rule.
    pub kind: WaitKind,
    /// One English sentence without a full stop.
    pub text: String,
}

/// The rule that makes training wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum WaitKind {
    /// No charger gives power.
    NotCharging,
    /// The device saves power.
    LowPowerMode,
    /// The battery is too empty.
    BatteryLow,
    /// The device is too warm.
    TooWarm,
    /// It is cool again, but not for long.
    CoolingDown,
    /// Somebody uses the device.
    InUse,
    /// Somebody used it a moment ago.
    JustUsed,
    /// The time of day is not allowed.
    OutsideWindow,
    /// The day's time is used up.
    MinutesUsedUp,
    /// The day's energy is used up.
    EnergyUsedUp,
    /// The day's writing is used up.
    FlashUsedUp,
    /// There is too little free storage.
    StorageLow,
    /// There is too little free memory.
    MemoryLow,
    /// A reading of the device cannot be true.
    Unreadable,
}

/// How a slice or a night ended.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum SliceOutcome {
    /// There is more to do; everything so far is saved.
    Paused {
        /// Why.
        reason: PauseReason,
    },
    /// The session is over.
    Finished {
        /// What it came to.
        report: SessionReport,
    },
    /// There was nothing to learn, or too little.
    NothingToDo {
        /// Why.
        reason: NothingToDoReason,
        /// The reason as an English sentence without a full stop.
        text: String,
    },
}

/// Why nothing is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum NothingToDoReason {
    /// The store has no examples.
    NoExamples,
    /// The graft in use has learned from every example that is not held out.
    EverythingLearned,
    /// Some examples have to be held out, and the others are not worth a training. A long text counts once for each piece
    /// that the context holds, and an example that the model cannot use not at all.
    TooFew {
        /// Examples that there are.
        have: u64,
        /// Examples with which a session begins.
        need: u64,
    },
    /// The same examples with the same settings were learned before, and the gate refused the result.
    RefusedBefore {
        /// The result.
        graft: u64,
    },
    /// The same examples with the same settings were learned before, and the result is not in use.
    NotInUse {
        /// The result.
        graft: u64,
    },
    /// The same examples with the same settings were tried before, and the training diverged.
    DivergedBefore,
    /// An earlier graft came into use again: it has seen every example but the deleted ones.
    InUseAgain {
        /// That graft.
        graft: u64,
    },
}

/// Why a slice ended before its session was over.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum PauseReason {
    /// The app stopped it.
    Stopped,
    /// Its time was up.
    Deadline,
    /// The device is needed for something else.
    Policy {
        /// Which rule.
        waiting: Waiting,
    },
}

/// The sum of a session.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct SessionReport {
    /// Examples trained on, old ones included.
    pub trained: u64,
    /// Old examples among them.
    pub replayed: u64,
    /// Examples measured on.
    pub held_out: u64,
    /// Optimizer steps; 0 if training diverged.
    pub steps: u64,
    /// Tokens in all steps.
    pub tokens: u64,
    /// Whether it ended because the held-out loss stopped improving.
    pub stopped_early: bool,
    /// What computed the steps, one after the other: names of GPUs with their arithmetic, or the processor with its instructions.
    pub devices: Vec<String>,
    /// The new graft; none if training diverged.
    pub graft: Option<u64>,
    /// Whether it is in use now.
    pub promoted: bool,
    /// What the gate measured and decided.
    pub verdict: Verdict,
}

/// Gets a session's progress.
///
/// It is called from one thread of the library's, never from two at a time; at most five times a second, besides every
/// change of phase; the last state always comes. If it throws, the slice ends, saved, and the call that runs it fails
/// with [`NightgraftError::Cancelled`](crate::NightgraftError::Cancelled).
#[uniffi::export(with_foreign)]
pub trait ProgressListener: Send + Sync {
    /// Something has changed.
    fn on_progress(&self, progress: Progress) -> Result<(), ListenerError>;
}

impl Progress {
    /// Returns the progress of a session that was not run yet.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Preparing,
            step: 0,
            total_steps: 0,
            loss: None,
            held_out_loss: None,
            tokens_per_second: None,
            seconds_left: None,
            memory_bytes: 0,
            waiting: None,
            estimate: None,
            warning: None,
            nothing_to_do: None,
        }
    }

    /// Takes in what the engine tells. Returns whether anything is new.
    pub(crate) fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Planned { steps, .. } => self.total_steps = *steps,
            Event::Resumed { step, .. } => self.step = *step,
            Event::Step(step) => {
                self.record_step(step.step, step.loss, step.tokens_per_second, step.seconds, step.rss_bytes);
            }
            Event::Evaluated { loss, .. } => self.held_out_loss = Some(*loss),
            Event::Judging => self.start_judging(),
            event => match event.warning() {
                Some(text) => self.warning = Some(text),
                None => return false,
            },
        }
        true
    }

    /// Takes in what a night tells. Returns whether anything is new.
    pub(crate) fn apply_night(&mut self, event: &NightEvent) -> bool {
        match event {
            NightEvent::Running { .. } if self.phase == Phase::Waiting => {
                (self.phase, self.waiting) = (Phase::Training, None);
            }
            NightEvent::Waiting { reason, .. } => {
                self.phase = Phase::Waiting;
                self.waiting = Some(Waiting::from(reason));
            }
            NightEvent::Step { step, loss, tokens_per_second, seconds, rss_bytes, .. } => {
                self.record_step(*step, *loss, *tokens_per_second, *seconds, *rss_bytes);
            }
            NightEvent::Judging { .. } => self.start_judging(),
            NightEvent::Evaluated { loss, .. } => self.held_out_loss = Some(*loss),
            NightEvent::Warning { text, .. } => self.warning = Some(text.clone()),
            NightEvent::Estimate { remaining, seconds, nights, text, .. } => {
                self.estimate = Some(Estimate {
                    steps_left: *remaining,
                    seconds_left: *seconds,
                    nights_left: *nights,
                    text: text.clone(),
                });
            }
            _ => return false,
        }
        true
    }

    /// Takes in how a slice has ended.
    pub(crate) fn end_slice(&mut self, outcome: &SliceOutcome) {
        (self.waiting, self.nothing_to_do) = (None, None);
        self.phase = match outcome {
            SliceOutcome::Paused { reason } => {
                if let PauseReason::Policy { waiting } = reason {
                    self.waiting = Some(waiting.clone());
                }
                Phase::Paused
            }
            SliceOutcome::Finished { .. } => Phase::Finished,
            SliceOutcome::NothingToDo { reason, .. } => {
                self.nothing_to_do = Some(*reason);
                Phase::NothingToDo
            }
        };
    }

    /// Takes in a step that took so many seconds.
    fn record_step(&mut self, step: u64, loss: f64, tokens_per_second: f64, seconds: f64, memory_bytes: u64) {
        (self.phase, self.waiting) = (Phase::Training, None);
        self.step = step;
        self.loss = Some(loss);
        self.tokens_per_second = Some(tokens_per_second);
        self.seconds_left = Some(seconds * self.total_steps.saturating_sub(step) as f64);
        self.memory_bytes = memory_bytes;
    }

    fn start_judging(&mut self) {
        (self.phase, self.waiting, self.seconds_left) = (Phase::Judging, None, None);
    }
}

impl From<&Reason> for Waiting {
    fn from(reason: &Reason) -> Self {
        let kind = match reason {
            Reason::CoolingDown { .. } => WaitKind::CoolingDown,
            Reason::JustUsed { .. } => WaitKind::JustUsed,
            reason => reason.kind().into(),
        };
        Self { kind, text: reason.to_string() }
    }
}

impl From<ReasonKind> for WaitKind {
    fn from(kind: ReasonKind) -> Self {
        match kind {
            ReasonKind::NotCharging => Self::NotCharging,
            ReasonKind::LowPowerMode => Self::LowPowerMode,
            ReasonKind::BatteryLow => Self::BatteryLow,
            ReasonKind::TooWarm => Self::TooWarm,
            ReasonKind::InUse => Self::InUse,
            ReasonKind::OutsideWindow => Self::OutsideWindow,
            ReasonKind::MinutesUsedUp => Self::MinutesUsedUp,
            ReasonKind::EnergyUsedUp => Self::EnergyUsedUp,
            ReasonKind::FlashUsedUp => Self::FlashUsedUp,
            ReasonKind::StorageLow => Self::StorageLow,
            ReasonKind::MemoryLow => Self::MemoryLow,
            // All others are reasons to run, or a simulation's.
            _ => Self::Unreadable,
        }
    }
}

impl From<session::SliceOutcome> for SliceOutcome {
    fn from(outcome: session::SliceOutcome) -> Self {
        match outcome {
            session::SliceOutcome::Finished { report } => Self::Finished { report: (&*report).into() },
            session::SliceOutcome::NothingToDo { reason } => {
                Self::NothingToDo { reason: reason.into(), text: reason.to_string() }
            }
            session::SliceOutcome::Paused { reason: Pause::Policy { reason } } => {
                Self::Paused { reason: PauseReason::Policy { waiting: (&reason).into() } }
            }
            session::SliceOutcome::Paused { reason: Pause::Deadline } => {
                Self::Paused { reason: PauseReason::Deadline }
            }
            _ => Self::Paused { reason: PauseReason::Stopped },
        }
    }
}

impl From<NothingToDo> for NothingToDoReason {
    fn from(reason: NothingToDo) -> Self {
        match reason {
            NothingToDo::NoExamples => Self::NoExamples,
            NothingToDo::TooFew { have, need } => Self::TooFew { have, need },
            NothingToDo::RefusedBefore { graft } => Self::RefusedBefore { graft: graft.0 },
            NothingToDo::NotInUse { graft } => Self::NotInUse { graft: graft.0 },
            NothingToDo::DivergedBefore => Self::DivergedBefore,
            NothingToDo::InUseAgain { graft } => Self::InUseAgain { graft: graft.0 },
            // The only other one.
            _ => Self::EverythingLearned,
        }
    }
}

impl From<&session::SessionReport> for SessionReport {
    fn from(report: &session::SessionReport) -> Self {
        let learned = report.learned.as_ref();
        Self {
            trained: report.trained,
            replayed: report.replayed,
            held_out: report.held_out,
            steps: learned.map_or(0, |learned| learned.steps),
            tokens: learned.map_or(0, |learned| learned.tokens),
            stopped_early: learned.is_some_and(|learned| learned.stopped_early),
            devices: learned.map_or_else(Vec::new, |learned| learned.devices.clone()),
            graft: report.graft.map(|id| id.0),
            promoted: report.promoted,
            verdict: Verdict::from(&report.gate),
        }
    }
}
