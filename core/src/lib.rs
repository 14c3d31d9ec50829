//! The engine: LoRA training on a frozen, quantized, memory-mapped language model.
//!
//! An app or the command line starts at [`session`], describes its wishes with [`config`] and reads failures from [`error`];
//! the rest is the crate's own. A run is one call, from files to an adapter:
//!
//! ```
//! use nightgraft_core::config::TrainConfig;
//! use nightgraft_core::session::{
//!     DeviceOptions, Event, Outcome, RequestedShape, StopFlag, TrainRequest, train,
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let (model, data) = (folder.path().join("tiny.gguf"), folder.path().join("notes.jsonl"));
//! # nightgraft_tiny_model::TinyModel::new(nightgraft_kernels::WeightType::Q4_1).write(&model)?;
//! # let note = |hour| format!("{{\"text\": \"the ferry leaves at {hour}\"}}\n");
//! # std::fs::write(&data, (1..9).map(note).collect::<String>())?;
//! let request = TrainRequest {
//!     model, // a GGUF file
//!     data,  // lines such as {"text": "the ferry leaves at 7"}
//!     out: folder.path().join("run"),
//!     config: TrainConfig::from_toml("rank = 4\nsteps = 8\nheld_out = 0.0")?,
//!     format: None,
//!     valid: None,
//!     init_adapter: None,
//!     requested_shape: RequestedShape::default(),
//!     memory_limit: Some(400 << 20),
//!     curve: None,
//!     devices: DeviceOptions::default(),
//! };
//! let mut losses = Vec::new();
//! let report = train(&request, &StopFlag::new(), &mut |event| {
//!     if let Event::Step(step) = event {
//!         losses.push(step.loss);
//!     }
//! })?;
//! assert_eq!((report.outcome, losses.len()), (Outcome::Finished, 8));
//! assert!(losses[7] < losses[0], "it has learned something: {losses:?}");
//! assert!(report.adapter.is_some_and(|folder| folder.join("adapter_model.safetensors").is_file()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Modules import downward only; `docs/architecture/engine.md` draws them, and `core/ARCHITECTURE.md` the crates.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod base;
pub mod config;
mod device;
pub mod error;
mod export;
mod generate;
mod lora;
mod model_file;
mod ops;
mod process_memory;
pub mod session;
mod train;
mod transformer;

pub use error::{Error, Result};

/// What the fuzz targets read files with: there only when they are built, as cargo-fuzz and `tests/fuzz/smoke.sh` build them.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::base::Base;
    pub use crate::export::{import_adapter, write_gguf_adapter, write_peft};
    pub use crate::lora::mismatch;
    pub use crate::model_file::ModelFile;
}
