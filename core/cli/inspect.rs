//! `inspect`: what is in a GGUF file, and whether it can be trained on.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::{self, ModelInfo};

use crate::{Verbosity, fetch::catalogue, format, output};

/// Show a model's architecture, sizes, weight formats and tokenizer
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(value_name = "MODEL", required_unless_present = "model")]
    file: Option<PathBuf>,
    /// The same, as the other commands spell it
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    model: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft inspect model.gguf
  nightgraft inspect smollm2-135m --json

Any well-formed GGUF can be shown, also one that cannot be trained; the last line says which it is.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let file = args.model.clone().or_else(|| args.file.clone()).unwrap_or_default();
    let info = session::inspect(&catalogue::model_path(file)?)?;
    if verbosity.json {
        output::json(&info)?;
    } else {
        output::write(describe(&info))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(info: &ModelInfo) -> String {
    let number = |n: Option<u64>| n.map_or("not stated".to_owned(), |n| n.to_string());
    let heads = format!("{}, {} for keys and values", number(info.n_head), number(info.n_head_kv));
    let trainable = match &info.why_not {
        None => "yes".to_owned(),
        Some(reason) => format!("no: {reason}"),
    };
    let rows = [
        ("name", info.name.clone().unwrap_or_else(|| "not stated".to_owned())),
        ("architecture", info.architecture.clone()),
        ("parameters", format::count(info.parameters)),
        ("file", format::bytes(info.file_bytes)),
        ("layers", number(info.n_layer)),
        ("embedding", number(info.n_embd)),
        ("heads", heads),
        ("feed-forward", number(info.n_ff)),
        ("vocabulary", number(info.n_vocab)),
        ("context trained on", number(info.n_ctx_train)),
        ("tokenizer", info.tokenizer.clone().unwrap_or_else(|| "none".to_owned())),
        ("chat template", if info.chat_template { "yes" } else { "no" }.to_owned()),
        ("trainable", trainable),
    ];
    let mut types = vec![["weights", "tensors", "size"].map(str::to_owned).to_vec()];
    types.extend(
        info.tensor_types.iter().map(|t| vec![t.name.clone(), t.count.to_string(), format::bytes(t.bytes)]),
    );
    format!("{}\n{}", format::pairs(&rows), format::table(&types, &[1, 2]))
}
