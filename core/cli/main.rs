//! `nightgraft`: fine-tune a quantized language model on this machine.
//!
//! One file per subcommand. Results go to standard output, everything else to standard error.
//! Exit codes: 0 success, 1 failure, 2 wrong usage or nonsensical settings, 130 stopped by Ctrl-C.

mod bench;
mod data_warnings;
#[cfg(feature = "gpu")]
mod devices;
mod eval;
mod export;
mod failure;
mod fetch;
mod format;
mod generate;
mod gradients;
mod import;
mod inspect;
mod interrupt;
mod journal;
mod key;
mod night;
mod output;
mod plan;
mod progress;
mod settings;
mod size;
mod store;
mod tokenize;
mod train;

use std::{
    io::IsTerminal,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use nightgraft_core::session::check_instructions;
use tracing_subscriber::EnvFilter;

/// Fine-tune a 4-bit language model on the device that holds the data.
///
/// A GGUF model is mapped from its file and stays as it is; a small low-rank adapter is trained beside it,
/// on your own texts or conversations, with nothing leaving this machine.
#[derive(Parser)]
#[command(name = "nightgraft", version, after_help = EXAMPLES, max_term_width = 110, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Print results as JSON on standard output and nothing else there
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,

    /// No progress on standard error; warnings and errors remain
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
}

const EXAMPLES: &str = "\
A first session:
  model=$(nightgraft fetch smollm2-135m)
  nightgraft train --model $model --data chats.jsonl --out mine --epochs 4
  nightgraft generate --model $model --adapter mine/adapter --chat --prompt \"How are you?\"

`nightgraft help COMMAND` explains a command. NIGHTGRAFT_LOG=debug shows what happens inside.
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by Ctrl-C.";

#[derive(Subcommand)]
enum Command {
    Fetch(fetch::Args),
    Import(import::Args),
    Inspect(inspect::Args),
    Tokenize(tokenize::Args),
    Train(Box<train::Args>),
    Plan(Box<plan::Args>),
    Bench(Box<bench::Args>),
    #[cfg(feature = "gpu")]
    Devices(devices::Args),
    Eval(eval::Args),
    Generate(generate::Args),
    Export(export::Args),
    Gradients(gradients::Args),
    Night(Box<night::Args>),
    RetrainWithout(Box<night::RetrainWithoutArgs>),
    Store(store::Args),
    Journal(journal::Args),
}

/// What the user asked to see.
#[derive(Clone, Copy)]
struct Verbosity {
    /// Results as JSON.
    json: bool,
    /// Progress on standard error.
    progress: bool,
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    let cli = Cli::parse();
    start_log();
    let verbosity = Verbosity { json: cli.json, progress: !cli.json && !cli.quiet };
    match catch_unwind(AssertUnwindSafe(|| run(cli.command, verbosity))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => failure::report(&error),
        Err(_) => ExitCode::FAILURE, // the hook has spoken
    }
}

fn run(command: Command, verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    check_instructions().map_err(nightgraft_core::Error::from)?;
    match command {
        Command::Fetch(args) => fetch::run(&args, verbosity),
        Command::Import(args) => import::run(&args, verbosity),
        Command::Inspect(args) => inspect::run(&args, verbosity),
        Command::Tokenize(args) => tokenize::run(&args, verbosity),
        Command::Train(args) => train::run(*args, verbosity),
        Command::Plan(args) => plan::run(&args, verbosity),
        Command::Bench(args) => bench::run(&args, verbosity),
        #[cfg(feature = "gpu")]
        Command::Devices(args) => devices::run(&args, verbosity),
        Command::Eval(args) => eval::run(&args, verbosity),
        Command::Generate(args) => generate::run(&args, verbosity),
        Command::Export(args) => export::run(&args, verbosity),
        Command::Gradients(args) => gradients::run(&args, verbosity),
        Command::Night(args) => night::run(&args, verbosity),
        Command::RetrainWithout(args) => night::run_retrain_without(&args, verbosity),
        Command::Store(args) => store::run(&args, verbosity),
        Command::Journal(args) => journal::run(&args, verbosity),
    }
}

/// Log lines go to standard error, from `warn` up unless `NIGHTGRAFT_LOG` says otherwise.
fn start_log() {
    let asked = std::env::var("NIGHTGRAFT_LOG").unwrap_or_default();
    let asked = if asked.is_empty() { "warn" } else { asked.as_str() };
    let filter = EnvFilter::try_new(asked).unwrap_or_else(|error| {
        output::note(format_args!("warning: NIGHTGRAFT_LOG={asked}: {error}"));
        EnvFilter::new("warn")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
}

/// A panic is a bug of ours: one line, with the place, and no backtrace.
fn report_panic(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("no message").replace('\n', " ");
    let place = info.location().map_or(String::new(), |at| format!(" ({}:{})", at.file(), at.line()));
    output::note(format_args!("error: internal error, please report it: {text}{place}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use clap::CommandFactory;
    use nightgraft_core::config::TrainConfig;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The defaults live in the engine; what the help says of them must be true.
    #[test]
    fn the_help_of_train_states_the_real_defaults() {
        let cli = Cli::command();
        let train = cli.find_subcommand("train").unwrap();
        let toml = TrainConfig::default().to_toml().unwrap();
        for line in toml.lines() {
            let (key, value) = line.split_once(" = ").unwrap();
            let long = key.replace('_', "-");
            let negated = format!("no-{long}");
            let option = train.get_arguments().find(|arg| arg.get_long() == Some(long.as_str()));
            let option = option.unwrap_or_else(|| panic!("train has no --{long}"));
            if value == "true" {
                let off = train.get_arguments().any(|arg| arg.get_long() == Some(negated.as_str()));
                assert!(off, "train has no --{negated}");
            } else if value != "false" {
                let help = option.get_help().unwrap().to_string();
                let (_, stated) = help.split_once("[default: ").unwrap_or_else(|| panic!("--{long}: {help}"));
                let stated = stated.split([']', ',']).next().unwrap();
                let value = value.trim_matches('"');
                let same = stated == value
                    || matches!((stated.parse::<f64>(), value.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
                assert!(same, "--{long}: the help says {stated}, the engine {value}");
            }
        }
    }
}
