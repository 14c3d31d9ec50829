//! What training a model would take in memory, without training it.

use std::path::PathBuf;

use nightgraft_text::Date;
use serde::Serialize;

use super::memory_plan::{AdapterCopies, MemoryPlan, MemoryPlanner, process_bytes};
use super::notice::Notice;
use super::{DeviceOptions, StopFlag, devices, inputs::Inputs, run_setup};
use crate::config::TrainConfig;
use crate::device::{DeviceEvent, DeviceRefusal};
use crate::{Error, Result};

/// What to plan.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// The settings.
    pub config: TrainConfig,
    /// Bytes of anonymous memory that the run may take; none for any.
    pub memory_limit: Option<u64>,
    /// How GPUs may be used, if the settings ask for one.
    pub devices: DeviceOptions,
}

/// What was planned.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// The memory.
    #[serde(flatten)]
    pub memory: MemoryPlan,
    /// What a person should know of the settings, in words.
    pub warnings: Vec<String>,
}

/// Plans a run with examples of up to `context` tokens; the examples themselves are not counted. A raised flag ends the comparison of
/// a GPU that was not used before.
///
/// # Errors
/// [`Error::OutOfMemoryBudget`](crate::Error::OutOfMemoryBudget) with the least that would do, and any of
/// [`Error`](crate::Error)'s for an unusable model or settings.
pub fn plan(request: &PlanRequest, stop: &StopFlag) -> Result<PlanReport> {
    request.config.validate()?;
    let mut config = request.config.clone();
    // Opened as a run does, which leaves the tokenizer's traces in the process.
    let base = Inputs::open(&request.model, Date::now())?.into_base();
    let mut warnings =
        Notice::words(Notice::of_model(&request.config.data, &base).collect::<Vec<_>>().as_slice());
    let gpu = devices::choose_with_warnings(&config.run, &request.devices, &base, stop, &mut warnings)?;
    let gpu = gpu.as_ref().map(|chosen| &chosen.gpu);
    let process = process_bytes();
    let start = run_setup::initial_adapter(&mut config, None, &base)?;
    let tokens = config.data.batch_tokens().max(config.data.context.min(base.spec.n_ctx_train));
    let counts = [tokens as u64, process];
    let plan_with = |gpu| -> Result<MemoryPlan> {
        let planner = MemoryPlanner::new(&base, &start, &config, AdapterCopies::of(&config), counts, gpu)?;
        Ok(planner.plan(planner.choose_policy(request.memory_limit)?))
    };
    let memory = match (plan_with(gpu), gpu) {
        // A run would take the processor then.
        (Err(Error::OutOfMemoryBudget { needed, available }), Some(gpu)) => {
            let why = DeviceRefusal::Memory { needed, available };
            warnings.extend(DeviceEvent::Refused { device: gpu.name(), why }.warning());
            plan_with(None)?
        }
        (planned, _) => planned?,
    };
    Ok(PlanReport { memory, warnings })
}
