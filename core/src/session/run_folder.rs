//! The folder of a training run: where each file is, what may be replaced, and the metrics file that survives interruptions.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use nightgraft_files::atomic;
use nightgraft_files::file_system::{open_lock, system, tighten, try_lock};
use nightgraft_gguf::Fingerprint;
use nightgraft_store::checkpoint::is_checkpoint;
use nightgraft_store::vault::Vault;
use nightgraft_text::Date;
use serde::{Deserialize, Serialize};

use super::{StepMetrics, resume};
use crate::config::TrainConfig;
use crate::error::ConfigProblem;
use crate::export::{InputFile, Target, check_peft_target, is_free, is_own_gguf_adapter, is_own_peft};
use crate::model_file::FileHash;
use crate::session::LossCurve;
use crate::{Error, Result};

const BASE: &str = "base.json";
const PEFT: &str = "adapter";
const GGUF: &str = "adapter.gguf";
const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const PLOT: &str = "loss.svg";
const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = ".lock";
/// The option that names the folder.
const OUT: &str = "--out";

/// Whether an earlier run wrote what is there. A name alone says nothing: others call their files so, too.
type IsOwn = fn(&Path) -> bool;

/// All that a run writes into its folder.
const RESULTS: [(&str, IsOwn); 6] = [
    (BASE, |path| path.parent().is_some_and(|folder| BaseNote::in_folder(folder).is_some())),
    (CONFIG, TrainConfig::is_written_by_a_run),
    (METRICS, is_metrics),
    (PEFT, is_own_peft),
    (GGUF, is_own_gguf_adapter),
    (CHECKPOINTS, holds_checkpoints),
];

/// A folder that holds what a run leaves behind, and that no other process runs in.
pub(super) struct RunFolder {
    root: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl RunFolder {
    /// Makes sure that a run that reads these files can write its results into the folder: that nothing stands in their
    /// places but what an earlier run wrote, and that none of them is one of these files. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Config`] with the names of all that would be lost.
    pub(super) fn check(root: &Path, inputs: &[InputFile], curve: Option<&LossCurve>) -> Result<()> {
        // What a run wrote is recognized beside its note only.
        let is_run = is_plain(&root.join(BASE)) && BaseNote::in_folder(root).is_some();
        let mut foreign = Vec::new();
        let mut check = |name, is_own: &dyn Fn(&Path) -> bool| -> Result<()> {
            let path = root.join(name);
            Target { option: OUT, path: &path }.refuse_inputs(inputs)?;
            let is_ours = is_run && is_plain(&path) && is_own(&path);
            if !is_ours && !is_free(&path)? {
                foreign.push(name);
            }
            Ok(())
        };
        RESULTS.iter().try_for_each(|(name, is_own)| check(*name, is_own))?;
        if let Some(curve) = curve {
            check(PLOT, &|path| fs::read_to_string(path).is_ok_and(|svg| (curve.is_own)(&svg)))?;
        }
        if foreign.is_empty() {
            return Ok(());
        }
        Err(Error::config(OUT, ConfigProblem::WouldLose { folder: root.to_owned(), names: foreign }))
    }

    /// Makes the folder if need be, and makes sure that it can be written to and belongs to this process alone.
    pub(super) fn open(root: &Path) -> Result<Self> {
        system().create_dir_all(root).map_err(Error::io("create", root))?;
        // An empty file or folder in the place of the other; nothing is left in a folder that is refused.
        check_peft_target(&root.join(PEFT))?;
        for file in [GGUF, CONFIG, PLOT].map(|name| root.join(name)) {
            if file.is_dir() {
                return Err(Error::io("write", &file)(std::io::ErrorKind::IsADirectory.into()));
            }
        }
        let path = root.join(LOCK);
        let lock = open_lock(&path).map_err(Error::io("write to", root))?;
        match try_lock(&lock) {
            Ok(true) => {}
            Ok(false) => {
                return Err(Error::config(OUT, ConfigProblem::FolderInUse { folder: root.to_owned() }));
            }
            // A file system without locks: one careful user is enough.
            Err(error) => tracing::warn!(%error, "the run's folder cannot be locked"),
        }
        atomic::sweep(root)?;
        let folder = Self { root: root.to_owned(), _lock: lock };
        folder.tighten()?;
        Ok(folder)
    }

    /// Takes what an earlier build wrote for everybody to read from all but the owner. The folder itself may hold other
    /// things and stays as it is; so do files of these names where no run has left its note.
    fn tighten(&self) -> Result<()> {
        if self.base().is_none() {
            return Ok(());
        }
        let disk = system();
        let files = [
            self.root.join(LOCK),
            self.metrics_path(),
            self.config(),
            self.root.join(BASE),
            self.plot(),
            self.gguf(),
        ];
        for path in files.into_iter().chain([self.peft(), self.checkpoints()]) {
            let Some(entry) = disk.metadata(&path).map_err(Error::io("open", &path))? else { continue };
            tighten(disk.as_ref(), &path, entry.mode);
            let inside =
                if entry.is_dir { disk.list(&path).map_err(Error::io("list", &path))? } else { Vec::new() };
            for entry in inside {
                tighten(disk.as_ref(), &path.join(&entry.name), entry.mode);
            }
        }
        Ok(())
    }

    pub(super) fn peft(&self) -> PathBuf {
        self.root.join(PEFT)
    }

    pub(super) fn gguf(&self) -> PathBuf {
        self.root.join(GGUF)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join(CONFIG)
    }

    /// Which model the run is for, as an earlier process has noted it.
    pub(super) fn base(&self) -> Option<BaseNote> {
        BaseNote::in_folder(&self.root)
    }

    /// Notes which model the run is for, so that the adapter can be exported without naming it again.
    pub(super) fn write_base(&self, note: &BaseNote) -> Result<()> {
        let text = serde_json::to_vec(note).expect("strings and numbers serialize");
        Ok(atomic::write_file(&self.root.join(BASE), &text)?)
    }

    pub(super) fn plot(&self) -> PathBuf {
        self.root.join(PLOT)
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.root.join(CHECKPOINTS)
    }

    fn metrics_path(&self) -> PathBuf {
        self.root.join(METRICS)
    }

    /// Opens `metrics.jsonl` for the steps after `step`: what is there of later steps, or of another run,
    /// goes. Returns the lines that stay as well.
    pub(super) fn metrics(&self, step: u64) -> Result<(MetricsFile, Vec<StepMetrics>)> {
        let path = self.metrics_path();
        let kept = if step > 0 { earlier_lines(&path, step)? } else { Vec::new() };
        let mut text = Vec::new();
        for metrics in &kept {
            text.extend(line(metrics));
        }
        atomic::write_file(&path, &text)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io("open", &path))?;
        Ok((MetricsFile { path, file }, kept))
    }
}

