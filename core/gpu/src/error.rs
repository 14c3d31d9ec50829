//! What can go wrong on a GPU.

use nightgraft_kernels::IndexError;

use crate::Refusal;

/// A refused or failed operation. Nothing of a device's faults panics or ends the process: each comes back as one of these, and
/// the caller can do the same work on the CPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An adapter that cannot be used.
    #[error("{adapter} cannot be used: {reason}")]
    Refused {
        /// The adapter's name.
        adapter: String,
        /// Why.
        reason: Refusal,
    },
    /// The driver gave no device.
    #[error("{adapter} cannot be opened: {reason}")]
    Open {
        /// The adapter's name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The device has too little memory.
    #[error("the GPU is out of memory: {what} needs {bytes} bytes")]
    OutOfMemory {
        /// What was being allocated.
        what: &'static str,
        /// How much was asked for; 0 if the driver did not say what it was short of.
        bytes: u64,
    },
    /// More than the device takes in one piece.
    #[error("{what} has {got} {unit}, and this GPU takes {limit}")]
    OverLimit {
        /// What is too large.
        what: &'static str,
        /// In what it is counted.
        unit: &'static str,
        /// The most that is possible.
        limit: u64,
        /// How much was asked for.
        got: u64,
    },
    /// The device is gone: its driver was reset or unloaded, the system took it away, or it computed for too long. It does not come
    /// back; another one can be opened.
    #[error("the GPU was lost: {reason}")]
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// The device did not finish in time.
    #[error("the GPU did not finish within {seconds} s")]
    Unfinished {
        /// How long was waited.
        seconds: u64,
    },
    /// A result that is no number: the numbers or the device are to blame, which the CPU tells.
    #[error("{what} from the GPU is not finite")]
    NotFinite {
        /// What it is.
        what: &'static str,
    },
    /// The flag that stops work was raised.
    #[error("stopped on request")]
    Stopped,
    /// What was asked of the device breaks its rules, or its driver failed: a fault of this crate's or of the driver.
    #[error("the GPU refused {what}: {reason}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The driver's or the validation's words.
        reason: String,
    },
    /// Operands whose shapes do not fit the operation.
    #[error("{op}: {what} is {got}, expected {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The quantity that differs.
        what: &'static str,
        /// What it has to be, given the other operands.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// A place outside of a buffer.
    #[error("{what} ends at byte {end} of a buffer of {bytes}")]
    OutOfRange {
        /// What lies there.
        what: &'static str,
        /// Where it would end.
        end: u64,
        /// The buffer's size.
        bytes: u64,
    },
    /// Memory, a pipeline or a dispatch of another device than the one that was asked.
    #[error("{what} is of another GPU")]
    OtherDevice {
        /// What was given.
        what: &'static str,
    },
    /// An operation that only the CPU computes.
    #[error("{op} is not computed on a GPU")]
    Operation {
        /// Its name.
        op: &'static str,
    },
    /// An integer that points nowhere; nothing was computed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A matrix of the host's that is not what was asked for.
    #[error("a matrix of the host: {reason}")]
    Host {
        /// What is wrong.
        reason: String,
    },
    /// A format of weights that only the CPU reads.
    #[error("weights in {format} are not read on a GPU")]
    WeightType {
        /// ggml's name of it.
        format: &'static str,
    },
}

impl From<nightgraft_ggml::Error> for Error {
    fn from(error: nightgraft_ggml::Error) -> Self {
        match error {
            nightgraft_ggml::Error::NotDescribed { op } => Self::Operation { op },
            error => Self::Host { reason: error.to_string() },
        }
    }
}

impl Error {
    /// Whether the device itself is of no further use.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Unfinished { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_and_how_much() {
        let lost = Error::Lost { reason: "reset".to_owned() };
        let refused = Error::Refused { adapter: "llvmpipe".to_owned(), reason: Refusal::Software };
        let cases = [
            (refused, "llvmpipe cannot be used: it computes on the CPU; allow software devices to use it"),
            (lost.clone(), "the GPU was lost: reset"),
            (
                Error::OutOfMemory { what: "weights", bytes: 7 },
                "the GPU is out of memory: weights needs 7 bytes",
            ),
            (
                Error::OverLimit { what: "a row", unit: "bytes", limit: 4, got: 8 },
                "a row has 8 bytes, and this GPU takes 4",
            ),
            (Error::Unfinished { seconds: 60 }, "the GPU did not finish within 60 s"),
            (
                Error::Shape { op: "linear", what: "columns of x", expected: 32, got: 31 },
                "linear: columns of x is 31, expected 32",
            ),
            (Error::OutOfRange { what: "y", end: 12, bytes: 8 }, "y ends at byte 12 of a buffer of 8"),
            (Error::OtherDevice { what: "a buffer" }, "a buffer is of another GPU"),
            (Error::Operation { op: "MUL_MAT" }, "MUL_MAT is not computed on a GPU"),
            (Error::Host { reason: "too small".to_owned() }, "a matrix of the host: too small"),
            (Error::WeightType { format: "IQ2_S" }, "weights in IQ2_S are not read on a GPU"),
            (
                Error::Failed { what: "a pipeline", reason: "too many".to_owned() },
                "the GPU refused a pipeline: too many",
            ),
            (Error::Open { adapter: "A".to_owned(), reason: "busy".to_owned() }, "A cannot be opened: busy"),
        ];
        for (error, words) in cases {
            assert_eq!(error.to_string(), words);
        }
        assert!(lost.is_fatal() && !Error::OutOfMemory { what: "x", bytes: 1 }.is_fatal());
    }
}
