//! The whole of an import, from a folder to a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use nightgraft_gguf::{Value, Writer, parse_start};
use serde::Serialize;

use crate::convert::{Quantize, write_tensor};
use crate::{Error, Quantization, Result, Source};

/// The key that marks what was imported, with the version of this crate.
const MARK: &str = "nightgraft.imported_by";
/// Version of the block formats, as llama.cpp's quantizer writes it (`GGML_QNT_VERSION`).
const BLOCK_VERSION: u32 = 2;
/// Most headers are not longer than this.
const FIRST: u64 = 1 << 20;
/// No header is longer.
const MAX_HEADER: u64 = 256 << 20;

/// What to import.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The folder.
    pub source: &'a Source,
    /// What the weights become.
    pub quantization: Quantization,
    /// The file to write. One that is there is replaced, once everything is written.
    pub out: &'a Path,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// As in `general.architecture`.
    pub architecture: &'static str,
    /// The type of file, as in `Q4_K_M`.
    pub quantization: &'static str,
    /// Numbers in all tensors.
    pub parameters: u64,
    /// How many tensors there are of each type.
    pub tensors: BTreeMap<&'static str, u64>,
    /// What a person should know of the model, in words.
    pub warnings: Vec<String>,
}

/// Writes the model of a folder into a GGUF file. `on_progress` is told the written bytes and the number of all, and may end the
/// work.
///
/// # Errors
/// [`Error::OutIsSource`] if `out` is one of the folder's own files; [`Error::Missing`], [`Error::Weights`] and [`Error::Tensor`] if the weights are not those that the configuration describes;
/// [`Error::Cancelled`]; [`Error::Write`] and [`Error::Io`]. What was at `out` is then still there.
pub fn import(
    request: &Request,
    quantize: &Quantize,
    on_progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Report> {
    let Request { source, quantization, out } = *request;
    if let Some(name) = source.file_at(out) {
        return Err(Error::OutIsSource { out: out.to_owned(), name });
    }
    let weights = source.weights()?;
    let mut metadata = source.metadata.clone();
    metadata.insert("general.file_type", Value::U32(quantization.file_type()));
    metadata.insert("general.quantization_version", Value::U32(BLOCK_VERSION));
    metadata.insert(MARK, Value::String(env!("CARGO_PKG_VERSION").to_owned()));

    let plan = &source.plan;
    let kinds: Vec<_> = plan.tensors.iter().map(|tensor| quantization.of(tensor, plan)).collect();
    let sizes = plan.tensors.iter().zip(&kinds).filter_map(|(tensor, kind)| kind.tensor_bytes(&tensor.dims));
    let total = sizes.sum();
    let mut done = 0;
    let progress = RefCell::new(|bytes: u64| {
        done += bytes;
        on_progress(done, total)
    });
    let mut writer = Writer::new(metadata);
    let mut counts = BTreeMap::new();
    for (tensor, &kind) in plan.tensors.iter().zip(&kinds) {
        *counts.entry(kind.name()).or_insert(0) += 1;
        let (progress, weights) = (&progress, &weights);
        writer.tensor_produced(&tensor.name, &tensor.dims, kind, move |sink| {
            Ok(write_tensor(tensor, kind, weights, quantize, sink, &mut *progress.borrow_mut())?)
        })?;
    }
    let bytes = writer.write(out).map_err(own)?;
    Ok(Report {
        path: out.to_owned(),
        bytes,
        architecture: plan.architecture,
        quantization: quantization.name(),
        parameters: plan.tensors.iter().map(|tensor| tensor.dims.iter().product::<u64>()).sum(),
        tensors: counts,
        warnings: plan.notices.iter().map(ToString::to_string).collect(),
    })
}

/// Whether an earlier import wrote this file.
pub fn is_own(path: &Path) -> bool {
    let is_marked = || -> Option<bool> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let mut file = File::open(path).ok()?;
        let mut start = Vec::new();
        while (start.len() as u64) < MAX_HEADER {
            let more = (start.len() as u64).max(FIRST);
            if file.by_ref().take(more).read_to_end(&mut start).ok()? == 0 {
                return None;
            }
            if let Some(header) = parse_start(&start, metadata.len()).ok()? {
                return Some(header.metadata.string(MARK).is_some());
            }
        }
        None
    };
    is_marked() == Some(true)
}

/// What a producer passed on.
fn own(error: nightgraft_gguf::Error) -> Error {
    match error {
        nightgraft_gguf::Error::Producer(error) => match error.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::Write(nightgraft_gguf::Error::Producer(other)),
        },
        other => Error::Write(other),
    }
}
