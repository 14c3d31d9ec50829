//! A file that others can open while it lives, and that has no name in any folder.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file for handing bytes to code that only takes paths. It is gone when this is dropped, and when the process dies.
pub(super) struct AnonymousFile {
    /// Keeps it alive.
    _file: File,
    path: PathBuf,
}

impl AnonymousFile {
    /// A file with what `write` puts into it; the name that `write` gets is for errors.
    pub(super) fn new(write: impl FnOnce(&mut dyn Write, &Path) -> Result<()>) -> Result<Self> {
        let file = open_anonymous().map_err(Error::io("make an anonymous file in", &std::env::temp_dir()))?;
        let path = PathBuf::from(format!("{DESCRIPTORS}/{}", file.as_raw_fd()));
        let mut writer = BufWriter::new(file);
        write(&mut writer, &path)?;
        let file = writer.into_inner().map_err(|error| error.into_error());
        // Where opening the path gives the same open file once more, its reader begins where we stand.
        let file = file.and_then(|mut file| file.rewind().map(|()| file));
        Ok(Self { _file: file.map_err(Error::io("write", &path))?, path })
    }

    /// Where this process can open it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file in memory only.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_anonymous() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
    let file = memfd_create("adapter", MemfdFlags::CLOEXEC)?;
    // The system makes it for everybody.
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    Ok(file.into())
}

/// A file in the folder for temporary files, removed as soon as it is open.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_anonymous() -> io::Result<File> {
    tempfile::tempfile()
}

/// Where the system shows open files by their numbers.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DESCRIPTORS: &str = "/proc/self/fd";
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DESCRIPTORS: &str = "/dev/fd";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn it_can_be_opened_while_it_lives() {
        let file =
            AnonymousFile::new(|file, name| file.write_all(b"numbers").map_err(Error::io("write", name)));
        let file = file.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"numbers");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"numbers", "again from the start");
        // Linux shows where an open file lies; this one is in no folder.
        #[cfg(target_os = "linux")]
        {
            let place = std::fs::read_link(file.path()).unwrap();
            assert!(place.to_string_lossy().starts_with("/memfd:"), "{}", place.display());
        }
        let path = file.path().to_owned();
        drop(file);
        assert!(
            !std::fs::read_link(path).is_ok_and(|place| place.to_string_lossy().contains("memfd:adapter"))
        );
    }
}
