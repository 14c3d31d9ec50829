//! What can go wrong in this crate.

use std::path::PathBuf;

use nightgraft_kernels::{KernelError, TIER_VARIABLE, TierError};

use crate::{FileChange, Refusal};

/// A refused or failed operation. ggml itself aborts the process on misuse, so every
/// precondition is checked before ggml is called and comes back as one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened or mapped.
    #[error("cannot map {}: {source}", path.display())]
    Map {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A mapped file is not as it was when it was opened.
    #[error("{} has changed: {change}", path.display())]
    FileChanged {
        /// The file.
        path: PathBuf,
        /// What is different.
        change: FileChange,
    },
    /// ggml could not get memory.
    #[error("out of memory: {what} needs {bytes} bytes")]
    OutOfMemory {
        /// What was being allocated.
        what: &'static str,
        /// How much was asked for.
        bytes: usize,
    },
    /// Operands whose shapes do not fit the operation.
    #[error("{op}: expected {expected}, got {got}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What the operation needs.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// A weight format that the operation cannot read.
    #[error("{op}: weight type {got} is not supported")]
    WeightType {
        /// The operation.
        op: &'static str,
        /// ggml's number of the type.
        got: u32,
    },
    /// A format that values are not packed into.
    #[error("values cannot be packed as {format}: that takes an importance matrix")]
    Quantizer {
        /// ggml's name of it.
        format: &'static str,
    },
    /// A tensor of another graph.
    #[error("{op}: a tensor belongs to another graph")]
    ForeignTensor {
        /// The operation.
        op: &'static str,
    },
    /// A weight of a mapped file, which can only be read, where the operation writes.
    #[error("{op}: a weight of a mapped file cannot be written to")]
    ReadOnly {
        /// The operation.
        op: &'static str,
    },
    /// A node of a graph that was not computed, and so none after it.
    #[error("{op} was not computed: {reason}")]
    Refused {
        /// The operation.
        op: &'static str,
        /// Why.
        reason: Refusal,
    },
    /// An operation of ggml's own that only the CPU computes.
    #[error("a graph with {op} of ggml's own can be computed by the CPU only")]
    NotDescribed {
        /// ggml's name of it.
        op: &'static str,
    },
    /// The environment asks for instructions that this machine lacks.
    #[error("{TIER_VARIABLE}: {0}")]
    Instructions(#[from] TierError),
    /// The system refused to start threads.
    #[error("cannot start threads: {0}; try a smaller number (--threads)")]
    Threads(#[source] std::io::Error),
    /// The stop flag was raised during the computation; its results are undefined.
    #[error("computation aborted on request")]
    Aborted,
    /// ggml reported a failure.
    #[error("{op} failed with ggml status {status}")]
    Backend {
        /// The call.
        op: &'static str,
        /// ggml's status code.
        status: i32,
    },
    /// llama.cpp refused a model's adapter or context.
    #[error("{doing}: {problem}")]
    Llama {
        /// What was attempted.
        doing: &'static str,
        /// What it said.
        problem: String,
    },
}

impl Error {
    /// For a node that was not computed.
    pub(crate) fn refused((op, reason): (&'static str, Refusal)) -> Self {
        match reason {
            Refusal::Kernel(KernelError::OutOfMemory { bytes }) => {
                Self::OutOfMemory { what: "a thread that computes", bytes }
            }
            reason => Self::Refused { op, reason },
        }
    }
}
