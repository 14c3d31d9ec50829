//! The engine of Nightgraft: LoRA training on a frozen, quantized, memory-mapped language model.
//!
//! Modules import downward only; see `core/ARCHITECTURE.md` for the drawing. An app or the command
//! line starts at [`session`], describes its wishes with [`config`] and reads failures from [`Error`].

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod atomic;
pub mod base;
pub mod checkpoint;
pub mod config;
pub mod data;
mod error;
pub mod export;
pub mod file_system;
pub mod gate;
pub mod generate;
pub mod gguf;
pub mod lora;
mod memory;
pub mod ops;
pub mod policy;
mod random;
pub mod session;
pub mod store;
#[doc(hidden)]
pub mod testing;
pub mod text;
pub mod train;
pub mod transformer;
pub mod vault;

pub use error::{CheckpointProblem, Error, Inconsistency, Result, TemplateFault, Unlogged};
