//! Why a folder was not imported. Each reason names what is wrong and where.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use nightgraft_gguf::TensorType;

use crate::importable_architectures;

/// What a fallible call returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] nightgraft_files::Error),
    /// A file that a model consists of is not there.
    #[error("{} has no {name}", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The file's name.
        name: String,
    },
    /// Something that is read as a file is a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotFile {
        /// Its path.
        path: PathBuf,
    },
    /// A file of text is not UTF-8.
    #[error("{} is not UTF-8 text", path.display())]
    NotText {
        /// Its path.
        path: PathBuf,
    },
    /// A file does not hold the JSON that it should.
    #[error("{}: {problem}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: JsonProblem,
    },
    /// The configuration describes a model that does not import.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: ConfigProblem,
    },
    /// The tokenizer cannot be written into a GGUF.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: TokenizerProblem,
    },
    /// A file of weights is damaged, or holds others than the configuration asks for.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// The file, or the folder if it concerns all of its files.
        path: PathBuf,
        /// What is wrong.
        problem: WeightsProblem,
    },
    /// The result would take the place of a file that it is made of.
    #[error("{} is {} of the model itself; give another file", out.display(), name)]
    OutIsSource {
        /// The place of the result.
        out: PathBuf,
        /// The file's name in the folder.
        name: String,
    },
    /// A tensor's values cannot be stored as wanted.
    #[error("{}: tensor {tensor} {problem}", path.display())]
    Tensor {
        /// The file that holds it.
        path: PathBuf,
        /// Its name in the folder.
        tensor: String,
        /// What is wrong.
        problem: TensorProblem,
    },
    /// The GGUF cannot be made of this.
    #[error(transparent)]
    Unwritable(#[from] nightgraft_gguf::Problem),
    /// Writing the GGUF failed.
    #[error(transparent)]
    Write(nightgraft_gguf::Error),
    /// The caller asked to stop.
    #[error("stopped before the model was imported")]
    Cancelled,
}

/// What is wrong with a JSON file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonProblem {
    /// It is no JSON, or not of the expected form.
    #[error("it is not the JSON that it should be: {0}")]
    Malformed(String),
    /// It is larger than any that is known.
    #[error("it is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// Bytes that are read.
        limit: u64,
    },
}

/// What is wrong with `config.json`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// A key is missing.
    #[error("{key} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A key holds something else than it should.
    #[error("{key} is not {expected}")]
    WrongValue {
        /// The key.
        key: String,
        /// What should be there.
        expected: Expected,
    },
    /// An architecture that is not known.
    #[error(
        "the architecture {name} does not import; those that do are {}",
        listed(importable_architectures())
    )]
    Architecture {
        /// Its name.
        name: String,
    },
    /// A mixture of experts.
    #[error("{name} with {key} is a mixture of experts, which does not import; dense models do")]
    MixtureOfExperts {
        /// The architecture.
        name: String,
        /// The key that says so.
        key: String,
    },
    /// A property that llama.cpp's loader has no place for.
    #[error("{key} is {found}, which {architecture} files cannot hold: {expected} is expected")]
    Unsupported {
        /// The key.
        key: String,
        /// What it is.
        found: String,
        /// The GGUF architecture.
        architecture: &'static str,
        /// What it would have to be.
        expected: String,
    },
    /// Weights that were quantized before.
    #[error("the weights are quantized already ({method}); import the folder that was saved before that")]
    Quantized {
        /// The method.
        method: String,
    },
    /// Numbers that contradict each other.
    #[error("{key} is {found}, which is no multiple of {of}, {divisor}")]
    Indivisible {
        /// The key of the first number.
        key: String,
        /// The first number.
        found: u64,
        /// The key of the second number.
        of: String,
        /// The second number.
        divisor: u64,
    },
    /// A list with another number of entries than it should have.
    #[error("{key} has {found} entries; {expected} are expected")]
    Length {
        /// The key.
        key: String,
        /// Entries that there are.
        found: usize,
        /// Entries that there should be.
        expected: usize,
    },
}

/// What a key of `config.json` should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expected {
    Object,
    Text,
    TruthValue,
    /// A whole number within these bounds.
    Count {
        least: u64,
        most: u64,
    },
    PositiveNumber,
    PositiveNumbers,
    FileNames,
    Texts,
    TruthValues,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object => f.write_str("an object"),
            Self::Text => f.write_str("a text"),
            Self::TruthValue => f.write_str("true or false"),
            Self::Count { least, most } => write!(f, "a whole number from {least} to {most}"),
            Self::PositiveNumber => f.write_str("a positive number"),
            Self::PositiveNumbers => f.write_str("a list of positive numbers"),
            Self::FileNames => f.write_str("a map from tensors to names of files beside it"),
            Self::Texts => f.write_str("a list of texts"),
            Self::TruthValues => f.write_str("a list of truth values"),
        }
    }
}

