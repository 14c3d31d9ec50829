//! What can go wrong with writing a GGUF.

use std::path::PathBuf;

use super::Problem;

/// Why a file was not written. What was at its place before is still there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] nightgraft_files::Error),
    /// Its keys or tensors cannot be written.
    #[error("{} is not a usable GGUF file: {problem}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: Problem,
    },
    /// What produces a tensor's bytes failed, or objected to the finished file.
    #[error(transparent)]
    Producer(Box<dyn std::error::Error + Send + Sync>),
}

/// What those return whom a writer asks: any error, which comes back as [`Error::Producer`].
pub type Produced = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Error {
    /// Takes back what a producer passed on, if that came from here.
    pub(crate) fn of_producer(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::Producer(other),
        }
    }
}
