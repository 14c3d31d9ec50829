//! `llama`: Llama 2 and 3, TinyLlama, SmolLM2, Mistral and everything else that was converted under this name.

use nightgraft_adapter::Module;

use super::super::{ModelSpec, RopeLayout};
use super::Keys;
use super::decoder::{Decoder, refuse_multipliers};
use super::rope::RopeRules;
use crate::Result;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    Decoder { layout: RopeLayout::Interleaved, rope: RopeRules::LLAMA, biases: &Module::ALL }.read(file, keys)
}
