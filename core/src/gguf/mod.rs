//! GGUF, the container of quantized models and of llama.cpp's adapters: a reader that trusts nothing
//! and a writer that never leaves half a file.
//!
//! The layout is, little endian: magic `GGUF`, version, number of tensors, number of keys; then the
//! keys with their typed values; then name, dimensions, type and offset of each tensor; then, from
//! the next multiple of the alignment on, the tensors' bytes. [`File`] maps a model and hands out
//! validated views, [`Writer`] makes a new one.

mod digest;
mod file;
mod file_hash;
mod fingerprint;
mod metadata;
mod reader;
mod tensor_type;
mod value;
mod writer;

#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use file::File;
pub use file_hash::{FileHash, HashCheck};
pub use fingerprint::Fingerprint;
pub use metadata::Metadata;
pub use nightgraft_ggml::faults::leave_signals_alone;
pub use reader::{GgufHeader, Problem, TensorInfo, parse};
pub use tensor_type::TensorType;
pub use value::{Array, Value};
pub use writer::{TensorSink, Writer};

/// What each file starts with.
const MAGIC: [u8; 4] = *b"GGUF";
/// The key that sets the alignment of the tensors' bytes.
const ALIGNMENT_KEY: &str = "general.alignment";
/// The alignment where that key is missing.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Most dimensions a tensor can have.
const MAX_DIMS: usize = 4;
/// Longest name of a tensor in bytes; ggml keeps names in 64 bytes with a final zero.
const MAX_TENSOR_NAME: usize = 63;
