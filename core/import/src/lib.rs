//! Importing a model that Hugging Face's `transformers` saved: a folder of `config.json`, `tokenizer.json` and safetensors
//! becomes one GGUF file that llama.cpp loads.
//!
//! A [`Source`] is everything of a folder but its weights, read and checked; [`import`] streams the weights through a
//! [`Quantize`] function into the file, some rows at a time. Names of keys and tensors, the order of rows and the form of norms
//! are those that llama.cpp's loader expects (its `llama-arch.cpp` and `models/`); which tensor gets which type is what its
//! quantizer does without an importance matrix (`llama-quant.cpp`).
//!
//! Nothing here calls C++: block formats are packed by the function that the caller passes.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//! use nightgraft_import::{Error, Quantization, Request, Source, import};
//!
//! let source = Source::read(Path::new("Qwen3-0.6B"), None)?;
//! let request = Request { source: &source, quantization: Quantization::BF16, out: Path::new("base.gguf") };
//! // BF16 packs no blocks; anything else is given ggml's quantizer.
//! let report = import(&request, &|_, _, _| Err("no blocks".into()), &mut |_, _| ControlFlow::Continue(()))?;
//! println!("{} parameters of {}", report.parameters, report.architecture);
//! # Ok::<(), Error>(())
//! ```

#![forbid(unsafe_code)]

mod architecture;
mod config;
mod convert;
mod error;
mod job;
mod json;
mod plan;
mod quantization;
mod source;
mod vocabulary;
mod weights;

#[cfg(test)]
mod tests;

pub use architecture::importable_architectures;
pub use convert::Quantize;
pub use error::{
    ConfigProblem, Error, JsonProblem, Notice, Result, TensorProblem, TokenizerProblem, WeightsProblem,
};
pub use job::{Report, Request, import, is_own};
pub use quantization::Quantization;
pub use source::{DESCRIPTION_FILES, Source};
