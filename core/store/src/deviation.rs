//! A file that is not the one that it should be.

use std::path::PathBuf;

use crate::{Error, Inconsistency};

/// A file that is not what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deviation {
    pub(super) path: PathBuf,
    pub(super) why: Inconsistency,
}

impl Deviation {
    pub(super) fn error(&self) -> Error {
        Error::Inconsistent { path: self.path.clone(), why: self.why }
    }
}
