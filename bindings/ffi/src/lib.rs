//! Nightgraft for Kotlin, Swift and Python.
//!
//! Objects, records and callbacks that [uniffi](https://mozilla.github.io/uniffi-rs/) turns into each language; the
//! hand-written libraries in `android/`, `ios/` and `bindings/python/` are made of them. There is no logic of training
//! here, only what a foreign caller needs: calls that wait run on the library's own threads (`executor`), a store can
//! be used while a slice runs on it (`shared_store`), listeners are told from one thread and not too often
//! (`progress_dispatcher`), and every failure is one of eleven that an app can act on ([`NightgraftError`]).

mod error;
mod example;
mod executor;
mod generator;
mod graft;
mod lock;
mod log;
mod model;
mod night;
mod night_log;
mod planner;
mod progress;
mod progress_dispatcher;
mod published;
mod refusal;
mod session;
mod settings;
mod shared_store;
mod store;
mod store_changes;

pub use error::{ListenerError, NightgraftError, PlatformError, Result};
pub use example::{Example, Message};
pub use generator::{Answer, ChatOptions, Generator, TextListener};
pub use graft::{Graft, GraftFormat, GraftStatus, Verdict};
pub use log::{LogLevel, LogSink, set_log_sink};
pub use model::{BaseModel, ModelInfo, Token};
pub use night::{DeviceState, NightRules, Platform, Thermal, rules_while_used};
pub use night_log::{Interruption, NightEnd, NightRecord, NightWait};
pub use planner::{MemoryPlan, Planner, TimePlan};
pub use progress::{
    Estimate, NothingToDoReason, PauseReason, Phase, Progress, ProgressListener, SessionReport, SliceOutcome,
    WaitKind, Waiting,
};
pub use published::{BytesListener, PublishedModel, published_models, verify_model};
pub use refusal::{Refusal, RefusalKind};
pub use session::PersonalizationSession;
pub use settings::{GateSettings, SessionSettings, StoreSettings};
pub use store::{
    AdapterStore, Damage, DeleteReport, DestroyReport, ForgetReport, ImportReport, StoredExample,
    destroy_store,
};
pub use store_changes::StoreChanges;

uniffi::setup_scaffolding!();

/// Installs no handler of signals: for apps that allow none but their own. To be called before anything is opened; afterwards
/// it changes nothing.
///
/// The library maps models, and a mapped file that somebody cuts short is a signal for who reads it, `SIGBUS`. The handler
/// turns that into [`NightgraftError::ModelChanged`] and passes every other signal on to the one that was there before.
/// Without it the process ends, if a model is cut short in the very moment in which it is read.
#[uniffi::export]
pub fn leave_signals_alone() {
    nightgraft_core::session::leave_signals_alone();
}

/// The version of the library, such as `0.1.0`.
#[uniffi::export]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
