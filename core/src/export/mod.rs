//! Adapters in the formats that others read, in both directions, and a merged model.
//!
//! - [`write_peft`], [`import_adapter`]: the folder of Hugging Face's PEFT;
//! - [`write_gguf_adapter`], [`import_adapter`]: llama.cpp's adapter file;
//! - [`write_merged`]: the whole model with the adapter added to its weights. It loses precision, see there.
//!
//! Every output appears whole or not at all. Every input is checked against the base model before a number of
//! it is used.

mod contents;
mod foreign;
mod gguf_adapter;
mod hugging_face;
mod imported;
mod merged;
mod peft;
mod peft_config;
mod peft_modules;
mod peft_options;
mod read;
mod recorded_base;
mod target;

#[cfg(test)]
mod tests;

pub use gguf_adapter::{write_gguf_adapter, write_gguf_adapter_into};
pub use imported::ImportedAdapter;
pub use merged::{MergeReport, TensorError, write_merged};
pub use peft::{check_peft_target, write_peft, write_peft_tensors};
pub use read::import_adapter;
pub use target::{
    InputFile, Target, is_free, is_own_gguf_adapter, is_own_merged, is_own_peft, is_own_tensors, tensor_names,
};