/// What a run's folder says of its base model.
#[derive(Serialize, Deserialize)]
pub(super) struct BaseNote {
    /// The model file.
    pub(super) model: PathBuf,
    /// The model's fingerprint, which no file of this name but a run's has.
    pub(super) fingerprint: Fingerprint,
    /// All of the model's bytes, once they have been hashed.
    #[serde(rename = "whole", default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<FileHash>,
}

impl BaseNote {
    /// The note beside an adapter of a run's folder, if it is one.
    pub(super) fn beside(adapter: &Path) -> Option<Self> {
        Self::in_folder(fs::canonicalize(adapter).ok()?.parent()?)
    }

    /// The note of a run's folder, if it has one.
    fn in_folder(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(BASE)).ok()?).ok()
    }
}

/// The date that the run in this folder took for now when it began; none if no run began there.
///
/// # Errors
/// Those of reading checkpoints, where only they can tell.
pub(super) fn date_of(root: &Path, vault: &Vault) -> Result<Option<Date>> {
    if let Some(date) = stated_date(root) {
        return Ok(Some(date));
    }
    let checkpoints = root.join(CHECKPOINTS);
    if !checkpoints.is_dir() {
        return Ok(None);
    }
    let saved = resume::saved_settings(vault, &checkpoints)?.data.date;
    // Runs did not always note the date. Their settings were written each time when the data had been read, and dates were
    // those of UTC.
    let written = || fs::metadata(root.join(CONFIG)).and_then(|config| config.modified()).ok();
    Ok(saved.or_else(|| written().map(Date::utc)))
}

/// The settings of the run in this folder that would go on, if there is one.
pub(super) fn settings_under_way(root: &Path) -> Option<TrainConfig> {
    let mut files = fs::read_dir(root.join(CHECKPOINTS)).ok()?.flatten();
    files.find(|file| file.file_name().to_str().is_some_and(is_checkpoint))?;
    TrainConfig::read(&root.join(CONFIG)).ok()
}

/// The date of the run in whose folder an adapter is, if it is in one.
pub(super) fn date_beside(adapter: &Path) -> Option<Date> {
    BaseNote::beside(adapter).and_then(|_| stated_date(adapter.parent()?))
}

/// The date in the settings of a run's folder.
fn stated_date(root: &Path) -> Option<Date> {
    TrainConfig::read(&root.join(CONFIG)).ok()?.data.date
}

/// `metrics.jsonl`, one line for each optimizer step.
pub(super) struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Adds a line, in one write.
    pub(super) fn append(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.file.write_all(&line(metrics)).map_err(Error::io("write", &self.path))
    }
}

/// Whether a path is itself a file or folder: no run makes links.
fn is_plain(path: &Path) -> bool {
    !path.is_symlink()
}

/// Whether the first line is a step's. A run that was killed in the middle of it leaves it without an end.
fn is_metrics(path: &Path) -> bool {
    let mut line = String::new();
    let read = File::open(path).and_then(|file| BufReader::new(file.take(MAX_METRICS)).read_line(&mut line));
    read.is_ok()
        && (serde_json::from_str::<StepMetrics>(&line).is_ok()
            || !line.ends_with('\n') && line.starts_with("{\"step\":"))
}

/// Longer lines than a step's.
const MAX_METRICS: u64 = 1 << 16;

/// Whether a folder holds checkpoints, finished or not, and nothing else.
fn holds_checkpoints(folder: &Path) -> bool {
    let is_own = |entry: fs::DirEntry| {
        let name = entry.file_name();
        atomic::is_scratch(&name) || name.to_str().is_some_and(is_checkpoint)
    };
    fs::read_dir(folder).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(is_own)))
}

/// The lines of steps up to `step`; one that a crash left half-written is left out.
fn earlier_lines(path: &Path, step: u64) -> Result<Vec<StepMetrics>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let metrics = lines.filter_map(|line| serde_json::from_str::<StepMetrics>(&line).ok());
    Ok(metrics.filter(|metrics| metrics.step <= step).collect())
}

fn line(metrics: &StepMetrics) -> Vec<u8> {
    let mut line = serde_json::to_vec(metrics).expect("numbers serialize");
    line.push(b'\n');
    line
}
