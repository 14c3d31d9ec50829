//! An adapter's file in memory.

use std::fs;
use std::ops::Deref;
use std::path::Path;

use nightgraft_ggml::MappedFile;

use crate::error::AdapterProblem;
use crate::{Error, Result};

/// What is read rather than mapped. Hardly an adapter is larger; what is, may be a model.
const MAX_READ: u64 = 256 << 20;

/// The bytes of a file.
pub(super) enum Contents {
    /// A copy, which nobody else changes.
    Read(Vec<u8>),
    /// The file itself.
    Mapped(MappedFile),
}

impl Contents {
    /// Reads the file, or maps it if it is large.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(Error::io("open", path))?;
        if metadata.is_file() && metadata.len() <= MAX_READ {
            let bytes = fs::read(path).map_err(Error::io("read", path))?;
            return if bytes.is_empty() {
                Err(Error::adapter(path, AdapterProblem::Empty))
            } else {
                Ok(Self::Read(bytes))
            };
        }
        Ok(Self::Mapped(MappedFile::open(path)?))
    }

    /// Whether what was read until now was one file's.
    ///
    /// # Errors
    /// [`Error::Adapter`] if it was written to meanwhile.
    pub(super) fn check(&self, path: &Path) -> Result<()> {
        match self {
            Self::Read(_) => Ok(()),
            Self::Mapped(file) => {
                file.check().map_err(|_| Error::adapter(path, AdapterProblem::ChangedMeanwhile))
            }
        }
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Mapped(file) => file,
        }
    }
}
