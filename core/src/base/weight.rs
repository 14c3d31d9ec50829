//! Where the weights lie in the mapped files.

use std::collections::HashSet;

use nightgraft_adapter::Module;
use nightgraft_ggml::weight_type;
use nightgraft_gguf as gguf;
use nightgraft_kernels::WeightType;

use crate::error::ModelProblem;
use crate::model_file::ModelFile;
use crate::{Error, Result};

/// A matrix in the mapping, row-major: `n_rows` outputs by `n_cols` inputs. Vectors have one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The tensor's name.
    pub name: String,
    /// The format of its rows.
    pub kind: WeightType,
    /// Rows; the second dimension in ggml's order.
    pub n_rows: usize,
    /// Values in a row; the first, contiguous dimension in ggml's order.
    pub n_cols: usize,
    /// First byte in the file, or in all of a split model's one after the other.
    pub offset: usize,
    /// Size in bytes.
    pub n_bytes: usize,
}

/// The weights of one block.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Norm before attention, F32 `[n_embd]`.
    pub attn_norm: Weight,
    /// `[n_head · head_dim, n_embd]`.
    pub attn_q: Weight,
    /// `[n_head_kv · head_dim, n_embd]`.
    pub attn_k: Weight,
    /// `[n_head_kv · head_dim, n_embd]`.
    pub attn_v: Weight,
    /// `[n_embd, n_head · head_dim]`.
    pub attn_output: Weight,
    /// Norm before the feed-forward network, F32 `[n_embd]`.
    pub ffn_norm: Weight,
    /// `[n_ff, n_embd]`.
    pub ffn_gate: Weight,
    /// `[n_ff, n_embd]`.
    pub ffn_up: Weight,
    /// `[n_embd, n_ff]`.
    pub ffn_down: Weight,
    /// What is added to queries, keys and values, F32 with one value a row of their matrices; where the model has it.
    pub qkv_bias: [Option<Weight>; 3],
}

impl LayerWeights {
    /// The matrix of a module.
    pub fn module(&self, module: Module) -> &Weight {
        match module {
            Module::AttnQ => &self.attn_q,
            Module::AttnK => &self.attn_k,
            Module::AttnV => &self.attn_v,
            Module::AttnOutput => &self.attn_output,
            Module::FfnGate => &self.ffn_gate,
            Module::FfnUp => &self.ffn_up,
            Module::FfnDown => &self.ffn_down,
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        let norms = [&self.attn_norm, &self.ffn_norm];
        let matrices = Module::ALL.iter().map(|&module| self.module(module));
        norms.into_iter().chain(matrices).chain(self.qkv_bias.iter().flatten())
    }

    /// What is added to a module's output.
    pub fn bias(&self, module: Module) -> Option<&Weight> {
        let place = Module::QKV.iter().position(|&qkv| qkv == module)?;
        self.qkv_bias[place].as_ref()
    }
}

/// Finds tensors by name and remembers which were asked for.
pub(super) struct Lookup<'a> {
    file: &'a ModelFile,
    used: HashSet<String>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(file: &'a ModelFile) -> Self {
        Self { file, used: HashSet::new() }
    }

    /// A matrix in any format that can be read as floats.
    pub(super) fn matrix(&mut self, name: &str, n_rows: usize, n_cols: usize) -> Result<Weight> {
        let (tensor, kind) = self.find(name, &[n_cols, n_rows])?;
        let kind = kind.ok_or_else(|| {
            unsupported(ModelProblem::Format { tensor: name.to_owned(), found: tensor.kind })
        })?;
        place(tensor, kind, n_rows, n_cols)
    }

    /// A vector, which must be F32: every converter keeps norms, biases and factors so.
    pub(super) fn vector(&mut self, name: &str, len: usize) -> Result<Weight> {
        let (tensor, kind) = self.find(name, &[len])?;
        if kind != Some(WeightType::F32) {
            return Err(unsupported(ModelProblem::NotF32 { tensor: name.to_owned(), found: tensor.kind }));
        }
        place(tensor, WeightType::F32, 1, len)
    }

    /// Whether the file has a tensor of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// Refuses a file with tensors that nobody asked for: ignoring a bias or a norm would give another model.
    pub(super) fn finish(self) -> Result<()> {
        match self.file.tensors().iter().find(|tensor| !self.used.contains(&tensor.name)) {
            None => Ok(()),
            Some(tensor) => Err(unsupported(ModelProblem::Extra { tensor: tensor.name.clone() })),
        }
    }

    fn find(&mut self, name: &str, dims: &[usize]) -> Result<(&'a gguf::TensorInfo, Option<WeightType>)> {
        let missing = || unsupported(ModelProblem::Missing { tensor: name.to_owned() });
        let tensor = self.file.tensor(name).ok_or_else(missing)?;
        let expected: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
        let (front, back) = tensor.dims.split_at(expected.len().min(tensor.dims.len()));
        if front != expected || back.iter().any(|&dim| dim != 1) {
            let (tensor, found) = (name.to_owned(), tensor.dims.clone());
            return Err(unsupported(ModelProblem::Dimensions { tensor, found, expected: Some(expected) }));
        }
        self.used.insert(name.to_owned());
        Ok((tensor, weight_type(tensor.kind.ggml_id())))
    }
}

fn place(tensor: &gguf::TensorInfo, kind: WeightType, n_rows: usize, n_cols: usize) -> Result<Weight> {
    let too_large = || unsupported(ModelProblem::TooLarge { tensor: tensor.name.clone() });
    Ok(Weight {
        name: tensor.name.clone(),
        kind,
        n_rows,
        n_cols,
        offset: tensor.offset.try_into().map_err(|_| too_large())?,
        n_bytes: tensor.n_bytes.try_into().map_err(|_| too_large())?,
    })
}

pub(super) fn unsupported(problem: ModelProblem) -> Error {
    Error::UnsupportedModel { problem }
}
