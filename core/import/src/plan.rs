//! What will be in the file: its keys, and of each tensor where its values come from.

use nightgraft_gguf::{Metadata, Value};

use crate::Notice;

/// A model as GGUF has it, before any weight was read.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As in `general.architecture`.
    pub architecture: &'static str,
    /// The keys of the architecture.
    pub metadata: Metadata,
    pub tensors: Vec<PlannedTensor>,
    pub n_layer: u64,
    /// Rows of the embedding.
    pub n_vocab: u64,
    pub notices: Vec<Notice>,
}

/// A tensor of the file.
#[derive(Debug)]
pub(crate) struct PlannedTensor {
    pub name: String,
    /// The contiguous dimension first: a row's length, and the number of rows of a matrix.
    pub dims: Vec<u64>,
    pub content: Content,
}

/// Where a tensor's values come from.
#[derive(Debug)]
pub(crate) enum Content {
    /// The rows `first_row ..` of a tensor of the folder, changed row by row.
    Stored {
        tensor: String,
        /// All of it, as the folder must have it; `[n]` or `[n_rows, n_cols]`.
        shape: Vec<u64>,
        first_row: u64,
        change: Change,
    },
    /// Computed from the configuration.
    Values(Vec<f32>),
}

/// What happens to values on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// Rows of each head from `transformers`' halves to llama.cpp's pairs: rope rotates row `i` of a head with row
    /// `i + head_dim / 2` there, with its neighbour here.
    Interleave {
        head_dim: u64,
    },
    /// Gemma's norms multiply by `1 + w`; llama.cpp multiplies by what is stored.
    AddOne,
}

impl Plan {
    pub fn new(architecture: &'static str, n_layer: u64, n_vocab: u64) -> Self {
        Self {
            architecture,
            metadata: Metadata::new(),
            tensors: Vec::new(),
            n_layer,
            n_vocab,
            notices: Vec::new(),
        }
    }

    /// Sets `<architecture>.<key>`.
    pub fn set(&mut self, key: &str, value: Value) {
        self.metadata.insert(format!("{}.{key}", self.architecture), value);
    }

    pub fn set_u32(&mut self, key: &str, value: u64) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.set(key, Value::U32(value));
    }

    pub fn set_f32(&mut self, key: &str, value: f64) {
        self.set(key, Value::F32(value as f32));
    }

    /// A matrix as it is stored.
    pub fn matrix(&mut self, names: &Names, n_rows: u64, n_cols: u64, change: Change) {
        self.stored(names, vec![n_rows, n_cols], 0, n_rows, change);
    }

    /// A vector.
    pub fn vector(&mut self, names: &Names, n: u64, change: Change) {
        self.stored(names, vec![n], 0, n, change);
    }

    /// The rows `first_row .. first_row + n_rows` of a matrix that the folder holds as one with others.
    pub fn part(&mut self, names: &Names, n_stored: u64, first_row: u64, n_rows: u64, n_cols: u64) {
        self.stored(names, vec![n_stored, n_cols], first_row, n_rows, Change::None);
    }

    /// A vector that is computed.
    pub fn values(&mut self, name: &str, values: Vec<f32>) {
        let dims = vec![values.len() as u64];
        self.tensors.push(PlannedTensor { name: name.to_owned(), dims, content: Content::Values(values) });
    }

    fn stored(&mut self, names: &Names, shape: Vec<u64>, first_row: u64, n_rows: u64, change: Change) {
        let dims = match shape.as_slice() {
            [_, n_cols] => vec![*n_cols, n_rows],
            _ => vec![n_rows],
        };
        let content = Content::Stored { tensor: names.from.clone(), shape, first_row, change };
        self.tensors.push(PlannedTensor { name: names.to.clone(), dims, content });
    }
}

/// A tensor's names in the folder and in the file.
pub(crate) struct Names {
    pub from: String,
    pub to: String,
}

impl Names {
    /// Of a tensor outside of the layers.
    pub fn of(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned() }
    }

    /// Of a tensor of a layer.
    pub fn in_layer(layer: u64, from: &str, to: &str) -> Self {
        Self { from: format!("model.layers.{layer}.{from}"), to: format!("blk.{layer}.{to}") }
    }
}
