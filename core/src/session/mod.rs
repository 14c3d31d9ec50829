//! What apps and the command line call: whole jobs, from paths to reports.
//!
//! A job takes files and settings and leaves either complete files or what was there before. The long ones report
//! progress through a callback; those that compute can be stopped from another thread with a [`StopFlag`].

mod adapter;
mod bench;
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
mod memory;
pub mod night;
mod notice;
mod personal;
mod plan;
mod resume;
mod run_folder;
mod run_setup;
mod shape;
mod stop;
mod tokenize;
mod train;
mod train_run;

pub use crate::generate::Sampling;
pub use crate::transformer::check_instructions;
pub use bench::{BenchReport, BenchRequest, Operation, bench};
pub use discarded::{DiscardReason, Leftover};
pub use evaluate::{EvalReport, EvalRequest, evaluate};
pub use event::{Event, Outcome, StepMetrics, TrainReport};
pub use export::{ExportFormat, ExportReport, ExportRequest, MergeCost, export};
pub use generate::{Chat, GenerateReport, GenerateRequest, generate};
pub use gradients::{GradientsReport, GradientsRequest, gradients};
pub use graft_export::{GraftFormat, export_graft};
pub use inspect::{ModelInfo, TensorGroup, inspect, inspect_with_hash};
pub use loss_curve::{DrawLoss, LossAt, LossCurve};
pub use memory::MemoryPlan;
pub use nightgraft_ggml::faults::leave_signals_alone;
pub use nightgraft_text::Message;
pub use nightgraft_text::data::{DataReport, Format};
pub use personal::{
    ChosenSize, MemoryForecast, MemoryNeeds, NightSettings, NothingToDo, OnChange, Pause, Session,
    SessionReport, SessionRequest, Slice, SliceOutcome, TimeForecast, TrainingSummary, Watch,
    forecast_memory, forecast_time, verify_model,
};
pub use plan::{PlanReport, PlanRequest, plan};
pub use shape::RequestedShape;
pub use stop::{StopFlag, WhenRaised};
pub use tokenize::{TokenPiece, TokenizeOptions, Tokens, tokenize};
pub use train::{TrainRequest, train};
