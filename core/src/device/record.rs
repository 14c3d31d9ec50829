//! What was found out about a GPU, in a folder: one file for a device, its driver and a kind of model, and a mark beside it while
//! something is tried for the first time.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nightgraft_files::atomic;
use nightgraft_files::file_system::{open_lock, private_folder, try_lock};
use nightgraft_gpu::{AdapterInfo, Tile, Tiles};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DeviceRefusal, FirstStep, Job};
use crate::base::Base;
use crate::transformer::{ProbeReport, TensorCheck};

/// Where the records of one device, one kind of model and one precision are.
#[derive(Clone)]
pub(super) struct Records {
    /// Without its ending; none if nothing is kept.
    path: Option<PathBuf>,
    /// The file of shaders that the device's driver has compiled.
    pipelines: Option<PathBuf>,
    /// What the speed of the processor was measured with.
    cpu: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// What its results were compared with.
    cpu: String,
    /// The tensor that is furthest from the processor's, and the cosine; none if a number is not finite.
    worst: (String, Option<f64>),
    /// The tiles of both directions.
    tiles: [String; 2],
    multiply_adds_per_second: f64,
    cpu_tokens_per_second: f64,
    gpu_tokens_per_second: f64,
    /// Whether a whole step was made with it.
    has_stepped: bool,
}

impl Records {
    /// The place of the records, in this folder, which is made.
    pub fn of(folder: Option<&Path>, info: &AdapterInfo, job: &Job) -> Result<Self, DeviceRefusal> {
        let cpu = cpu_of(job);
        let Some(folder) = folder else { return Ok(Self { path: None, pipelines: None, cpu }) };
        private_folder().recursive(true).create(folder).map_err(not_kept)?;
        let device = device_name(info);
        let pipelines = Some(folder.join(format!("{device}.pipelines")));
        let name = format!("{device}-{}-{}", model_kind(job.base), job.precision);
        Ok(Self { path: Some(folder.join(name)), pipelines, cpu })
    }

    /// What an earlier probe found; none if there was none, or if it cannot be read, and has to be found out again.
    pub fn read(&self) -> Option<Record> {
        let bytes = std::fs::read(self.path.as_ref()?.with_extension("json")).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        record.named_tiles().is_some().then_some(record)
    }

    /// Whether its speeds were measured beside this processor, computing as it does now.
    pub fn is_same_cpu(&self, record: &Record) -> bool {
        record.cpu == self.cpu
    }

    pub fn write(&self, record: &Record) -> Result<(), DeviceRefusal> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_string_pretty(record).map_err(not_kept)?;
        atomic::write_file(&path.with_extension("json"), text.as_bytes()).map_err(not_kept)
    }

    /// Where compiled shaders are kept, if they are.
    pub fn pipelines(&self) -> Option<&Path> {
        self.pipelines.as_deref()
    }

    /// Marks that the device is being tried; none if nothing is kept.
    pub fn latch(&self) -> Result<Option<Latch>, DeviceRefusal> {
        self.path.as_ref().map(|path| Latch::set(path.with_extension("trying"))).transpose()
    }

    /// Why a device is left alone that computes right but never made a step: the process ended in its first one.
    ///
    /// # Errors
    /// [`DeviceRefusal::EndedTheProcess`].
    pub fn check_latch(&self) -> Result<(), DeviceRefusal> {
        match self.path.as_ref().map(|path| Latch::find(&path.with_extension("trying"))) {
            Some(Err(DeviceRefusal::EndedTheProcess)) => Err(DeviceRefusal::EndedTheProcess),
            _ => Ok(()),
        }
    }

    /// What marks the first step, if it is still to come.
    ///
    /// # Errors
    /// They are those of [`check_latch`](Self::check_latch).
    pub fn first_step(&self, record: &Record) -> Result<Option<FirstStep>, DeviceRefusal> {
        if record.has_stepped || self.path.is_none() {
            return Ok(None);
        }
        self.check_latch()?;
        Ok(Some(FirstStep::new(self.clone(), record.clone())))
    }
}

impl Record {
    pub fn new(report: &ProbeReport, job: &Job) -> Self {
        let ProbeReport { gpu, worst, tokens_per_second: [cpu_rate, gpu_rate] } = report;
        Self {
            cpu: cpu_of(job),
            worst: (worst.tensor.clone(), worst.cosine),
            tiles: [gpu.tiles.linear, gpu.tiles.transposed].map(|tile| tile.to_string()),
            multiply_adds_per_second: gpu.rate,
            cpu_tokens_per_second: *cpu_rate,
            gpu_tokens_per_second: *gpu_rate,
            has_stepped: false,
        }
    }

    /// Why a device with such results is not used, if so.
    pub fn refusal(&self) -> Option<DeviceRefusal> {
        let (tensor, cosine) = self.worst.clone();
        let has_passed = TensorCheck { tensor: tensor.clone(), cosine }.has_passed();
        (!has_passed).then_some(DeviceRefusal::Wrong { tensor, cosine })
    }

