//! Whether a model can be trained, before more of it than the header is downloaded.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use nightgraft_core::{Error, error::GgufProblem, session};
use nightgraft_gguf::{GgufHeader, Problem, parse_start};
use tempfile::NamedTempFile;

use crate::fetch::{
    cache::DiskError,
    download,
    http::{Refusal, Request, content_range},
};

/// What is downloaded first. A vocabulary of 150,000 pieces takes 6 MB of a header.
const FIRST: u64 = 16 << 20;
/// Longer than any header.
const MAX_HEADER: u64 = 256 << 20;
/// Llama 3's factors, the only numbers besides the header's that decide whether a model can be trained.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A model that is no use here.
#[derive(Debug, thiserror::Error)]
pub enum NotTrainable {
    #[error("it is not a usable GGUF file: {0}")]
    Malformed(Problem),
    #[error("it is not a usable GGUF file: {problem}")]
    Unusable { problem: GgufProblem },
    #[error("it is not a usable GGUF file: its header is longer than {} MiB", MAX_HEADER >> 20)]
    EndlessHeader,
    #[error("{problem}")]
    Unsupported { problem: String },
}

/// Downloads the first bytes of a file of `file_len` bytes into `unfinished`, as far as its header goes, and judges by them.
///
/// # Errors
/// [`NotTrainable`]; those of [`download::resume`].
pub fn check(request: Request<'_>, unfinished: &Path, file_len: u64, label: &str, show: bool) -> Result<()> {
    let mut end = FIRST.min(file_len);
    loop {
        download::resume(request, unfinished, Some(end), label, show)?;
        let start = first_bytes(unfinished, end)?;
        match parse_start(&start, file_len) {
            Ok(Some(header)) => return judge(request, &start, &header, file_len),
            Ok(None) if end < file_len.min(MAX_HEADER) => end = (2 * end).min(file_len),
            Ok(None) => return Err(NotTrainable::EndlessHeader.into()),
            Err(problem) => return Err(NotTrainable::Malformed(problem).into()),
        }
    }
}

fn first_bytes(path: &Path, n: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(DiskError::from_io("open", path))?;
    file.take(n).read_to_end(&mut bytes).map_err(DiskError::from_io("read", path))?;
    Ok(bytes)
}

/// Opens a file with this header as every command opens a model. In place of the tensors it has a hole, which takes no room.
fn judge(request: Request<'_>, start: &[u8], header: &GgufHeader, file_len: u64) -> Result<()> {
    let mut stand_in = NamedTempFile::new().context("cannot create a temporary file")?;
    let factors = header.tensors.iter().find(|tensor| tensor.name == ROPE_FACTORS);
    let factors = match factors.filter(|tensor| tensor.offset + tensor.n_bytes > start.len() as u64) {
        Some(tensor) => Some((tensor.offset, part(request, tensor.offset, tensor.n_bytes)?)),
        None => None,
    };
    let mut write = || -> io::Result<()> {
        stand_in.write_all(start)?;
        stand_in.as_file().set_len(file_len)?;
        if let Some((offset, bytes)) = &factors {
            stand_in.seek(SeekFrom::Start(*offset))?;
            stand_in.write_all(bytes)?;
        }
        stand_in.flush()
    };
    write().map_err(DiskError::from_io("write", stand_in.path()))?;
    match session::inspect(stand_in.path()) {
        Ok(info) => match info.not_trainable {
            None => Ok(()),
            Some(problem) => Err(NotTrainable::Unsupported { problem }.into()),
        },
        // Its name is not the one that was asked for.
        Err(Error::Gguf { problem, .. }) => Err(NotTrainable::Unusable { problem }.into()),
        Err(error) => Err(error.into()),
    }
}

/// Some bytes of the file.
fn part(request: Request<'_>, offset: u64, n_bytes: u64) -> Result<Vec<u8>> {
    let response = request.send(Some(&format!("bytes={offset}-{}", offset + n_bytes - 1)))?;
    if response.status() != 206 {
        return Err(Refusal::of(&response).into());
    }
    if content_range(response.headers()).is_none_or(|(start, _)| start != offset) {
        bail!("the server answers with another range");
    }
    let mut bytes = Vec::new();
    response
        .into_body()
        .into_reader()
        .take(n_bytes)
        .read_to_end(&mut bytes)
        .context("the connection broke")?;
    Ok(bytes)
}
