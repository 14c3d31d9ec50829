//! Choosing what computes, the same way for every job.

use super::inputs::threads;
use super::{Event, StopFlag};
use crate::base::Base;
use crate::config::{Precision, RunConfig};
use crate::device::{self, ChosenGpu, DeviceEvent, DeviceOptions, FirstStep, Job};
use crate::transformer::{Model, OpenGpu, resolve_precision, speed};
use crate::{Error, Result};

/// The GPU that the settings ask for, if it can be used; what became of others is told.
///
/// # Errors
/// They are those of [`device::choose`].
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

/// Chooses the GPU of a session, which does not end because the one that it was to have is gone: the processor takes its place.
///
/// # Errors
/// They are those of [`device::choose`], but for a GPU that cannot be had.
pub(super) fn choose_for_session(
    run: &RunConfig,
    options: &DeviceOptions,
    base: &Base,
    stop: &StopFlag,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Option<ChosenGpu>> {
    match choose(run, options, base, stop, on_event) {
        Err(Error::Config { problem, .. }) => {
            on_event(&Event::Warning { text: format!("the processor computes: {problem}") });
            Ok(None)
        }
        chosen => chosen,
    }
}

/// What judges the result of a run with this GPU: the same one, if its products are exact or it can have such.
///
/// # Errors
/// They are those of [`choose_for_session`].
pub(super) fn choose_judge(
    gpu: Option<&ChosenGpu>,
    run: &RunConfig,
    options: &DeviceOptions,
    base: &Base,
    stop: &StopFlag,
) -> Result<Option<OpenGpu>> {
    match gpu {
        Some(chosen) if !chosen.gpu.is_exact() => {
            let exact = RunConfig { precision: Precision::F32, ..run.clone() };
            let judge = choose_for_session(&exact, options, base, stop, &mut |_| ())?;
            Ok(judge.map(|chosen| chosen.gpu))
        }
        chosen => Ok(chosen.map(|chosen| chosen.gpu.clone())),
    }
}

/// Chooses the GPU of a job without events, which has warnings instead.
///
/// # Errors
/// They are those of [`device::choose`].
pub(super) fn choose_with_warnings(
    run: &RunConfig,
    options: &DeviceOptions,
    base: &Base,
    stop: &StopFlag,
    warnings: &mut Vec<String>,
) -> Result<Option<ChosenGpu>> {
    choose(run, options, base, stop, &mut |event| warnings.extend(event.warning()))
}

/// Does what may be the first step with a GPU, marked while it is under way.
///
/// # Errors
/// Those of `step`.
pub(super) fn marked<T>(
    mut first_step: Option<FirstStep>,
    model: &mut Model,
    step: impl FnOnce(&mut Model) -> Result<T>,
) -> Result<T> {
    first_step.iter_mut().for_each(FirstStep::begin);
    let done = step(model)?;
    // A GPU that has failed has made none.
    if let Some(first_step) = first_step.filter(|_| model.gpu().is_some()) {
        first_step.made();
        model.keep_pipelines();
    }
    Ok(done)
}

/// What computes for a model now: the name of a GPU with its arithmetic, or the processor with its instructions.
pub(super) fn name_of(model: &Model) -> String {
    model.gpu().map_or_else(speed::device, OpenGpu::description)
}

/// That a model's GPU has failed since this was last asked, in the step behind this one.
pub(super) fn failure_of(model: &mut Model, step: u64) -> Option<Event> {
    let failure = model.take_failure()?;
    Some(Event::Device(DeviceEvent::Failed { device: failure.device, step, error: failure.error }))
}
