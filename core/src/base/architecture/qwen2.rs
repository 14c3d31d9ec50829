//! `qwen2`: Qwen 2 and 2.5, their Coder and Math models among them. Queries, keys and values have biases.

use super::super::{BlockSpec, RopeLayout};
use super::{Keys, decoder};
use crate::Result;
use crate::gguf;

pub(super) fn read(file: &gguf::File, keys: &Keys) -> Result<BlockSpec> {
    decoder::read(file, keys, RopeLayout::Halves)
}
