//! The error of an adapter that cannot be read or written.

use std::path::Path;

use crate::Error;

/// What is wrong with the adapter at `path`.
pub(super) fn adapter_error(path: &Path, problem: String) -> Error {
    Error::Adapter { path: path.to_owned(), problem }
}
