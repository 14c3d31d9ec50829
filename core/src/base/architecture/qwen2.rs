//! `qwen2`: Qwen 2 and 2.5, their Coder and Math models among them. Queries, keys and values have biases.

use nightgraft_adapter::Module;

use super::super::{ModelSpec, RopeLayout};
use super::Keys;
use super::decoder::{Decoder, check_plain_heads, refuse_multipliers};
use super::rope::RopeRules;
use crate::Result;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<ModelSpec> {
    refuse_multipliers(keys)?;
    let decoder = Decoder { layout: RopeLayout::Halves, rope: RopeRules::PLAIN, biases: &Module::QKV };
    let spec = decoder.read(file, keys)?;
    check_plain_heads(&spec, keys)?;
    Ok(spec)
}
