//! Personalization as a session that is worked on in slices.
//!
//! A [`Session`] takes what is new in a [`Store`], trains on it together with a sample of what was learned before,
//! starting from the graft in use, and hands the result to the quality gate, which decides whether it replaces that
//! graft. All of it happens in slices: [`Session::run_slice`] works until its time is up, a stop request or a look at
//! the device ends it, and leaves everything on disk. A session that was killed goes on from its last checkpoint; the
//! graft at the end is the same, bit for bit, as if nothing had happened.

mod forecast;
mod held_out;
mod measure;
mod memory_needs;
mod model_hash;
mod open;
mod outcome;
mod plan;
mod settings;
mod watch;
mod work;

#[cfg(test)]
mod tests;

pub use forecast::{ChosenSize, MemoryForecast, TimeForecast, forecast_memory, forecast_time};
pub use memory_needs::MemoryNeeds;
pub use model_hash::verify_model;
pub use outcome::{NothingToDo, Pause, SessionReport, SliceOutcome, TrainingSummary};
pub use settings::{NightSettings, OnChange, SessionRequest};
pub use watch::Watch;

use std::time::Duration;

use nightgraft_adapter::AdapterTensors;
use nightgraft_store::Store;

use self::measure::{GateSets, Losses, Measurer};
use self::plan::SessionPlan;
use super::StopFlag;
use super::train_run::TrainRun;
use crate::model_file::FileHash;
use crate::transformer::OpenGpu;

/// A session under way, or what is left to say about one that is over. It holds the store open.
pub struct Session {
    store: Store,
    request: SessionRequest,
    stage: Stage,
    /// What stops the engine.
    halt: StopFlag,
    /// Time spent at work, rests and waits not counted.
    busy: Duration,
}

/// How far a session is.
enum Stage {
    /// There is no work, or it is done.
    Over(SliceOutcome),
    /// Optimizer steps.
    Training(Box<Training>),
    /// The adapter is made and has to prove itself.
    Judging(Box<Judging>),
}

struct Training {
    run: TrainRun,
    plan: SessionPlan,
    sets: GateSets,
    needs: MemoryNeeds,
    /// The GPU that computes.
    gpu: Option<OpenGpu>,
}

struct Judging {
    plan: SessionPlan,
    sets: GateSets,
    candidate: AdapterTensors,
    learned: TrainingSummary,
    losses: Losses,
    measurer: Option<Measurer>,
    /// The GPU that measures, as long as it does not fail.
    gpu: Option<OpenGpu>,
    /// The model that was trained on.
    model: FileHash,
    /// Whether the store has all of `losses`.
    is_saved: bool,
}

/// How long a slice may last, and who watches the device meanwhile.
pub struct Slice<'a> {
    /// The longest that it may take, the last checkpoint aside: about a quarter of a second on top of it.
    pub time: Option<Duration>,
    /// Called from another thread again and again.
    pub watch: Option<&'a mut (dyn FnMut() -> Watch + Send)>,
    /// How often that is.
    pub watch_every: Duration,
}

impl Default for Slice<'_> {
    /// As long as it takes, and nobody watches.
    fn default() -> Self {
        Self { time: None, watch: None, watch_every: Duration::from_millis(500) }
    }
}

impl Session {
    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Why there is nothing to work on, if so.
    pub fn nothing_to_do(&self) -> Option<NothingToDo> {
        match &self.stage {
            Stage::Over(SliceOutcome::NothingToDo { reason }) => Some(*reason),
            _ => None,
        }
    }

    /// Optimizer steps of the whole session; none when there is nothing to train.
    pub fn total_steps(&self) -> Option<u64> {
        match &self.stage {
            Stage::Training(training) => Some(training.run.train_loop.progress().total_steps),
            _ => None,
        }
    }

    /// Optimizer steps done; none when there is nothing left to train.
    pub fn steps(&self) -> Option<u64> {
        match &self.stage {
            Stage::Training(training) => Some(training.run.train_loop.progress().step),
            _ => None,
        }
    }

    /// Time spent at work since it was opened, rests and waits not counted.
    pub fn busy(&self) -> Duration {
        self.busy
    }

    /// Gives the store back. What is not on disk yet is lost; after a slice, everything is.
    pub fn into_store(self) -> Store {
        self.store
    }
}
