//! Choosing what computes, the same way for every job.

use super::inputs::threads;
use super::{Event, StopFlag};
use crate::Result;
use crate::base::Base;
use crate::config::RunConfig;
use crate::device::{self, ChosenGpu, DeviceEvent, DeviceOptions, Job};
use crate::transformer::{Model, resolve_precision, speed};

/// The GPU that the settings ask for, if it can be used; what became of others is told.
///
/// # Errors
/// As [`device::choose`].
pub(super) fn choose(
    run: &RunConfig,
    options: &DeviceOptions,
    base: &Base,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<ChosenGpu>> {
    let precision = resolve_precision(run.precision);
    let job = Job { base, n_threads: threads(run.threads), precision, stop: stop.raw() };
    device::choose(run.device, options, &job, &mut |event| on_event(&Event::Device(event)))
}

/// The same for a job without events, which has warnings instead.
///
/// # Errors
/// As [`device::choose`].
pub(super) fn choose_with_warnings(
    run: &RunConfig,
    options: &DeviceOptions,
    base: &Base,
    stop: &StopFlag,
    warnings: &mut Vec<String>,
) -> Result<Option<ChosenGpu>> {
    choose(run, options, base, stop, &mut |event| warnings.extend(event.warning()))
}

/// What computes for a model now: the name of a GPU, or the processor with its instructions.
pub(super) fn name_of(model: &Model) -> String {
    model.gpu_name().unwrap_or_else(speed::device)
}

/// That a model's GPU has failed since this was last asked, in the step behind this one.
pub(super) fn failure_of(model: &mut Model, step: u64) -> Option<Event> {
    let failure = model.take_failure()?;
    Some(Event::Device(DeviceEvent::Failed { device: failure.device, step, error: failure.error }))
}
