//! Measuring a model, with or without an adapter, on a data file.

use std::path::PathBuf;

use nightgraft_text::data::{DataReport, Dataset, Format};
use nightgraft_text::{Date, Example};
use serde::Serialize;

use super::inputs::{Inputs, threads};
use super::logits::LogitsFile;
use super::notice::Notice;
use super::{DeviceOptions, StopFlag, adapter, devices, run_folder};
use crate::config::{DataConfig, Device, Precision, RunConfig};
use crate::device::FirstStep;
use crate::export::Target;
use crate::lora::Adapter;
use crate::transformer::{Model, ModelOptions};
use crate::{Error, Result, train};

/// What to measure.
#[derive(Debug, Clone)]
pub struct EvalRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// A PEFT folder or GGUF adapter.
    pub adapter: Option<PathBuf>,
    /// The data file.
    pub data: PathBuf,
    /// How it is read; none where its name tells, and for a pipe of JSON lines.
    pub format: Option<Format>,
    /// How the data is read.
    pub data_config: DataConfig,
    /// Threads; none means one for each core.
    pub threads: Option<usize>,
    /// A safetensors file to write for comparing with other programs: the token `ids` i32 `[n_tokens]` of all
    /// examples and their `lengths` i32 `[n_examples]`; and of each supervised token, in the order of the data, its
    /// id (`targets` i32 `[n]`), the index in `ids` of the token before it (`places` i32 `[n]`) and the `logits`
    /// f32 `[n, n_vocab]` there.
    pub logits: Option<PathBuf>,
    /// What computes.
    pub device: Device,
    /// How GPUs may be used.
    pub devices: DeviceOptions,
}

/// What was measured, over supervised tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// How often the most likely token was the right one, 0 to 1.
    pub accuracy: f64,
    /// How many tokens that is.
    pub supervised_tokens: u64,
    /// What was read, and what of it was left out.
    pub data: DataReport,
    /// What computed: the name of a GPU, or the processor and its instructions.
    pub device: String,
    /// What a person should know of the settings, in words.
    pub warnings: Vec<String>,
}

/// Measures; calls `on_progress` with tokens done and tokens in all. A chat template takes for now the date of the data's
/// settings, or else that of the run in whose folder the adapter is, or else the present. Logits are computed in a second pass, one
/// example after the other, so that the report does not depend on them.
///
/// # Errors
/// Any of [`crate::Error`]'s for unusable files; [`crate::Error::Cancelled`] if stopped;
/// [`crate::Error::Config`] if the logits would be more than 2 GiB, or something else is in their place.
pub fn evaluate(
    request: &EvalRequest,
    stop: &StopFlag,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<EvalReport> {
    if let Some(path) = &request.logits {
        let target = Target { option: "--logits", path };
        target.refuse_inputs(&[("--model", &request.model), ("--data", &request.data)])?;
        target.refuse_foreign(LogitsFile::is_own)?;
    }
    let of_run = || request.adapter.as_ref().and_then(|adapter| run_folder::date_beside(adapter));
    let date = request.data_config.date.or_else(of_run).unwrap_or_else(Date::now);
    let inputs = Inputs::open(&request.model, date)?;
    let Dataset { examples, report } = inputs.load(&request.data, request.format, &request.data_config)?;
    let Inputs { base, .. } = inputs;
    let mut notices: Vec<_> = Notice::of_model(&request.data_config, &base).collect();
    let logits = request.logits.as_ref().map(|path| LogitsFile::create(path, &examples, base.spec.n_vocab));
    let logits = logits.transpose()?;
    let adapter = request.adapter.as_ref().map(|path| adapter::read_with_notice(path, &base)).transpose()?;
    let adapter = adapter.map(|(tensors, notice)| {
        notices.extend(notice);
        tensors
    });
    let adapter = adapter.as_ref().map(Adapter::new).transpose()?;
    let longest = examples.iter().map(Example::len).max().unwrap_or(0);
    let batch_tokens = request.data_config.batch_tokens().max(longest);
    let run = RunConfig {
        device: request.device,
        threads: request.threads,
        precision: Precision::F32,
        ..RunConfig::default()
    };
    let mut warnings = Notice::words(&notices);
    let chosen = devices::choose_with_warnings(&run, &request.devices, &base, stop, &mut warnings)?;
    let (gpu, first_step) = chosen.map(|chosen| (chosen.gpu, chosen.first_step)).unzip();
    let mut first_step = first_step.flatten();
    let options = ModelOptions::for_eval(batch_tokens, threads(request.threads), gpu.as_ref());
    let mut model = Model::new(base, adapter.as_ref(), options, stop.raw())?;

    let passes = if logits.is_some() { 2 } else { 1 };
    let total = passes * examples.iter().map(|example| example.ids.len() as u64).sum::<u64>();
    let mut done = 0;
    first_step.iter_mut().for_each(FirstStep::begin);
    let mut on_tokens = |tokens| {
        // The GPU returns from what it was asked for; a step is still to come.
        first_step.iter_mut().for_each(FirstStep::pause);
        done += tokens;
        on_progress(done, total);
    };
    let sum = train::evaluate(&mut model, &examples, batch_tokens, &mut on_tokens)?;
    let n = sum.supervised as f64;
    let loss = sum.loss / n;
    if !loss.is_finite() {
        return Err(Error::NotANumber { what: "the loss" });
    }
    if let Some(logits) = logits {
        logits.fill(&mut model, &examples, &mut on_tokens)?;
    }
    warnings.extend(devices::failure_of(&mut model, 0).and_then(|event| event.warning()));
    Ok(EvalReport {
        loss,
        perplexity: libm::exp(loss),
        accuracy: sum.correct as f64 / n,
        supervised_tokens: sum.supervised,
        data: report,
        device: devices::name_of(&model),
        warnings,
    })
}
