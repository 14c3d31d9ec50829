//! Whether a model can be trained, before more of it than the header is downloaded.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use nightgraft_core::{Error, error::GgufProblem, session};
use nightgraft_gguf::{GgufHeader, Problem, parse_start};

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

/// A file as far as its header goes.
pub struct Start {
    bytes: Vec<u8>,
    header: GgufHeader,
    /// Bytes of the whole file.
    file_len: u64,
}

/// Downloads the first bytes of a file of `file_len` bytes into `unfinished`, as far as its header goes.
///
/// # Errors
/// [`NotTrainable`]; those of [`download::resume`].
pub fn fetch(
    request: Request<'_>,
    unfinished: &Path,
    file_len: u64,
    label: &str,
    show: bool,
) -> Result<Start> {
    let mut end = FIRST.min(file_len);
    loop {
        download::resume(request, unfinished, Some(end), label, show)?;
        let bytes = first_bytes(unfinished, end)?;
        match parse_start(&bytes, file_len) {
            Ok(Some(header)) => return Ok(Start { bytes, header, file_len }),
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

/// Opens the files of a model, each under its name and with its header, as every command opens a model. In place of the tensors
/// they have holes, which take no room.
///
/// # Errors
/// [`NotTrainable`]; [`DiskError`].
pub fn judge<'a>(files: impl Iterator<Item = (Request<'a>, &'a str, &'a Start)>) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut first = None;
    for (request, name, start) in files {
        let path = folder.path().join(name);
        stand_in(request, &path, start)?;
        first.get_or_insert(path);
    }
    let first = first.context("a model has a file")?;
    match session::inspect(&first) {
        Ok(info) => match info.not_trainable {
            None => Ok(()),
            Some(problem) => Err(NotTrainable::Unsupported { problem }.into()),
        },
        // Its path is not the one that was asked for.
        Err(Error::Gguf { problem, .. }) => Err(NotTrainable::Unusable { problem }.into()),
        Err(error) => Err(error.into()),
    }
}

/// Writes a file that has the header of another, and its numbers that decide something.
fn stand_in(request: Request<'_>, path: &Path, Start { bytes, header, file_len }: &Start) -> Result<()> {
    let factors = header.tensors.iter().find(|tensor| tensor.name == ROPE_FACTORS);
    let factors = match factors.filter(|tensor| tensor.offset + tensor.n_bytes > bytes.len() as u64) {
        Some(tensor) => Some((tensor.offset, part(request, tensor.offset, tensor.n_bytes)?)),
        None => None,
    };
    let write = || -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.set_len(*file_len)?;
        if let Some((offset, bytes)) = &factors {
            file.seek(SeekFrom::Start(*offset))?;
            file.write_all(bytes)?;
        }
        Ok(())
    };
    write().map_err(DiskError::from_io("write", path))
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
