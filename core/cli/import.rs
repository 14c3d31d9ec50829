//! `import`: a model as Hugging Face's programs save it, as one GGUF file.

use std::{
    fmt, fs,
    io::ErrorKind,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::ValueEnum;
use nightgraft_ggml::WeightType;
use nightgraft_gguf::TensorType;
use nightgraft_import::{DESCRIPTION_FILES, Error, Quantization, Report, Request, Source, import, is_own};

use crate::{
    Verbosity,
    failure::{self, UsageError},
    fetch::{Choice, Location, RepositoryFolder},
    format, interrupt, output,
    progress::Progress,
};

/// Make a GGUF file of a model in Hugging Face's format
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The model: a folder with config.json, tokenizer.json and safetensors, or a repository of the Hugging Face Hub, OWNER/REPO
    #[arg(long, value_name = "FOLDER|NAME")]
    from: String,
    /// What the weights become
    #[arg(long, value_name = "TYPE", default_value = "q4_k_m", ignore_case = true)]
    quantize: Type,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that no import has written
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    /// 4 bits, with more for the matrices that need them: a third of f16 in size; what most use
    #[value(name = "q4_k_m")]
    Q4KM,
    /// 4 bits in the simplest form: smaller and quicker, and less exact
    #[value(name = "q4_0")]
    Q4_0,
    /// 8 bits: nearly as exact as f16
    #[value(name = "q8_0")]
    Q8_0,
    /// Half precision
    F16,
    /// Half precision with the range of f32: what most models are saved in
    Bf16,
    /// Single precision
    F32,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft import --from Qwen3-0.6B --quantize q4_k_m --out qwen3.gguf
  nightgraft import --from HuggingFaceTB/SmolLM3-3B --out smollm3.gguf

Dense models of these families import: Llama, Mistral, Ministral 3, Qwen 2 and 3, Gemma 3, SmolLM3,
Granite, Phi 3 and 4. Weights are read and written a few megabytes at a time. Nothing is left of an
import that fails or is stopped. A repository is downloaded into Hugging Face's own cache, as fetch
does it, and an interrupted download goes on where it stopped.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    refuse_no_place(&args.out)?;
    refuse_foreign(&args.out, args.force)?;
    let folder = Path::new(&args.from);
    let source =
        if folder.is_dir() { Source::read(folder, None)? } else { from_hub(&args.from, verbosity.progress)? };
    let quantization = match args.quantize {
        Type::Q4KM => Quantization::Q4_K_M,
        Type::Q4_0 => Quantization::Q4_0,
        Type::Q8_0 => Quantization::Q8_0,
        Type::F16 => Quantization::F16,
        Type::Bf16 => Quantization::BF16,
        Type::F32 => Quantization::F32,
    };
    let request = Request { source: &source, quantization, out: &args.out };
    let stop = interrupt::stop_flag("stopping; nothing is left")?;
    let mut progress = Progress::bytes(verbosity.progress, "importing", 0);
    let report = import(&request, &quantize, &mut |done, total| {
        progress.set(done, total);
        if stop.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.close();
    match report {
        Err(Error::Cancelled) => Ok(failure::interrupted()),
        Err(error @ Error::OutIsSource { .. }) => Err(UsageError(format!("--out: {error}")).into()),
        Err(error) => Err(error.into()),
        Ok(report) => {
            if verbosity.json {
                output::json(&report)?;
            } else {
                output::warnings(&report.warnings);
                output::write(describe(&report))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// ggml's own quantizer.
fn quantize(
    kind: TensorType,
    n_cols: usize,
    rows: &[f32],
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let kind = WeightType::from_ggml_id(kind.ggml_id()).ok_or(NoQuantizer(kind))?;
    Ok(nightgraft_ggml::quantize(kind, n_cols, rows)?)
}

/// A type that ggml does not make.
#[derive(Debug)]
struct NoQuantizer(TensorType);

impl fmt::Display for NoQuantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no quantizer for {}", self.0.name())
    }
}

impl std::error::Error for NoQuantizer {}

/// A file can be made only in a folder that is there.
fn refuse_no_place(out: &Path) -> Result<()> {
    let is_folder_name = out.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    if out.file_name().is_none() || is_folder_name && !out.is_dir() {
        let problem = format!("--out: {} is the name of a folder; give a file", out.display());
        return Err(UsageError(problem).into());
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    let problem = format!("--out: {} cannot be written: {} is no folder", out.display(), folder.display());
    Err(UsageError(problem).into())
}

/// What is at the place of the result may be replaced if an earlier import wrote it, or if that is asked for.
fn refuse_foreign(out: &Path, force: bool) -> Result<()> {
    let there = match fs::symlink_metadata(out) {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", out.display())),
    };
    let what = match there.file_type() {
        kind if kind.is_file() && (force || there.len() == 0 || is_own(out)) => return Ok(()),
        kind if kind.is_file() => "is there, and no import has written it; --force replaces it",
        kind if kind.is_dir() => "is there: it is a folder; give a file",
        kind if kind.is_symlink() => "is a link; give the file itself, or another one",
        _ => "is no regular file; give another one",
    };
    Err(UsageError(format!("--out: {} {what}", out.display())).into())
}

/// Downloads what describes the model first, so that one that does not import is refused before its weights come.
fn from_hub(name: &str, show: bool) -> Result<Source> {
    let neither =
        || UsageError(format!("--from: {name} is no folder, and no repository of the Hub as OWNER/REPO"));
    if !name.contains('/') || Path::new(name).is_absolute() {
        return Err(neither().into());
    }
    let location = Location::parse(name, None).map_err(|_| neither())?;
    if location.choice != Choice::Usual {
        let problem = format!("--from: {name} is a file; give a folder, or OWNER/REPO");
        return Err(UsageError(problem).into());
    }
    let repository = RepositoryFolder::open(&location)?;
    let folder = repository.fetch(DESCRIPTION_FILES, false)?;
    let model = location.repository.rsplit('/').next();
    let source = Source::read(&folder, model)?;
    repository.fetch(source.weight_files().iter().map(String::as_str), show)?;
    Ok(source)
}

fn describe(report: &Report) -> String {
    let types: Vec<_> = report.tensors.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!(
        "{}  ({}, {}, {} parameters, {})\ntensors: {}\n",
        report.path.display(),
        format::bytes(report.bytes),
        report.architecture,
        format::count(report.parameters),
        report.quantization,
        types.join(", ")
    )
}
