//! The first step with a device, which a driver may not return from.

use super::record::{Latch, Record, Records};

/// The first step with a device: it is marked while it is under way, and afterwards it is known that one returns.
#[derive(Debug)]
pub struct FirstStep {
    records: Records,
    record: Record,
    latch: Option<Latch>,
}

impl FirstStep {
    pub(super) fn new(records: Records, record: Record) -> Self {
        Self { records, record, latch: None }
    }

    /// A piece of work with the device begins that may be the first.
    pub fn begin(&mut self) {
        if self.latch.is_none() {
            match self.records.latch() {
                Ok(latch) => self.latch = latch,
                // Another process is at its own first step, or the disk is full.
                Err(why) => tracing::warn!(%why, "the first step on the GPU is not marked"),
            }
        }
    }

    /// The piece returned, and a step is still to come.
    pub fn pause(&mut self) {
        self.latch = None;
    }

    /// It was made.
    pub fn made(self) {
        let Self { records, record, latch } = self;
        if let Err(why) = records.write(&record.after_a_step()) {
            tracing::warn!(%why, "the next run marks its first step on the GPU again");
        }
        drop(latch);
    }
}
