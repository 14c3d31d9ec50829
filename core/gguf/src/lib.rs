//! GGUF, the container of quantized models and of llama.cpp's adapters: a reader that trusts nothing
//! and a writer that never leaves half a file.
//!
//! The layout is, little endian: magic `GGUF`, version, number of tensors, number of keys; then the
//! keys with their typed values; then name, dimensions, type and offset of each tensor; then, from
//! the next multiple of the alignment on, the tensors' bytes. [`parse`] validates the bytes of a file, however they got into
//! memory, and says where the tensors are; [`parse_start`] does so with the first bytes of it; [`Writer`] makes a new one.

#![forbid(unsafe_code)]

mod digest;
mod error;
mod fingerprint;
mod metadata;
mod problem;
mod reader;
mod split;
mod tensor_type;
mod value;
mod writer;

#[cfg(test)]
mod tests;

pub use digest::Digest;
pub use error::{Error, Produced};
pub use fingerprint::Fingerprint;
pub use metadata::Metadata;
pub use problem::{Counted, Place, Problem};
pub use reader::{GgufHeader, TensorInfo, parse, parse_start};
pub use split::{SplitName, SplitPart};
pub use tensor_type::{RemovedType, TensorType};
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
