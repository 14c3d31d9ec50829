//! `qwen2`: Qwen 2 and 2.5, their Coder and Math models among them. Queries, keys and values have biases.

use super::super::{BlockSpec, RopeLayout};
use super::{Keys, decoder};
use crate::Result;
use crate::error::KeyProblem;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<BlockSpec> {
    let spec = decoder::read(file, keys, RopeLayout::Halves)?;
    if spec.n_embd_q() != spec.n_embd {
        return Err(keys.wrong("attention.key_length", KeyProblem::HeadWidth { found: spec.head_dim }));
    }
    Ok(spec)
}
