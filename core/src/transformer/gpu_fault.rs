//! Faults of a GPU that can be asked for, to see what is done about them.

use nightgraft_gpu::{Device, SimulatedFault};

use crate::error::ConfigProblem;
use crate::{Error, Result};

/// The variable that asks for one.
const VARIABLE: &str = "NIGHTGRAFT_GPU_FAULT";

/// A fault to imitate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuFault {
    /// `lost:N`: the device is lost in the Nth micro-batch that is trained.
    Lost(u64),
    /// `memory:N`: it has no memory left from then on.
    Memory(u64),
    /// `skip:N`: it does nothing of it, and says that it is done.
    Skip(u64),
    /// `abort:N`: its driver ends the process in it.
    AbortIn(u64),
    /// `wrong`: its results are wrong when it is probed.
    Wrong,
    /// `abort`: its driver ends the process when it is probed.
    Abort,
}

impl GpuFault {
    /// The one that the environment asks for.
    ///
    /// # Errors
    /// [`Error::Config`] for one that there is not.
    pub fn from_environment() -> Result<Option<Self>> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let text = text.to_string_lossy().into_owned();
        let fault = match text.split_once(':') {
            Some(("lost", n)) => n.parse().ok().map(Self::Lost),
            Some(("memory", n)) => n.parse().ok().map(Self::Memory),
            Some(("skip", n)) => n.parse().ok().map(Self::Skip),
            Some(("abort", n)) => n.parse().ok().map(Self::AbortIn),
            None if text == "wrong" => Some(Self::Wrong),
            None if text == "abort" => Some(Self::Abort),
            _ => None,
        };
        let unknown = || Error::config(VARIABLE, ConfigProblem::UnknownFault { text });
        fault.ok_or_else(unknown).map(Some)
    }

    /// What it does to a device that is being probed.
    pub fn apply_to_probe(self, device: &Device) {
        match self {
            Self::Wrong => device.simulate(SimulatedFault::WrongNumbers),
            // As a driver does that finds itself in a state that it does not know.
            Self::Abort => std::process::abort(),
            Self::Lost(_) | Self::Memory(_) | Self::Skip(_) | Self::AbortIn(_) => {}
        }
    }

    /// What it does in a micro-batch that is trained, counted from 1.
    pub fn apply_to_training(self, device: &Device, micro_batch: u64) {
        match self {
            Self::Lost(n) if n == micro_batch => device.destroy(),
            Self::Memory(n) if n == micro_batch => device.simulate(SimulatedFault::OutOfMemory),
            Self::Skip(n) if n == micro_batch => device.simulate(SimulatedFault::Skips),
            Self::AbortIn(n) if n == micro_batch => std::process::abort(),
            _ => {}
        }
    }
}
