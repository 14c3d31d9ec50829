//! Why a GPU does not compute.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::error::GpuError;

/// Why a GPU is not used although it could be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceRefusal {
    /// The process ended when it was tried before; another version of the driver is tried again.
    EndedTheProcess,
    /// Another process is trying it.
    InUse,
    /// It computes wrong numbers.
    Wrong {
        /// What was compared.
        tensor: String,
        /// The cosine between its result and the processor's; none if a number is not finite.
        cosine: Option<f64>,
        /// The length of their difference, relative to the processor's; likewise.
        relative_error: Option<f64>,
    },
    /// The processor is faster.
    Slower {
        /// Tokens a second through one layer.
        gpu: f64,
        /// Those of the processor.
        cpu: f64,
    },
    /// The run does not fit in the memory that it may take.
    Memory {
        /// Bytes that it takes at least.
        needed: u64,
        /// Bytes that it may take.
        available: u64,
    },
    /// It failed.
    Failed {
        /// What went wrong.
        #[serde(serialize_with = "as_text")]
        error: GpuError,
    },
    /// What is found out about it cannot be kept.
    NoRecord {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for DeviceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndedTheProcess => f.write_str(
                "the process ended when it was tried before; `nightgraft devices --retry` lets it be tried again",
            ),
            Self::InUse => f.write_str("another process is trying it"),
            Self::Wrong { tensor, cosine: Some(cosine), relative_error: Some(error) } => write!(
                f,
                "it computes wrong numbers: {tensor} has a cosine of {cosine:.4} with the processor's and \
                 differs by {:.1} % of its length",
                100.0 * error
            ),
            Self::Wrong { tensor, .. } => {
                write!(f, "it computes wrong numbers: {tensor} is not finite")
            }
            Self::Slower { gpu, cpu } => {
                write!(f, "it is slower than the processor: {gpu:.0} tokens/s through a layer, and not {cpu:.0}")
            }
            Self::Memory { needed, available } => {
                write!(f, "the run takes {needed} bytes with it, and {available} may be taken")
            }
            Self::Failed { error } => error.fmt(f),
            Self::NoRecord { reason } => {
                write!(f, "what is found out about it cannot be kept: {reason}")
            }
        }
    }
}

impl From<GpuError> for DeviceRefusal {
    fn from(error: GpuError) -> Self {
        Self::Failed { error }
    }
}

pub(super) fn as_text<S: Serializer>(error: &GpuError, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences() {
        let cases = [
            (DeviceRefusal::InUse, "another process is trying it"),
            (
                DeviceRefusal::Wrong {
                    tensor: "the output of layer 0".into(),
                    cosine: Some(0.73),
                    relative_error: Some(0.5),
                },
                "it computes wrong numbers: the output of layer 0 has a cosine of 0.7300 with the processor's and \
                 differs by 50.0 % of its length",
            ),
            (
                DeviceRefusal::Wrong {
                    tensor: "losses of the head".into(),
                    cosine: None,
                    relative_error: None,
                },
                "it computes wrong numbers: losses of the head is not finite",
            ),
            (
                DeviceRefusal::Slower { gpu: 10.0, cpu: 20.4 },
                "it is slower than the processor: 10 tokens/s through a layer, and not 20",
            ),
            (
                DeviceRefusal::Memory { needed: 9, available: 8 },
                "the run takes 9 bytes with it, and 8 may be taken",
            ),
        ];
        for (why, words) in cases {
            assert_eq!(why.to_string(), words);
        }
    }
}
