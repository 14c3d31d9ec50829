//! From metadata to a [`BlockSpec`]: one file for each architecture.

mod decoder;
mod keys;
mod llama;
mod qwen2;

use crate::model_file::ModelFile;
use keys::Keys;

use super::BlockSpec;
use super::weight::unsupported;
use crate::Result;
use crate::error::ModelProblem;

/// The key that names the architecture.
pub(super) const KEY: &str = "general.architecture";
/// The tensor with divisors of rope's frequencies.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

type Read = fn(&ModelFile, &Keys) -> Result<BlockSpec>;

const READERS: &[(&str, Read)] = &[("llama", llama::read), ("qwen2", qwen2::read)];

/// The architectures that can be trained, as in `general.architecture`.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    READERS.iter().map(|(name, _)| *name)
}

/// What the file's metadata says about its blocks.
pub(super) fn read(file: &ModelFile) -> Result<BlockSpec> {
    let metadata = file.metadata();
    let kind = metadata.string("general.type").unwrap_or("model");
    if kind != "model" {
        return Err(unsupported(ModelProblem::Type { kind: kind.to_owned() }));
    }
    let Some(name) = metadata.string(KEY) else {
        return Err(unsupported(ModelProblem::NoArchitecture));
    };
    match READERS.iter().find(|(known, _)| *known == name) {
        Some((_, reader)) => reader(file, &Keys::new(metadata, name)),
        None => {
            let (name, supported) = (name.to_owned(), supported_architectures().collect());
            Err(unsupported(ModelProblem::Architecture { name, supported }))
        }
    }
}
