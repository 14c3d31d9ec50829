//! What is known of a GPU from the probes that were made with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nightgraft_gpu::AdapterInfo;
use serde::Serialize;

use super::DeviceRefusal;
use super::record::{Latch, Record, device_name};
use crate::transformer::Agreement;

/// What was found out about a GPU with models of a kind in a precision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The kind, and the precision.
    pub model: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ProbeOutcome,
}

/// What a probe was the end of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// The GPU computes right.
    Right {
        /// The tensor that is furthest from the processor's.
        tensor: String,
        /// How both agree.
        #[serde(flatten)]
        agreement: Agreement,
        /// The tiles of products, forward and transposed.
        tiles: [String; 2],
        /// Tokens a second that the GPU brings through a layer.
        gpu_tokens_per_second: f64,
        /// Those of the processor.
        cpu_tokens_per_second: f64,
    },
    /// It is not used.
    Refused(DeviceRefusal),
}

/// What is known of a GPU, in the order of the files' names.
pub fn findings(folder: &Path, info: &AdapterInfo) -> Vec<Finding> {
    let prefix = format!("{}-", device_name(info));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let of_device =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let paths = entries.flatten().map(|entry| entry.path()).filter(of_device);
    let probes: BTreeSet<_> = paths.map(|path| path.with_extension("")).collect();
    probes.iter().filter_map(|path| finding(path)).collect()
}

fn finding(path: &Path) -> Option<Finding> {
    let mark = path.with_extension("trying");
    if let Err(why @ DeviceRefusal::EndedTheProcess) = Latch::find(&mark) {
        return Some(Finding { model: Latch::label(&mark), outcome: ProbeOutcome::Refused(why) });
    }
    let record = Record::read(&path.with_extension("json"))?;
    let outcome = match record.refusal() {
        Some(why) => ProbeOutcome::Refused(why),
        None => {
            let (tensor, agreement) = record.worst;
            ProbeOutcome::Right {
                tensor,
                agreement: agreement?,
                tiles: record.tiles,
                gpu_tokens_per_second: record.gpu_tokens_per_second,
                cpu_tokens_per_second: record.cpu_tokens_per_second,
            }
        }
    };
    Some(Finding { model: record.model, outcome })
}
