//! `export`: an adapter in the form that another program reads.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::ValueEnum;
use nightgraft_core::session::{self, ExportFormat, ExportRequest, MergeCost};

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
    /// The GGUF model that the adapter was trained on: it decides names and order of rows
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
    let mut progress = Progress::tensors(verbosity.progress, "merging");
    let report = session::export(&request, &mut |done, total| progress.set(done, total));
    progress.close();
    let report = report?;
    if verbosity.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::warnings(&report.warnings);
    let mut text = format!("{}  ({})\n", report.path.display(), format::bytes(report.bytes));
    if let Some(cost) = &report.merge {
        text.push_str(&describe(cost));
    }
    output::write(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The measured loss of quality, and why there is one.
fn describe(cost: &MergeCost) -> String {
    let MergeCost { rounding, loss_with_adapter, loss_merged } = cost;
    let rows = [
        ("loss on a short text", format!("{loss_with_adapter:.4} with the adapter, {loss_merged:.4} merged")),
        ("rounding of the weights", format!("{:.2} % on average", rounding.mean_relative_error * 100.0)),
        (
            "rounding against training",
            format!("{:.2} times the adapter's own change", rounding.error_to_update),
        ),
    ];
    format!(
        "{}The merged weights were rounded to the model's few bits again, which loses part of what was learned. \
        The adapter\nbeside the model loses nothing, is smaller and can be taken away.\n",
        format::pairs(&rows)
    )
}
