//! What tells one version of a sealed file from all others.

use std::io::{ErrorKind, Read};
use std::path::Path;

use nightgraft_files::file_system::FileSystem;
use serde::{Deserialize, Serialize};

use super::reader::read_up_to;
use super::sealing::{CHUNK_BYTES, HEADER_BYTES, TAG_BYTES};
use crate::{Error, Result};

/// The length and the first tag of a sealed file. No two versions of a file have the same, because the number of the
/// change that wrote it, or a random nonce, goes into the tag; so it can be compared without reading the file to its end.
/// It proves nothing of what comes behind the first chunk: opening the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u64, String)", into = "(u64, String)")]
pub(super) struct Stamp {
    len: u64,
    tag: [u8; TAG_BYTES],
}

impl Stamp {
    pub(super) fn new(len: u64, tag: [u8; TAG_BYTES]) -> Self {
        Self { len, tag }
    }

    /// The stamp of a file; `None` if there is none. One that is not sealed has a stamp too, which no sealed file has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn of(fs: &dyn FileSystem, path: &Path) -> Result<Option<Self>> {
        let Some(entry) = fs.metadata(path).map_err(Error::io("open", path))?.filter(|entry| !entry.is_dir)
        else {
            return Ok(None);
        };
        let mut file = match fs.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut start = vec![0; HEADER_BYTES + CHUNK_BYTES + TAG_BYTES];
        let len =
            read_up_to(&mut file.as_mut() as &mut dyn Read, &mut start).map_err(Error::io("read", path))?;
        let tag = start[..len].last_chunk().copied().unwrap_or_default();
        Ok(Some(Self { len: entry.len, tag }))
    }
}

impl From<Stamp> for (u64, String) {
    fn from(stamp: Stamp) -> Self {
        (stamp.len, format!("{:032x}", u128::from_be_bytes(stamp.tag)))
    }
}

impl TryFrom<(u64, String)> for Stamp {
    type Error = std::num::ParseIntError;

    fn try_from((len, tag): (u64, String)) -> Result<Self, Self::Error> {
        Ok(Self { len, tag: u128::from_str_radix(&tag, 16)?.to_be_bytes() })
    }
}
