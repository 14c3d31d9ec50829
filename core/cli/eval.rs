//! `eval`: how well a model, with or without an adapter, predicts a file.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::{self, EvalRequest};

use crate::{
    Verbosity, data_warnings,
    fetch::catalogue,
    format, interrupt, output,
    progress::Progress,
    settings::{CommonSettings, FormatArgs, data_file},
};

/// Measure loss, perplexity and accuracy on a file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// An adapter: a PEFT folder or a GGUF file
    #[arg(long, value_name = "PATH")]
    adapter: Option<PathBuf>,
    /// The examples, as for `train`
    #[arg(long, value_name = "FILE", value_parser = data_file())]
    data: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// Also write the logits of all supervised tokens as safetensors, for comparing with other programs
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    settings: CommonSettings,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft eval --model m.gguf --data valid.jsonl
  nightgraft eval --model m.gguf --data valid.jsonl --adapter mine/adapter --json

Give --config mine/config.toml to measure with the settings of the training. Loss is in nats per
supervised token; accuracy is the fraction of these tokens that the model ranks first.

--logits doubles the time and writes at most 2 GiB. The file holds the token ids of all examples
in a row (ids) and the lengths of the examples; and of each supervised token, in the order of the
data, its id (targets), the index in ids of the token before it (places) and what was predicted
there (logits, one row of the vocabulary's size).";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let config = args.settings.resolve(None)?;
    let request = EvalRequest {
        model: catalogue::model_path(args.model.clone())?,
        adapter: args.adapter.clone(),
        data: args.data.clone(),
        format: args.format.format,
        data_config: config.data,
        threads: config.run.threads,
        logits: args.logits.clone(),
        device: config.run.device,
        devices: args.settings.devices(),
    };
    let stop = interrupt::stop_flag("stopping ...")?;
    let mut progress = Progress::tokens(verbosity.progress, "evaluating");
    let report = session::evaluate(&request, &stop, &mut |done, total| progress.set(done, total));
    progress.close();
    let mut report = report?;
    report.warnings.extend(args.settings.options_unused_in([&report.data]));
    if verbosity.json {
        output::json(&report)?;
    } else {
        output::warnings(data_warnings::sentences(&report.data).iter().chain(&report.warnings));
        output::write(format::pairs(&[
            ("loss", format!("{:.4}", report.loss)),
            ("perplexity", format!("{:.3}", report.perplexity)),
            ("accuracy", format!("{:.1} %", report.accuracy * 100.0)),
            ("supervised tokens", report.supervised_tokens.to_string()),
        ]))?;
    }
    Ok(ExitCode::SUCCESS)
}
