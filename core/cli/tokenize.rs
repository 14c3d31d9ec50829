//! `tokenize`: the ids and pieces of a text.

use std::{io::Read, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use nightgraft_core::session::{self, TokenizeOptions};

use crate::{Verbosity, fetch::catalogue, output};

/// More than anyone reads token by token; keeps an endless pipe from filling the memory.
const MAX_BYTES: u64 = 64 << 20;

/// Show how a text is cut into tokens
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The text; standard input when there is none
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// Read special tokens such as <|im_start|> as such, not as text
    #[arg(long)]
    special: bool,
    /// Begin with the beginning-of-text token, where the model wants one
    #[arg(long)]
    bos: bool,
}

const EXAMPLES: &str = "\
Examples:
  nightgraft tokenize --model m.gguf \"The capital of France is\"
  nightgraft tokenize --model m.gguf --special --json < chat.txt

Each line is an id and its piece, quoted.";

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None => standard_input()?,
    };
    let options = TokenizeOptions { special: args.special, bos: args.bos };
    let pieces = session::tokenize(&catalogue::model_path(args.model.clone())?, &text, &options)?;
    if verbosity.json {
        output::json(&pieces)?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines: String = pieces.iter().map(|piece| format!("{:>7}  {:?}\n", piece.id, piece.text)).collect();
    output::write(lines)?;
    Ok(ExitCode::SUCCESS)
}

fn standard_input() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .context("cannot read standard input")?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("standard input holds more than {} MB", MAX_BYTES >> 20);
    }
    String::from_utf8(bytes).context("standard input is not UTF-8 text")
}