    /// Notes that a whole step was made.
    pub fn after_a_step(self) -> Self {
        Self { has_stepped: true, ..self }
    }

    /// How products are cut, and about how many multiply-adds there are in a second.
    pub fn tuning(&self) -> (Tiles, f64) {
        let tiles = self.named_tiles().unwrap_or(Tiles::unmeasured(u32::MAX));
        (tiles, self.multiply_adds_per_second)
    }

    /// Tokens a second that the processor and the device bring through a layer.
    pub fn tokens_per_second(&self) -> [f64; 2] {
        [self.cpu_tokens_per_second, self.gpu_tokens_per_second]
    }

    fn named_tiles(&self) -> Option<Tiles> {
        let [linear, transposed] = &self.tiles;
        Some(Tiles { linear: Tile::named(linear)?, transposed: Tile::named(transposed)? })
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A device is being tried, until this is dropped. It is on disk, so that it outlives the process if the driver ends that, and locked,
/// so that another process can tell that this one lives.
#[derive(Debug)]
pub(super) struct Latch {
    path: PathBuf,
    _file: File,
}

impl Latch {
    /// That nobody has marked the device.
    fn find(path: &Path) -> Result<(), DeviceRefusal> {
        if !path.exists() {
            return Ok(());
        }
        let is_free = match File::open(path).and_then(|file| try_lock(&file)) {
            // Its holder has just removed it.
            _ if !path.exists() => return Ok(()),
            is_free => is_free.map_err(not_kept)?,
        };
        Err(if is_free { DeviceRefusal::EndedTheProcess } else { DeviceRefusal::InUse })
    }

    fn set(path: PathBuf) -> Result<Self, DeviceRefusal> {
        Self::find(&path)?;
        let file = open_lock(&path).map_err(not_kept)?;
        if !try_lock(&file).map_err(not_kept)? {
            return Err(DeviceRefusal::InUse);
        }
        file.sync_all().map_err(not_kept)?;
        // The name is what has to be there after a crash of the machine.
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_kept)?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the mark of a GPU that was tried stays, and it will be taken for one that ended the process");
        }
    }
}

/// Forgets what is known of all devices, and that some ended the process; gives the number of files.
///
/// # Errors
/// If the folder cannot be read, or a file not removed.
pub fn forget(folder: &Path) -> io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut n = 0;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| ["json", "trying", "pipelines"].iter().any(|own| extension == *own))
        {
            std::fs::remove_file(&path)?;
            n += 1;
        }
    }
    Ok(n)
}

/// The processor, and how it computes in a job.
fn cpu_of(job: &Job) -> String {
    format!("{}, {} threads, {}", nightgraft_ggml::instructions(), job.n_threads, job.precision)
}

fn not_kept(error: impl std::fmt::Display) -> DeviceRefusal {
    DeviceRefusal::NoRecord { reason: error.to_string() }
}

/// The device with what it may do, its driver and this build, in letters that every file system takes.
fn device_name(info: &AdapterInfo) -> String {
    const LONGEST: usize = 100;
    let AdapterInfo { vendor, device, name, driver, driver_version, backend, limits, features, .. } = info;
    let build = env!("CARGO_PKG_VERSION");
    let words = format!("{vendor:04x}-{device:04x}-{name}-{backend}-{driver}-{driver_version}-{build}");
    let letters = words.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
    let readable: String = letters.take(LONGEST).collect();
    format!("{readable}-{}", hash(&format!("{words} {limits:?} {features:?}")))
}

/// What is computed with a model, whatever its numbers: two that have this in common need the same shaders.
fn model_kind(base: &Base) -> String {
    let spec = &base.spec;
    let mut text = format!("{:?} {:?} {} {}", spec.layers, spec.ropes, spec.n_embd, spec.n_vocab);
    let layers = base.layers.iter().flat_map(|layer| layer.iter());
    for weight in layers.chain([&base.output_norm, &base.output]) {
        text += &format!(" {} {}x{}", weight.kind.name(), weight.n_rows, weight.n_cols);
    }
    hash(&text)
}

fn hash(text: &str) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn a_mark_goes_with_its_holder_and_stays_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.trying");
        let latch = Latch::set(path.clone()).unwrap();
        // Its holder lives: this is no crash, and nobody else tries the device meanwhile.
        assert_eq!(Latch::set(path.clone()).unwrap_err(), DeviceRefusal::InUse);
        drop(latch);
        assert!(!path.exists());
        // This is what a process leaves whose locks are gone with it.
        fs::write(&path, "").unwrap();
        assert_eq!(Latch::set(path.clone()).unwrap_err(), DeviceRefusal::EndedTheProcess);
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(forget(folder.path()).unwrap(), 1);
        drop(Latch::set(path.clone()).unwrap());
        assert!(folder.path().join("other").exists() && !path.exists());
        assert_eq!(forget(&folder.path().join("missing")).unwrap(), 0);
        let nowhere = Latch::set(folder.path().join("missing/device.trying"));
        assert!(matches!(nowhere, Err(DeviceRefusal::NoRecord { .. })));
    }
}
