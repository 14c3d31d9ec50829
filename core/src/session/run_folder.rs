//! The folder of a training run: where each file is, and the metrics file that survives interruptions.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::StepMetrics;
use crate::atomic;
use crate::{Error, Result};

/// A folder that holds what a run leaves behind.
pub(super) struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Makes the folder if need be, and makes sure that it can be written to.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let folder = Self { root: root.to_owned() };
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let probe = root.join(".write-test");
        File::create(&probe).map_err(Error::io("write to", root))?;
        fs::remove_file(&probe).map_err(Error::io("remove", &probe))?;
        Ok(folder)
    }

    pub(super) fn peft(&self) -> PathBuf {
        self.root.join("adapter")
    }

    pub(super) fn gguf(&self) -> PathBuf {
        self.root.join("adapter.gguf")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    pub(super) fn plot(&self) -> PathBuf {
        self.root.join("loss.svg")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Opens `metrics.jsonl` for the steps after `step`: what is there of later steps, or of another run,
    /// goes. Returns the lines that stay as well.
    pub(super) fn metrics(&self, step: u64) -> Result<(MetricsFile, Vec<StepMetrics>)> {
        let path = self.root.join("metrics.jsonl");
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

/// The lines of steps up to `step`, as far as they are whole.
fn earlier_lines(path: &Path, step: u64) -> Result<Vec<StepMetrics>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let metrics = lines.map_while(|line| serde_json::from_str::<StepMetrics>(&line).ok());
    Ok(metrics.take_while(|metrics| metrics.step <= step).collect())
}

fn line(metrics: &StepMetrics) -> Vec<u8> {
    let mut line = serde_json::to_vec(metrics).expect("numbers serialize");
    line.push(b'\n');
    line
}
