//! Errors of sealed files, between those who read them and those who judge.

use std::io;
use std::path::Path;

use crate::vault::Vault;
use crate::{Error, FileProblem, Result};

/// An error of the vault that came through `Read` or `Write` is itself again. Content that makes no sense is damage;
/// any other error is one of the system.
pub(super) fn error(action: &'static str, path: &Path, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => match error.kind() {
            io::ErrorKind::InvalidData => corrupted(path, FileProblem::of_content(error)),
            io::ErrorKind::UnexpectedEof => corrupted(path, FileProblem::Truncated),
            _ => Error::io(action, path)(error),
        },
    }
}

/// The error that `path` is damaged.
pub(super) fn corrupted(path: &Path, problem: impl Into<FileProblem>) -> Error {
    Error::Corrupted { path: path.to_owned(), problem: problem.into() }
}

/// Tells a damaged file, with what is wrong, from a disk that does not work.
///
/// A file under an unknown key counts as damaged: the key that opened the store opens all that belongs to it.
///
/// # Errors
/// All others.
pub(super) fn damage<T>(result: Result<T>) -> Result<Result<T, FileProblem>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Corrupted { problem, .. }) => Ok(Err(problem)),
        Err(Error::WrongKey { .. }) => Ok(Err(FileProblem::UnknownKey)),
        Err(error) => Err(error),
    }
}

/// Checks the seals of a file.
///
/// # Errors
/// What the vault says.
pub(super) fn read_to_end(vault: &Vault, path: &Path, role: &'static str) -> Result<()> {
    let mut file = vault.open(path, role)?;
    io::copy(&mut file, &mut io::sink()).map_err(|error| file.error(error))?;
    file.finish()
}
