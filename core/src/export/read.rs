//! Reading an adapter, whatever it is.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::gguf_adapter::read_gguf_adapter;
use super::imported::ImportedAdapter;
use super::peft::{CONFIG, TENSORS, read_peft};
use crate::base::Base;
use crate::error::{AdapterProblem, ForeignAdapter};
use crate::{Error, Result};

/// What a path holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AdapterFormat {
    /// A PEFT adapter, with its folder.
    Peft(PathBuf),
    /// A llama.cpp adapter (or some other GGUF file), with its path.
    Gguf(PathBuf),
}

/// Reads the adapter at `path`: a PEFT folder, one of the files in it, or a GGUF file. The result has the shapes and the row
/// order of `base`, and says what it was trained on: it may fit another model of the same shapes, and make it worse.
///
/// # Errors
/// [`Error::Adapter`] with the tensor or option that is missing, wrong, not supported or does not fit `base`;
/// [`Error::Gguf`] for a damaged GGUF file; [`Error::Io`].
pub fn import_adapter(path: &Path, base: &Base) -> Result<ImportedAdapter> {
    match detect(path)? {
        AdapterFormat::Peft(folder) => read_peft(&folder, base),
        AdapterFormat::Gguf(file) => read_gguf_adapter(&file, base),
    }
}

/// Tells what is at `path`, from its content.
///
/// # Errors
/// [`Error::Adapter`] if it is neither; [`Error::Io`] if it cannot be opened.
fn detect(path: &Path) -> Result<AdapterFormat> {
    let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_dir() {
        if path.join(CONFIG).exists() || path.join(TENSORS).exists() {
            return Ok(AdapterFormat::Peft(path.to_owned()));
        }
        let inside = inner_adapter(path).map(AdapterProblem::Inside);
        let problem = inside.or_else(|| ForeignAdapter::of_folder(path).map(Into::into));
        return Err(Error::adapter(path, problem.unwrap_or(AdapterProblem::NoAdapter)));
    }
    let mut magic = [0; 4];
    let is_gguf = std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut magic))
        .is_ok_and(|()| &magic == b"GGUF");
    if is_gguf {
        return Ok(AdapterFormat::Gguf(path.to_owned()));
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name == TENSORS || name == CONFIG {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return Ok(AdapterFormat::Peft(folder.unwrap_or(Path::new(".")).to_owned()));
    }
    let trainer = ForeignAdapter::of_file(path);
    Err(Error::adapter(path, trainer.map_or(AdapterProblem::UnknownForm, Into::into)))
}

/// The adapter that is in a folder of this one: a run's, or the last of a trainer's checkpoints.
fn inner_adapter(folder: &Path) -> Option<PathBuf> {
    let own = folder.join("adapter");
    if own.join(CONFIG).exists() {
        return Some(own);
    }
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    entries
        .filter(|path| match path.extension() {
            Some(extension) => extension == "gguf",
            None => path.join(CONFIG).exists(),
        })
        .max()
}
