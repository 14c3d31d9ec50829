//! Places that a job writes to: what is there may be replaced only if an earlier job wrote it, and nothing that the job
//! itself reads.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nightgraft_gguf::TensorInfo;
use serde_json::{Map, Value};

use super::gguf_adapter::is_own_header;
use super::hugging_face::parse_tensor_name;
use super::merged::stored_as;
use super::peft::{CONFIG, TENSORS};
use super::peft_config::is_own_config;
use crate::base::Base;
use crate::error::ConfigProblem;
use crate::model_file::ModelFile;
use crate::{Error, Result};

/// A file or folder that a job will write, and the option that names it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// As it is spelled on the command line.
    pub option: &'static str,
    /// The file or folder.
    pub path: &'a Path,
}

/// A file or folder that a job reads, and the option that names it.
pub type InputFile<'a> = (&'static str, &'a Path);

/// What is looked at of a file, its header or all of a small one, is not larger.
const MAX_BYTES: u64 = 64 << 20;

impl Target<'_> {
    /// Makes sure that this is none of the files that the job reads, nor a folder with one of them in it, by whatever name or
    /// link.
    ///
    /// # Errors
    /// [`Error::Config`] that names both options.
    pub fn refuse_inputs(&self, inputs: &[InputFile]) -> Result<()> {
        let written = identities(self.path);
        let clash =
            inputs.iter().find(|(_, path)| identities(path).iter().any(|file| written.contains(file)));
        let Some((option, input)) = clash else { return Ok(()) };
        let (path, input, input_option) = (self.path.to_owned(), input.to_path_buf(), *option);
        Err(Error::config(self.option, ConfigProblem::WouldReplace { path, input, input_option }))
    }

    /// Makes sure that nothing is there, nothing that could be lost, or what `is_own` knows as an earlier job's.
    ///
    /// # Errors
    /// [`Error::Config`] if something else is.
    pub fn refuse_foreign(&self, is_own: impl FnOnce(&Path) -> bool) -> Result<()> {
        if is_free(self.path)? || is_own(self.path) {
            return Ok(());
        }
        Err(Error::config(self.option, ConfigProblem::Occupied { path: self.path.to_owned() }))
    }
}

/// Whether nothing is there, or an empty file or folder.
///
/// # Errors
/// [`Error::Io`] if that cannot be said.
pub fn is_free(path: &Path) -> Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // A file where a folder should be is told by who writes.
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(true);
        }
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    if metadata.is_dir() {
        return Ok(fs::read_dir(path).map_err(Error::io("list", path))?.next().is_none());
    }
    Ok(metadata.is_file() && metadata.len() == 0)
}

/// Whether [`write_peft`](super::write_peft) wrote this folder.
pub fn is_own_peft(folder: &Path) -> bool {
    let holds = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| [CONFIG, TENSORS].iter().any(|own| entry.file_name() == *own))
    };
    !folder.is_symlink()
        && fs::read_dir(folder).is_ok_and(|mut entries| entries.all(holds))
        && read(&folder.join(CONFIG)).is_some_and(|text| is_own_config(&text))
}

/// Whether [`write_gguf_adapter`](super::write_gguf_adapter) wrote this file.
pub fn is_own_gguf_adapter(path: &Path) -> bool {
    is_file(path) && ModelFile::open(path).is_ok_and(|file| is_own_header(file.metadata()))
}

/// Whether [`write_merged`](super::write_merged) wrote this file, from this base: it has the base's keys and shapes, and is not
/// a copy of it.
pub fn is_own_merged(path: &Path, base: &Base) -> bool {
    let is_merged = |file: &ModelFile| {
        let (merged, source) = (file.tensors(), base.file().tensors());
        let is_alike = |(merged, source): (&TensorInfo, &TensorInfo)| {
            (&merged.name, &merged.dims) == (&source.name, &source.dims)
                && [source.kind, stored_as(source.kind)].contains(&merged.kind)
        };
        file.metadata() == base.file().metadata()
            && merged.len() == source.len()
            && merged.iter().zip(source).all(is_alike)
            && file.fingerprint().is_ok_and(|fingerprint| fingerprint != *base.fingerprint())
    };
    is_file(path) && ModelFile::open(path).is_ok_and(|file| is_merged(&file))
}

/// Whether [`write_peft_tensors`](super::write_peft_tensors) wrote this file.
pub fn is_own_tensors(path: &Path) -> bool {
    tensor_names(path).is_some_and(|names| names.iter().all(|name| parse_tensor_name(name).is_some()))
}

/// The names of a safetensors file's tensors; none for any other file. Only its header is read.
pub fn tensor_names(path: &Path) -> Option<Vec<String>> {
    if !is_file(path) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = Some(u64::from_le_bytes(length)).filter(|&length| length <= MAX_BYTES)?;
    let header: Map<String, Value> = serde_json::from_reader(BufReader::new(file.take(length))).ok()?;
    Some(header.into_iter().map(|(name, _)| name).filter(|name| name != "__metadata__").collect())
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The bytes of a file that is not too large to be one of ours.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MAX_BYTES).then_some(bytes)
}

/// What a path stands for on the disk, whatever it is called: the file, or the folder and the files in it.
fn identities(path: &Path) -> HashSet<(u64, u64)> {
    let inside = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let paths = std::iter::once(path.to_owned()).chain(inside);
    let identity = |path: PathBuf| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    paths.filter_map(identity).collect()
}
