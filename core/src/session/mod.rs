//! What apps and the command line call: whole jobs, from paths to reports.
//!
//! A job takes files and settings and leaves either complete files or what was there before. The long ones report
//! progress through a callback; those that compute can be stopped from another thread with a [`StopFlag`].
//!
//! The job of an app is a [`Session`]: it learns what is new in a store, in slices as short as the system grants them, until
//! the result is judged. [The crate's front page](crate) has a run from files.
//!
//! ```
//! use std::time::Duration;
//!
//! use nightgraft_core::session::{Pause, Session, SessionRequest, Slice, SliceOutcome, StopFlag};
//! use nightgraft_store::{Store, StoreOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let model = folder.path().join("tiny.gguf");
//! # nightgraft_tiny_model::TinyModel::new(nightgraft_kernels::WeightType::Q4_1).write(&model)?;
//! let store_folder = folder.path().join("store");
//! let open = || Store::open(&store_folder, StoreOptions::default());
//! let notes: Vec<String> = (1..41).map(|n| format!(r#"{{"text": "boat {n} has {} oars"}}"#, 2 * n)).collect();
//! open()?.add(&notes)?;
//! let mut request = SessionRequest::new(model);
//! request.training.run.steps = Some(6);
//!
//! // A slice without any time ends at once, and has saved where it was.
//! let mut session = Session::open(open()?, request.clone(), &mut |_| ())?;
//! let no_time = Slice { time: Some(Duration::ZERO), ..Slice::default() };
//! let paused = session.run_slice(no_time, &StopFlag::new(), &mut |_| ())?;
//! assert!(matches!(paused, SliceOutcome::Paused { reason: Pause::Deadline }));
//! drop(session);
//!
//! // Another process may go on. A model of random weights learns nothing that is of use, so the gate refuses the adapter.
//! let mut session = Session::open(open()?, request, &mut |_| ())?;
//! let ended = session.run_slice(Slice::default(), &StopFlag::new(), &mut |_| ())?;
//! let SliceOutcome::Finished { report } = ended else { unreachable!("nobody ends it") };
//! assert_eq!(report.learned.map(|learned| learned.steps), Some(6));
//! assert!(!report.promoted && !report.gate.refusals.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapter;
mod adapter_shape;
mod bench;
mod devices;
mod discarded;
mod evaluate;
mod event;
mod export;
mod generate;
mod gradients;
mod graft_export;
mod inputs;
mod inspect;
mod logits;
mod loss_curve;
mod memory_plan;
pub mod night;
mod notice;
mod personal;
mod plan;
mod published;
mod resume;
mod run_folder;
mod run_setup;
mod stop;
mod tokenize;
mod train;
mod train_run;

pub use crate::base::supported_architectures;
pub use crate::device::{DeviceEvent, DeviceOptions, DeviceRefusal};
#[cfg(feature = "gpu")]
pub use crate::device::{
    Finding, ProbeOutcome, findings as device_findings, forget as forget_devices, gpus, is_software_allowed,
};
pub use crate::export::{InputFile, MergeReport, Target, TensorError};
pub use crate::generate::Sampling;
pub use crate::train::RateTooHigh;
pub use crate::transformer::{ModelBytes, OperationCount};
pub use adapter_shape::RequestedShape;
pub use bench::{BenchReport, BenchRequest, Operation, bench};
pub use discarded::{DiscardReason, Leftover};
pub use evaluate::{EvalReport, EvalRequest, evaluate};
pub use event::{Event, Outcome, StepMetrics, TrainReport};
pub use export::{ExportFormat, ExportReport, ExportRequest, MergeCost, export};
pub use generate::{Chat, GenerateReport, GenerateRequest, generate};
pub use gradients::{GradientsReport, GradientsRequest, gradients};
pub use graft_export::{GraftFormat, export_graft};
pub use inspect::{AdaptableModule, ModelInfo, TensorGroup, inspect, inspect_with_hash};
pub use loss_curve::{DrawLoss, LossAt, LossCurve};
pub use memory_plan::{GpuMemory, MemoryPlan};
pub use nightgraft_ggml::check_instructions;
pub use nightgraft_ggml::faults::leave_signals_alone;
pub use nightgraft_text::Message;
pub use nightgraft_text::data::{DataReport, Format};
pub use personal::{
    ChosenSize, MemoryForecast, MemoryNeeds, NightSettings, NothingToDo, OnChange, Pause, Session,
    SessionReport, SessionRequest, Slice, SliceOutcome, TimeForecast, TrainingSummary, Watch,
    forecast_memory, forecast_time, verify_model,
};
pub use plan::{PlanReport, PlanRequest, plan};
pub use published::{Digest, PUBLISHED_MODELS, PublishedModel, verify_download};
pub use stop::{StopFlag, WhenRaised};
pub use tokenize::{TokenPiece, TokenizeOptions, Tokens, tokenize};
pub use train::{TrainRequest, train};
