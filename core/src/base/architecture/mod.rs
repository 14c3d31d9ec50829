//! From metadata to a [`ModelSpec`]: one file for each architecture.

mod decoder;
mod family;
mod gemma3;
mod granite;
mod keys;
mod llama;
mod mistral3;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod smollm3;
#[cfg(test)]
mod tests;

use crate::model_file::ModelFile;
use keys::Keys;

use super::ModelSpec;
use super::weight::unsupported;
use crate::Result;
use crate::error::ModelProblem;

/// The key that names the architecture.
pub(super) const KEY: &str = "general.architecture";
/// The tensor with divisors of rope's frequencies.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// The tensors with divisors for long segments and for short ones.
pub(super) const ROPE_FACTORS_BY_LENGTH: [&str; 2] =
    ["rope_factors_long.weight", "rope_factors_short.weight"];
/// Far above any model; keeps products of two such numbers within 64 bits.
const MAX_WIDTH: usize = 1 << 24;
/// Token ids and positions are 32-bit signed numbers.
const MAX_COUNT: usize = i32::MAX as usize;

type Read = fn(&ModelFile, &Keys) -> Result<ModelSpec>;

const READERS: &[(&str, Read)] = &[
    ("llama", llama::read),
    ("mistral3", mistral3::read),
    ("qwen2", qwen2::read),
    ("qwen3", qwen3::read),
    ("gemma3", gemma3::read),
    ("smollm3", smollm3::read),
    ("granite", granite::read),
    ("phi3", phi3::read),
];

/// The architectures that can be trained, as in `general.architecture`.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    READERS.iter().map(|(name, _)| *name)
}

/// What the file's metadata says about the model.
pub(super) fn read(file: &ModelFile) -> Result<ModelSpec> {
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
            let (kind, supported) = (family::of(name, metadata), supported_architectures().collect());
            Err(unsupported(ModelProblem::Architecture { name: name.to_owned(), kind, supported }))
        }
    }
}
