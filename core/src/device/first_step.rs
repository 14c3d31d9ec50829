//! The first step with a device, which a driver may not return from.

use super::record::{Latch, Record, Records};

/// The first step with a device is under way; afterwards it is known that one returns.
#[derive(Debug)]
pub struct FirstStep {
    latch: Latch,
    records: Records,
    record: Record,
}

impl FirstStep {
    pub(super) fn new(latch: Latch, records: Records, record: Record) -> Self {
        Self { latch, records, record }
    }

    /// The step was made.
    pub fn made(self) {
        let Self { latch, records, record } = self;
        if let Err(why) = records.write(&record.after_a_step()) {
            tracing::warn!(%why, "the next run marks its first step on the GPU again");
        }
        drop(latch);
    }
}
