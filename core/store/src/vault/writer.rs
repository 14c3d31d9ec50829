//! Writing a sealed file.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nightgraft_files::atomic::AtomicFile;
use nightgraft_files::file_system::FileSystem;

use super::sealing::{CHUNK_BYTES, SealHeader, Sealing, TAG_BYTES};
use super::stamp::Stamp;
use crate::{Error, Result};

/// Chunks that are sealed side by side: a mebibyte.
const CHUNKS_AT_A_TIME: usize = 16;

/// A sealed file being written; its target changes only in [`Vault::put`](super::Vault::put). Dropping it leaves nothing.
pub struct SealedWriter {
    file: AtomicFile,
    sealing: Sealing,
    /// Content that is not sealed yet, in chunks that are full up to the last. A full one waits here too: it may be
    /// the last of the file.
    chunks: Vec<Vec<u8>>,
    /// Emptied chunks, to be used again.
    spare: Vec<Vec<u8>>,
    /// Counts the bytes of all files of the disk.
    written: Arc<AtomicU64>,
    /// Bytes written so far.
    len: u64,
    /// The tag of the first chunk, once there is one.
    tag: Option<[u8; TAG_BYTES]>,
    /// Whether anything failed: the file has a hole then.
    failed: bool,
}

impl SealedWriter {
    /// A file at `target` that begins with `header`.
    pub(super) fn create(
        fs: &Arc<dyn FileSystem>,
        target: &Path,
        header: &SealHeader,
        sealing: Sealing,
        written: Arc<AtomicU64>,
    ) -> Result<Self> {
        let mut writer = Self {
            file: AtomicFile::create_in(fs, target)?,
            sealing,
            chunks: vec![Vec::new()],
            spare: Vec::new(),
            written,
            len: 0,
            tag: None,
            failed: false,
        };
        writer.put(&header.to_bytes())?;
        Ok(writer)
    }

    /// Appends content.
    ///
    /// # Errors
    /// [`Error::Io`], for instance because the disk is full. The file cannot get its place then.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.chunks.last_mut() {
                Some(chunk) if chunk.len() < CHUNK_BYTES => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - chunk.len()));
                    chunk.extend_from_slice(taken);
                    bytes = rest;
                }
                _ => {
                    if self.chunks.len() == CHUNKS_AT_A_TIME {
                        self.seal(false)?;
                    }
                    let whole = || Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
                    self.chunks.push(self.spare.pop().unwrap_or_else(whole));
                }
            }
        }
        Ok(())
    }

    /// Everything but giving the file its name: what is to get its place, and its stamp.
    pub(super) fn finish(mut self) -> Result<(AtomicFile, Stamp)> {
        if self.failed {
            let again = io::Error::other("an earlier write failed");
            return Err(Error::io("write", self.file.target())(again));
        }
        self.seal(true)?;
        self.file.flush()?;
        Ok((self.file, Stamp::new(self.len, self.tag.unwrap_or_default())))
    }

    /// What went wrong, from what a method of [`Write`] returned.
    pub fn error(&self, error: io::Error) -> Error {
        error.downcast().unwrap_or_else(Error::io("write", self.file.target()))
    }

    /// Seals and writes the chunks that there are.
    fn seal(&mut self, last: bool) -> Result<()> {
        let mut chunks = std::mem::take(&mut self.chunks);
        if self.sealing.seal(&mut chunks, last).is_err() {
            self.failed = true;
            return Err(Error::io("write", self.file.target())(io::ErrorKind::FileTooLarge.into()));
        }
        for mut chunk in chunks.drain(..) {
            self.tag = self.tag.or(chunk.last_chunk().copied());
            self.put(&chunk)?;
            chunk.clear();
            self.spare.push(chunk);
        }
        self.chunks = chunks;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.len += bytes.len() as u64;
        self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(self.file.write(bytes).inspect_err(|_| self.failed = true)?)
    }
}

impl Write for SealedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for SealedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedWriter").field("target", &self.file.target()).finish_non_exhaustive()
    }
}
