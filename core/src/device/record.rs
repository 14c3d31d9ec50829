//! What was found out about a GPU, in a folder: one file for a device, its driver and a kind of model, and a mark beside it while
//! something is tried for the first time.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nightgraft_files::atomic;
use nightgraft_files::file_system::{open_lock, private_folder, try_lock};
use nightgraft_gpu::{AdapterInfo, Tile, Tiles};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DeviceRefusal, FirstStep, Job};
use crate::base::Base;
use crate::transformer::{Agreement, ProbeReport, TensorCheck};

/// Where the records of one device, one kind of model and one precision are.
#[derive(Clone)]
pub(super) struct Records {
    /// Without its ending; none if nothing is kept.
    path: Option<PathBuf>,
    /// The file of shaders that the device's driver has compiled.
    pipelines: Option<PathBuf>,
    /// What the speed of the processor was measured with.
    cpu: String,
    /// The kind of model, and the precision.
    model: String,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The kind of model, and the precision.
    pub model: String,
    /// What its results were compared with.
    cpu: String,
    /// The tensor that is furthest from the processor's, and how both agree; none if a number is not finite.
    pub worst: (String, Option<Agreement>),
    /// The tiles of both directions.
    pub tiles: [String; 2],
    multiply_adds_per_second: f64,
    pub cpu_tokens_per_second: f64,
    pub gpu_tokens_per_second: f64,
    /// Whether a whole step was made with it.
    has_stepped: bool,
}

impl Records {
    /// The place of the records, in this folder, which is made.
    pub fn of(folder: Option<&Path>, info: &AdapterInfo, job: &Job) -> Result<Self, DeviceRefusal> {
        let (cpu, model) = (cpu_of(job), model_of(job));
        let Some(folder) = folder else { return Ok(Self { path: None, pipelines: None, cpu, model }) };
        private_folder().recursive(true).create(folder).map_err(not_kept)?;
        let device = device_name(info);
        let pipelines = Some(folder.join(format!("{device}.pipelines")));
        let name = format!("{device}-{}-{}", model_kind(job.base), job.precision);
        Ok(Self { path: Some(folder.join(name)), pipelines, cpu, model })
    }

    /// What an earlier probe found; none if there was none, or if it cannot be read, and has to be found out again.
    pub fn read(&self) -> Option<Record> {
        Record::read(&self.path.as_ref()?.with_extension("json"))
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
        let set = |path: &PathBuf| Latch::set(path.with_extension("trying"), &self.model);
        self.path.as_ref().map(set).transpose()
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
            model: model_of(job),
            cpu: cpu_of(job),
            worst: (worst.tensor.clone(), worst.agreement),
            tiles: [gpu.tiles.linear, gpu.tiles.transposed].map(|tile| tile.to_string()),
            multiply_adds_per_second: gpu.rate,
            cpu_tokens_per_second: *cpu_rate,
            gpu_tokens_per_second: *gpu_rate,
            has_stepped: false,
        }
    }

    /// What was written; none if it cannot be read.
    pub fn read(path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        record.named_tiles().is_some().then_some(record)
    }

    /// Why a device with such results is not used, if so.
    pub fn refusal(&self) -> Option<DeviceRefusal> {
        let (tensor, agreement) = self.worst.clone();
        let check = TensorCheck { tensor, agreement };
        (!check.has_passed()).then(|| DeviceRefusal::Wrong {
            tensor: check.tensor,
            cosine: agreement.map(|found| found.cosine),
            relative_error: agreement.map(|found| found.relative_error),
        })
    }

    /// Notes that a whole step was made.
    pub fn after_a_step(self) -> Self {
        Self { has_stepped: true, ..self }
    }

    /// How products are cut, and about how many multiply-adds there are in a second.
    pub fn tuning(&self) -> (Tiles, f64) {
        let tiles = self.named_tiles().unwrap_or(Tiles::LAST_RESORT);
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
    file: File,
}

impl Latch {
    /// What it is tried with.
    pub fn label(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// That nobody has marked the device.
    pub fn find(path: &Path) -> Result<(), DeviceRefusal> {
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

    fn set(path: PathBuf, label: &str) -> Result<Self, DeviceRefusal> {
        Self::find(&path)?;
        let file = open_lock(&path).map_err(not_kept)?;
        if !try_lock(&file).map_err(not_kept)? {
            return Err(DeviceRefusal::InUse);
        }
        let mut latch = Self { path, file };
        latch.file.write_all(label.as_bytes()).map_err(not_kept)?;
        latch.file.sync_all().map_err(not_kept)?;
        // The name is what has to be there after a crash of the machine.
        let folder = latch.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_kept)?;
        Ok(latch)
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            // Somebody has told to forget it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(
                %error,
                "the mark of a GPU that was tried stays, and it will be taken for one that ended the process"
            ),
            Ok(()) => {}
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

/// Models of one kind are the same in this, and more besides.
fn model_of(job: &Job) -> String {
    let spec = &job.base.spec;
    let (n_layer, n_embd, n_vocab) = (spec.n_layer(), spec.n_embd, spec.n_vocab);
    format!("{n_layer} layers, {n_embd} wide, {n_vocab} tokens, {}", job.precision)
}

fn not_kept(error: impl std::fmt::Display) -> DeviceRefusal {
    DeviceRefusal::NoRecord { reason: error.to_string() }
}

/// The device with what it may do, its driver and this build, in letters that every file system takes.
pub(super) fn device_name(info: &AdapterInfo) -> String {
    const LONGEST: usize = 100;
    let AdapterInfo { vendor, device, name, driver, driver_version, backend, limits, features, .. } = info;
    let build = env!("CARGO_PKG_VERSION");
    // Metal's drivers, which come with the system, have no version of their own.
    let system = rustix::system::uname();
    let system = system.release().to_string_lossy();
    let version = if driver_version.is_empty() { &*system } else { driver_version };
    let words = format!("{vendor:04x}-{device:04x}-{name}-{backend}-{driver}-{version}-{build}");
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
        let latch = Latch::set(path.clone(), "a model").unwrap();
        assert_eq!(Latch::label(&path), "a model");
        // Its holder lives: this is no crash, and nobody else tries the device meanwhile.
        assert_eq!(Latch::set(path.clone(), "a model").unwrap_err(), DeviceRefusal::InUse);
        drop(latch);
        assert!(!path.exists());
        // This is what a process leaves whose locks are gone with it.
        fs::write(&path, "").unwrap();
        assert_eq!(Latch::set(path.clone(), "a model").unwrap_err(), DeviceRefusal::EndedTheProcess);
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(forget(folder.path()).unwrap(), 1);
        drop(Latch::set(path.clone(), "a model").unwrap());
        assert!(folder.path().join("other").exists() && !path.exists());
        assert_eq!(forget(&folder.path().join("missing")).unwrap(), 0);
        let nowhere = Latch::set(folder.path().join("missing/device.trying"), "a model");
        assert!(matches!(nowhere, Err(DeviceRefusal::NoRecord { .. })));
    }
}
