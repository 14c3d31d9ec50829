//! The GPUs of this machine, tried one after the other.

use std::path::Path;
use std::sync::Arc;

use nightgraft_gpu::{
    Adapter, AdapterInfo, Arithmetic, Device as OpenDevice, Limits, PipelineData, Tile, Tiles, adapters,
};

use super::record::{Record, Records};
use super::{ChosenGpu, DeviceEvent, DeviceOptions, DeviceRefusal, Job};
use crate::config::{Device, Precision};
use crate::error::{ConfigProblem, GpuError};
use crate::transformer::{GpuFault, OpenGpu, TileChoice, keep_pipelines, probe};
use crate::{Error, Result};

/// Set to `software`, it lets a GPU be used that is a program on the processor, such as Mesa's lavapipe.
const VARIABLE: &str = "NIGHTGRAFT_GPU";

/// Set to `least`, it holds GPUs to what modest phones have, to see what becomes of a model there.
const LIMITS: &str = "NIGHTGRAFT_GPU_LIMITS";

/// The option that names a device.
const OPTION: &str = "--device";

/// Does what [`choose`](super::choose) says, in a build with GPUs.
pub(super) fn choose(
    wanted: Device,
    options: &DeviceOptions,
    job: &Job,
    on_event: &mut dyn FnMut(DeviceEvent),
) -> Result<Option<ChosenGpu>> {
    let allows_software = options.allow_software || is_software_allowed();
    let candidates = match wanted {
        Device::Cpu => return Ok(None),
        // Nights run in the background there, where apps have no GPU.
        Device::Auto if cfg!(target_os = "ios") => return Ok(None),
        Device::Auto => {
            let software = is_software_allowed();
            gpus()?.into_iter().filter(|adapter| adapter.refusal(software).is_none()).collect()
        }
        Device::Gpu(number) => vec![named(number, allows_software)?],
    };
    let mut fastest: Option<(ChosenGpu, f64)> = None;
    for adapter in candidates {
        let device = adapter.info().name.clone();
        let tried = try_adapter(&adapter, wanted, options, job, on_event)?;
        let refused = tried.and_then(|(chosen, [cpu, gpu])| match wanted {
            Device::Auto if gpu <= cpu => Err(DeviceRefusal::Slower { gpu, cpu }),
            _ => Ok((chosen, gpu)),
        });
        match refused {
            Ok((chosen, speed)) => {
                if fastest.as_ref().is_none_or(|(_, best)| speed > *best) {
                    fastest = Some((chosen, speed));
                }
            }
            Err(why) => on_event(DeviceEvent::Refused { device, why }),
        }
    }
    let chosen = fastest.map(|(chosen, _)| chosen);
    if let Some(chosen) = &chosen {
        on_event(DeviceEvent::Chosen { device: chosen.gpu.name() });
    }
    Ok(chosen)
}

/// The GPUs of this machine, held to what the environment says.
///
/// # Errors
/// [`Error::Config`] if that is nothing that is known.
pub fn gpus() -> Result<Vec<Adapter>> {
    let all = adapters().into_iter();
    match std::env::var_os(LIMITS) {
        None => Ok(all.collect()),
        Some(text) if text == "least" => Ok(all.map(|adapter| adapter.within(Limits::LEAST)).collect()),
        Some(text) => {
            let text = text.to_string_lossy().into_owned();
            Err(Error::config(LIMITS, ConfigProblem::UnknownLimits { text }))
        }
    }
}

/// Whether the environment allows programs on the processor.
pub fn is_software_allowed() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == "software")
}

/// The GPU that was asked for.
fn named(number: Option<usize>, allow_software: bool) -> Result<Adapter> {
    let mut all = gpus()?;
    if let Some(number) = number {
        let n = all.len();
        if number >= n {
            return Err(Error::config(OPTION, ConfigProblem::NoSuchGpu { number, n }));
        }
        all = vec![all.swap_remove(number)];
    }
    let usable = all.iter().position(|adapter| adapter.refusal(allow_software).is_none());
    match usable {
        Some(place) => Ok(all.swap_remove(place)),
        None => {
            let why = |adapter: &Adapter| {
                let reason = adapter.refusal(allow_software)?;
                Some(format!("{}: {reason}", adapter.info().name))
            };
            let found = all.iter().filter_map(why).collect::<Vec<_>>().join("; ");
            Err(Error::config(OPTION, ConfigProblem::NoGpu { found }))
        }
    }
}

