//! Why a file operation failed.

use std::io;
use std::path::{Path, PathBuf};

/// What a fallible call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The operating system refused a file operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Error {
    /// What was attempted, as a verb: `open`, `write`, `rename`.
    pub action: &'static str,
    /// The file or folder concerned.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

impl Error {
    /// For `map_err` on a file operation: `.map_err(Error::io("open", path))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}
