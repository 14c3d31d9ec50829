//! What is wrong with a file that was downloaded.

use std::fmt;

use nightgraft_gguf::Digest;

/// What of a file is not as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadProblem {
    /// It has another size.
    Bytes {
        /// Its bytes.
        found: u64,
        /// Those of the file that was published.
        expected: u64,
    },
    /// It has another SHA-256.
    Sha256 {
        /// Its own.
        found: Digest,
        /// That of the file that was published.
        expected: Digest,
    },
}

impl fmt::Display for DownloadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { found, expected } => write!(f, "it has {found} bytes, not {expected}"),
            Self::Sha256 { found, expected } => write!(f, "its SHA-256 is {found}, not {expected}"),
        }
    }
}
