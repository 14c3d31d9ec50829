//! What tells a file from another, and from an earlier state of itself.

use std::fs::{self, Metadata};
use std::path::Path;
use std::{fmt, io};

/// Which file it is and when it was last written to, as the system tells it without reading a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// Bytes.
    pub len: u64,
    /// When it was last written to, in nanoseconds from the beginning of 1970.
    pub modified_ns: i64,
    /// Its number on its device; 0 where files have none.
    pub inode: u64,
    /// Its device; 0 where that has no number.
    pub device: u64,
}

/// What about a mapped file is not as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileChange {
    /// It was cut short, or something was added.
    Length {
        /// Bytes when it was opened.
        was: u64,
        /// Bytes now.
        is: u64,
    },
    /// It was written to.
    Written,
    /// Another file has its name now.
    Replaced,
    /// No file has its name any more.
    Removed,
    /// A part of it could not be read.
    Unreadable,
    /// The system sees nothing; but what is in it is not what was in it an earlier time.
    OtherBytes,
}

impl FileStamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            Self {
                len: metadata.len(),
                modified_ns: metadata
                    .mtime()
                    .saturating_mul(1_000_000_000)
                    .saturating_add(metadata.mtime_nsec()),
                inode: metadata.ino(),
                device: metadata.dev(),
            }
        }
        #[cfg(not(unix))]
        {
            let since = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let modified_ns =
                since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or_default();
            Self { len: metadata.len(), modified_ns, inode: 0, device: 0 }
        }
    }

    /// The stamp of what is at `path` now.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::of(&metadata))
    }

    /// The difference from `self` to `now` that says most; none if there is none.
    pub fn changed_to(&self, now: &Self) -> Option<FileChange> {
        if (self.inode, self.device) != (now.inode, now.device) {
            Some(FileChange::Replaced)
        } else if self.len != now.len {
            Some(FileChange::Length { was: self.len, is: now.len })
        } else {
            (self.modified_ns != now.modified_ns).then_some(FileChange::Written)
        }
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { was, is } => write!(f, "it had {was} bytes and has {is}"),
            Self::Written => f.write_str("it was written to"),
            Self::Replaced => f.write_str("another file has taken its place"),
            Self::Removed => f.write_str("it was removed"),
            Self::Unreadable => f.write_str("a part of it cannot be read"),
            Self::OtherBytes => f.write_str(
                "its header is the same, but other bytes in it are not those that it was used with before (SHA-256)",
            ),
        }
    }
}
