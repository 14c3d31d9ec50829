//! `gradients`: the adapter's gradients of one batch, for comparing with other frameworks.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::config::Precision;
use nightgraft_core::session::{self, GradientsRequest};

use crate::{
    Verbosity, data_warnings,
    fetch::catalogue,
    format, interrupt, output,
    settings::{self, CommonSettings, FormatArgs, OrderSettings, data_file},
};

/// Write the adapter's gradients of the first batch as safetensors
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The adapter at which to differentiate: a PEFT folder or a GGUF file
    #[arg(long, value_name = "PATH")]
    init_adapter: PathBuf,
    /// The examples, as for `train`
    #[arg(long, value_name = "FILE", value_parser = data_file())]
    data: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Matrix products: f32, or mixed (16-bit integers with the base's weights)
    #[arg(long, value_name = "NAME", default_value = "f32", value_parser = settings::parsed::<Precision>)]
    precision: Precision,
    #[command(flatten)]
    settings: CommonSettings,
    #[command(flatten)]
    order: OrderSettings,
}

const EXAMPLES: &str = "\
Example:
  nightgraft gradients --model m.gguf --init-adapter start --data batch.jsonl --no-shuffle \\
      --out grads.safetensors

Tensors have Hugging Face names (base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight)
and hold the gradient of the mean loss over the batch's supervised tokens, before any clipping.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let config = args.settings.resolve(Some(&args.order))?;
    let request = GradientsRequest {
        model: catalogue::model_path(args.model.clone())?,
        init_adapter: args.init_adapter.clone(),
        data: args.data.clone(),
        format: args.format.format,
        data_config: config.data,
        seed: config.run.seed,
        threads: config.run.threads,
        precision: args.precision,
        out: args.out.clone(),
        device: config.run.device,
        devices: args.settings.devices(),
    };
    let stop = interrupt::stop_flag("stopping ...")?;
    let mut report = session::gradients(&request, &stop)?;
    report.warnings.extend(args.settings.options_unused_in([&report.data]));
    if verbosity.json {
        output::json(&report)?;
    } else {
        output::warnings(data_warnings::sentences(&report.data).iter().chain(&report.warnings));
        output::write(format::pairs(&[
            ("loss", format!("{:.6}", report.loss)),
            ("supervised tokens", format!("{} in {} examples", report.supervised_tokens, report.examples)),
            ("gradients", format!("{} tensors in {}", report.tensors, args.out.display())),
        ]))?;
    }
    Ok(ExitCode::SUCCESS)
}