/// Opens a GPU that computes right, and gives the speeds of the processor and of the GPU; else why it is not used.
fn try_adapter(
    adapter: &Adapter,
    wanted: Device,
    options: &DeviceOptions,
    job: &Job,
    on_event: &mut dyn FnMut(DeviceEvent),
) -> Result<Result<(ChosenGpu, [f64; 2]), DeviceRefusal>> {
    let fault = GpuFault::from_environment()?;
    let allow_software = options.allow_software || is_software_allowed();
    let records = match Records::of(options.records.as_deref(), adapter.info(), job) {
        Ok(records) => records,
        Err(why) => return Ok(Err(why)),
    };
    let known = records.read();
    let record = match &known {
        // Whoever names a device does not ask which one is faster.
        Some(record) if wanted != Device::Auto || records.is_same_cpu(record) => record.clone(),
        _ => {
            on_event(DeviceEvent::Probing { device: adapter.info().name.clone() });
            let known = known.filter(|record| record.refusal().is_none()).map(|record| record.tuning());
            match probe_and_keep(adapter, known, allow_software, fault, &records, job)? {
                Ok(record) => record,
                Err(why) => return Ok(Err(why)),
            }
        }
    };
    if let Some(why) = record.refusal() {
        return Ok(Err(why));
    }
    // Anew, so that nothing of the probe is left in its memory.
    let device = match open(adapter, allow_software, &records) {
        Ok(device) => device,
        Err(error) => return Ok(Err(error.into())),
    };
    let first_step = match records.first_step(&record) {
        Ok(first_step) => first_step,
        Err(why) => return Ok(Err(why)),
    };
    let (tiles, rate) = record.tuning();
    let gpu = OpenGpu { device, tiles, rate, pipelines: records.pipelines().map(Path::to_owned), fault };
    Ok(Ok((ChosenGpu { gpu, first_step }, record.tokens_per_second())))
}

/// Finds out whether a device computes right, and how fast; with the tiles that are known from an earlier time, if there was one, so
/// that results keep their bits.
fn probe_and_keep(
    adapter: &Adapter,
    known: Option<(Tiles, f64)>,
    allow_software: bool,
    fault: Option<GpuFault>,
    records: &Records,
    job: &Job,
) -> Result<Result<Record, DeviceRefusal>> {
    let latch = match records.latch() {
        Ok(latch) => latch,
        Err(why) => return Ok(Err(why)),
    };
    let mut open = || {
        let device = open(adapter, allow_software, records)?;
        fault.iter().for_each(|fault| fault.apply_to_probe(&device));
        Ok(device)
    };
    let mut probe_with = |choice| probe(job.base, &mut open, choice, job.n_threads, job.precision, &job.stop);
    let AdapterInfo { limits, features, .. } = adapter.info();
    let all = Tile::all_of(allowed_arithmetics(job.precision), limits, features);
    let of_known = known.map(|(tiles, rate)| probe_with(TileChoice::Known(tiles, rate)));
    let probed = match of_known {
        // It may be out of memory for now, or be right with these.
        Some(probed)
            if !matches!(probed, Err(Error::Gpu(GpuError::Failed { .. } | GpuError::Lost { .. }))) =>
        {
            probed
        }
        _ => match probe_with(TileChoice::Fastest(&all)) {
            Err(Error::Gpu(error)) => {
                tracing::warn!(%error, "the GPU is tried again with nothing but plain shaders");
                probe_with(TileChoice::Fastest(&Tile::plain(limits)))
            }
            probed => probed,
        },
    };
    let report = match probed {
        Ok(report) => report,
        Err(Error::Gpu(error)) => return Ok(Err(error.into())),
        Err(error) => return Err(error),
    };
    let record = Record::new(&report, job);
    if let Some(path) = records.pipelines() {
        keep_pipelines(&report.gpu.device, path);
    }
    let written = records.write(&record);
    // Behind all that asks something of the driver.
    drop(report);
    drop(latch);
    Ok(written.map(|()| record))
}

/// How products may be computed in a run of this precision.
fn allowed_arithmetics(precision: Precision) -> &'static [Arithmetic] {
    match precision {
        Precision::Mixed => &Arithmetic::ALL,
        Precision::F32 | Precision::Auto => &[Arithmetic::F32, Arithmetic::Cooperative],
    }
}

/// Opens a device with the shaders that were compiled for it before.
fn open(adapter: &Adapter, allow_software: bool, records: &Records) -> Result<Arc<OpenDevice>, GpuError> {
    let mut device = adapter.open(allow_software)?;
    if let Some(path) = records.pipelines() {
        let data = std::fs::read(path).ok().and_then(|bytes| PipelineData::from_bytes(&bytes));
        device.reuse_pipelines(data.as_ref())?;
    }
    Ok(Arc::new(device))
}
