//! What a night lets run.

use std::time::Duration;

use nightgraft_policy::Needs;
use nightgraft_store::Store;

use crate::Result;
use crate::session::{Event, NothingToDo, Session, Slice, SliceOutcome, StopFlag};

/// What [`run_night`](super::run_night) asks of a [`Session`], and its tests of work that takes simulated time.
pub(super) trait Work {
    /// Keeps what a night remembers.
    fn store(&self) -> &Store;

    /// Why there is nothing to work on, if so.
    fn nothing_to_do(&self) -> Option<NothingToDo>;

    /// Optimizer steps of the whole session; none when there is nothing to train.
    fn total_steps(&self) -> Option<u64>;

    /// Optimizer steps done; none when there is nothing left to train.
    fn steps(&self) -> Option<u64>;

    /// Time spent at work, rests and waits not counted.
    fn busy(&self) -> Duration;

    /// What the next piece of work needs of the device.
    fn needs(&self) -> Needs;

    /// From now on takes less memory and more time for the same result; or goes back.
    fn set_small(&mut self, small: bool);

    /// Works as [`Session::run_slice`] does.
    ///
    /// # Errors
    /// Those of the work.
    fn run_slice(
        &mut self,
        slice: Slice<'_>,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<SliceOutcome>;
}

impl Work for Session {
    fn store(&self) -> &Store {
        self.store()
    }

    fn nothing_to_do(&self) -> Option<NothingToDo> {
        self.nothing_to_do()
    }

    fn total_steps(&self) -> Option<u64> {
        self.total_steps()
    }

    fn steps(&self) -> Option<u64> {
        self.steps()
    }

    fn busy(&self) -> Duration {
        self.busy()
    }

    fn needs(&self) -> Needs {
        let memory = self.memory_needs();
        Needs {
            memory: memory.map_or(0, |needs| needs.full),
            small_memory: memory.map(|needs| needs.small),
            storage: self.storage_needs(),
        }
    }

    fn set_small(&mut self, small: bool) {
        self.set_small(small);
    }

    fn run_slice(
        &mut self,
        slice: Slice<'_>,
        stop: &StopFlag,
        on_event: &mut dyn FnMut(&Event),
    ) -> Result<SliceOutcome> {
        self.run_slice(slice, stop, on_event)
    }
}
