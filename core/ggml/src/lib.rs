//! Safe graphs, buffers and devices over ggml.

mod error;
mod mapping;

pub use error::Error;
pub use mapping::MappedFile;
