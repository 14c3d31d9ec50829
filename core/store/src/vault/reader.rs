//! Reading a sealed file.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nightgraft_files::file_system::FileSystem;

use super::sealing::{CHUNK_BYTES, HEADER_BYTES, SealHeader, Sealing, TAG_BYTES};
use crate::{Error, FileProblem, Result};

/// A sealed file being read. Only content whose tag was right comes out; [`finish`](Self::finish) says whether it
/// was all.
pub struct SealedReader {
    file: Box<dyn Read + Send>,
    path: PathBuf,
    sealing: Sealing,
    /// The content of the current chunk.
    chunk: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// The first byte after the current chunk, if it is not the last.
    ahead: Option<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There are chunks to come.
    More,
    /// The current chunk is the last.
    Last,
    /// A chunk was damaged or could not be read.
    Failed,
}

impl SealedReader {
    /// A reader of what lies at `path`, behind its header.
    pub(super) fn new(file: Box<dyn Read + Send>, path: &Path, sealing: Sealing) -> Self {
        Self {
            file,
            path: path.to_owned(),
            sealing,
            chunk: Vec::new(),
            taken: 0,
            ahead: None,
            state: State::More,
        }
    }

    /// Fills `into` with the next bytes of the content.
    ///
    /// # Errors
    /// [`Error::Corrupted`] if the content is not what was written, or ends before; [`Error::Io`] if it cannot be
    /// read.
    pub fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            let available = self.available()?;
            if available.is_empty() {
                return Err(self.corrupted(FileProblem::Truncated));
            }
            let n = available.len().min(into.len() - filled);
            into[filled..filled + n].copy_from_slice(&available[..n]);
            self.taken += n;
            filled += n;
        }
        Ok(())
    }

    /// Makes sure that all content was taken and that the file ends where it did when it was written.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn finish(mut self) -> Result<()> {
        if self.available()?.is_empty() {
            return Ok(());
        }
        Err(self.corrupted(FileProblem::TooLong))
    }

    /// What went wrong, from what a method of [`Read`] returned, or somebody who reads through it: what ends too
    /// early or is [`io::ErrorKind::InvalidData`] is damaged.
    pub fn error(&self, error: io::Error) -> Error {
        match error.downcast() {
            Ok(error) => error,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => self.corrupted(FileProblem::Truncated),
                io::ErrorKind::InvalidData => self.corrupted(FileProblem::of_content(error)),
                _ => Error::io("read", &self.path)(error),
            },
        }
    }

    /// Content that was not taken yet; none at the end.
    fn available(&mut self) -> Result<&[u8]> {
        while self.taken == self.chunk.len() {
            match self.state {
                State::More => self.next_chunk()?,
                State::Last => break,
                State::Failed => return Err(self.corrupted(FileProblem::BehindDamage)),
            }
        }
        Ok(&self.chunk[self.taken..])
    }

    fn next_chunk(&mut self) -> Result<()> {
        self.state = State::Failed;
        self.taken = 0;
        let read = self.read_chunk();
        if let Err(error) = read {
            self.chunk.clear();
            return Err(Error::io("read", &self.path)(error));
        }
        let last = self.ahead.is_none();
        if !self.sealing.open(&mut self.chunk, last) {
            self.chunk.clear();
            return Err(self.corrupted(FileProblem::Altered));
        }
        self.state = if last { State::Last } else { State::More };
        Ok(())
    }

    /// Reads a chunk with its tag, and one byte more: without that one, the chunk is the last.
    fn read_chunk(&mut self) -> io::Result<()> {
        const WHOLE: usize = CHUNK_BYTES + TAG_BYTES;
        self.chunk.clear();
        self.chunk.extend(self.ahead.take());
        let missing = WHOLE + 1 - self.chunk.len();
        // Not through a buffer of zeros: most files are far smaller than a chunk.
        self.file.by_ref().take(missing as u64).read_to_end(&mut self.chunk)?;
        if self.chunk.len() > WHOLE {
            self.ahead = self.chunk.pop();
        }
        Ok(())
    }

    fn corrupted(&self, problem: FileProblem) -> Error {
        Error::Corrupted { path: self.path.clone(), problem }
    }
}

impl Read for SealedReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let available = self.available().map_err(io::Error::other)?;
        let n = available.len().min(into.len());
        into[..n].copy_from_slice(&available[..n]);
        self.taken += n;
        Ok(n)
    }
}

impl fmt::Debug for SealedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedReader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Opens a file and reads its header.
pub(super) fn read_header(fs: &dyn FileSystem, path: &Path) -> Result<(Box<dyn Read + Send>, SealHeader)> {
    let mut file = fs.open(path).map_err(Error::io("open", path))?;
    let mut bytes = [0; HEADER_BYTES];
    let len = read_up_to(&mut file, &mut bytes).map_err(Error::io("read", path))?;
    let header = if len == HEADER_BYTES { SealHeader::parse(&bytes) } else { Err(FileProblem::TooShort) };
    let header = header.map_err(|problem| Error::Corrupted { path: path.to_owned(), problem })?;
    Ok((file, header))
}

/// The version of the format that a sealed file says it is of, if that is a later one.
pub(super) fn later_version(fs: &dyn FileSystem, path: &Path) -> Option<u32> {
    let mut bytes = [0; HEADER_BYTES];
    let len = read_up_to(&mut fs.open(path).ok()?, &mut bytes).ok()?;
    (len == HEADER_BYTES).then(|| SealHeader::later_version(&bytes)).flatten()
}

/// Reads until `into` is full or the file ends.
pub(super) fn read_up_to(file: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < into.len() {
        match file.read(&mut into[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
