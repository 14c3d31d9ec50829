//! The adapter's gradients of one micro-batch, for comparing with other frameworks.

use std::path::PathBuf;

use nightgraft_text::Date;
use nightgraft_text::Error as TextError;
use nightgraft_text::data::{self, BatchOptions, DataProblem, DataReport, Dataset, Format};
use serde::Serialize;

use super::inputs::{Inputs, threads};
use super::notice::Notice;
use super::{DeviceOptions, OperationCount, StopFlag, adapter, devices};
use crate::config::{DataConfig, Device, Precision, RunConfig};
use crate::export::{Target, is_own_tensors, write_peft_tensors};
use crate::lora::Adapter;
use crate::process_memory::spare_bytes;
use crate::transformer::{MemoryEstimate, Model, ModelGpu, ModelOptions};
use crate::{Error, Result};

/// What to differentiate.
#[derive(Debug, Clone)]
pub struct GradientsRequest {
    /// The GGUF model.
    pub model: PathBuf,
    /// The adapter, as a PEFT folder or GGUF file.
    pub init_adapter: PathBuf,
    /// The data file; its first micro-batch is used.
    pub data: PathBuf,
    /// How it is read; none where its name tells, and for a pipe of JSON lines.
    pub format: Option<Format>,
    /// How the data is read and batched.
    pub data_config: DataConfig,
    /// Decides the order of the data where it is shuffled.
    pub seed: u64,
    /// Threads; none means one for each core.
    pub threads: Option<usize>,
    /// How products are computed.
    pub precision: Precision,
    /// The safetensors file to write, with PEFT's tensor names and shapes.
    pub out: PathBuf,
    /// What computes.
    pub device: Device,
    /// How GPUs may be used.
    pub devices: DeviceOptions,
}

/// What was computed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GradientsReport {
    /// Mean loss of the micro-batch over its supervised tokens, in nats.
    pub loss: f64,
    /// How many tokens that is.
    pub supervised_tokens: u64,
    /// Examples in the micro-batch.
    pub examples: usize,
    /// Tensors written.
    pub tensors: usize,
    /// What computed: the name of a GPU, or the processor and its instructions.
    pub device: String,
    /// Operations, by what computed them.
    pub operations: OperationCount,
    /// What was read of the whole data file, and what of it was left out.
    pub data: DataReport,
    /// What a person should know of the settings, in words.
    pub warnings: Vec<String>,
}

/// Writes the gradients of the mean loss of the first micro-batch.
///
/// # Errors
/// Any of [`Error`]'s for unusable files; [`Error::Cancelled`] if stopped.
pub fn gradients(request: &GradientsRequest, stop: &StopFlag) -> Result<GradientsReport> {
    let target = Target { option: "--out", path: &request.out };
    let read =
        [("--model", &request.model), ("--init-adapter", &request.init_adapter), ("--data", &request.data)];
    target.refuse_inputs(&read.map(|(option, path)| (option, path.as_path())))?;
    target.refuse_foreign(is_own_tensors)?;
    let config = &request.data_config;
    let date = config.date.unwrap_or_else(Date::now);
    let inputs = Inputs::open(&request.model, date)?;
    let Dataset { examples, report } = inputs.load(&request.data, request.format, config)?;
    let Inputs { base, .. } = inputs;
    let (tensors, other_base) = adapter::read_with_notice(&request.init_adapter, &base)?;
    let notices: Vec<_> = Notice::of_model(config, &base).chain(other_base).collect();
    let mut warnings = Notice::words(&notices);
    let adapter = Adapter::new(&tensors)?;
    let options = BatchOptions {
        batch_tokens: config.batch_tokens(),
        packing: config.packing,
        shuffle: config.shuffle,
        seed: request.seed,
    };
    let plan = data::plan_epoch(&examples, 0, &options);
    let members = plan.first().ok_or_else(|| TextError::Data {
        path: request.data.clone(),
        line: None,
        problem: DataProblem::NothingToDifferentiate,
    })?;
    let batch = data::assemble(&examples, members);
    let run = RunConfig {
        device: request.device,
        threads: request.threads,
        precision: request.precision,
        ..RunConfig::default()
    };
    let gpu = devices::choose_with_warnings(&run, &request.devices, &base, stop, &mut warnings)?;
    let (gpu, first_step) = gpu.map(|chosen| (chosen.gpu, chosen.first_step)).unzip();
    let recompute = |precision| -> Result<_> {
        let estimate = MemoryEstimate::new(&base, &tensors, batch.ids.len(), precision)?;
        Ok(estimate.fastest_with_spare(spare_bytes()))
    };
    let on_gpu = |device| Ok::<_, Error>(ModelGpu { device, recompute: recompute(Precision::F32)? });
    let options = ModelOptions {
        trains: true,
        capacity: batch.ids.len(),
        n_threads: threads(request.threads),
        precision: request.precision,
        recompute: recompute(request.precision)?,
        gpu: gpu.map(on_gpu).transpose()?,
    };
    let mut model = Model::new(base, Some(&adapter), options, stop.raw())?;
    let sum = devices::marked(first_step.flatten(), &mut model, |model| model.accumulate_gradients(&batch))?;
    warnings.extend(devices::failure_of(&mut model, 0).and_then(|event| event.warning()));

    if !sum.loss.is_finite() {
        return Err(Error::NotANumber { what: "the loss" });
    }
    let mean = 1.0 / sum.supervised as f32;
    let mut gradients = adapter.gradients()?;
    for value in gradients.pairs.values_mut().flat_map(|pair| pair.a.iter_mut().chain(&mut pair.b_t)) {
        *value *= mean;
    }
    write_peft_tensors(&request.out, &gradients, model.base())?;
    Ok(GradientsReport {
        loss: sum.loss / sum.supervised as f64,
        supervised_tokens: sum.supervised,
        examples: members.len(),
        tensors: 2 * gradients.pairs.len(),
        device: devices::name_of(&model),
        operations: model.operations(),
        data: report,
        warnings,
    })
}
