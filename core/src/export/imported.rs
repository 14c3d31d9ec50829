//! An adapter that was read.

use nightgraft_adapter::AdapterTensors;

use super::recorded_base::RecordedBase;

/// An adapter that a person brings.
#[derive(Debug)]
pub struct ImportedAdapter {
    /// Its numbers, in the shapes and the row order of the base at hand.
    pub tensors: AdapterTensors,
    /// What it says of the base that it was trained on.
    pub base: RecordedBase,
}
