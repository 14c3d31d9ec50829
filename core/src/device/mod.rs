//! What computes: the processor, or a GPU that has shown that it computes right.
//!
//! Drivers were seen that compute wrong numbers and say nothing of it, and such as end the process that uses them. A device is
//! therefore probed before its first use with a model of a kind: layers of the model itself are compared with the processor's. What
//! was found is kept in a folder, for this device with this driver and models of this kind; a mark there tells, while something is
//! tried for the first time, that it did not return.

#[cfg(feature = "gpu")]
mod candidates;
#[cfg(feature = "gpu")]
mod findings;
#[cfg_attr(not(feature = "gpu"), path = "no_first_step.rs")]
mod first_step;
#[cfg(feature = "gpu")]
mod record;
mod refusal;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::Result;
use crate::base::Base;
use crate::config::{Device, Precision};
use crate::error::GpuError;
use crate::transformer::OpenGpu;
#[cfg(feature = "gpu")]
pub use candidates::{gpus, is_software_allowed};
#[cfg(feature = "gpu")]
pub use findings::{Finding, ProbeOutcome, findings};
pub use first_step::FirstStep;
#[cfg(feature = "gpu")]
pub use record::forget;
pub use refusal::DeviceRefusal;

/// How GPUs may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    /// Whether a GPU that is a program on the processor may be; the environment's `NIGHTGRAFT_GPU=software` allows it, too.
    pub allow_software: bool,
    /// The folder where it is kept what was found out about GPUs; without one, each run finds out again.
    pub records: Option<PathBuf>,
}

/// A GPU that is to compute.
#[derive(Debug)]
pub struct ChosenGpu {
    /// The device.
    pub gpu: OpenGpu,
    /// The mark of the first step with it; none after that.
    pub first_step: Option<FirstStep>,
}

/// Something to tell about a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "device_event", rename_all = "snake_case")]
pub enum DeviceEvent {
    /// It is being compared with the processor, which takes some seconds.
    Probing {
        /// What its driver calls it.
        device: String,
    },
    /// It computes.
    Chosen {
        /// What its driver calls it.
        device: String,
    },
    /// It does not.
    Refused {
        /// What its driver calls it.
        device: String,
        /// Why.
        #[serde(flatten)]
        why: DeviceRefusal,
    },
    /// It goes on with a run that another one began, whose last digits are others from here on.
    Changed {
        /// What computes now.
        device: String,
        /// What computed before.
        before: String,
    },
    /// It has failed while it computed: what was under way is done again by the processor, which computes from then on.
    Failed {
        /// What its driver calls it.
        device: String,
        /// Optimizer steps that were done before.
        step: u64,
        /// What went wrong.
        #[serde(serialize_with = "refusal::as_text")]
        error: GpuError,
    },
}

impl DeviceEvent {
    /// What a person should know of it; none for what goes as it should.
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::Probing { .. } | Self::Chosen { .. } => None,
            Self::Refused { device, why } => Some(format!("the GPU {device} is not used: {why}")),
            Self::Changed { device, before } => {
                Some(format!("{device} goes on where {before} computed before: results differ by rounding"))
            }
            Self::Failed { device, step, error } => Some(format!(
                "after step {step} the GPU {device} failed: {error}; the processor goes on in its place"
            )),
        }
    }
}

/// What a device is chosen for.
#[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "there is nothing to choose"))]
pub struct Job<'a> {
    /// The model.
    pub base: &'a Base,
    /// Threads of the processor.
    pub n_threads: usize,
    /// How the processor would compute.
    pub precision: Precision,
    /// Ends the probing.
    pub stop: Arc<AtomicBool>,
}

/// Chooses what computes; none is the processor. Which GPU was refused, and why, is told by events.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if a GPU is named and there is none that can be used;
/// [`Error::Cancelled`](crate::Error::Cancelled); those of the processor.
pub fn choose(
    wanted: Device,
    options: &DeviceOptions,
    job: &Job,
    on_event: &mut dyn FnMut(DeviceEvent),
) -> Result<Option<ChosenGpu>> {
    #[cfg(feature = "gpu")]
    return candidates::choose(wanted, options, job, on_event);
    #[cfg(not(feature = "gpu"))]
    {
        let _ = (options, job, on_event);
        let absent = || crate::Error::config("--device", crate::error::ConfigProblem::BuiltWithoutGpu);
        if matches!(wanted, Device::Gpu(_)) { Err(absent()) } else { Ok(None) }
    }
}
