//! Turning an adapter into the form that another program wants.

use std::path::PathBuf;

use nightgraft_adapter::AdapterTensors;
use nightgraft_text::{Date, Example};
use serde::Serialize;

use super::inputs::Inputs;
use super::notice::Notice;
use super::run_folder::BaseNote;
use super::{StopFlag, adapter};
use crate::error::{AdapterProblem, ConfigProblem};
use crate::export::{
    MergeReport, Target, is_own_gguf_adapter, is_own_merged, is_own_peft, write_gguf_adapter, write_merged,
    write_peft,
};
use crate::lora::{Adapter, mismatch};
use crate::transformer::{Model, ModelOptions};
use crate::{Error, Result};

/// Made-up text that a merge is measured on: a note, an instruction, a fact, a line of code.
const PROBE: &str = "The ferry leaves at seven, so we should be at the harbour a little before that. \
    To make the dough, mix the flour with warm water and a pinch of salt, and let it rest for an hour. \
    Water boils at a lower temperature high in the mountains, because the air presses on it less. \
    for line in open(\"notes.txt\"): print(line.strip())";

/// The form that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder for Hugging Face PEFT.
    Peft,
    /// An adapter file for llama.cpp.
    Gguf,
    /// The whole model with the adapter added to its weights.
    MergedGguf,
}

/// What to export.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// A PEFT folder or GGUF adapter.
    pub adapter: PathBuf,
    /// The form.
    pub to: ExportFormat,
    /// The model that the adapter was trained on: it says in which order rows are, and how many there are. Not needed for
    /// an adapter in the folder of the run that made it.
    pub model: Option<PathBuf>,
    /// The folder (PEFT) or file to write.
    pub out: PathBuf,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The folder or file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What merging cost, for a merged model.
    pub merge: Option<MergeCost>,
    /// What a person should know of the adapter, in words.
    pub warnings: Vec<String>,
}

/// What adding an adapter to quantized weights lost.
#[derive(Debug, Clone, Serialize)]
pub struct MergeCost {
    /// Rounding errors of the weights.
    #[serde(flatten)]
    pub rounding: MergeReport,
    /// Mean loss per token, in nats, of the model with the adapter beside it, on a short built-in text.
    pub loss_with_adapter: f64,
    /// Mean loss per token, in nats, of the merged model on that text.
    pub loss_merged: f64,
}

/// Exports; calls `on_progress` with tensors done and tensors in all while merging.
///
/// # Errors
/// [`Error::Config`] without a model, or if what is at `out` is the model, the adapter, or nothing that an earlier export wrote;
/// [`Error::Adapter`] if the adapter does not fit it, [`Error::Io`].
pub fn export(request: &ExportRequest, on_progress: &mut dyn FnMut(u64, u64)) -> Result<ExportReport> {
    let note = BaseNote::beside(&request.adapter).filter(|_| request.model.is_none());
    let Some(model) = request.model.as_ref().or(note.as_ref().map(|note| &note.model)) else {
        return Err(Error::config("--model", ConfigProblem::ModelNeeded));
    };
    let inputs = Inputs::open(model, Date::now())?;
    if note.as_ref().is_some_and(|note| note.fingerprint != *inputs.base.fingerprint()) {
        let problem = AdapterProblem::OtherThanInRun { model: model.clone() };
        return Err(Error::adapter(&request.adapter, problem));
    }
    let out = &request.out;
    let target = Target { option: "--out", path: out };
    target.refuse_inputs(&[("--model", model), ("--adapter", &request.adapter)])?;
    target.refuse_foreign(|path| match request.to {
        ExportFormat::Peft => is_own_peft(path),
        ExportFormat::Gguf => is_own_gguf_adapter(path),
        ExportFormat::MergedGguf => is_own_merged(path, &inputs.base),
    })?;
    let (tensors, other_base) = adapter::read_with_notice(&request.adapter, &inputs.base)?;
    let merge = match request.to {
        ExportFormat::Peft => {
            write_peft(out, &tensors, &inputs.base)?;
            None
        }
        ExportFormat::Gguf => {
            write_gguf_adapter(out, &tensors, &inputs.base)?;
            None
        }
        ExportFormat::MergedGguf => {
            let mut progress = |done: usize, total: usize| on_progress(done as u64, total as u64);
            if let Some(problem) = mismatch(&tensors, &inputs.base) {
                return Err(Error::adapter(&request.adapter, problem));
            }
            // First: what is written is not measured in vain, and whether the model has changed is asked last.
            let loss_with_adapter = probe(Inputs::open(model, Date::now())?, Some(&tensors))?;
            let rounding = write_merged(out, &tensors, &inputs.base, &mut progress)?;
            let loss_merged = probe(Inputs::open(out, Date::now())?, None)?;
            Some(MergeCost { rounding, loss_with_adapter, loss_merged })
        }
    };
    let other_format = merge.as_ref().and_then(|merge| Notice::of_merge(&merge.rounding));
    let warnings = Notice::words(other_base.iter().chain(&other_format));
    Ok(ExportReport { path: out.clone(), bytes: size(out)?, merge, warnings })
}

/// The loss of the built-in text.
fn probe(inputs: Inputs, adapter: Option<&AdapterTensors>) -> Result<f64> {
    let Inputs { base, tokenizer, .. } = inputs;
    let ids = tokenizer.encode_with_bos(PROBE, false)?;
    let n_tokens = ids.len();
    let is_supervised = vec![true; n_tokens];
    let example = Example::from_supervision(ids, &is_supervised);
    let adapter = adapter.map(Adapter::new).transpose()?;
    let n_threads = super::inputs::threads(None);
    let mut model = Model::new(
        base,
        adapter.as_ref(),
        ModelOptions::for_eval(n_tokens, n_threads, None),
        StopFlag::new().raw(),
    )?;
    let sum = crate::train::evaluate(&mut model, &[example], n_tokens, |_| ())?;
    Ok(sum.loss / sum.supervised as f64)
}

/// Bytes of a file, or of the files of a folder.
fn size(path: &std::path::Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(Error::io("open", path))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).map_err(Error::io("list", path))? {
        let entry = entry.map_err(Error::io("list", path))?;
        bytes += entry.metadata().map_err(Error::io("open", &entry.path()))?.len();
    }
    Ok(bytes)
}
