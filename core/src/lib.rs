//! The engine of Nightgraft: LoRA training on a frozen, quantized, memory-mapped language model.
//!
//! Modules import downward only; `docs/architecture/engine.md` draws them, and `core/ARCHITECTURE.md` the crates. An app or the
//! command line starts at [`session`], describes its wishes with [`config`] and reads failures from [`Error`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod base;
pub mod config;
pub mod error;
pub mod export;
pub mod generate;
pub mod lora;
mod memory;
pub mod model_file;
pub mod ops;
pub mod session;
pub mod train;
pub mod transformer;

pub use error::{Error, Result};
