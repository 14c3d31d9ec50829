//! What can be wrong with a GGUF, and with writing one.

use std::path::PathBuf;

/// Why bytes are not a usable GGUF, or keys and tensors cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub(crate) String);

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