/// What is wrong with `tokenizer.json` or the files beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerProblem {
    /// Another kind of vocabulary than byte-level or SentencePiece-style BPE.
    #[error("its model is {kind}; byte-level and SentencePiece-style BPE can be imported")]
    Model {
        /// The kind.
        kind: String,
    },
    /// A vocabulary that is larger than the embedding.
    #[error("its vocabulary does not fit: token {id} has no row among the {rows} of the embedding")]
    Vocabulary {
        /// The first id without a row.
        id: u32,
        /// Rows of the embedding: `vocab_size` of config.json.
        rows: u64,
    },
    /// Two ids with the same text.
    #[error("the tokens {first} and {second} have the same text")]
    RepeatedToken {
        /// One id.
        first: usize,
        /// The other.
        second: usize,
    },
    /// One id with two texts.
    #[error("the tokens {first:?} and {second:?} have the same id, {id}")]
    RepeatedId {
        /// The id.
        id: u32,
        /// One text.
        first: String,
        /// The other.
        second: String,
    },
    /// A vocabulary that cannot say every text.
    #[error("it has no token for the byte 0x{byte:02X}")]
    NoByte {
        /// The first byte without one.
        byte: u8,
    },
    /// A merge that is not two tokens, or makes none.
    #[error("merge {rank} does not make a token of two tokens")]
    Merge {
        /// Its place among the merges, from 0.
        rank: usize,
    },
    /// A cut into words that llama.cpp has no name for.
    #[error("llama.cpp has no name for its pre-tokenizer, {found}")]
    PreTokenizer {
        /// What it does.
        found: String,
    },
    /// A change of texts that a GGUF cannot hold.
    #[error("its normalizer {found} cannot be written into a GGUF")]
    Normalizer {
        /// What it does.
        found: String,
    },
    /// A special token that is not in the vocabulary.
    #[error("{key} is {text:?}, which is no token")]
    NoToken {
        /// The key.
        key: String,
        /// The text.
        text: String,
    },
    /// No file says which token ends a text.
    #[error(
        "neither it nor config.json nor generation_config.json names the token that ends a text (eos_token)"
    )]
    NoEnd,
}

/// What is wrong with the files of weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// The file ends before its tensors do.
    #[error("the file is truncated: it has {found} bytes of {expected}")]
    Truncated {
        /// Bytes that there are.
        found: u64,
        /// Bytes that the header asks for.
        expected: u64,
    },
    /// The file goes on behind its tensors.
    #[error("the file has {found} bytes, its tensors end after {expected}")]
    TooLong {
        /// Bytes that there are.
        found: u64,
        /// Bytes that the header asks for.
        expected: u64,
    },
    /// The header is no safetensors header.
    #[error("it is not a safetensors file: {0}")]
    Header(String),
    /// A tensor is in none of the files.
    #[error("the tensor {tensor} is missing")]
    MissingTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor is there twice.
    #[error("the tensor {tensor} is in another file, too")]
    RepeatedTensor {
        /// Its name.
        tensor: String,
    },
    /// A tensor has another shape than config.json says.
    #[error("the tensor {tensor} has the shape {found:?}; config.json asks for {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<u64>,
        /// The right one.
        expected: Vec<u64>,
    },
    /// A tensor's values are of a type that is no floating-point number, or one of eight bits.
    #[error("the tensor {tensor} is stored as {dtype}; F32, F16, BF16 and F64 can be imported")]
    Dtype {
        /// Its name.
        tensor: String,
        /// The type.
        dtype: String,
    },
    /// Tensors that the architecture does not have.
    #[error("{architecture} has no {}", some_of(tensors))]
    ExtraTensors {
        /// The GGUF architecture.
        architecture: &'static str,
        /// Their names.
        tensors: Vec<String>,
    },
}

/// What is wrong with a tensor's values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// A value that is infinite or no number.
    #[error("holds a value that is no finite number")]
    NotFinite,
    /// A value that the type stores as infinite, or whose block's scale it does.
    #[error("holds {value}, beyond what {} can hold; use {}", kind.name(), wider_than(*kind))]
    Beyond {
        /// The type.
        kind: TensorType,
        /// The value, of a block the largest.
        value: f32,
    },
    /// The quantizer failed.
    #[error("cannot be quantized: {0}")]
    Quantizer(Box<dyn std::error::Error + Send + Sync>),
}

/// What a person should know of a model that imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The model was trained with a window, which its files in llama.cpp do not have.
    Window {
        /// Tokens of the window.
        tokens: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Window { tokens } => write!(
                f,
                "the model was trained with a window of {tokens} tokens, which llama.cpp does not have for it: longer texts \
                 are computed with attention to all of them"
            ),
        }
    }
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The type for values that are beyond another one.
fn wider_than(kind: TensorType) -> &'static str {
    if kind == TensorType::BF16 { "f32" } else { "bf16" }
}

/// The first names of a long list.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
