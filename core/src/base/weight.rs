//! Where the weights lie in the mapped files.

use std::collections::{BTreeMap, HashSet};

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

/// The weights of one layer.
#[derive(Clone, Debug)]
pub struct LayerWeights {
    /// Norm before attention, F32 `[n_embd]`; this and the others where the layer has it and it is weighted.
    pub attn_norm: Option<Weight>,
    /// Norm of what attention gives, F32 `[n_embd]`.
    pub attn_post_norm: Option<Weight>,
    /// Norm of each head's queries, F32 `[head_dim]`.
    pub attn_q_norm: Option<Weight>,
    /// Norm of each head's keys, F32 `[head_dim]`.
    pub attn_k_norm: Option<Weight>,
    /// Norm before the feed-forward network, F32 `[n_embd]`.
    pub ffn_norm: Option<Weight>,
    /// Norm of what the feed-forward network gives, F32 `[n_embd]`.
    pub ffn_post_norm: Option<Weight>,
    pub(super) matrices: BTreeMap<Module, BiasedMatrix>,
}

/// A matrix, and what is added to its output, F32 with one value a row of it.
#[derive(Clone, Debug)]
pub(super) struct BiasedMatrix {
    pub(super) weight: Weight,
    pub(super) bias: Option<Weight>,
}

impl LayerWeights {
    /// The matrix of a module, if the layer has it.
    pub fn module(&self, module: Module) -> Option<&Weight> {
        self.matrices.get(&module).map(|matrix| &matrix.weight)
    }

    /// What is added to a module's output.
    pub fn bias(&self, module: Module) -> Option<&Weight> {
        self.matrices.get(&module)?.bias.as_ref()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Weight> {
        let norms = [
            &self.attn_norm,
            &self.ffn_norm,
            &self.attn_post_norm,
            &self.attn_q_norm,
            &self.attn_k_norm,
            &self.ffn_post_norm,
        ];
        let matrices = self.matrices.values().map(|matrix| &matrix.weight);
        let biases = self.matrices.values().filter_map(|matrix| matrix.bias.as_ref());
        norms.into_iter().flatten().chain(matrices).chain(biases)
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
