//! `export`: an adapter in the form that another program reads.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::ValueEnum;
use nightgraft_core::session::{self, ExportFormat, ExportRequest};

use crate::{Verbosity, fetch::catalogue, format, output, progress::Progress};

/// Convert an adapter, or merge it into a copy of its model
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The adapter: a PEFT folder or a GGUF file
    #[arg(long, value_name = "PATH")]
    adapter: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT")]
    to: Format,
    /// The GGUF model that the adapter was trained on; always needed for merged-gguf
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The file to write, or the folder for peft
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A folder that Hugging Face PEFT loads
    Peft,
    /// An adapter file that llama.cpp loads beside the model
    Gguf,
    /// A whole model with the adapter added to its weights; quantizing them again costs some quality
    MergedGguf,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft export --adapter mine/adapter --to gguf --model m.gguf --out mine.gguf
  nightgraft export --adapter mine/adapter --to merged-gguf --model m.gguf --out merged.gguf

An adapter beside its model is smaller, can be switched off, and is exact; a merged model is not.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let to = match args.to {
        Format::Peft => ExportFormat::Peft,
        Format::Gguf => ExportFormat::Gguf,
        Format::MergedGguf => ExportFormat::MergedGguf,
    };
    let model = args.model.clone().map(catalogue::model_path).transpose()?;
    let request = ExportRequest { adapter: args.adapter.clone(), to, model, out: args.out.clone() };
    let mut progress = Progress::bytes(verbosity.progress, "writing", 0);
    let report = session::export(&request, &mut |done, total| progress.set(done, total));
    progress.close();
    let report = report?;
    if verbosity.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format_args!("{}  ({})", report.path.display(), format::bytes(report.bytes)))?;
    if let Some(merge) = &report.merge {
        let rounding = &merge.rounding;
        output::line(format_args!(
            "Rounding the merged weights to the model's formats moved them by {:.2} % on average, and {:.0} % as far as \
             the training did.\nPerplexity of a short built-in text: {:.3} with the adapter beside the model, {:.3} \
             merged.\nAn adapter beside its model keeps everything that was learned, and can be taken off again.",
            100.0 * rounding.mean_relative_error,
            100.0 * rounding.error_to_update,
            merge.loss_with_adapter.exp(),
            merge.loss_merged.exp(),
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
