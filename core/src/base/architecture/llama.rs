//! `llama`: Llama 2 and 3, TinyLlama, SmolLM2 and everything else that was converted under this name.

use nightgraft_gguf::TensorType;

use super::super::weight::unsupported;
use super::super::{BlockSpec, RopeLayout};
use super::{Keys, ROPE_FACTORS, decoder};
use crate::Result;
use crate::error::ModelProblem;
use crate::model_file::ModelFile;

pub(super) fn read(file: &ModelFile, keys: &Keys) -> Result<BlockSpec> {
    let mut spec = decoder::read(file, keys, RopeLayout::Interleaved)?;
    spec.rope.factors = rope_factors(file, spec.rope.dims)?;
    Ok(spec)
}

fn rope_factors(file: &ModelFile, dims: usize) -> Result<Option<Vec<f32>>> {
    let Some(tensor) = file.tensor(ROPE_FACTORS) else { return Ok(None) };
    let (chunks, rest) = file.bytes(tensor).as_chunks::<4>();
    if tensor.kind != TensorType::F32 || tensor.dims.first() != Some(&(dims as u64 / 2)) || !rest.is_empty() {
        return Err(unsupported(ModelProblem::RopeFactors { n: dims / 2 }));
    }
    let factors: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match factors.iter().find(|factor| !factor.is_finite() || **factor <= 0.0) {
        Some(factor) => Err(unsupported(ModelProblem::RopeFactor(*factor))),
        None if factors.len() != dims / 2 => Err(unsupported(ModelProblem::RopeFactorCount { n: dims / 2 })),
        None => Ok(Some(factors)),
    }
}
