//! `generate`: llama.cpp answers, with or without an adapter.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use nightgraft_core::session::{self, GenerateRequest};

use crate::{
    Verbosity,
    failure::{self, UsageError},
    fetch::catalogue,
    interrupt, output,
};

/// Continue or answer a prompt, with or without an adapter
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The GGUF model: a file, or a name of `fetch --list` that was fetched
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// An adapter: a PEFT folder or a GGUF file
    #[arg(long, value_name = "PATH")]
    adapter: Option<PathBuf>,
    /// What to continue, or to answer with --chat
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Ask through the model's own chat template
    #[arg(long)]
    chat: bool,
    /// Most tokens to write
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_tokens: usize,
    /// Decides the words when the temperature is above 0 [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// 0 always takes the likeliest token; 1 draws as the model says
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Threads that compute [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// The seed if none is given.
const SEED: u32 = 42;

const EXAMPLES: &str = r#"Examples:
  nightgraft generate --model m.gguf --prompt "The capital of France is" --max-tokens 8
  nightgraft generate --model m.gguf --adapter mine/adapter --chat --prompt "What is for supper?""#;

pub fn run(args: &Args, verbosity: Verbosity) -> Result<ExitCode> {
    check(args)?;
    let request = GenerateRequest {
        model: catalogue::model_path(args.model.clone())?,
        adapter: args.adapter.clone(),
        prompt: args.prompt.clone(),
        chat: args.chat,
        max_tokens: args.max_tokens,
        seed: args.seed.unwrap_or(SEED),
        temperature: args.temperature,
        threads: args.threads,
    };
    if args.seed.is_some() && args.temperature == 0.0 {
        output::note("warning: --seed does nothing: at --temperature 0 nothing is drawn");
    }
    let stop = interrupt::stop_flag("stopping ...")?;
    let mut written = Ok(());
    let mut ends_in_newline = true;
    let report = session::generate(&request, &stop, &mut |text| {
        if verbosity.json || written.is_err() {
            return;
        }
        written = output::write(text);
        ends_in_newline = text.ends_with('\n');
        if written.is_err() {
            stop.raise();
        }
    });
    written?;
    if !verbosity.json && !ends_in_newline {
        output::line("")?;
    }
    let report = report?;
    if verbosity.json {
        output::json(&report)?;
    } else {
        output::warnings(&report.warnings);
    }
    Ok(if stop.is_raised() { failure::interrupted() } else { ExitCode::SUCCESS })
}

fn check(args: &Args) -> Result<(), UsageError> {
    if !(args.temperature >= 0.0 && args.temperature.is_finite()) {
        return Err(UsageError(format!("--temperature: {} is not 0 or more", args.temperature)));
    }
    if args.max_tokens == 0 {
        return Err(UsageError("--max-tokens: 0 is not 1 or more".to_owned()));
    }
    if args.threads == Some(0) {
        return Err(UsageError("--threads: 0 is not 1 or more".to_owned()));
    }
    Ok(())
}
